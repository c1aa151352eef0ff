"""Colours, markers and lines of all plots in one table: colour-blind eyes tell them apart, a score looks the same everywhere."""

import hashlib
from dataclasses import dataclass, replace

# Okabe and Ito 2008, their yellow darkened a little, and two of Tol's.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#666666", "#D8CC00", "#000000", "#882255")
BLUE, ORANGE, GREEN, RED, PINK, SKY, GRAY, YELLOW, BLACK, WINE = COLOURS
# From dark to light, which all eyes tell apart (viridis without its lightest part): sizes, numbers of clusters.
RAMP = ("#440154", "#472D7B", "#3B528B", "#2C728E", "#21918C", "#27AD81", "#5DC863", "#AADC32")
INK, MUTED, LINE, PAPER = "#1D1F21", "#5D6166", "#DEDEDA", "#FFFFFF"
ACCENT, WARN, PLAIN, HEAT, COLD = "#0B63A5", "#B9420F", "#7D858C", "#2F86C4", "#D9772B"

VARIABLES: dict[str, str] = {
    **{colour.lower(): f"c{number}" for number, colour in enumerate(COLOURS)},
    **{colour.lower(): f"r{number}" for number, colour in enumerate(RAMP)},
    **{INK.lower(): "ink", MUTED.lower(): "muted", LINE.lower(): "line", PAPER.lower(): "paper"},
    **{ACCENT.lower(): "accent", WARN.lower(): "warn", PLAIN.lower(): "plain", HEAT.lower(): "heat", COLD.lower(): "cold"},
}
"""The variable of the page's style sheet that stands for each colour, so that plots follow light and dark."""


@dataclass(frozen=True)
class Style:
    """How one line is drawn; hollow markers tell it from another of the same colour."""

    colour: str
    marker: str
    line: str = "-"
    is_hollow: bool = False


STYLES = {
    "random": Style(BLACK, "o"),
    "all": Style(GRAY, "", "--"),
    "el2n": Style(BLUE, "o"),
    "std": Style(ORANGE, "s"),
    "pred_sum": Style(GREEN, "^"),
    "flip": Style(RED, "D"),
    "forget": Style(PINK, "v"),
    "km": Style(SKY, "P"),
    "aum": Style(YELLOW, "X"),
    "confidence": Style(WINE, "h"),
    # What follows shares a colour with one above and differs by marker and line.
    "grand": Style(BLUE, "*", "-."),
    "variability": Style(ORANGE, "d", "-."),
    "correctness": Style(GREEN, "<", "-."),
    "entropy": Style(RED, ">", "-."),
    "forget_toneva": Style(PINK, "1", "-."),
    "km_cosine": Style(SKY, "p", "-."),
    "prototype_distance": Style(YELLOW, "x", "-."),
    "median_distance": Style(WINE, "+", "-."),
}
"""The style of each score by name."""

_OTHERS = (BLUE, ORANGE, GREEN, RED, PINK, SKY, YELLOW, WINE)
_MARKERS = ("8", "H", "X", "4", "3", "2")
_AGAIN = (("--", "o"), (":", "s"), ("-.", "^"), ("--", "D"), (":", "v"))


def style_of(score: str) -> Style:
    """Return the style of a score: by the table, for a name that is not in it by a hash of the name, dotted.

    Example:
        >>> style_of("el2n"), style_of("mine") == style_of("mine")
        (Style(colour='#0072B2', marker='o', line='-', is_hollow=False), True)
    """
    if score in STYLES:
        return STYLES[score]
    number = int.from_bytes(hashlib.sha256(score.encode("utf-8", "surrogatepass")).digest()[:4], "big")
    return Style(_OTHERS[number % len(_OTHERS)], _MARKERS[number // len(_OTHERS) % len(_MARKERS)], ":")


def again(style: Style, time: int) -> Style:
    """Return the style of another line of the same colour: itself at time 0, then hollow with other lines and markers."""
    if time == 0:
        return style
    line, marker = _AGAIN[(time - 1) % len(_AGAIN)]
    return replace(style, line=line, marker=style.marker if time == 1 else marker, is_hollow=True)


def ramp(step: int, of: int) -> str:
    """Return the colour of one of several steps in order, the first the darkest."""
    return RAMP[0 if of < 2 else round(step * (len(RAMP) - 1) / (of - 1))]
