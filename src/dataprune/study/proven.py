"""The guard: of what might be kept, only what a study showed to lose no more than its tolerance."""

import numpy as np

from dataprune.errors import invalid, join_some
from dataprune.run.run import Run
from dataprune.scores import canonical
from dataprune.selection import STRATEGIES
from dataprune.study.metric import Amount
from dataprune.study.results_table import Cell
from dataprune.study.study import RUN, Study, is_made_of, read_identity
from dataprune.study.summary import Summary


def proven(
    study: Study, run: Run, keep: float | None, by: str | None, strategy: str | None, features: str | None = None
) -> tuple[Cell, str]:
    """Return the cell that a study showed to be no worse, and what it showed: the smallest set where `keep` is None.

    `features` is the digest of those that are given: a set chosen by features is proven with those of the study alone.

    Raises:
        InputError: the study is of other scores, or has not shown it; what random of that size does is said.
    """
    if not study.is_finished:
        raise invalid("proven", "be a study that has ended", f"{study.path}", "Run the same `dataprune study` command again.")
    if not is_made_of(study, run):
        cure = f"Give {study.path / RUN}, or the run that the study took its scores from."
        raise invalid("proven", f"be a study of the scores of {run.path}", f"{study.path}, of other scores or data", cure)
    by = None if by is None else canonical(by)
    summary, arm = study.summary, study.summary.cells[0].arm
    smallest = {one.name: one for one in summary.droppable if one.arm == arm}
    own = [cell for cell in summary.cells if cell.arm == arm and cell.name in smallest and not cell.clusters]
    tried = [cell for cell in own if by in (None, cell.score) and strategy in (None, cell.strategy)]
    asked = [cell for cell in tried if keep is None or abs(cell.keep - keep) < 1e-6]
    shown = [cell for cell in asked if smallest[cell.name].keep <= cell.keep + 1e-6 < 1]
    if by == "km" and not tried and any(cell.clusters for cell in summary.cells):
        raise invalid("by", "be a score of the run", "km of clusters that the study made for itself", _of_random(study, keep))
    if not shown:
        what = " ".join(filter(None, (by, strategy))) or "a set"
        what += " at any size below 1" if keep is None else f" at keep {keep:g}"
        why = summary.no_loss or ("it did not show that" if asked else f"it did not try that, but {_tried(summary, arm)}")
        most = Amount(summary.tolerance, summary.metric)
        demand = f"be a study that showed {what} to lose at most {most:g}"
        raise invalid("proven", demand, f"{study.path}: {why}", _of_random(study, keep))
    sources = read_identity(study.path).sources
    of_run = [cell for cell in shown if cell.score not in sources["scores"]]
    if not of_run:
        raise invalid("proven", "be a study of scores of the run", "scores from a file, which may have changed since")
    shown = [cell for cell in of_run if sources["features"] == features or "features" not in STRATEGIES[cell.strategy].needs]
    if not shown:
        cure = "Give the --features that the study was given." if sources["features"] else "Leave out --features."
        raise invalid("features", f"be those by which {of_run[0].strategy} was proven", "others" if features else "none", cure)
    values = dict(zip(summary.cells, summary.table["minus_all"], strict=True))
    cell = min(shown, key=lambda one: (one.keep, one.is_scored, -values[one] if summary.metric.higher else values[one]))
    loss, sizes = Amount(smallest[cell.name].at_most, summary.metric), smallest[cell.name].keep
    seeds = int(summary.table["n_seeds"][summary.cells.index(cell)])
    return cell, f"{cell.name} loses at most {loss:g} at keep {sizes:g}, over {seeds} seeds ({study.path}){_of(study, run)}"


def _of(study: Study, run: Run) -> str:
    """Say of what the study's sizes are shares, where that is less than the run has."""
    n = 0 if study.manifest is None else study.manifest.data.n_train
    return f"; of {n:,} examples there, without those for validation or test; here of {len(run.ids):,}" if n < len(run.ids) else ""


def _tried(summary: Summary, arm: str) -> str:
    return join_some(sorted({f"{cell.name} at keep {cell.keep:g}" for cell in summary.cells if cell.arm == arm and cell.has_size}))


def _of_random(study: Study, keep: float | None) -> str:
    """Say what random of the size that was asked for does, or of each size that was tried."""
    table, metric, told = study.summary.table, study.summary.metric, []
    for row, cell in enumerate(study.summary.cells):
        near = keep is None or abs(cell.keep - keep) < 1e-6
        if cell.is_random and cell.has_size and near and np.isfinite(table["minus_all"][row]):
            by, low, high = (Amount(float(table[f"minus_all{end}"][row]), metric) for end in ("", "_low", "_high"))
            told.append(f"{by:+1} ({low:+1b} ... {high:+1b}) at keep {cell.keep:g}")
    if told or keep is None:
        return f"Random against all data: {join_some(told, most=3)}." if told else "What random does is not known."
    return _of_random(study, None)
