"""The nouns of reading: a data set, its origin, its splits, records that people read, and items that were left out."""

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Int64, Shaped, UInt8

from dataprune import store
from dataprune.errors import InputError, invalid, join_some
from dataprune.notebook import html_table

IDS = np.dtypes.StringDType()
_ARRAYS = ("ids", "labels", "images", "features", "mirrored", "paths", "digests")
THINGS = {"images": "pictures", "features": "feature vectors", "texts": "texts", "rows": "rows of a table"}
LETTERS = 2000  # of a record, where a person reads it


@dataclass(frozen=True)
class Skipped:
    """An item of the source that was left out, and why."""

    path: str
    reason: str


@dataclass(frozen=True)
class Origin:
    """Where a data set came from: `read(path, **options)` gives it again, unless `path` is "" as it came as an object."""

    kind: str
    path: str
    split: str
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class EncoderRecord:
    """Which frozen function made the vectors of a data set: a part of its identity."""

    name: str
    weights: str  # SHA-256 of them, or of what they were fitted on; "" where nothing is known of them
    size: int | None  # side of the pictures that it is given
    preprocessing: str
    precision: str = "float32"


@dataclass(frozen=True, eq=False)
class Records:
    """The columns of a table that the examples are made of, each numbers or an object array of text; of texts there is one."""

    kind: Literal["texts", "rows"]
    columns: Mapping[str, Shaped[np.ndarray, " examples"]]

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def __getitem__(self, rows: Any) -> "Records":
        return Records(self.kind, {name: column[rows] for name, column in self.columns.items()})

    def shown(self, row: int, letters: int = LETTERS) -> str:
        """Return what a person reads of an example: the text, or its cells by name; of a long one the beginning."""
        cells = {name: column[row] for name, column in self.columns.items()}
        written = {
            name: "–" if cell == "" or cell != cell else f"{cell:.6g}" if isinstance(cell, float) else str(cell)
            for name, cell in cells.items()
        }
        whole = str(*cells.values()) if self.kind == "texts" else ", ".join(f"{name}: {cell}" for name, cell in written.items())
        return whole if len(whole) <= letters else f"{whole[:letters]}..."

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) over kind, names of the columns and all cells."""
        whole = hashlib.sha256(self.kind.encode())
        for name, column in self.columns.items():
            cells = map(str, column.tolist()) if column.dtype == object else [column.dtype.str, column.tobytes().hex()]
            for piece in (name, *cells):
                whole.update(hashlib.sha256(piece.encode("utf-8", "surrogatepass")).digest())
        return whole.hexdigest()

    def identities(self) -> UInt8[np.ndarray, "examples 16"]:
        """Return digests that are equal where examples are: whatever their case, Unicode's way of composing, and white space."""

        def plain(cell: object) -> str:
            return " ".join(unicodedata.normalize("NFC", str(cell)).casefold().split())

        lines = zip(*(map(plain, column.tolist()) for column in self.columns.values()), strict=True)
        hashes = (hashlib.blake2b("\0".join(cells).encode("utf-8", "surrogatepass"), digest_size=16) for cells in lines)
        return np.stack([np.frombuffer(one.digest(), np.uint8) for one in hashes])


