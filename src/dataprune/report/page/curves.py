"""How did training go, epoch by epoch, and how does inertia fall with the number of clusters?"""

from typing import Any

import numpy as np

from dataprune.report.page.answers import EnsemblePredictions
from dataprune.report.page.scene import Axes, Dot, Line, Mark, Scene, Words
from dataprune.run.manifest import FeaturesRecord

WIDTH, HEIGHT = 760.0, 330.0


def epoch_rows(answers: EnsemblePredictions) -> list[dict[str, Any]]:
    """Return accuracy and change by epoch as a table; None where there is nothing to measure."""
    columns = {"vote": answers.vote, "seen": answers.seen, "held_out": answers.held_out, "changed": answers.changed}
    return [
        {"epoch": epoch + 1, **{name: _number(values[epoch]) for name, values in columns.items()}}
        for epoch in range(len(answers.vote))
    ]


def epochs_scene(answers: EnsemblePredictions) -> Scene:
    """Draw accuracy by epoch, and beside it the share of answers that changed."""
    n = len(answers.vote)
    known = np.concatenate([values[np.isfinite(values)] for values in (answers.vote, answers.seen, answers.held_out)])
    low = max(0.0, float(np.floor(known.min() * 10) / 10))
    left = Axes(56, 40, 400, HEIGHT - 100, 1, max(2, n), low, 1.0)
    changed = answers.changed[np.isfinite(answers.changed)]
    high = max(0.05, float(np.ceil((changed.max() if len(changed) else 0.05) * 20) / 20))
    right = Axes(530, 40, 200, HEIGHT - 100, 1, max(2, n), 0.0, high)
    marks: list[Mark] = [frame for one in (left, right) for frame in one.frame("epoch", "", percent_y=True, whole_x=True)]
    marks += [
        Words(8, 18, "right answers", "ink", size=12.0),
        Words(488, 18, "answers changed since the epoch before", "ink", size=12.0),
    ]
    series = (
        ("all members' vote", answers.vote, "ink", False),
        ("on what they trained on", answers.seen, "c0", True),
        ("on what they did not train on", answers.held_out, "c3", False),
    )
    line = left.top + left.height - 58
    for name, values, role, dashed in series:
        if not np.isfinite(values).any():
            continue
        marks += _curve(left, values, role, dashed)
        marks.append(Line(np.array([(250.0, line), (272.0, line)]), role, 2.0, dashed))
        marks.append(Words(278, line + 4, name, "ink"))
        line += 20
    if len(changed):
        marks += _curve(right, answers.changed, "c2", False)
    last = epoch_rows(answers)[-1]
    said = ", ".join(f"{text} {last[key] * 100:.1f} %" for key, text in _SAID if last[key] is not None)
    return Scene("epochs", WIDTH, HEIGHT, tuple(marks), "Accuracy and changed answers by epoch", f"After the last epoch: {said}.")


def inertia_scene(record: FeaturesRecord) -> Scene | None:
    """Draw inertia against the number of clusters, as a run's manifest holds it; None where no curve was measured."""
    curve = record.curve
    if curve is None or len(curve.clusters) < 2:
        return None
    clusters = np.array(curve.clusters, np.float64)
    inertia = np.array(curve.inertia, np.float64)
    inertia = inertia / (inertia.max() or 1.0)
    axes = Axes(56, 30, WIDTH - 80, HEIGHT - 90, 0.0, float(clusters.max()), 0.0, 1.0)
    points = axes.points(clusters.tolist(), inertia.tolist())
    marks: list[Mark] = [*axes.frame("clusters k", ""), Words(8, 16, "inertia, share of the largest", "ink", size=12.0)]
    marks += [Line(points, "accent", 2.0), *(Dot(float(x), float(y), 3.0, "accent") for x, y in points)]
    at = axes.x(float(record.k))
    marks.append(Line(np.array([(at, axes.top), (at, axes.top + axes.height)]), "warn", 1.5, True))
    why = "the elbow" if record.elbow == record.k else "no elbow: a rule of thumb" if record.asked == "auto" else "asked for"
    marks.append(Words(at + 6, axes.top + 12, f"k = {record.k}, {why}", "warn", size=12.0))
    return Scene("inertia", WIDTH, HEIGHT, tuple(marks), "Inertia by number of clusters", f"{record.k} clusters were taken: {why}.")


_SAID = (("vote", "the vote is right on"), ("seen", "members on what they trained on"), ("held_out", "on what they did not"))


def _curve(axes: Axes, values: np.ndarray, role: str, dashed: bool) -> list[Mark]:
    known = np.flatnonzero(np.isfinite(values))
    points = axes.points((known + 1).tolist(), values[known].tolist())
    return [Line(points, role, 2.0, dashed), *(Dot(float(x), float(y), 2.5, role) for x, y in points)]


def _number(value: float) -> float | None:
    return round(float(value), 4) if np.isfinite(value) else None
