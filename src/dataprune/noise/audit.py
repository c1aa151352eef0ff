"""Look at some labels, then know: which ones, and what the person's decisions say of all; no model has to be right for it.

The ranking is cut into strata, each is sampled at random, and each example counts with one over its known chance of being looked at
(Horvitz and Thompson 1952). What a finding expects decides only where to look: where it is wrong, the interval is wider.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Bool, Float64, Int64

from dataprune.errors import invalid
from dataprune.noise.evidence import Values
from dataprune.noise.suspects import Suspects
from dataprune.streams import tie_break

STRATA = 6
AT_RANDOM = 0.1  # the share of the guess that is the same for all: what no ranking shows must be met too
LEAST_GUESS = 0.02
FIRST_GUESS = 0.5  # of the most suspect label, where a finding has no number; the guess then falls with the rank
CERTAIN = 1.96  # standard errors on either side: 95 %
LOOKS = 100  # by default
FEWEST_EACH = 2  # looked at in each stratum


@dataclass(frozen=True)
class Range:
    """An estimate with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class AuditResult:
    """What the decisions say of all labels.

    Attributes:
        n_looked, n_found: labels looked at, and wrong ones among them.
        n_wrong: how many are wrong in all: unbiased, whatever the finding is worth.
        precision: the share of flagged labels that is wrong; None where none is flagged.
        n_unfound: how many wrong labels are not flagged.
        n_together: `n_wrong` and the finding's count, each weighed by one over its variance; None where the finding has no count,
            or one that does not fit.
        fits: whether the finding's count fits; None where it has none.
    """

    n_looked: int
    n_found: int
    n_wrong: Range
    precision: Range | None
    n_unfound: Range
    n_together: Range | None
    fits: bool | None


@dataclass(frozen=True, eq=False)
class Audit:
    """A sample of labels to look at.

    Attributes:
        rows: of the examples, in the order in which they are looked at; its first rows are the sample of a smaller size.
        chance: of each example (N,) the probability of being in the sample.
        stratum: of each example (N,) its stratum, from the most suspect on; flagged and other labels never share one.
        expected: of each stratum the share of wrong labels that is guessed.
        found: what was sampled from.
    """

    rows: Int64[np.ndarray, " looked"]
    chance: Values
    stratum: Int64[np.ndarray, " examples"]
    expected: Float64[np.ndarray, " strata"]
    found: Suspects

    def __len__(self) -> int:
        return len(self.rows)

    def estimate(self, wrong: Sequence[bool] | Bool[np.ndarray, " looked"]) -> AuditResult:
        """Return what decisions say, true where the label of a row of `rows` is wrong."""
        is_wrong = np.asarray(wrong)
        if is_wrong.dtype != bool or is_wrong.shape != self.rows.shape:
            raise invalid("wrong", f"be true or false for each of the {len(self)} rows", f"{is_wrong.dtype} {is_wrong.shape}")
        n_strata, found = len(self.expected), self.found
        looked = np.bincount(self.stratum[self.rows], minlength=n_strata)
        hits = np.bincount(self.stratum[self.rows[is_wrong]], minlength=n_strata)
        counts = np.bincount(self.stratum, minlength=n_strata), looked, hits, self.expected
        flagged = np.zeros(n_strata, bool)
        flagged[self.stratum[found.is_suspect]] = True
        n_flagged = int(found.is_suspect.sum())
        of_flags, unfound = (_total(*(one[some] for one in counts)) for some in (flagged, ~flagged))
        precision = Range(*(getattr(of_flags, one.name) / n_flagged for one in fields(Range))) if n_flagged else None
        n_wrong = _sum(of_flags, unfound)
        together, fits = _together(found, n_wrong)
        return AuditResult(len(self), int(is_wrong.sum()), n_wrong, precision, unfound, together, fits)


def audit(found: Suspects, size: int | None = None, *, seed: int = 0) -> Audit:
    """Choose labels for a person to look at: some from the top of the ranking, some at random below, with known chances.

    A larger size adds rows after those of a smaller one.

    Args:
        found: a finding; it needs no number.
        size: how many, at least two for each of at most STRATA strata. Default: 100, or all of fewer.
        seed: of what is drawn.
    Source: optimal whole allocation: Wright 2012, The American Statistician 66, which gives the same first rows for each size.
    """
    size = min(LOOKS, len(found)) if size is None else size
    guess = _guess(found)
    order = np.lexsort((found.rank, ~found.is_suspect))
    stratum = np.empty(len(found), np.int64)
    stratum[order] = _strata(guess[order], int(found.is_suspect.sum()))
    sizes = np.bincount(stratum)
    expected = np.bincount(stratum, guess) / sizes
    least = int(np.minimum(sizes, FEWEST_EACH).sum())
    if not least <= size <= len(found):
        raise invalid("size", f"be in {least} ... {len(found)}", size, "Fewer say nothing of all labels.")
    drawn = np.lexsort((tie_break(found.ids.tolist(), seed), stratum))
    rows = drawn[_allocated(sizes, np.sqrt(expected * (1 - expected)), size)]
    chance = np.bincount(stratum[rows], minlength=len(sizes)) / sizes
    return Audit(rows, chance[stratum], stratum, expected, found)


def _guess(found: Suspects) -> Values:
    """Guess the probability that each label is wrong; it decides where to look, and no more."""
    n = len(found)
    guess = found.probability if found.n_wrong is not None else FIRST_GUESS * (1 - (found.rank - 0.5) / n) ** 4
    return np.asarray((1 - AT_RANDOM) * guess + AT_RANDOM * max(LEAST_GUESS, float(guess.mean())))


