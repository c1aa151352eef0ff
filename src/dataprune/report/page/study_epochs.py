"""How did the trainings of a study go, epoch by epoch? A chart for each size, start of a window, or comparison of orders."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float64

from dataprune.report.page.chart import Chart, Series, chart_scene
from dataprune.report.page.scene import Scene, written
from dataprune.report.page.study_curves import Row, arms_of, is_all, is_random, label_of, looks

Curves = Float64[np.ndarray, "seeds epochs"]
EARLY = 4  # of the epochs the first one in four may lie below the chart: they would press the rest together
ROOM = 0.01
MOST_LINES = 24


def epoch_scenes(rows: Sequence[dict[str, Any]], curves: Sequence[Curves | None]) -> dict[str, Scene]:
    """Draw accuracy on validation by epoch.

    Args:
        rows: the cells.
        curves: of each cell the curves of its seeds; None where they are not of one length, or not kept.

    Returns:
        A scene for each comparison, by what it is called.
    """
    found: dict[str, Scene] = {}
    for arm in arms_of(rows):
        own = [at for at, row in enumerate(rows) if (row.get("arm") or "") == arm and curves[at] is not None]
        controls = [at for at in own if is_all(rows[at])]
        for title, chosen in _compared(rows, own).items():
            whole = f"{title}, {arm}" if arm else title
            lines = [*controls, *chosen][:MOST_LINES]
            found[whole] = _scene(f"by-epoch-{len(found) + 1}", whole, [(rows[at], curves[at]) for at in lines])
    return found


def _compared(rows: Sequence[Row], own: Sequence[int]) -> dict[str, list[int]]:
    """Return the cells that belong in one chart, by its title: random first, then the scores."""
    groups: dict[str, list[int]] = {}
    for at in sorted(own, key=lambda place: (-rows[place]["keep"], rows[place].get("start") or 0.0)):
        row = rows[at]
        if row.get("order"):
            groups.setdefault("recipes" if row["strategy"] == "recipe" else "orders", []).append(at)
        elif row.get("strategy") == "window":
            title = f"window of {written(row['keep'], True)} from {written(row['start'], True)}"
            groups.setdefault(title, []).append(at)
        elif not is_all(row):
            groups.setdefault(f"keep {written(row['keep'], True)}", []).append(at)
    windows = {title: rows[places[0]]["keep"] for title, places in groups.items() if rows[places[0]].get("strategy") == "window"}
    for title, keep in windows.items():
        groups[title] += [at for at in own if is_random(rows[at]) and not rows[at].get("order") and rows[at]["keep"] == keep]
    with_scores = {title: places for title, places in groups.items() if not all(is_random(rows[at]) for at in places)}
    return {title: sorted(places, key=lambda at: not is_random(rows[at])) for title, places in (with_scores or groups).items()}


def _scene(name: str, title: str, lines: Sequence[tuple[Row, Curves | None]]) -> Scene:
    series = []
    for (row, values), (role, is_dashed, is_square) in zip(lines, looks([row for row, _ in lines]), strict=True):
        assert values is not None
        epochs = np.arange(1.0, values.shape[1] + 1)
        ends = values.min(axis=0), values.max(axis=0)
        series.append(Series(label_of(row), role, epochs, values.mean(axis=0), *ends, is_dashed, is_square))
    bottom = min(float(one.low[len(one.x) // EARLY :].min()) for one in series) - ROOM
    described = "Lines are means over seeds, bands reach from the lowest to the highest; early epochs may lie below the chart."
    about = f"Accuracy on validation by epoch: {title}"
    chart = Chart(name, about, described, "epoch", "accuracy on validation", tuple(series), (), False, True, bottom)
    return chart_scene(chart)
