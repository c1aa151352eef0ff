"""Plots of a study: accuracy by size and by window, against random, and by epoch.

Each function returns what is in a plot, or None where the study has nothing of the kind.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float64

from dataprune.errors import percent
from dataprune.report.charts import Chart, Level, Line, Panel, Rows
from dataprune.report.colors import STYLES, Style, again, ramp, style_of
from dataprune.report.figures import Plot, write_plots
from dataprune.report.run_figures import both_correlations_data
from dataprune.report.text import pluralise
from dataprune.study.results_table import Cell, cell_table
from dataprune.study.summary import Summary

if TYPE_CHECKING:
    from dataprune.scores import Scores
    from dataprune.study.study import Study

Curves = Float64[np.ndarray, "seeds epochs"]
EARLY = 4  # of the epochs the first one in four may lie below a chart: they would press the rest together
MOST_LINES = 24
MOST_ROWS = 60
MOST_AGAIN = 6  # ways to draw lines of one colour
ARMS = {"given": "labels as given", "noise": "labels made wrong"}


def write_study_plots(study: "Study", folder: Path, scores: "Scores | None" = None) -> tuple[Path, ...]:
    """Draw everything that a study with at least one ended training has to show, as PNG and SVG; return the files.

    `scores` of the study's run give their correlations.
    """
    plots = study_plots(study.summary) | numbered(epoch_plots(study.summary.cells, epoch_curves(study)))
    if scores is not None and len(scores):
        plots["correlations"] = both_correlations_data(scores)
    return write_plots(plots, folder)


def study_plots(summary: Summary) -> dict[str, Plot]:
    """Return accuracy by size and by window and the difference to random, by name; a row for each cell where there is no curve."""
    plots = {"accuracy": accuracy_data(summary), "window": window_data(summary), "against-random": differences_data(summary)}
    drawn: dict[str, Plot] = {name: plot for name, plot in plots.items() if plot is not None}
    return drawn or {"cells": cells_data(summary)}


def accuracy_data(summary: Summary) -> Chart | None:
    """Return accuracy against the share kept, with random and all data, where each curve ends at 100 %."""
    panels = []
    for arm, curves in _by_size(summary):
        whole = _rows(summary, arm, lambda cell: cell.is_all)
        random = _rows(summary, arm, lambda cell: cell.is_random and cell.has_size)
        lines = _lines(summary, curves, "keep", whole=whole)
        lines += (_line(summary, [*whole, *random], "keep", "random", STYLES["random"]),) if random else ()
        panels.append(Panel(ARMS.get(arm, arm), lines, _all_data(summary, arm)))
    return _chart(summary, f"{summary.metric.name.capitalize()} by the share kept", "kept, %", panels)


def differences_data(summary: Summary) -> Chart | None:
    """Return the difference to random of the same size."""
    panels = []
    for arm, every in _by_size(summary):
        curves = {name: rows for name, rows in every.items() if np.isfinite(summary.table["minus_random"][rows]).any()}
        if curves:
            lines = _lines(summary, curves, "keep", "minus_random")
            panels.append(Panel(ARMS.get(arm, arm), lines, (Level("random", STYLES["random"], 0.0),)))
    y_label = f"minus random, {'points' if summary.metric.is_share else summary.metric.axis}"
    return _chart(summary, "Difference to a random set of the same size", "kept, %", panels, y_label)


def _by_size(summary: Summary) -> Iterator[tuple[str, dict[str, list[int]]]]:
    """Yield the arms that have a curve of several sizes, with their curves."""
    for arm in _arms(summary.cells):
        curves = _curves(summary, arm, lambda cell: cell.is_scored and cell.has_size)
        if max(map(len, curves.values()), default=0) > 1:
            yield arm, curves


def window_data(summary: Summary) -> Chart | None:
    """Return accuracy against the share of easier examples that is left out, where a window slides."""
    panels = []
    for arm in _arms(summary.cells):
        curves = _curves(summary, arm, lambda cell: cell.strategy == "window" and cell.is_scored)
        curves = {
            name.removesuffix(" window"): sorted(rows, key=lambda row: summary.cells[row].start) for name, rows in curves.items()
        }
        if curves:
            keep = {round(summary.cells[row].keep, 6) for rows in curves.values() for row in rows}
            same = _rows(summary, arm, lambda cell, keep=keep: cell.is_random and not cell.order and round(cell.keep, 6) in keep)
            levels = [_level(summary, row, f"random, keep {percent(summary.cells[row].keep)}") for row in same]
            panels.append(Panel(ARMS.get(arm, arm), _lines(summary, curves, "start"), (*levels, *_all_data(summary, arm))))
    sizes = sorted({percent(cell.keep) for cell in summary.cells if cell.strategy == "window"})
    return _chart(summary, f"A window of {' or '.join(sizes)}, slid from easy to hard", "easier examples left out, %", panels)


def cells_data(summary: Summary) -> Rows:
    """Return a row for each cell, the best first, where there is nothing to draw a line along."""
    middle = summary.table[summary.metric.column]
    rows = np.argsort(-middle if summary.metric.higher else middle, kind="stable")[:MOST_ROWS]
    cells = [summary.cells[row] for row in rows]
    names = tuple(cell.name + ("" if cell.keep == 1 else f", keep {percent(cell.keep)}") for cell in cells)
    described = "Dots are means over seeds, strokes their 95 % intervals, the best first; the table of verdicts has the numbers."
    title, styles = f"{summary.metric.name.capitalize()} of each rule", tuple(map(_style, cells))
    return Rows(title, described, summary.metric.axis, names, styles, *_interval(summary, rows))


def epoch_curves(study: "Study") -> list[Curves | None]:
    """Return for each cell the validation accuracies of its seeds by epoch; None where lengths differ or none is kept."""
    found: list[Curves | None] = []
    for rows in cell_table(study.trials, study.measure).rows:
        results = [study.results[row] for row in rows if row >= 0]
        curves = [one.validation for one in results if one is not None and len(one.validation)]
        found.append(np.array(curves, np.float64) if curves and len(set(map(len, curves))) == 1 else None)
    return found


def epoch_plots(cells: Sequence[Cell], curves: Sequence[Curves | None]) -> dict[str, Chart]:
    """Return accuracy on validation by epoch: a plot for each size, start of a window or set of orders, by what it compares."""
    found: dict[str, Chart] = {}
    for arm in _arms(cells):
        own = [at for at, cell in enumerate(cells) if cell.arm == arm and curves[at] is not None]
        controls = [at for at in own if cells[at].is_all]
        for compared, chosen in _compared(cells, own).items():
            lines = [*controls, *chosen][:MOST_LINES]
            what = compared + (f", {ARMS.get(arm, arm)}" if arm else "")
            title = f"Accuracy on validation by epoch: {what}"
            found[what] = _by_epoch(title, [cells[at] for at in lines], [curves[at] for at in lines])
    return found


def numbered(plots: Mapping[str, Chart]) -> dict[str, Plot]:
    """Name the plots by epoch."""
    return {f"by-epoch-{number}": plot for number, plot in enumerate(plots.values(), start=1)}


def styles_of(cells: Sequence[Cell]) -> list[Style]:
    """Return a style for each line's cell: a score has its colour everywhere, and lines of one colour differ by line and marker."""
    clusters = sorted({cell.clusters for cell in cells if cell.clusters})
    found: list[Style] = []
    for cell in cells:
        style = _style(cell)
        if cell.clusters and len(clusters) > 1:
            step = clusters.index(cell.clusters)
            style = Style(ramp(step, len(clusters)), "osD^vPXh"[step % 8], is_hollow=style.is_hollow)
        found.append(next((one for time in range(MOST_AGAIN) if (one := again(style, time)) not in found), style))
    return found


