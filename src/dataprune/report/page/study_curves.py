"""How does accuracy depend on what was kept? The curves of a study, in the page's manner."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from dataprune.report.colors import COLOURS, style_of
from dataprune.report.page.chart import Chart, Series, chart_scene
from dataprune.report.page.scene import N_COLOURS, Axes, Dot, Line, Mark, Scene, Words, limits, written
from dataprune.report.text import display_text
from dataprune.study.results_table import ALL, RANDOM

Row = Mapping[str, Any]
UNSAID = (None, "", 0, "hardest", "curriculum", "recipe")  # of a strategy, an order or an arm: goes without saying
EXPLAINED = "Lines are means over seeds, upright strokes their 95 % intervals; the numbers stand in the table of verdicts."
WIDTH, LEFT, ROW = 760.0, 220.0, 24.0
MOST_ROWS = 60


def curve_scenes(rows: list[dict[str, Any]]) -> list[Scene]:
    """Draw for each arm accuracy against the kept share, and for windows against their start; else a row for each cell."""
    scenes = []
    for arm in arms_of(rows):
        own = [row for row in rows if row.get("arm") in (None, arm) and row.get("accuracy") is not None]
        windows = [row for row in own if row.get("strategy") == "window"]
        sized = [row for row in own if row.get("strategy") != "window" and not row.get("order") and not is_all(row)]
        at_end = f", {arm}" if arm else ""
        levels = [("all data", "plain", float(row["accuracy"])) for row in own if is_all(row)]
        if len({row["keep"] for row in sized}) > 1:
            title = f"Accuracy against the kept share{at_end}"
            scenes.append(_scene(_named("curves", arm), title, "kept share", "keep", sized, levels))
        if windows:
            same = {row["keep"] for row in windows}
            randoms = [row for row in sized if is_random(row) and row["keep"] in same]
            levels += [(f"random, keep {written(row['keep'], True)}", "ink", float(row["accuracy"])) for row in randoms]
            title = f"Accuracy by where the window starts{at_end}"
            scenes.append(_scene(_named("windows", arm), title, "easiest share left out", "start", windows, levels))
    return scenes or ([_rows_scene(rows)] if any(row.get("accuracy") is not None for row in rows) else [])


def arms_of(rows: Iterable[Row]) -> tuple[str, ...]:
    """Return the arms in their order; "" where there are none."""
    return tuple(dict.fromkeys(str(row.get("arm") or "") for row in rows))


def name_of(row: Row) -> str:
    """Name the curve that a cell belongs to, its arm too."""
    return label_of(row) + (f", {row['arm']}" if row.get("arm") else "")


def label_of(row: Row) -> str:
    """Name the curve that a cell belongs to, within its arm."""
    if is_all(row) or (is_random(row) and row.get("order")):
        return "all data" if is_all(row) else str(row["order"])
    clusters = f" ({row['clusters']} clusters)" if row.get("clusters") else ""
    said = [row.get(key) for key in ("strategy", "order")]
    words = [str(row.get("score") or ""), *(str(one) for one in said if one not in UNSAID)]
    return display_text(" ".join(dict.fromkeys(word for word in words if word)) or "hardest", 60) + clusters


def is_all(row: Row) -> bool:
    """Return whether a cell is the training on all data."""
    return row.get("verdict") == "all data" or row.get("strategy") == ALL


def is_random(row: Row) -> bool:
    """Return whether a cell is a random control."""
    return row.get("strategy") == RANDOM or row.get("score") == RANDOM


def looks(rows: Sequence[Row]) -> list[tuple[str, bool, bool]]:
    """Return each line its colour, and whether it is dashed and square: all are told apart.

    Args:
        rows: one for each line.
    """
    clusters = sorted({row["clusters"] for row in rows if row.get("clusters")})
    taken = {_role(row) for row in rows if not row.get("clusters")}
    free = [role for role in map("c{}".format, range(N_COLOURS)) if role not in taken] or ["c0"]
    found, used = [], set()
    for row in rows:
        if is_random(row) or is_all(row):
            role = "plain" if is_all(row) else "ink"
        elif len(clusters) > 1 and row.get("clusters"):
            role = free[clusters.index(row["clusters"]) % len(free)]
        else:
            role = _role(row)
        again = role in used or row.get("strategy") == "easiest" or row.get("order") == "hard-to-easy"
        used.add(role)
        found.append((role, again or is_all(row), again))
    return found


def _role(row: Row) -> str:
    """Return a score the colour that it has in every plot."""
    return f"c{COLOURS.index(style_of(str(row.get('score') or row.get('strategy'))).colour)}"


def _named(kind: str, arm: str) -> str:
    return kind + "".join(c if c.isalnum() else "-" for c in f"-{arm}" * bool(arm))


def _scene(name: str, title: str, x_label: str, x: str, rows: Sequence[Row], levels: Sequence[tuple[str, str, float]]) -> Scene:
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(label_of(row), []).append(row)
    ordered = dict(sorted(groups.items(), key=lambda item: (not is_random(item[1][0]), item[0])))
    styles = looks([group[0] for group in ordered.values()])
    series = []
    for (label, group), (role, is_dashed, is_square) in zip(ordered.items(), styles, strict=True):
        group = sorted(group, key=lambda row: row[x])
        at, y, low, high = (np.array([_number(row.get(key)) for row in group]) for key in (x, "accuracy", "low", "high"))
        series.append(Series(label, role, at, y, low, high, is_dashed, is_square))
    return chart_scene(Chart(name, title, EXPLAINED, x_label, "accuracy", tuple(series), tuple(levels)))


def _rows_scene(rows: Sequence[Row]) -> Scene:
    """Draw a row for each cell, where there is nothing to draw a line along."""
    known = sorted((row for row in rows if row.get("accuracy") is not None), key=lambda row: -row["accuracy"])[:MOST_ROWS]
    ends = [value for row in known for value in (row.get("low"), row.get("high"), row["accuracy"]) if value is not None]
    axes = Axes(LEFT, 10, WIDTH - LEFT - 30, ROW * len(known), *limits(min(ends), max(ends)), 0.0, 1.0)
    frame = Axes(axes.left, axes.top, axes.width, axes.height, axes.x_low, axes.x_high, 0.0, 0.0)
    marks: list[Mark] = [mark for mark in frame.frame("accuracy", "", percent_x=True) if not _is_tick_of_y(mark)]
    for place, (row, (role, _, is_square)) in enumerate(zip(known, looks(known), strict=True)):
        y, size = axes.top + ROW * (place + 0.5), "" if row["keep"] == 1 else f", keep {written(row['keep'], True)}"
        marks.append(Line(np.array([(axes.left, y), (axes.left + axes.width, y)]), "grid", 1.0))
        marks.append(Words(LEFT - 10, y + 4, display_text(name_of(row) + size, 32), "ink", "end"))
        if row.get("low") is not None:
            marks.append(Line(np.array([(axes.x(row["low"]), y), (axes.x(row["high"]), y)]), role, 2.0))
        marks.append(Dot(axes.x(row["accuracy"]), y, 4.0, role, is_square=is_square))
    described = (
        "Dots are means over seeds, strokes their 95 % intervals, the best first; the numbers stand in the table of verdicts."
    )
    return Scene("cells", WIDTH, axes.top + axes.height + 46, tuple(marks), "Accuracy of each rule", described)


def _is_tick_of_y(mark: Mark) -> bool:
    return (isinstance(mark, Words) and mark.anchor == "end") or (isinstance(mark, Line) and mark.role == "grid")


def _number(value: Any) -> float:
    return float("nan") if value is None else float(value)
