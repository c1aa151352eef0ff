"""How does accuracy depend on what was kept? The curves of a study, in the page's manner.

Knows rows of the summary, as plain JSON. A score has the colour that it has in every other plot.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from dataprune.report.colors import COLOURS, style_of
from dataprune.report.page.scene import Axes, Dot, Line, Mark, Scene, Words, limits
from dataprune.study.cells import EXTRAS

WIDTH, HEIGHT = 760.0, 420.0


def curve_scenes(rows: list[dict[str, Any]]) -> list[Scene]:
    """Draw accuracy against the kept share, and for windows against their start; both with intervals."""
    windows = [row for row in rows if row.get("strategy") == "window"]
    others = [row for row in rows if row.get("strategy") != "window"]
    scenes = []
    if len({row["keep"] for row in others}) > 1:
        scenes.append(_curves("curves", "Accuracy against the kept share", "kept share", "keep", others))
    if windows:
        controls = [row for row in others if is_all(row)]
        scenes.append(
            _curves("windows", "Accuracy by where the window starts", "easiest share left out", "start", windows + controls)
        )
    return scenes


def name_of(row: Mapping[str, Any]) -> str:
    """Name the curve that a cell belongs to."""
    parts = [str(row[key]) for key in ("score", "strategy", *EXTRAS) if row.get(key) not in (None, "", "hardest", 0)]
    return " ".join(dict.fromkeys(parts)) or "hardest"


def is_all(row: Mapping[str, Any]) -> bool:
    """Say whether a cell is the training on all data."""
    return row.get("verdict") == "all data" or (row.get("keep") == 1.0 and row.get("strategy") not in ("window",))


def _curves(name: str, title: str, x_label: str, x: str, rows: list[dict[str, Any]]) -> Scene:
    whole = [row for row in rows if is_all(row)]
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        if row.get("accuracy") is not None and row not in whole:
            groups.setdefault(name_of(row), []).append(row)
    seen = [row for group in groups.values() for row in group] + whole
    ends = [value for row in seen for value in (row.get("low"), row.get("high"), row["accuracy"]) if value is not None]
    spots = [row[x] for group in groups.values() for row in group]
    axes = Axes(60, 34, WIDTH - 240, HEIGHT - 90, *limits(min(spots), max(spots)), *limits(min(ends), max(ends)))
    marks: list[Mark] = [*axes.frame(x_label, "", percent_x=True, percent_y=True), Words(8, 18, "accuracy", "ink", size=12.0)]
    line = 44.0
    if whole:
        level = axes.y(float(whole[0]["accuracy"]))
        marks.append(Line(np.array([(axes.left, level), (axes.left + axes.width, level)]), "ink", 1.5, True))
        marks += [
            Line(np.array([(WIDTH - 170, line), (WIDTH - 148, line)]), "ink", 1.5, True),
            Words(WIDTH - 142, line + 4, "all data", "ink"),
        ]
        line += 20
    for number, (label, group) in enumerate(sorted(groups.items(), key=lambda item: ("random" in item[0], item[0]))):
        role, is_square = ("plain", False) if "random" in label else (_role(group[0]), number % 2 == 1)
        group = sorted(group, key=lambda row: row[x])
        shift = 0.0 if "random" in label else (number % 5 - 2) * 2.0  # so that intervals at one size can be told apart
        at = axes.points([row[x] for row in group], [row["accuracy"] for row in group])
        marks.append(Line(at, role, 2.0, "random" in label))
        for row, (px, py) in zip(group, at.tolist(), strict=True):
            if row.get("low") is not None:
                ends_at = np.array([(px + shift, axes.y(row["low"])), (px + shift, axes.y(row["high"]))])
                marks.append(Line(ends_at, role, 1.0))
            marks.append(Dot(px, py, 3.2, role, is_square=is_square))
        if line < HEIGHT - 20:
            marks += [Line(np.array([(WIDTH - 170, line), (WIDTH - 148, line)]), role, 2.0, "random" in label)]
            marks.append(Words(WIDTH - 142, line + 4, label[:26], "ink"))
        line += 20
    described = "Lines are means over seeds, upright strokes their 95 % intervals; the numbers stand in the table of verdicts."
    return Scene(name, WIDTH, HEIGHT, tuple(marks), title, described)


def _role(row: Mapping[str, Any]) -> str:
    """Give a score the colour that it has in every plot."""
    return f"c{COLOURS.index(style_of(str(row.get('score') or row.get('strategy'))).colour)}"