def _strata(guess: Values, n_flagged: int) -> Int64[np.ndarray, " examples"]:
    """Cut examples, the flagged ones first and each part from the most suspect on, so that strata spread about alike in all."""
    spread = np.sqrt(guess * (1 - guess))
    parts = [part for part in (spread[:n_flagged], spread[n_flagged:]) if len(part)]
    share = float(parts[0].sum() / spread.sum())
    first = STRATA if len(parts) == 1 else min(STRATA - 1, max(1, round(STRATA * share)))
    numbers, begun = [], 0
    for part, wanted in zip(parts, (first, STRATA - first), strict=False):
        cut = np.minimum((np.cumsum(part) - part / 2) / part.sum() * wanted, wanted - 1e-9).astype(np.int64)
        _, cut = np.unique(cut, return_inverse=True)
        numbers.append(cut + begun)
        begun += int(cut.max()) + 1
    return np.concatenate(numbers)


def _allocated(
    sizes: Int64[np.ndarray, " strata"], spread: Float64[np.ndarray, " strata"], size: int
) -> Int64[np.ndarray, " looked"]:
    """Return which examples are taken, of all by stratum, so that the variance falls most by each next one."""
    stratum = np.repeat(np.arange(len(sizes)), sizes)
    before = np.arange(len(stratum)) - np.repeat(np.cumsum(sizes) - sizes, sizes)  # of its stratum
    gain = (sizes * spread)[stratum] / np.sqrt(np.maximum(before, 1) * (before + 1))
    is_first = before < FEWEST_EACH
    order = np.lexsort((stratum, np.where(is_first, before, -gain), ~is_first))
    return order[:size]


def _total(
    sizes: Int64[np.ndarray, " strata"],
    looked: Int64[np.ndarray, " strata"],
    hits: Int64[np.ndarray, " strata"],
    expected: Float64[np.ndarray, " strata"],
) -> Range:
    """Estimate how many are wrong in strata of these sizes; `expected` are the guessed shares.

    The interval holds the totals that the sample does not reject, as Wilson's does. The variance is that of the guessed shares
    moved to the total that is asked about, their log-odds by a constant, and what the sample shows, in equal parts; of a
    stratum that shows more, what it shows; that of the guess alone where all decisions are equal, which show none. So few or no
    hits leave it positive, and a bad guess shows.

    Source: Wilson 1927, JASA 22.
    """
    shares = hits / looked
    value = float((sizes * shares).sum())
    left = np.where(sizes > 1, (sizes - looked) / np.maximum(1, sizes - 1), 0.0)
    seen = np.where(looked > 1, shares * (1 - shares) / np.maximum(1, looked - 1), 0.0)
    odds, part = np.log(expected / (1 - expected)), 0.5 if seen.any() else 1.0

    def beyond(step: float) -> tuple[float, float]:
        """Return the total of the guess moved so far, and how far it is from the estimate beyond what chance allows."""
        moved = 1 / (1 + np.exp(-np.clip(odds + step, -50, 50)))
        variance = (sizes**2 * left * np.maximum(seen, part * (seen + moved * (1 - moved) / looked))).sum()
        total = float((sizes * moved).sum())
        return total, abs(total - value) - CERTAIN * float(np.sqrt(variance))

    middle = _root(lambda step: beyond(step)[0] - value, -50.0, 50.0)
    low = beyond(_root(lambda step: -beyond(step)[1], -50.0, middle))[0]
    high = beyond(_root(lambda step: beyond(step)[1], middle, 50.0))[0]
    known_right = int((looked - hits).sum())
    n_hits, most = float(hits.sum()), float(sizes.sum()) - known_right
    return Range(value, min(value, max(low, n_hits)), max(value, min(high, most)))


def _sum(one: Range, other: Range) -> Range:
    """Add what two samples say, each with its own interval: flags may be wrong where the other labels are as guessed.

    Source: MOVER, Zou and Donner 2008, Statistics in Medicine 27.
    """
    value = one.value + other.value
    below, above = np.hypot(one.value - one.low, other.value - other.low), np.hypot(one.high - one.value, other.high - other.value)
    return Range(value, value - float(below), value + float(above))


def _root(rising: Callable[[float], float], low: float, high: float) -> float:
    """Find where a function that rises, if not evenly, turns positive."""
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if rising(middle) > 0 else (middle, high)
    return (low + high) / 2


def _together(found: Suspects, looked: Range) -> tuple[Range | None, bool | None]:
    """Join the sample's count and the finding's by one over their variances, if the two fit. Where they are further apart than
    usual, the interval is wider by as much (the factor of Birge 1932, Physical Review 40)."""
    if found.n_wrong is None or found.n_wrong_low is None or found.n_wrong_high is None:
        return None, None
    values = np.array([looked.value, found.n_wrong])
    errors = np.array([looked.high - looked.low, found.n_wrong_high - found.n_wrong_low]) / (2 * CERTAIN)
    apart = abs(values[0] - values[1]) / max(1e-9, float(np.linalg.norm(errors)))
    if apart > CERTAIN:
        return None, False
    weights = 1 / np.maximum(errors, 1e-9) ** 2
    middle, error = float(values @ weights / weights.sum()), float(max(1.0, apart) / np.sqrt(weights.sum()))
    low, high = max(0.0, middle - CERTAIN * error), min(float(len(found)), middle + CERTAIN * error)
    return Range(middle, low, high), True
