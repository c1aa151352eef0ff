"""How do the scores of a run relate, and how is each spread, as pictures?"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from dataprune.report.colors import style_of
from dataprune.report.figures import page, save, write_note
from dataprune.report.text import display_text
from dataprune.scores import Scores, correlations
from dataprune.study.agreement import Distribution, distributions

COLUMNS = 3


@dataclass(frozen=True, eq=False)
class CorrelationData:
    """Correlations of difficulties: Pearson below the diagonal, Spearman above."""

    names: tuple[str, ...]
    values: Float64[np.ndarray, "scores scores"]


def correlation_data(scores: Scores) -> CorrelationData:
    """Return what is in the picture of the correlations."""
    names, pearson = correlations(scores, "pearson")
    spearman = correlations(scores, "spearman")[1]
    return CorrelationData(names, np.tril(pearson) + np.triu(spearman, 1))


def draw_correlations(data: CorrelationData, out: Path) -> None:
    """Draw the correlations as a matrix of coloured numbers into a .png or .svg file.

    Raises:
        InputError: `out` has another ending.
        MachineError: no room, or no permission.
    """
    n_scores = len(data.names)
    figure = page(1.6 + min(6.0, 0.42 * n_scores))
    axes = figure.add_subplot()
    drawn = axes.imshow(data.values, cmap="PuOr_r", vmin=-1, vmax=1)
    names = [display_text(name, 20) for name in data.names]
    axes.set_xticks(range(n_scores), names, rotation=45, ha="right", rotation_mode="anchor", fontsize=8, parse_math=False)
    axes.set_yticks(range(n_scores), names, fontsize=8, parse_math=False)
    for row, column in np.ndindex(data.values.shape):
        value = data.values[row, column]
        text = "–" if np.isnan(value) else f"{value:.2f}"
        axes.text(column, row, text, ha="center", va="center", fontsize=7, color="white" if abs(value) > 0.7 else "black")
    figure.colorbar(drawn, ax=axes, shrink=0.8)
    write_note(figure, "–: a score that is the same for all examples correlates with none" if np.isnan(data.values).any() else "")
    axes.set_title("Correlation of difficulty: Pearson below the diagonal, Spearman above", fontsize=10)
    save(figure, out)


def distribution_data(scores: Scores) -> tuple[Distribution, ...]:
    """Return what is in the picture of the distributions."""
    return distributions(scores)


def draw_distributions(data: tuple[Distribution, ...], out: Path) -> None:
    """Draw a histogram of each score into a .png or .svg file.

    Raises:
        InputError: `out` has another ending.
        MachineError: no room, or no permission.
    """
    n_rows = -(-len(data) // COLUMNS)
    figure = page(0.5 + 1.6 * n_rows)
    all_axes = figure.subplots(n_rows, COLUMNS, squeeze=False)
    for axes in all_axes.ravel()[len(data) :]:
        axes.set_axis_off()
    for axes, one in zip(all_axes.ravel(), data, strict=False):
        total = max(1, int(one.counts.sum()))
        axes.bar(one.edges[:-1], 100 * one.counts / total, np.diff(one.edges), align="edge", color=style_of(one.name).colour)
        arrow = "harder →" if one.harder > 0 else "← harder"
        axes.set_title(f"{display_text(one.name, 24)}  ({arrow})", fontsize=8, parse_math=False)
        axes.tick_params(labelsize=7)
        axes.grid(alpha=0.25, linewidth=0.6)
    for axes in all_axes[:, 0]:
        axes.set_ylabel("examples, %", fontsize=8)
    write_note(figure, "each score in its own unit")
    save(figure, out)
