"""Which colour has what, in every picture?

Colours that colour-blind eyes tell apart; the same score has the same colour, marker and line everywhere.
"""

import hashlib
from dataclasses import dataclass

# Okabe and Ito 2008, their yellow darkened a little, and two of Tol's.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#666666", "#D8CC00", "#000000", "#882255")
BLUE, ORANGE, GREEN, RED, PINK, SKY, GRAY, YELLOW, BLACK, WINE = COLOURS
# From dark to light, which all eyes tell apart (viridis without its lightest part): sizes, numbers of clusters.
RAMP = ("#440154", "#472D7B", "#3B528B", "#2C728E", "#21918C", "#27AD81", "#5DC863", "#AADC32")


@dataclass(frozen=True)
class Style:
    """How one line is drawn."""

    colour: str
    marker: str
    line: str = "-"


STYLES = {
    "random": Style(BLACK, "o"),
    "all": Style(GRAY, ""),
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


def style_of(score: str) -> Style:
    """Return the style of a score: by the table, for a name that is not in it by a hash of the name, dotted.

    Example:
        >>> style_of("el2n"), style_of("mine") == style_of("mine")
        (Style(colour='#0072B2', marker='o', line='-'), True)
    """
    if score in STYLES:
        return STYLES[score]
    number = int.from_bytes(hashlib.sha256(score.encode("utf-8", "surrogatepass")).digest()[:4], "big")
    return Style(_OTHERS[number % len(_OTHERS)], _MARKERS[number // len(_OTHERS) % len(_MARKERS)], ":")


def ramp(place: int, of: int) -> str:
    """Return the colour of one of several steps in order, the first the darkest."""
    return RAMP[0 if of < 2 else round(place * (len(RAMP) - 1) / (of - 1))]
