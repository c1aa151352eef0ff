"""Pickles of plain tables (names, numbers, text, arrays of numbers) that strangers made, as CIFAR ships them.

The unpickler in C under an allow-list runs nothing, but a few bytes can make it take gigabytes or hours. So the steps are gone
through first, on a stack that holds no more than which step put each thing there.
"""

import io
import pickle
import pickletools
from collections.abc import Iterator
from typing import Any

import numpy as np

from dataprune.errors import InputError

_MOST_STEPS = 5_000_000  # the largest of CIFAR's files, with 150,000 names and numbers, takes a twentieth
_NUMBERS = "NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT"
_TEXTS = "STRING BINSTRING SHORT_BINSTRING BINBYTES SHORT_BINBYTES BINBYTES8 UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8"
_PUTS, _GETS = ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"), ("GET", "BINGET", "LONG_BINGET")
_STEPS = frozenset(
    f"{_NUMBERS} {_TEXTS} BYTEARRAY8 PROTO FRAME STOP MARK EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_LIST LIST APPEND APPENDS "
    "EMPTY_DICT DICT SETITEM SETITEMS GLOBAL STACK_GLOBAL REDUCE BUILD".split()
).union(_PUTS, _GETS)
_STEP_OF = {step.code.encode("latin1"): step for step in pickletools.opcodes}
_KEYS = frozenset([*_TEXTS.split(), *_NUMBERS.split()[1:], "REDUCE"])  # a call gives bytes, or an object of ours


def loads(content: bytes) -> Any:
    """Read a pickle of plain tables: text of Python 2 stays bytes, arrays are `Array`; anything else is an InputError."""
    _check_steps(content)
    return _Plain(content).load()


class Array:
    """An array of the pickle, as `value` once its state was set; a shape alone reserves nothing."""

    def __init__(self, state: Any = None) -> None:
        self.value = np.empty(0, np.int8)
        if state is not None:
            self.__setstate__(state)

    def __setstate__(self, state: Any) -> None:
        shape, kind, is_fortran, raw = state[-4:]
        if not isinstance(kind, _Kind) or not isinstance(raw, bytes | bytearray) or any(length < 0 for length in shape):
            raise InputError("the pickle holds an array of no plain numbers.")
        self.value = np.frombuffer(raw, kind.dtype).reshape(shape, order="F" if is_fortran else "C")


class _Kind:
    """A type of numbers, whose byte order is set after it was made."""

    def __init__(self, code: str | bytes, *_: object) -> None:
        self.dtype = np.dtype(_text(code))
        if self.dtype.kind not in "biuf":
            raise InputError(f"the pickle holds an array of {self.dtype}, not of numbers.")

    def __setstate__(self, state: Any) -> None:
        if (order := _text(state[1])) not in ("<", ">", "|", "="):
            raise InputError("the pickle holds an array of no plain numbers.")
        self.dtype = np.dtype(order + self.dtype.str[1:])


class _Plain(pickle.Unpickler):
    """Calls nothing but what makes arrays of numbers, or bytes of text."""

    def __init__(self, content: bytes) -> None:
        super().__init__(io.BytesIO(content), encoding="bytes")
        self._bytes_left = 2 * len(content)

    def find_class(self, module: str, name: str) -> Any:
        """Return what stands for a name that CIFAR files use, and refuse every other."""
        called = f"{module.replace('numpy.core', 'numpy._core')}.{name}"
        allowed = {
            "numpy.ndarray": None,  # only named, for `_reconstruct`: called, it would give memory as it was found
            "numpy.dtype": _Kind,
            "numpy._core.multiarray._reconstruct": lambda *_: Array(),
            "numpy._core.numeric._frombuffer": lambda raw, kind, shape, order: Array((shape, kind, order == "F", raw)),
            "_codecs.encode": self._latin1,
        }
        if called in allowed:
            return allowed[called]
        raise InputError(f"the pickle asks for {module}.{name}, which no CIFAR file needs; it was not run. Do not trust this file.")

    def _latin1(self, text: str, encoding: str = "latin1") -> bytes:
        if encoding not in ("latin1", "latin-1"):
            raise InputError(f"the pickle asks for the encoding {encoding!r}.")
        self._bytes_left -= len(text)
        if self._bytes_left < 0:
            raise InputError("the pickle repeats text until it is larger than the file.")
        return text.encode("latin1")


def _text(value: str | bytes) -> str:
    return value.decode("ascii") if isinstance(value, bytes) else value


def _check_steps(content: bytes) -> None:
    """Follow the steps without doing them, up to the first that plain tables have no need of.

    Every length lies within the file, the memo has no holes, keys are names or numbers (hashing tuples of tuples may take years),
    and only what a call made gets a state.
    """
    stack: list[str] = []
    marks: list[int] = []
    memo: dict[int, str] = {}
    for count, (step, value) in enumerate(_steps(content)):
        name = step.name
        if name not in _STEPS or count >= _MOST_STEPS:
            what = f"uses the step {name}" if name not in _STEPS else f"has more than {_MOST_STEPS // 10**6} million steps"
            raise InputError(f"the pickle {what}, which no CIFAR file needs; it was not run. Do not trust this file.")
        if name in _PUTS:
            if (index := len(memo) if value is None else value) > count:
                raise InputError("the pickle leaves holes in its memory, which no CIFAR file needs.")
            memo[index] = stack[-1]
            continue
        if name == "MARK":
            marks.append(len(stack))
            continue
        has_mark = pickletools.markobject in step.stack_before
        start = marks.pop() if has_mark else len(stack) - len(step.stack_before)
        taken = stack[start:]
        del stack[start - (step.stack_before.index(pickletools.markobject) if has_mark else 0) :]
        keys = taken[1:2] if name == "SETITEM" else taken[::2] if name in ("SETITEMS", "DICT") else []
        if not _KEYS.issuperset(keys):
            raise InputError("the pickle holds a table whose keys are no names.")
        if name == "BUILD" and taken[0] != "REDUCE":
            raise InputError("the pickle sets the state of something else than an array, which no CIFAR file needs.")
        stack += [memo[value]] if name in _GETS else [name] * len(step.stack_after)


def _steps(content: bytes) -> Iterator[tuple[pickletools.OpcodeInfo, Any]]:
    """Yield each step and its argument, as `pickletools.genops`, which cannot read what Python 2 wrote as text beyond ASCII."""
    file = io.BytesIO(content)
    while code := file.read(1):
        step = _STEP_OF[code]
        yield step, file.readline() if step.name == "STRING" else step.arg.reader(file) if step.arg else None
        if code == b".":
            return
    raise ValueError("it is cut short")
