"""What did a study find, as pictures?

Each picture is a pure `x_data` that says what is in it, or None where the study has nothing of the kind, drawn by `draw_plot`.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dataprune import store
from dataprune.report.colors import STYLES, Style, ramp, style_of
from dataprune.report.cost_plots import cost_data
from dataprune.report.figures import FORMATS, Level, Line, Panel, Plot, draw_plot
from dataprune.report.score_plots import correlation_data, distribution_data, draw_correlations, draw_distributions
from dataprune.study.cost import prices
from dataprune.study.results_table import Cell
from dataprune.study.summary import Summary
from dataprune.training.cost import Cost

if TYPE_CHECKING:
    from dataprune.scores import Scores
    from dataprune.study.study import Study

MOST_BY_EPOCH = 16  # lines of one picture that an eye can follow
EARLY = 4  # of the epochs the first one in four
ARMS = {"given": "labels as given", "noise": "labels made wrong"}
ASIDE = 0.35  # points of the axis between neighbouring lines, so that their intervals do not cover each other


def write_plots(study: "Study", folder: Path, scores: "Scores | None" = None, scoring: Cost | None = None) -> list[Path]:
    """Draw everything that a study has to show, as PNG and SVG.

    Args:
        study: with at least one training that has ended.
        folder: made if need be; files of the same names are replaced.
        scores: of the run that the study was made from; gives their correlations and distributions.
        scoring: what scoring has cost; gives the picture of the price.

    Returns:
        The files written.

    Raises:
        InputError: no training has ended.
        MachineError: no room, or no permission.
    """
    summary = study.summary
    store.check_writable(folder)
    plots = {
        "accuracy": curves_data(summary),
        "against-random": differences_data(summary),
        "window": window_data(summary),
        "easy-vs-hard": easy_hard_data(summary),
        "by-epoch": epochs_data(summary, study),
        "cost": None if scoring is None else cost_data(prices(study.trials, scoring, study.measure)),
    }
    written = []
    for ending in FORMATS:
        for name, plot in plots.items():
            if plot is not None:
                draw_plot(plot, folder / f"{name}{ending}")
                written.append(folder / f"{name}{ending}")
        if scores is not None and len(scores):
            draw_correlations(correlation_data(scores), folder / f"correlations{ending}")
            draw_distributions(distribution_data(scores), folder / f"distributions{ending}")
            written += [folder / f"correlations{ending}", folder / f"distributions{ending}"]
    return written


def curves_data(summary: Summary) -> Plot | None:
    """Return what is in the picture of accuracy against the share kept, with random and all data."""
    return _over_sizes(summary, "value", "Accuracy by the share kept", "accuracy, %")


def differences_data(summary: Summary) -> Plot | None:
    """Return what is in the picture of the difference to random of the same size."""
    title, label = "Difference to a random set of the same size", "accuracy less that of random, points"
    return _over_sizes(summary, "minus_random", title, label)


def window_data(summary: Summary) -> Plot | None:
    """Return what is in the picture of the sliding window: accuracy against the share of easier examples that is left out."""
    panels = []
    for arm in _arms(summary):
        rows = [row for row, cell in enumerate(summary.cells) if cell.arm == arm and cell.strategy == "window" and cell.kind == 2]
        names = dict.fromkeys(_without_arm(summary.cells[row]) for row in rows)
        keep = {round(summary.cells[row].keep, 6) for row in rows}
        lines = []
        for place, name in enumerate(names):
            own = sorted(
                (row for row in rows if _without_arm(summary.cells[row]) == name), key=lambda row: summary.cells[row].start
            )
            at = [100 * summary.cells[row].start for row in own]
            lines.append(_line(summary, own, at, "value", name.removesuffix(" window"), _aside(place, len(names))))
        same = [r for r, c in enumerate(summary.cells) if c.arm == arm and c.is_random and not c.order and round(c.keep, 6) in keep]
        if lines:
            levels = [_level(summary, row, f"random, keep {summary.cells[row].keep:.0%}") for row in same]
            panels.append(Panel(ARMS.get(arm, arm), tuple(lines), (*levels, *_everything(summary, arm))))
    sizes = sorted({f"{cell.keep:.0%}" for cell in summary.cells if cell.strategy == "window"})
    title = f"A window of {' or '.join(sizes)}, slid from easy to hard"
    x_label = "easier examples left out, %"
    return Plot(title, x_label, "accuracy, %", tuple(panels), _note(summary)) if panels else None


def easy_hard_data(summary: Summary) -> Plot | None:
    """Return what is in the picture of losing easy examples (hardest kept) against losing hard ones (easiest kept)."""
    panels = []
    for arm in _arms(summary):
        lines: list[Line] = []
        for strategy, what in (("hardest", "easy dropped"), ("easiest", "hard dropped")):
            curves = _curves(summary, arm, lambda cell, s=strategy: cell.kind == 2 and cell.strategy == s)
            for place, rows in enumerate(curves.values()):
                at = [100 * summary.cells[row].dropped for row in rows]
                score = summary.cells[rows[0]].score
                line = _line(summary, rows, at, "value", f"{score}, {what}", _aside(place, len(curves)))
                lines.append(replace(line, is_hollow=strategy == "easiest"))
        if {line.is_hollow for line in lines} == {True, False}:
            panels.append(Panel(ARMS.get(arm, arm), (*lines, *_random(summary, arm, "dropped")), _everything(summary, arm)))
    title = "Losing easy examples against losing hard ones"
    return Plot(title, "dropped, %", "accuracy, %", tuple(panels), _note(summary)) if panels else None


def epochs_data(summary: Summary, study: "Study") -> Plot | None:
    """Return what is in the picture of validation accuracy by epoch; None where the lines are too many to follow or nothing was kept.

    The line is the mean over seeds, the band reaches from the lowest to the highest.
    """
    from dataprune.study.results_table import cell_table

    if len(summary.cells) > MOST_BY_EPOCH * len(_arms(summary)):
        return None
    rows_of = dict(zip(summary.cells, cell_table(study.trials, study.measure).rows, strict=True))
    panels = []
    for arm in _arms(summary):
        lines = []
        for cell in (one for one in summary.cells if one.arm == arm):
            results = [study.results[row] for row in rows_of[cell] if row >= 0]
            curves = [np.array(one.validation) for one in results if one is not None and len(one.validation)]
            if curves and len({len(curve) for curve in curves}) == 1:
                values = 100 * np.stack(curves)
                label = cell.name if cell.is_all or cell.order else f"{cell.name}, keep {cell.keep:.0%}"
                x = np.arange(1.0, values.shape[1] + 1)
                label = label.removesuffix(f", {arm}") if arm else label
                hollow = cell.order == "hard-to-easy" or cell.strategy == "easiest"
                lines.append(Line(label, _style(cell), x, values.mean(axis=0), values.min(axis=0), values.max(axis=0), hollow))
        if lines:
            panels.append(Panel(ARMS.get(arm, arm), tuple(lines)))
    if not panels:
        return None
    # The first epochs are far below and would press the rest together.
    bottom = min(float(line.low[len(line.x) // EARLY :].min()) for panel in panels for line in panel.lines) - 1
    note = f"mean over {_seeds(summary)}, bands from the lowest to the highest; lower accuracies of early epochs are cut off"
    return Plot("Accuracy by epoch", "epoch", "validation accuracy, %", tuple(panels), note, True, bottom, whole_x=True)


def _over_sizes(summary: Summary, what: str, title: str, y_label: str) -> Plot | None:
    panels = []
    is_difference = what != "value"
    for arm in _arms(summary):
        curves = _curves(summary, arm, lambda cell: cell.kind == 2 and cell.has_size)
        curves = {name: rows for name, rows in curves.items() if not is_difference or _known(summary, rows, what)}
        if max(map(len, curves.values()), default=0) < 2:
            continue
        clusters = [name for name, rows in curves.items() if summary.cells[rows[0]].clusters]
        lines = []
        for place, (name, rows) in enumerate(curves.items()):
            at = [100 * summary.cells[row].keep for row in rows]
            line = _line(summary, rows, at, what, name, _aside(place, len(curves)))
            if name in clusters:
                line = replace(line, style=Style(ramp(clusters.index(name), len(clusters)), "osD^vPXh"[clusters.index(name) % 8]))
            lines.append(replace(line, is_hollow=summary.cells[rows[0]].strategy != "hardest"))
        zero = Level("random", STYLES["random"], 0.0, float("nan"), float("nan"))
        levels = (zero,) if is_difference else _everything(summary, arm)
        panels.append(Panel(ARMS.get(arm, arm), (*lines, *(() if is_difference else _random(summary, arm, "keep"))), levels))
    return Plot(title, "kept, %", y_label, tuple(panels), _note(summary)) if panels else None


def _known(summary: Summary, rows: list[int], what: str) -> bool:
    return bool(np.isfinite(summary.table[what][rows]).any())


def _curves(summary: Summary, arm: str, wanted: Callable[[Cell], bool]) -> dict[str, list[int]]:
    """Return the rows of each curve by its name, ascending in the share dropped."""
    curves: dict[str, list[int]] = {}
    for row, cell in enumerate(summary.cells):
        if cell.arm == arm and wanted(cell):
            curves.setdefault(_without_arm(cell), []).append(row)
    return curves


def _line(summary: Summary, rows: Sequence[int], at: Sequence[float], what: str, label: str, aside: float) -> Line:
    middle = _measure(summary) if what == "value" else what
    ends = ("low", "high") if what == "value" else (f"{what}_low", f"{what}_high")
    y, low, high = (100 * summary.table[name][list(rows)].astype(np.float64) for name in (middle, *ends))
    return Line(label, _style(summary.cells[rows[0]]), np.array(at, np.float64) + aside, y, low, high)


def _random(summary: Summary, arm: str, axis: str) -> tuple[Line, ...]:
    rows = [row for row, cell in enumerate(summary.cells) if cell.arm == arm and cell.is_random and cell.has_size]
    at = [100 * (summary.cells[row].dropped if axis == "dropped" else summary.cells[row].keep) for row in rows]
    return (_line(summary, rows, at, "value", "random", 0.0),) if rows else ()


def _everything(summary: Summary, arm: str) -> tuple[Level, ...]:
    return tuple(_level(summary, row, "all data") for row, cell in enumerate(summary.cells) if cell.arm == arm and cell.is_all)


def _level(summary: Summary, row: int, label: str) -> Level:
    y, low, high = (100 * float(summary.table[name][row]) for name in (_measure(summary), "low", "high"))
    return Level(label, STYLES["all"] if summary.cells[row].is_all else STYLES["random"], y, low, high)


def _style(cell: Cell) -> Style:
    return STYLES["all"] if cell.is_all else STYLES["random"] if cell.is_random else style_of(cell.score)


def _aside(place: int, of: int) -> float:
    return (place - (of - 1) / 2) * ASIDE


def _arms(summary: Summary) -> tuple[str, ...]:
    return tuple(dict.fromkeys(cell.arm for cell in summary.cells))


def _without_arm(cell: Cell) -> str:
    return replace(cell, arm="").name


def _measure(summary: Summary) -> str:
    return next(name for name in ("test_accuracy", "validation_accuracy") if name in summary.table)


def _seeds(summary: Summary) -> str:
    n_seeds = int(summary.table["n_seeds"].max())
    return f"{n_seeds} seed{'' if n_seeds == 1 else 's'}"


def _note(summary: Summary) -> str:
    if not np.isfinite(summary.standard_deviation):
        return f"no intervals: {summary.no_interval}"
    return (
        f"95 % intervals over trainings, spread pooled over all cells: {_seeds(summary)}, {summary.degrees_of_freedom} degrees of "
        "freedom; lines are moved aside a little"
    )
