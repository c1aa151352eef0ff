"""Plots of a run: how scores are spread and correlate, which classes are taken for which, training, the number of clusters."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from jaxtyping import Float64, Int64
from numpy.typing import ArrayLike

from dataprune.report.charts import Chart, Line, Matrix, Panel
from dataprune.report.colors import ACCENT, BLACK, BLUE, GREEN, LINE, PLAIN, RED, WARN, Style
from dataprune.report.figures import canvas, drawing
from dataprune.report.predictions import EnsemblePredictions
from dataprune.report.text import display_text
from dataprune.scores import Score, Scores, correlations

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BINS = 48
MOST_CLASSES = 24  # rows of one plot; of more classes the ends are shown
MOST_RANKED = 100_000  # ranks of more examples take too long
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
ROW_INCHES = 0.25
MATRIX_NOTE = "1 where two scores rank alike, 0 where one says nothing of the other, – where a score is the same for all examples."
Why = Literal["elbow", "rule", "asked"]
WHY_CLUSTERS: dict[Why, str] = {"elbow": "the elbow", "rule": "no elbow: a rule of thumb", "asked": "asked for"}


@dataclass(frozen=True, eq=False)
class Distribution:
    """A score's spread over its range: all examples first, then the classes; `n_left_out` classes have no row.

    `counts` says how many of each row fall into each bin, `quantiles` are at .05 .25 .5 .75 .95.
    """

    score: str
    harder: int
    edges: Float64[np.ndarray, " edges"]
    names: tuple[str, ...]
    counts: Int64[np.ndarray, "rows bins"]
    quantiles: Float64[np.ndarray, "rows quantiles"]
    n_left_out: int

    @property
    def title(self) -> str:
        return f"Distribution of {self.score}" + (" by class" if len(self.names) > 1 else "")

    @property
    def description(self) -> str:
        medians = ", ".join(f"{name} {value:.3g}" for name, value in zip(self.names[:8], self.quantiles[:8, 2], strict=False))
        return f"A row for each class; {direction(self.harder)}. Medians: {medians}."


@dataclass(frozen=True, eq=False)
class InertiaData:
    """The inertia at each number of clusters as a share of its largest, the number chosen, and why."""

    clusters: np.ndarray
    inertia: np.ndarray
    chosen: int
    why: Why
    title: str = "Inertia by number of clusters"

    @property
    def description(self) -> str:
        return f"{self.chosen} clusters were taken: {WHY_CLUSTERS[self.why]}."


def distribution_data(
    score: Score, labels: Int64[np.ndarray, " examples"] | None = None, names: Sequence[str] = ()
) -> Distribution:
    """Count a score's values in bins, for all examples and for each class.

    Beyond 24 classes, the twelve with the hardest and the twelve with the easiest median have a row.
    """
    values = score.values.astype(np.float64)
    labels = np.zeros(len(values), np.int64) if labels is None else labels
    present = np.flatnonzero(np.bincount(labels, minlength=len(names)))[: len(names)]
    order = np.argsort(labels, kind="stable")
    starts = np.searchsorted(labels[order], np.arange(len(names) + 1))
    parts = {int(index): values[order[starts[index] : starts[index + 1]]] for index in present}
    chosen = list(parts)
    if len(chosen) > MOST_CLASSES:
        ranked = sorted(chosen, key=lambda index: -score.harder * float(np.median(parts[index])))
        chosen = ranked[: MOST_CLASSES // 2] + ranked[-MOST_CLASSES // 2 :]
    edges = _edges(values)
    rows = [values, *(parts[index] for index in chosen)]
    counts = np.stack([np.histogram(row, edges)[0] for row in rows]).astype(np.int64)
    quantiles = np.stack([np.quantile(row, QUANTILES) for row in rows])
    shown = ("all", *(names[index] for index in chosen))
    return Distribution(score.name, score.harder, edges, shown, counts, quantiles, len(present) - len(chosen))


def correlation_data(scores: Scores) -> Matrix:
    """Correlate the difficulties of the scores: by ranks, or of very many examples by their values."""
    kind: Literal["spearman", "pearson"] = "spearman" if len(next(iter(scores.values())).values) <= MOST_RANKED else "pearson"
    names, values = correlations(scores, kind)
    return _correlation_matrix(names, values, f"{kind.capitalize()}'s correlation of the difficulties")


def both_correlations_data(scores: Scores) -> Matrix:
    """Correlate the difficulties of the scores: Pearson below the diagonal, Spearman above."""
    names, pearson = correlations(scores, "pearson")
    values = np.tril(pearson) + np.triu(correlations(scores, "spearman")[1], 1)
    return _correlation_matrix(names, values, "Correlation of the difficulties: Pearson below the diagonal, Spearman above")


def confusion_data(names: Sequence[str], counts: Int64[np.ndarray, "given predicted"]) -> Matrix:
    """Return given labels (rows) against predictions (columns); each row is coloured by its shares."""
    shares = np.sqrt(counts / np.maximum(1, counts.sum(axis=1, keepdims=True)))
    strength = np.where(np.eye(len(names), dtype=bool), shares, -shares)
    right, every = int(np.trace(counts)), int(counts.sum())
    described = f"Given labels in rows, predictions in columns: {right:,} of {every:,} labels are what the ensemble predicts."
    texts = tuple(tuple(f"{count:,}" if count else "" for count in row) for row in counts.tolist())
    return Matrix("Given labels against predictions", described, tuple(names), tuple(names), strength, texts)


def epochs_data(told: EnsemblePredictions) -> Chart:
    """Return accuracy by epoch, and beside it the share of predictions that changed."""
    right = (
        ("all members' vote", told.vote, Style(BLACK, "o")),
        ("on what they trained on", told.trained, Style(BLUE, "s", "--")),
        ("on what they did not train on", told.held_out, Style(RED, "^")),
    )
    lines = tuple(_by_epoch(label, values, style) for label, values, style in right if np.isfinite(values).any())
    panels = [Panel("", lines)]
    if np.isfinite(told.changed).any():
        moved = _by_epoch("", told.changed, Style(GREEN, "o"))
        panels.append(Panel("", (moved,), y_label="changed predictions, %"))
    said = ", ".join(f"{line.label} {line.y[-1]:.1f} %" for line in lines)
    described = f"Accuracy after the last epoch: {said}. Changed are predictions that differ from the epoch before."
    return Chart("Accuracy and changed predictions by epoch", described, "epoch", "accuracy, %", tuple(panels), whole_x=True)


def inertia_data(clusters: ArrayLike, inertia: ArrayLike, chosen: int, elbow: int | None, asked: str = "auto") -> InertiaData:
    """Return what is in the plot of an inertia curve; `asked` is auto, classes or a number."""
    why: Why = "elbow" if elbow == chosen else "rule" if asked == "auto" else "asked"
    return InertiaData(np.asarray(clusters), np.asarray(inertia) / (np.max(inertia) or 1.0), chosen, why)


def said(value: float) -> str:
    """Write a correlation.

    Example:
        >>> said(0.944), said(-0.5), said(1.0), said(float("nan"))
        ('.94', '−.50', '1', '–')
    """
    if not np.isfinite(value):
        return "–"
    if abs(value) >= 0.995:
        return "1" if value > 0 else "−1"
    return ("−" if value < 0 else "") + f"{abs(value):.2f}"[1:]


def direction(harder: int) -> str:
    """Return which way a score goes, in words."""
    return "larger is harder" if harder > 0 else "smaller is harder"


@drawing.register(Distribution)
def _distribution(data: Distribution) -> "Figure":
    """Draw a row for each class; heights are square roots of shares, so that rare values are seen."""
    n_rows = len(data.names)
    figure = canvas(0.55 + ROW_INCHES * n_rows)
    axes = figure.add_subplot()
    x = np.repeat(data.edges, 2)
    for row in range(n_rows):
        base = n_rows - 1 - row
        shares = np.sqrt(data.counts[row] / max(1, data.counts[row].max()))
        heights = base + 0.86 * np.concatenate([[0.0], np.repeat(shares, 2), [0.0]])
        axes.fill(x, heights, facecolor=ACCENT if row == 0 else PLAIN, alpha=0.75, linewidth=0)
        axes.vlines(data.quantiles[row, 2], base, base + 0.8, color=WARN, linewidth=1.6)
        axes.axhline(base, color=LINE, linewidth=0.7, zorder=0)
    axes.grid(visible=False)
    axes.set(xlim=(data.edges[0], data.edges[-1]), ylim=(0, n_rows), xlabel=f"{data.score} ({direction(data.harder)})")
    axes.set_yticks(np.arange(n_rows)[::-1] + 0.3, [display_text(name, 20) for name in data.names])
    axes.locator_params(axis="x", integer=bool((data.edges % 1 == 0.5).all()))  # bins around whole numbers
    return figure


@drawing.register(InertiaData)
def _inertia(data: InertiaData) -> "Figure":
    figure = canvas(3.4)
    axes = figure.add_subplot()
    axes.plot(data.clusters, data.inertia, "o-", color=ACCENT)
    axes.axvline(data.chosen, color=WARN, linestyle="--", linewidth=1.2)
    at, label = (data.chosen, 0.98), f"k = {data.chosen}, {WHY_CLUSTERS[data.why]}"
    axes.annotate(label, at, (5, 0), xycoords=("data", "axes fraction"), textcoords="offset points", color=WARN, va="top")
    axes.set(xlabel="clusters k", ylabel="inertia, share of the largest", ylim=(0, 1.05), xlim=(0, None))
    return figure


def _correlation_matrix(names: Sequence[str], values: Float64[np.ndarray, "scores scores"], title: str) -> Matrix:
    texts = tuple(tuple(said(value) for value in row) for row in values.tolist())
    return Matrix(title, MATRIX_NOTE, tuple(names), tuple(names), values, texts)


def _by_epoch(label: str, shares: Float64[np.ndarray, " epochs"], style: Style) -> Line:
    known = np.flatnonzero(np.isfinite(shares))
    nothing = np.full(len(known), np.nan)
    return Line(label, style, known + 1.0, 100 * shares[known], nothing, nothing)


def _edges(values: Float64[np.ndarray, " examples"]) -> Float64[np.ndarray, " edges"]:
    """Return equal bins over the range; scores with few values get a bin each."""
    low, high = float(values.min()), float(values.max())
    distinct = np.unique(values[:100_000])
    if 1 < len(distinct) <= BINS:
        distinct = np.unique(values)
        gap = float(np.diff(distinct).min())
        if high - low <= gap * BINS:
            return np.asarray(low + gap * (np.arange(round((high - low) / gap) + 2) - 0.5), np.float64)
    if high <= low:
        room = max(abs(high), 1.0) * 0.05
        low, high = low - room, high + room
    return np.linspace(low, high, BINS + 1)
