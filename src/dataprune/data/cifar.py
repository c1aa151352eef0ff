"""CIFAR-10 and CIFAR-100 as their authors ship them: binary files, or pickles of Python 2 and 3, which anybody may have made.

The unpickler in C under an allow-list runs nothing, but a few bytes can make it take gigabytes or hours. So the steps are gone
through first, on a stack that holds no more than which step put each thing there.
"""

import io
import os
import pickle
import pickletools
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from dataprune.data.classes import indices
from dataprune.data.source import Part, Source, plain, row_ids
from dataprune.errors import InputError, invalid, one_line

SIDE = 32
_PIXEL_BYTES = 3 * SIDE * SIDE
_MAX_BYTES = 2**30  # the largest of the authors' files has 155 MB

_MOST_STEPS = 5_000_000  # the largest of CIFAR's files, with 150,000 names and numbers, takes a twentieth
_NUMBERS = "NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT"
_TEXTS = "STRING BINSTRING SHORT_BINSTRING BINBYTES SHORT_BINBYTES BINBYTES8 UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8"
_PUTS, _GETS = ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"), ("GET", "BINGET", "LONG_BINGET")
_STEPS = frozenset(
    f"{_NUMBERS} {_TEXTS} BYTEARRAY8 PROTO FRAME STOP MARK EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_LIST LIST APPEND APPENDS "
    "EMPTY_DICT DICT SETITEM SETITEMS GLOBAL STACK_GLOBAL REDUCE BUILD".split()
).union(_PUTS, _GETS)
_KEYS = frozenset([*_TEXTS.split(), *_NUMBERS.split()[1:], "REDUCE"])  # a call gives bytes, or an object of ours

_Read = Callable[[Path], tuple[np.ndarray, np.ndarray]]


def read_cifar(folder: Path) -> Source | None:
    """Read CIFAR-10 (`data_batch_*`, `test_batch`) or CIFAR-100 (`train`, `test`; fine labels), binary or Python files, if any. An
    id is the row number in the split, counted over the batches in their order."""
    form = _form(folder)
    if form is None:
        return None
    splits, classes, read = form
    parts = {}
    for split, files in splits.items():
        batches = [read(file) for file in files]
        pixels = np.concatenate([pixels for pixels, _ in batches])
        labels = indices(np.concatenate([labels for _, labels in batches]), f"labels of {split}", len(classes))
        parts[split] = Part(row_ids(len(pixels)), labels, inputs=pixels)
    missing = 5 - len(splits["train"]) if splits["train"][0].name.startswith("data_batch") else 0
    notes = (f"{missing} of the 5 training batches of CIFAR-10 are not in {folder.name}",) if missing else ()
    return Source("cifar", os.path.realpath(folder), parts, classes, notes)


def _form(folder: Path) -> tuple[dict[str, list[Path]], tuple[str, ...], _Read] | None:
    """Tell by the names which of the four forms it is: the files of each split, the classes, and how to read a file."""

    def splits(train: list[str], test: str, needed: str = "") -> dict[str, list[Path]]:
        asked = {"train": [folder / name for name in train], "test": [folder / test]}
        found = {split: there for split, files in asked.items() if (there := [file for file in files if file.is_file()])}
        return found if "train" in found and (not needed or (folder / needed).is_file()) else {}

    batches = [f"data_batch_{number}" for number in range(1, 6)]
    if files := splits([f"{name}.bin" for name in batches], "test_batch.bin"):
        return files, _names_in_text(folder / "batches.meta.txt", 10), partial(_binary, n_labels=1)
    if files := splits(["train.bin"], "test.bin", "fine_label_names.txt"):
        return files, _names_in_text(folder / "fine_label_names.txt", 100), partial(_binary, n_labels=2)
    if files := splits(batches, "test_batch", "batches.meta"):
        return files, _names_in_pickle(folder / "batches.meta", "label_names", 10), partial(_pickled, key="labels")
    if files := splits(["train"], "test", "meta"):
        return files, _names_in_pickle(folder / "meta", "fine_label_names", 100), partial(_pickled, key="fine_labels")
    return None


def _names_in_text(file: Path, count: int) -> tuple[str, ...]:
    if not file.is_file():
        return tuple(map(str, range(count)))
    return tuple(line.strip() for line in _text(_bytes_of(file)).splitlines() if line.strip())


def _names_in_pickle(file: Path, key: str, count: int) -> tuple[str, ...]:
    names = _entries(file).get(key, [str(index) for index in range(count)])
    if not isinstance(names, list | tuple) or not all(isinstance(name, str | bytes) for name in names):
        raise invalid(plain(file), f"hold a list `{key}` of names", type(names).__name__)
    return tuple(map(_text, names))


