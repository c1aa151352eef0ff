"""Scores by name: of a run, of a file that somebody made, or a function of the trace."""

import logging
from pathlib import Path

import numpy as np

from dataprune import store, tables
from dataprune.errors import invalid, join_some
from dataprune.run.run import Run
from dataprune.scores import Score, score_trace
from dataprune.tables.join import join

logger = logging.getLogger(__name__)

SCORE_FILES = (".csv", ".parquet", ".npy")


def score_named(run: Run, by: str) -> Score:
    """Return the score that a name means: of the run, `FILE` or `FILE:COLUMN`, or `module:function` of the trace.

    Raises:
        InputError: there is no such score; the nearest name is offered.
    """
    if by in run.scores:
        return run.scores[by]
    if is_score_file(by):
        return score_of_file(by, run.ids, run.labels)
    return score_trace(run.trace, [by])[by] if ":" in by.strip(":") else run.scores[by]


def is_score_file(name: str) -> bool:
    """Return whether a name means a file, or a column of one."""
    return any(Path(one).suffix in SCORE_FILES for one in (name, name.rpartition(":")[0])) or Path(name).is_file()


def score_of_file(spec: str, ids: np.ndarray, labels: np.ndarray | None = None) -> Score:
    """Read a score made elsewhere, matched by id if the file has them, else row by row.

    A column of a `scores.parquet` keeps its direction; any other is a difficulty, higher is harder.

    Raises:
        InputError: no such file or column, examples without a score, rows of another number, values that are no finite numbers.
        StoreError: a file that dataprune wrote, and that is not as it was written.
    """
    store.as_written(Path(spec) if Path(spec).is_file() else Path(spec.rpartition(":")[0] or spec))
    values, keys = tables.read_column(spec, "score")
    if keys is not None:
        joined = join([str(one) for one in ids.tolist()], [str(one) for one in keys], "by", spec)
        values = values[joined.rows]
        if joined.extra:
            logger.warning("%s has rows for ids that are not in the data: %s", spec, join_some(joined.extra, most=3))
    elif len(values) != len(ids):
        cure = "Give the file a column `id`, or one row for each example in the order of the source."
        raise invalid("by", f"be a score of the {len(ids)} examples", f"{len(values)} rows in {spec}", cure)
    if values.dtype.kind in "iu" and len(values) > 2 and np.array_equal(np.sort(values), np.arange(len(values))):
        raise invalid("by", "be a score of each example", f"a ranking, every number from 0 to {len(values) - 1} once, in {spec}")
    file, _, column = (spec, "", "score") if Path(spec).is_file() else spec.rpartition(":")
    said = tables.read_table(Path(file), [column]).metadata.get(column, {}) if file.endswith(".parquet") else {}
    return Score(Path(spec).name, values, -1 if said.get("harder") == -1 else 1, ids, labels)