@dataclass(frozen=True, eq=False)
class Dataset:
    """Examples with ids and, mostly, given labels. Immutable: the arrays are read-only.

    What people see are the `images` or the `records` (texts, rows of a table); what networks see are the `features`, vectors that
    were given or that an `encoder` made of those, else the images. `mirrored` are the vectors of the mirrored images. `notes` are
    warnings for a person, `paths` the files of the examples (object array of `Path`, for copying and linking), `pack` the folder of
    the packed cache that holds exactly these images, `digests` (N, 16) what is equal of records that say the same, or what whole
    pictures held before they were brought to squares. Outside the fingerprint: origin, paths, skipped, notes, pack, digests.

    Raises:   InputError if lengths differ, ids repeat, labels are outside the classes, or there is no example.
    """

    labels: Int64[np.ndarray, " examples"] | None
    ids: np.ndarray
    classes: tuple[str, ...] = ()
    images: UInt8[np.ndarray, "examples height width channels"] | None = None
    features: np.ndarray | None = None
    mirrored: np.ndarray | None = None
    encoder: EncoderRecord | None = None
    records: Records | None = None
    origin: Origin | None = None
    paths: np.ndarray | None = None
    skipped: tuple[Skipped, ...] = ()
    notes: tuple[str, ...] = ()
    pack: Path | None = None
    known_digest: str | None = field(default=None, repr=False)
    digests: np.ndarray | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.images is None and self.features is None:
            raise invalid("Dataset", "have `images` or `features`", "neither")
        put = object.__setattr__
        put(self, "ids", np.asarray(self.ids, dtype=IDS))
        put(self, "classes", tuple(self.classes))
        for name in _ARRAYS:
            if (array := getattr(self, name)) is not None:
                put(self, name, array.view())
                getattr(self, name).flags.writeable = False
        _check(self)

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        held = ", ".join(f"{kind} {one.shape[1:]}" for kind in ("images", "features") if (one := getattr(self, kind)) is not None)
        return f"Dataset({len(self):,} examples, {held}, {self.n_classes} classes)"

    def _repr_html_(self) -> str:
        labels = {} if self.labels is None else {"label": [self.classes[label] for label in self.labels.tolist()]}
        return html_table(repr(self), {"id": self.ids.tolist(), **labels})

    @property
    def n_classes(self) -> int:
        """How many classes the labels may take; 0 without labels."""
        return len(self.classes)

    @property
    def kind(self) -> Literal["images", "features", "texts", "rows"]:
        """What people see."""
        return "images" if self.images is not None else "features" if self.records is None else self.records.kind

    @property
    def things(self) -> str:
        """What the examples are called."""
        return THINGS[self.kind]

    @property
    def inputs(self) -> np.ndarray:
        """What networks see: the features or, where there are none, the content."""
        return self.content if self.features is None else self.features

    @property
    def content(self) -> np.ndarray:
        """The images or, where there are none, the features."""
        content = self.features if self.images is None else self.images
        assert content is not None
        return content

    @property
    def whole(self) -> np.ndarray:
        """What is equal of examples that are the same: digests of whole pictures or records, else the content."""
        return self.content if self.digests is None else self.digests

    @property
    def bare(self) -> "Dataset":
        """The same data without what stands beside their images: as they were before they were encoded."""
        if self.images is None or self.features is None:
            return self
        return replace(self, features=None, mirrored=None, encoder=None, known_digest=self.content_digest)

    @cached_property
    def content_digest(self) -> str:
        """SHA-256 (hex) over type, shape and bytes of what people see; a packed cache brings it along."""
        return self.known_digest or (store.array_digest(self.content) if self.records is None else self.records.digest)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) over content, labels, ids, classes and, beside the content, the encoder or else the features."""
        return self.fingerprint_by(self.encoder)

    def fingerprint_by(self, encoder: EncoderRecord | None) -> str:
        """Return the fingerprint that the data set has once an encoder has made its features."""
        labels = b"none" if self.labels is None else self.labels.astype("<i8").tobytes()
        parts = [b"dataset 1", self.content_digest.encode(), labels, _joined(self.ids.tolist()), _joined(self.classes)]
        if encoder is not None:
            parts.append(store.json_digest(asdict(encoder)).encode())
        elif self.features is not None and (self.images is not None or self.records is not None):
            parts.append(store.array_digest(self.features).encode())
        return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()

    def take(self, rows: Int64[np.ndarray, " taken"]) -> "Dataset":
        """Keep the examples at different `rows` of [0, N), in that order. Neighbouring rows share memory with this data set."""
        rows = np.asarray(rows)
        if rows.ndim != 1 or rows.dtype.kind not in "iu" or not len(rows):
            raise invalid("rows", "be a non-empty one-dimensional array of integers", f"{rows.dtype} of shape {rows.shape}")
        if rows.min() < 0 or rows.max() >= len(self):
            raise invalid("rows", f"be in [0, {len(self)})", int(rows.min() if rows.min() < 0 else rows.max()))
        where = slice(int(rows[0]), int(rows[0]) + len(rows)) if (np.diff(rows) == 1).all() else rows
        whole = isinstance(where, slice) and len(rows) == len(self)
        changes: dict[str, Any] = {} if whole else {"pack": None, "known_digest": None}
        changes |= {name: array[where] for name in _ARRAYS if (array := getattr(self, name)) is not None}
        changes |= {} if self.records is None else {"records": self.records[where]}
        return replace(self, **changes)

    def with_labels(self, labels: Int64[np.ndarray, " examples"] | None, classes: Iterable[str] | None = None) -> "Dataset":
        """Return the same examples with other labels, and other classes if they are named; pixels are shared."""
        names = () if labels is None else self.classes if classes is None else tuple(classes)
        checked = None if labels is None else np.ascontiguousarray(labels, dtype=np.int64)
        return replace(self, labels=checked, classes=names, known_digest=self.content_digest)


@dataclass(frozen=True, eq=False, repr=False)
class Splits:
    """The splits of one source. All share their classes, and the shape of their examples, else InputError is raised."""

    train: Dataset
    validation: Dataset | None = None
    test: Dataset | None = None

    def __post_init__(self) -> None:
        for name, other in self.parts.items():
            shape, own = self.train.content.shape[1:], other.content.shape[1:]
            if own != shape:
                raise invalid(name, f"have examples of the shape of train, {shape}", str(own))
            if other.inputs.shape[1:] != self.train.inputs.shape[1:] or other.encoder != self.train.encoder:
                both = (other.encoder, self.train.encoder)
                said = ["none" if one is None else f"{one.name}{f' at {one.size} pixels' if one.size else ''}" for one in both]
                raise invalid(name, f"be encoded as train is, by {said[1]}", said[0])

    def __repr__(self) -> str:
        counts = ", ".join(f"{name} {len(one):,}" for name, one in self.parts.items())
        return f"Splits({counts} examples, {self.train.n_classes} classes)"

    def _repr_html_(self) -> str:
        counts = [f"{len(one):,}" for one in self.parts.values()]
        return html_table(repr(self), {"split": list(self.parts), "examples": counts})

    @property
    def parts(self) -> dict[str, Dataset]:
        """The splits that there are by name: train, then validation and test."""
        named = {"train": self.train, "validation": self.validation, "test": self.test}
        return {name: one for name, one in named.items() if one is not None}

    def with_test(self, test: Dataset) -> "Splits":
        """Return these splits with a test split from elsewhere; bare indices are train's classes; all get these, then its own."""
        train = self.train
        joined = replace(self, test=test)
        if test.labels is None or train.labels is None or test.classes == train.classes:
            return joined
        if test.classes == tuple(map(str, range(test.n_classes))) and test.n_classes <= train.n_classes:
            return replace(joined, test=test.with_labels(test.labels, train.classes))
        only = [test.classes[index] for index in np.unique(test.labels) if test.classes[index] not in train.classes]
        classes = [*train.classes, *only]
        index_of = {name: index for index, name in enumerate(classes)}
        labels = np.array([index_of.get(name, -1) for name in test.classes], np.int64)[test.labels]
        note = (f"no example in train of class {join_some(map(repr, only))}",) if only else ()
        own = self.validation
        return Splits(
            train=replace(train.with_labels(train.labels, classes), notes=train.notes + note) if only else train,
            validation=None if own is None else own.with_labels(own.labels, classes),
            test=test.with_labels(labels, classes),
        )