def _binary(file: Path, n_labels: int) -> tuple[np.ndarray, np.ndarray]:
    """Read records of one or two label bytes (coarse, fine) and 3072 pixel bytes, channel by channel."""
    data = np.frombuffer(_bytes_of(file), dtype=np.uint8)
    record = n_labels + _PIXEL_BYTES
    if len(data) == 0 or len(data) % record:
        raise invalid(plain(file), f"have a whole number of {record}-byte records", f"{len(data)} bytes", "Download it again.")
    rows = data.reshape(-1, record)
    return _channels_last(rows[:, n_labels:]), rows[:, n_labels - 1].astype(np.int64)


def _pickled(file: Path, key: str) -> tuple[np.ndarray, np.ndarray]:
    entries = _entries(file)
    if "data" not in entries or key not in entries:
        raise invalid(plain(file), f"hold `data` and `{key}`", ", ".join(sorted(entries)) or "nothing")
    pixels, labels = _array(file, "data", entries["data"]), _array(file, key, entries[key])
    if pixels.dtype != np.uint8 or pixels.ndim != 2 or pixels.shape[1] != _PIXEL_BYTES:
        raise invalid(plain(file), f"hold uint8 `data` of shape (N, {_PIXEL_BYTES})", f"{pixels.dtype} {pixels.shape}")
    if labels.shape != (len(pixels),):
        raise invalid(plain(file), f"hold one label for each of {len(pixels)} pictures", f"shape {labels.shape}")
    return _channels_last(pixels), labels


def _array(file: Path, key: str, value: object) -> np.ndarray:
    """Return an array, or make one of a list of numbers; a list of lists may unfold to any size."""
    if isinstance(value, list | tuple) and all(isinstance(one, int | float | str | bytes) for one in value):
        return np.asarray(value)
    if isinstance(value, np.ndarray):
        return value
    raise invalid(plain(file), f"hold an array or a list of numbers as `{key}`", type(value).__name__)


def _channels_last(rows: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(rows.reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1))


def _bytes_of(file: Path) -> bytes:
    try:
        if (size := file.stat().st_size) > _MAX_BYTES:
            raise invalid(plain(file), f"have at most {_MAX_BYTES >> 20} MB", f"{size >> 20} MB")
        return file.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {plain(file)}: {error.strerror}.") from None


def _entries(file: Path) -> dict[str, Any]:
    """Read a pickle of plain tables: text of Python 2 stays bytes; anything else is refused."""
    try:
        content = _bytes_of(file)
        _check_steps(content)
        loaded = _Plain(content).load()
    except InputError as error:
        raise InputError(f"{plain(file)}: {error}") from None
    except Exception as error:  # noqa: BLE001 a damaged pickle fails in any way
        raise InputError(f"{plain(file)} is not a readable CIFAR file: {one_line(error)}.") from None
    if not isinstance(loaded, dict):
        raise invalid(plain(file), "hold a dictionary", type(loaded).__name__)
    return {_text(key): value.value if isinstance(value, Array) else value for key, value in loaded.items()}


def _text(value: object) -> str:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)


class Array:
    """An array of the pickle, as `value` once its state was set; a shape alone reserves nothing."""

    def __init__(self, state: Any = None) -> None:
        self.value = np.empty(0, np.int8)
        if state is not None:
            self.__setstate__(state)

    def __setstate__(self, state: Any) -> None:
        shape, kind, is_fortran, raw = state[-4:]
        if not isinstance(kind, _Kind) or not isinstance(raw, bytes | bytearray) or any(length < 0 for length in shape):
            raise InputError("the pickle holds an array of other things than plain numbers.")
        self.value = np.frombuffer(raw, kind.dtype).reshape(shape, order="F" if is_fortran else "C")


class _Kind:
    """A type of numbers, whose byte order is set after it was made."""

    def __init__(self, code: str | bytes, *_: object) -> None:
        self.dtype = np.dtype(_text(code))
        if self.dtype.kind not in "biuf":
            raise InputError(f"the pickle holds an array of {self.dtype}, not of numbers.")

    def __setstate__(self, state: Any) -> None:
        if (order := _text(state[1])) not in ("<", ">", "|", "="):
            raise InputError("the pickle holds an array of other things than plain numbers.")
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


def _check_steps(content: bytes) -> None:
    """Follow the steps without doing them, up to the first that plain tables have no need of. Every length lies within the file,
    the memo has no holes, keys are names or numbers (hashing tuples of tuples may take years), and only what a call made gets a
    state."""
    stack: list[str] = []
    marks: list[int] = []
    memo: dict[int, str] = {}
    for count, (step, value, _) in enumerate(pickletools.genops(content)):
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
            raise InputError("the pickle holds a table whose keys are not names.")
        if name == "BUILD" and taken[0] != "REDUCE":
            raise InputError("the pickle sets the state of something other than an array, which no CIFAR file needs.")
        stack += [memo[int(value or 0)]] if name in _GETS else [name] * len(step.stack_after)