def _style(cell: Cell) -> Style:
    """Return the style of a score; hollow where the easy examples come first or stay."""
    style = STYLES["all"] if cell.is_all else STYLES["random"] if cell.is_random else style_of(cell.score)
    return again(style, int(cell.strategy == "easiest" or cell.order == "hard-to-easy"))


def _chart(summary: Summary, title: str, x_label: str, panels: Sequence[Panel], y_label: str = "") -> Chart | None:
    if not np.isfinite(summary.standard_deviation):
        note = f"No intervals: {summary.no_interval}."
    else:
        fewest, most = (int(of(summary.table["n_seeds"])) for of in (np.min, np.max))
        seeds = (f"{fewest} to " if fewest < most else "") + pluralise(most, "seed")
        basis = f"{seeds}, {summary.degrees_of_freedom:.0f} degrees of freedom"
        is_over_test = not y_label and any(one.code.startswith("intervals: with test") for one in summary.notes)
        over = "trainings and test examples" if is_over_test else "trainings"
        note = f"95 % intervals over {over}, spread pooled over all cells: {basis}. Lines are moved aside a little."
    return Chart(title, note, x_label, y_label or summary.metric.axis, tuple(panels)) if panels else None


def _compared(cells: Sequence[Cell], own: Sequence[int]) -> dict[str, list[int]]:
    """Return the cells that belong in one plot, by what it shows: random first, then the scores."""
    groups: dict[str, list[int]] = {}
    for at in sorted(own, key=lambda place: (-cells[place].keep, cells[place].start)):
        cell = cells[at]
        if cell.order:
            groups.setdefault("orders", []).append(at)
        elif cell.strategy == "window":
            groups.setdefault(f"window of {percent(cell.keep)} from {percent(cell.start)}", []).append(at)
        elif not cell.is_all:
            groups.setdefault(f"keep {percent(cell.keep)}", []).append(at)
    for places in groups.values():
        if cells[places[0]].strategy == "window":
            keep = cells[places[0]].keep
            places += [at for at in own if cells[at].is_random and not cells[at].order and abs(cells[at].keep - keep) < 1e-6]
    with_scores = {title: places for title, places in groups.items() if not all(cells[at].is_random for at in places)}
    return {title: sorted(places, key=lambda at: not cells[at].is_random) for title, places in (with_scores or groups).items()}


