"""What is in a picture of lines, boxes and words, before anybody draws it?"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

# What a shape is for. The page colours roles by its style sheet, light and dark; files take `INK`.
INK: dict[str, str] = {
    "ink": "#1d1f21",
    "muted": "#5d6166",
    "grid": "#dededa",
    "paper": "#ffffff",
    "plain": "#7d858c",
    "accent": "#0b63a5",
    "warn": "#b9420f",
    "heat": "#2f86c4",
    "cold": "#d9772b",
    # Okabe and Ito 2008, yellow darkened; and two of Tol's.
    "c0": "#0072b2",
    "c1": "#c98500",
    "c2": "#00835f",
    "c3": "#c75200",
    "c4": "#b85a93",
    "c5": "#3a93c9",
    "c6": "#7a7a7a",
    "c7": "#8f8500",
    "c8": "#222222",
    "c9": "#882255",
}
N_COLOURS = 10


@dataclass(frozen=True, eq=False)
class Line:
    """A line through points."""

    points: Float64[np.ndarray, "points 2"]
    role: str = "ink"
    width: float = 1.5
    is_dashed: bool = False


@dataclass(frozen=True, eq=False)
class Area:
    """A filled polygon."""

    points: Float64[np.ndarray, "points 2"]
    role: str
    opacity: float = 1.0


@dataclass(frozen=True)
class Box:
    """A filled rectangle; `key` names what is shown when it is chosen (-1: nothing)."""

    x: float
    y: float
    width: float
    height: float
    role: str
    opacity: float = 1.0
    key: int = -1


@dataclass(frozen=True)
class Dot:
    """A filled circle; `key` as of a box; `is_square` draws a square, to tell series apart without colour."""

    x: float
    y: float
    radius: float
    role: str
    opacity: float = 1.0
    key: int = -1
    is_square: bool = False


@dataclass(frozen=True)
class Words:
    """A line of text; `y` is its base line."""

    x: float
    y: float
    text: str
    role: str = "muted"
    anchor: str = "start"
    size: float = 12.0
    is_turned: bool = False


Mark = Line | Area | Box | Dot | Words


@dataclass(frozen=True, eq=False)
class Scene:
    """A picture: its marks in drawing order, and in words what it is and what it shows."""

    name: str
    width: float
    height: float
    marks: tuple[Mark, ...]
    title: str
    description: str


@dataclass(frozen=True)
class Axes:
    """A rectangle of a scene with a linear scale for each direction."""

    left: float
    top: float
    width: float
    height: float
    x_low: float
    x_high: float
    y_low: float
    y_high: float

    def x(self, value: float) -> float:
        """Place a value from left to right."""
        return self.left + self.width * (value - self.x_low) / ((self.x_high - self.x_low) or 1.0)

    def y(self, value: float) -> float:
        """Place a value from the bottom up."""
        return self.top + self.height * (1.0 - (value - self.y_low) / ((self.y_high - self.y_low) or 1.0))

    def points(self, x: Iterable[float], y: Iterable[float]) -> Float64[np.ndarray, "points 2"]:
        """Place many values."""
        return np.array([(self.x(a), self.y(b)) for a, b in zip(x, y, strict=True)], np.float64).reshape(-1, 2)

    def frame(
        self, x_label: str, y_label: str, *, percent_x: bool = False, percent_y: bool = False, whole_x: bool = False
    ) -> list[Mark]:
        """Draw grid, ticks and what the directions mean; `whole_x` counts in whole numbers from left to right."""
        marks: list[Mark] = []
        for value in ticks(self.y_low, self.y_high, max(2, int(self.height / 45))):
            at = self.y(value)
            marks.append(Line(np.array([(self.left, at), (self.left + self.width, at)], np.float64), "grid", 1.0))
            marks.append(Words(self.left - 6, at + 4, written(value, percent_y), anchor="end"))
        for value in ticks(self.x_low, self.x_high, max(3, int(self.width / 70)), 1.0 if whole_x else 0.0):
            marks.append(Words(self.x(value), self.top + self.height + 17, written(value, percent_x), anchor="middle"))
        base = self.top + self.height
        marks.append(Line(np.array([(self.left, base), (self.left + self.width, base)], np.float64), "muted", 1.0))
        marks.append(Words(self.left + self.width / 2, base + 36, x_label, "ink", "middle"))
        if y_label:
            marks.append(Words(self.left - 40, self.top - 12, y_label, "ink"))
        return marks


def ticks(low: float, high: float, about: int, least: float = 0.0) -> list[float]:
    """Return round values within [low, high], about so many, at least so far apart.

    Example:
        >>> ticks(0.0, 1.0, 4)
        [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
        >>> ticks(0.9, 3.1, 9, 1.0)
        [1.0, 2.0, 3.0]
        >>> ticks(3.0, 3.0, 4)
        [3.0]
    """
    if not high > low:
        return [low]
    rough = (high - low) / max(1, about)
    size = 10.0 ** np.floor(np.log10(rough))
    step = max(least, float(next(size * factor for factor in (1, 2, 5, 10) if size * factor >= rough * 0.8)))
    first = np.ceil(low / step - 1e-9)
    values = (first + np.arange(200)) * step
    return [float(f"{value:.10g}") + 0.0 for value in values[values <= high + step * 1e-9]]


def written(value: float, percent: bool = False) -> str:
    """Write a number on an axis.

    Example:
        >>> written(0.25, percent=True), written(1200.0), written(0.05)
        ('25 %', '1,200', '0.05')
    """
    if percent:
        return f"{value * 100:.3g} %"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def limits(low: float, high: float, share: float = 0.05) -> tuple[float, float]:
    """Widen a span by a share at both ends; a span of nothing becomes one around it."""
    room = (high - low) * share or max(abs(high), 1.0) * share
    return low - room, high + room