def _joined(texts: Iterable[str]) -> bytes:
    """Join texts so that no two lists give the same bytes: each is preceded by its length."""
    pieces = (text.encode("utf-8", "surrogatepass") for text in texts)
    return b"".join(b"%d:%b" % (len(piece), piece) for piece in pieces)


def _check(dataset: Dataset) -> None:
    n = len(dataset.content)
    for name, array, kinds, dims in (
        ("images", dataset.images, ("uint8",), 4),
        ("features", dataset.features, ("float32", "float16"), 2),
    ):
        if array is not None and (array.dtype not in kinds or array.ndim != dims):
            raise invalid(name, f"be {kinds[0]} with {dims} dimensions", f"{array.dtype} of shape {array.shape}")
    if dataset.mirrored is not None and (dataset.features is None or dataset.mirrored.shape != dataset.features.shape):
        raise invalid("mirrored", "have the shape of `features`", str(dataset.mirrored.shape))
    if len(set(dataset.classes)) != len(dataset.classes):
        raise invalid("classes", "have different names", join_some(dataset.classes))
    if n == 0:
        raise InputError("the data hold no example")
    for name in ("ids", "labels", "features", "records", "paths", "digests"):
        if (array := getattr(dataset, name)) is not None and len(array) != n:
            raise invalid(name, f"have one entry for each of the {n} examples", len(array))
    counts = Counter(dataset.ids.tolist())
    if len(counts) != n:
        raise invalid("ids", "be unique", f"repeated {join_some(repr(name) for name, count in counts.items() if count > 1)}")
    if dataset.labels is None:
        return
    outside = np.flatnonzero((dataset.labels < 0) | (dataset.labels >= dataset.n_classes))
    if len(outside):
        rows = join_some((f"{dataset.labels[row]} in row {row}" for row in outside[:5]), len(outside))
        raise invalid("labels", f"be in [0, {dataset.n_classes})", rows)