def _by_epoch(title: str, cells: Sequence[Cell], curves: Sequence[Curves | None]) -> Chart:
    lines = []
    for cell, values, style in zip(cells, curves, styles_of(cells), strict=True):
        assert values is not None
        shares = 100 * values
        epochs = np.arange(1.0, shares.shape[1] + 1)
        lines.append(Line(_without_arm(cell), style, epochs, shares.mean(axis=0), shares.min(axis=0), shares.max(axis=0)))
    bottom = min(float(line.low[len(line.x) // EARLY :].min()) for line in lines) - 1
    described = "Lines are means over seeds, bands reach from the lowest to the highest; early epochs may lie below the chart."
    return Chart(title, described, "epoch", "accuracy on validation, %", (Panel("", tuple(lines)),), True, bottom, whole_x=True)


def _curves(summary: Summary, arm: str, wanted: Callable[[Cell], bool]) -> dict[str, list[int]]:
    """Return the rows of each curve by its name, ascending in the share dropped."""
    curves: dict[str, list[int]] = {}
    for row in _rows(summary, arm, wanted):
        curves.setdefault(_without_arm(summary.cells[row]), []).append(row)
    return curves


def _rows(summary: Summary, arm: str, wanted: Callable[[Cell], bool]) -> list[int]:
    return [row for row, cell in enumerate(summary.cells) if cell.arm == arm and wanted(cell)]


def _line(summary: Summary, rows: list[int], axis: str, label: str, style: Style, what: str = "value") -> Line:
    x = 100 * np.array([getattr(summary.cells[row], axis) for row in rows], np.float64)
    return Line(label, style, x, *_interval(summary, rows, what))


def _interval(summary: Summary, rows: Sequence[int] | np.ndarray, what: str = "value") -> Iterator[Float64[np.ndarray, " rows"]]:
    """Yield what rows have and the ends of its intervals, in the unit of the axis."""
    names = (summary.metric.column, "low", "high") if what == "value" else (what, f"{what}_low", f"{what}_high")
    return (summary.metric.times * summary.table[name][rows].astype(np.float64) for name in names)


def _lines(
    summary: Summary, curves: Mapping[str, list[int]], axis: str, what: str = "value", whole: Sequence[int] = ()
) -> tuple[Line, ...]:
    styles = styles_of([summary.cells[rows[0]] for rows in curves.values()])
    parts = zip(curves.items(), styles, strict=True)
    return tuple(_line(summary, [*whole, *rows], axis, name, style, what) for (name, rows), style in parts)


def _all_data(summary: Summary, arm: str) -> tuple[Level, ...]:
    return tuple(_level(summary, row, "all data") for row in _rows(summary, arm, lambda cell: cell.is_all))


def _level(summary: Summary, row: int, label: str) -> Level:
    style = STYLES["all"] if summary.cells[row].is_all else STYLES["random"]
    return Level(label, style, *(float(one[0]) for one in _interval(summary, [row])))


def _arms(cells: Iterable[Cell]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(cell.arm for cell in cells))


def _without_arm(cell: Cell) -> str:
    return replace(cell, arm="").name
