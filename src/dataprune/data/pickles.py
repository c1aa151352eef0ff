"""What does a pickle of plain tables hold: names, numbers, text and arrays of numbers? For files that strangers made."""

import codecs
import io
import pickle
from typing import Any, ClassVar

import numpy as np

from dataprune.errors import InputError

_ARRAY_MODULES = ("numpy.core.multiarray", "numpy._core.multiarray")
_BUFFER_MODULES = ("numpy.core.numeric", "numpy._core.numeric")
_Unpickler: Any = pickle._Unpickler
_STEPS = (
    "PROTO STOP MARK POP POP_MARK NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT "
    "STRING BINSTRING SHORT_BINSTRING BINBYTES SHORT_BINBYTES BINBYTES8 UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8 "
    "EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_LIST LIST APPEND APPENDS EMPTY_DICT "
    "GET BINGET LONG_BINGET PUT BINPUT LONG_BINPUT MEMOIZE GLOBAL STACK_GLOBAL"
)
_MOST_READS = 10_000_000  # the largest of CIFAR's files, with 150,000 names and numbers, takes a tenth of it


def loads(content: bytes) -> Any:
    """Read a pickle of plain tables; the text of Python 2 stays bytes. A damaged one raises anything: nothing but arrays was built.

    Raises:
        InputError: it asks for anything else.
    """
    return _Plain(_Counted(content), encoding="bytes").load()


class _Counted(io.BytesIO):
    """Bytes that are read a bounded number of times."""

    reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self.reads += 1
        if self.reads > _MOST_READS:
            raise InputError(f"the pickle holds more than {_MOST_READS // 10**6} million things.")
        return super().read(size)


class _Plain(_Unpickler):
    """Takes the steps that plain things and arrays of numbers are made of, and no other."""

    dispatch: ClassVar[dict[int, Any]] = {getattr(pickle, n)[0]: _Unpickler.dispatch[getattr(pickle, n)[0]] for n in _STEPS.split()}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("numpy", "ndarray"):
            return None  # only named, for `_reconstruct`: called, it would give memory as it was found
        if (module, name) == ("numpy", "dtype"):
            return _dtype
        if module in _ARRAY_MODULES and name == "_reconstruct":
            return _reconstruct
        if module in _BUFFER_MODULES and name == "_frombuffer":
            return _from_buffer
        if (module, name) == ("_codecs", "encode"):
            return _latin1
        raise InputError(f"the pickle asks for {module}.{name}, which no CIFAR file needs; it was not run. Do not trust this file.")

    def load_frame(self) -> None:
        self.read(8)  # a frame says how far to read ahead, no more

    def load_bytearray8(self) -> None:
        self.append(bytearray(self.read(int.from_bytes(self.read(8), "little"))))

    def load_reduce(self) -> None:
        given, maker = self.stack.pop(), self.stack[-1]
        if not any(maker is one for one in (_dtype, _reconstruct, _from_buffer, _latin1)) or type(given) is not tuple:
            raise InputError(f"the pickle calls something of type {type(maker).__name__}; it was not run. Do not trust this file.")
        self.stack[-1] = maker(*given)

    def load_build(self) -> None:
        state, made = self.stack.pop(), self.stack[-1]
        if isinstance(made, np.dtype):
            made.__setstate__((3, _byte_order(state), None, None, None, -1, -1, 0))  # type: ignore[attr-defined]
        elif type(made) is np.ndarray and made.shape == (0,) and _is_array(state):
            made.__setstate__(state)
        else:
            raise InputError(f"the pickle sets the state of a {type(made).__name__}, which no CIFAR file needs.")

    def load_setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        _set(self.stack[-1], [key, value])

    def load_setitems(self) -> None:
        items = self.pop_mark()
        _set(self.stack[-1], items)

    def load_dict(self) -> None:
        items = self.pop_mark()
        self.append({})
        _set(self.stack[-1], items)

    for _name in ("frame", "bytearray8", "reduce", "build", "setitem", "setitems", "dict"):
        dispatch[getattr(pickle, _name.upper())[0]] = locals()[f"load_{_name}"]


def _set(table: Any, items: list[Any]) -> None:
    """Put keys and values into a table; a key is a name or a number, since hashing tuples of tuples may take for ever."""
    if type(table) is not dict or not all(type(key) in (str, bytes, int) for key in items[::2]):
        raise InputError("the pickle holds a table whose keys are no names.")
    table.update(zip(items[::2], items[1::2], strict=True))


def _byte_order(state: object) -> str:
    order = state[1] if type(state) is tuple and len(state) >= 8 else None
    text = order.decode("latin1") if isinstance(order, bytes) else order
    if text not in ("<", ">", "|", "="):
        raise InputError("the pickle holds an array of no plain numbers.")
    return str(text)


def _is_array(state: object) -> bool:
    """Return whether it is (version, shape, type, Fortran order, bytes) or the same without the version."""
    if type(state) is not tuple or len(state) not in (4, 5):
        return False
    shape, dtype, _, raw = state[-4:]
    return (
        type(shape) is tuple
        and all(type(length) is int for length in shape)
        and isinstance(dtype, np.dtype)
        and isinstance(raw, bytes | bytearray)
    )


def _dtype(code: str | bytes, *_: object) -> np.dtype[Any]:
    made = np.dtype(code.decode("ascii") if isinstance(code, bytes) else code, copy=True)  # its byte order is set next
    if made.kind not in "biuf":
        raise InputError(f"the pickle holds an array of {made}, not of numbers.")
    return made


def _reconstruct(*_: object) -> np.ndarray:
    """Whatever shape is asked for, reserve nothing: the state that follows brings shape and bytes, and NumPy compares them."""
    return np.ndarray((0,), np.int8)


def _from_buffer(buffer: bytes | bytearray, dtype: np.dtype[Any], shape: tuple[int, ...], order: str) -> np.ndarray:
    if not isinstance(buffer, bytes | bytearray) or not isinstance(dtype, np.dtype):
        raise InputError("the pickle holds an array without bytes or type.")
    return np.frombuffer(buffer, dtype).reshape(shape, order="F" if order == "F" else "C")


def _latin1(text: str, encoding: str = "latin1") -> bytes:
    if codecs.lookup(encoding).name != "iso8859-1":
        raise InputError(f"the pickle asks for the encoding {encoding!r}.")
    return text.encode("latin1")
