"""What whole pictures measure: a pass over their source, in parallel, whose results are kept in the cache."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Float32

from dataprune import store
from dataprune.data.dataset import Dataset
from dataprune.data.decode import ALL_BITS, BadPicture, decode_whole, versions
from dataprune.data.labels import Reading
from dataprune.data.pack import Progress, cache_root, chunk_results, kept, scale_in
from dataprune.data.pixels import Scale
from dataprune.data.reading import find_source
from dataprune.data.source import CHUNK, Chunk, Pictures
from dataprune.errors import invalid
from dataprune.tables.join import join
from dataprune.workers import Report


@dataclass(frozen=True)
class Measurer:
    """A function of a picture, as `side` allows, and of its own height and width, that gives `columns` numbers; and its version."""

    function: Callable[[np.ndarray, float, float], Sequence[float]]
    columns: int
    side: int
    version: str


def measure_pictures(
    dataset: Dataset, how: Measurer, workers: int | None = None, progress: Progress | None = None
) -> Float32[np.ndarray, "examples columns"]:
    """Measure the pictures of a data set: those of its source, whole, else those that it holds; NaN of one that cannot be read. A
    source that has changed is an InputError."""
    if dataset.images is None:
        raise invalid("data", "hold pictures", dataset.things)
    found, scale = _pictures_of(dataset), scale_in(dataset.pack) or ALL_BITS
    held = ("held", dataset.content_digest, str(dataset.digests is None))
    kind = [how.version, *(held if found is None else (versions(), str(scale), *found[0].identity))]

    def measure() -> np.ndarray:
        if found is None:
            return _held(dataset, how, progress)
        made = np.full((found[0].count, how.columns), np.nan, np.float32)
        for start, some in chunk_results(partial(_measure_chunk, how, scale), found[0], workers, progress):
            made[start : start + len(some)] = some
        return made

    measured = kept(cache_root()[0] / "measures" / store.json_digest(kind), measure)
    rows = np.arange(len(dataset)) if found is None else found[1]
    return np.asarray(measured[rows], np.float32)


def _pictures_of(dataset: Dataset) -> tuple[Pictures, np.ndarray] | None:
    """Find the encoded pictures of a data set by its origin, and the row of each example among them; None of data in memory."""
    origin = dataset.origin
    if origin is None or not origin.path:
        return None
    options = {name: value for name, value in origin.options.items() if name != "split"}
    part = find_source(origin.path, Reading(**options)).parts.get(origin.split)
    if part is None or part.pictures is None:
        return None
    return part.pictures, join(dataset.ids.tolist(), list(part.ids), "ids", origin.path).rows


def _held(dataset: Dataset, how: Measurer, progress: Progress | None) -> np.ndarray:
    """Measure pictures that are in memory; NaN for height and width where only squares of them are."""
    assert dataset.images is not None
    made = np.empty((len(dataset), how.columns), np.float32)
    height, width = dataset.images.shape[1:3] if dataset.digests is None else (np.nan, np.nan)  # else they were cut to squares
    for row, pixels in enumerate(dataset.images):
        made[row] = how.function(pixels, height, width)
        if progress is not None and (row + 1) % CHUNK == 0:
            progress(row + 1, len(dataset))
    return made


def _measure_chunk(how: Measurer, scale: Scale, chunk: Chunk, report: Report) -> tuple[int, np.ndarray]:
    made = np.full((chunk.count, how.columns), np.nan, np.float32)
    for row, read in enumerate(chunk.open()):
        try:
            made[row] = how.function(*decode_whole(read(-1), how.side, scale))
        except BadPicture:
            continue  # it was left out when the data were read
        finally:
            report(1)
    return chunk.start, made
