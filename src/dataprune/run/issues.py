"""What is wrong with a set beside its labels: gathered from pictures, vectors, pairs, predictions and names; kept in a run."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64

from dataprune import store
from dataprune.data import read
from dataprune.data.whole import Measurer, measure_pictures
from dataprune.errors import InputError, MachineError, StoreError, check_type
from dataprune.quality import kinds
from dataprune.quality.issues import Issues
from dataprune.quality.kinds import KINDS, Limit
from dataprune.quality.pictures import MEASURES, SIDE, VERSION, measure
from dataprune.run.duplicates import Duplicates, find_duplicates
from dataprune.tables import read_table, write_table

FILE = "issues.parquet"
MANIFEST = f"{FILE}.json"
MEASURER = Measurer(measure, len(MEASURES), SIDE, f"quality {VERSION}")
FEWEST = 40  # examples of which a neighbourhood is judged
OF_PICTURES = ("dark", "bright", "low_contrast", "blurred", "odd_shape", "odd_size")


def find_issues(
    source: Any,
    *,
    features: np.ndarray | None = None,
    predicted: Int64[np.ndarray, " examples"] | None = None,
    pairs: Duplicates | None = None,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Issues:
    """Find dark, bright, flat, blurred and oddly shaped pictures, what is off topic, bursts, mixed classes, misleading names.

    Pictures are read once from their source, and what they measure is kept in the cache. What a kind needs and is not there is
    told in `absent`. `run.issues()` does the same for a run, with its vectors and predictions.

    Args:
        source: a `Dataset`, or whatever `read` takes.
        features: (N, D) vectors by which neighbours are found; by default those that the data were encoded to, or consist of.
        predicted: (N,) classes that networks name which did not see the example.
        pairs: duplicates that were found before, of this set; other splits in them are passed over.
        workers: processes that read pictures; `progress` is called with (done, all) meanwhile.
    """
    dataset = read(source)
    values, absent, n, mixed = dict[str, np.ndarray](), dict[str, str](), len(dataset), tuple[tuple[str, str, float], ...]()
    if dataset.images is None:
        absent |= dict.fromkeys(OF_PICTURES, f"the data hold {dataset.things}, not pictures")
    else:
        measured = measure_pictures(dataset, MEASURER, workers, progress)
        seen = kinds.of_pictures(dict(zip(MEASURES, measured.T.astype(np.float64), strict=True)))
        values |= {name: one for name, one in seen.items() if np.isfinite(one).any()}
        why = (
            "the pictures are too small, or without edges" if np.isfinite(measured[:, -1]).any() else "only their squares are known"
        )
        absent |= dict.fromkeys(seen.keys() - values.keys(), why)
    vectors = dataset.features if features is None else features
    if vectors is None:
        absent["off_topic"] = "there are no vectors: score with --encoder, or give --encoder"
    elif n < FEWEST:
        absent["off_topic"] = f"there are fewer than {FEWEST} examples"
    else:
        try:
            values["off_topic"] = kinds.off_topic(vectors)
        except InputError as reason:  # a row of zeros has no direction
            absent["off_topic"] = str(reason)
    found = find_duplicates(dataset) if pairs is None else pairs
    own = (found.split == "train") & ~found.is_leak
    if found.limit is not None:
        own &= found.is_exact | (found.distance <= kinds.telling(found.distance[own & ~found.is_exact], found.limit))
    values["burst"] = kinds.burst(found.rows[own], found.other_rows[own], n)
    if dataset.labels is None:
        absent |= dict.fromkeys(("mixed_classes", "other_name"), "there are no labels")
        return Issues.of(dataset.ids, values, absent)
    values["other_name"] = kinds.other_name(dataset.ids.tolist(), dataset.labels, dataset.classes)
    if predicted is None:
        absent["mixed_classes"] = "no network speaks of examples that it did not see: score with folds, and give the RUN"
    elif (predicted == dataset.labels).sum() <= np.bincount(dataset.labels).max():
        absent["mixed_classes"] = "the networks do no better than naming the largest class"
    else:
        rates = kinds.confusion_rates(dataset.labels, predicted, dataset.n_classes)
        values["mixed_classes"] = rates[dataset.labels, predicted]
        over = [(rates[a, b], a, b) for a, b in np.argwhere(np.triu(rates) > KINDS["mixed_classes"].absolute).tolist()]
        mixed = tuple((dataset.classes[a], dataset.classes[b], round(float(rate), 6)) for rate, a, b in sorted(over, reverse=True))
    return replace(Issues.of(dataset.ids, values, absent), mixed=mixed)


@dataclass(frozen=True)
class _Kept:
    """What lies beside the table: of what it is, and what it says in all."""

    key: str
    limits: Mapping[str, Limit]
    absent: Mapping[str, str]
    mixed: tuple[tuple[str, str, float], ...]
    files: Mapping[str, store.FileRecord] = field(default_factory=dict)


def kept(folder: Path, about: object, make: Callable[[], Issues]) -> Issues:
    """Return the issues that lie in a folder, if they are of the same things by the same rules; else make and write them."""
    key = store.json_digest([about, VERSION, kinds.BY_CHANCE, {name: asdict(kind) for name, kind in KINDS.items()}])
    record = _Kept("", {}, {}, ())
    with suppress(InputError, StoreError):  # there are none, or they are damaged, or of another version
        record = store.read_manifest(folder, MANIFEST, _Kept)
    if record.key == key and store.is_whole(folder, MANIFEST):
        columns = read_table(folder / FILE).columns
        ids = np.array(columns["id"], np.dtypes.StringDType())
        limits = {name: record.limits[name] for name in KINDS if name in record.limits}
        absent = {name: record.absent[name] for name in KINDS if name in record.absent}
        return Issues(ids, {name: columns[name] for name in limits}, limits, absent, record.mixed)
    found = make()
    check_type("found", found, Issues)
    with suppress(OSError, MachineError):  # of a run that may not be written, they are found anew each time
        with store.writing(folder / FILE) as path:
            write_table(path, found._columns())
        store.write_manifest(folder, MANIFEST, _Kept(key, found.limits, found.absent, found.mixed), [FILE])
    return found
