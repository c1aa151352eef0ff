"""A finding: every label judged, and how many are wrong in all."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar, Literal

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

from dataprune.errors import invalid, percent
from dataprune.noise.evidence import Values
from dataprune.notebook import Drawable, Tabular
from dataprune.streams import tie_break

FEW_SHARE = 0.02
"""Up to this estimated share of wrong labels a set cannot be told from one without any: what clean sets give, see docs/log.md."""

MOST_SURE = 0.9  # what is at most expected of the first of the list at the least; see docs/log.md
MOST_SAID = 0.95  # of a label, where perhaps none is wrong
PROBABLE = 0.5  # from this probability on a label is rather wrong than right
THRESHOLD, LOWEST = 99, 90  # percentiles of the samples' margins: of the paper, and of the lower end
MOST_APART = 0.1  # of all labels, between the ends of the interval: beyond it the samples are learned as right labels are
OVERLAP = "threshold samples were learned much as other examples, so they count nothing; fewer epochs, more examples or folds help"
METHOD = "in-sample, counted by threshold samples: examples learned as an extra class, as if they were wrongly labelled"

WhyNoCount = Literal["", "in_sample", "mostly_seen", "near_chance", "too_weak", "fits_disagree", "by_looks"]
NO_INTERVAL: tuple[WhyNoCount, ...] = ("in_sample", "mostly_seen", "near_chance")


@dataclass(frozen=True, eq=False)
class Suspects(Tabular, Drawable):
    """Every label judged: arrays (N,) in source order.

    Attributes:
        ids, labels: names of the examples, and the given labels.
        suggested_label: the most probable other class.
        probability: that the given label is wrong, in [0, 1].
        score: higher is more suspect: the log-odds of `probability`, also where that is too near to 0 or 1 to be claimed.
        is_suspect: whether the label is flagged.
        reason: in words; empty where there is nothing to say.
        n_wrong: how many labels are wrong, estimated; None where the evidence carries no number. Then no label is flagged by it,
            and `probability` ranks, no more.
        n_wrong_low, n_wrong_high: the ends of the 95 % interval; without a number all that the fits allow, or None.
        classes: K names.
        sampling: whether the networks that spoke had seen the example: "out" (none had), "in" (all had), "both".
        method: how it was found, in words.
        notes: cautions for a person.
        suggested_probability: that the suggested label is right, in [0, 1]; None where a table was read that does not hold it.
        contradicted_by: row of an identical example with another label, −1 where there is none; None where it was not looked for.
        why_no_count: why there is no number, or "": "in_sample", all networks were trained on every label; "mostly_seen", of most
            labels all that learned were; "near_chance", they name hardly more labels than chance; "too_weak", too few;
            "fits_disagree", equally good fits of the noise differ too much; "by_looks", labels that people gave by how an example
            looks pass for classes that are hard to tell.
        accuracy: share of the labels that networks name which did not see them; None where all saw them.
        texts: what the examples say, texts or rows of a table; None of others, or where the data were not found.
    """

    most_shown: ClassVar = 20
    ids: np.ndarray
    labels: Int64[np.ndarray, " examples"]
    suggested_label: Int64[np.ndarray, " examples"]
    probability: Float64[np.ndarray, " examples"]
    score: Float64[np.ndarray, " examples"]
    is_suspect: Bool[np.ndarray, " examples"]
    reason: np.ndarray
    n_wrong: float | None
    n_wrong_low: float | None
    n_wrong_high: float | None
    classes: tuple[str, ...]
    sampling: str
    method: str
    notes: tuple[str, ...] = ()
    suggested_probability: Float64[np.ndarray, " examples"] | None = None
    contradicted_by: Int64[np.ndarray, " examples"] | None = None
    why_no_count: WhyNoCount = ""
    accuracy: float | None = None
    texts: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def n_classes(self) -> int:
        """K."""
        return len(self.classes)

    @cached_property
    def order(self) -> Int64[np.ndarray, " examples"]:
        """Rows from the most to the least suspect; ties by a hash of the id, never by position."""
        return np.lexsort((tie_break(self.ids.tolist(), 0), -self.score))

    @cached_property
    def rank(self) -> Int64[np.ndarray, " examples"]:
        """1 is the most suspect."""
        rank = np.empty(len(self), np.int64)
        rank[self.order] = np.arange(1, len(self) + 1)
        return rank

    @cached_property
    def flagged(self) -> Int64[np.ndarray, " flagged"]:
        """Rows of the flagged labels, the most suspect first."""
        return np.asarray(self.order[self.is_suspect[self.order]])

    @cached_property
    def probable(self) -> Int64[np.ndarray, " wrong"]:
        """Those of them that are rather wrong than right: not the likelier one of two that contradict each other."""
        return np.asarray(self.flagged[self.probability[self.flagged] >= PROBABLE])

    @property
    def are_few(self) -> bool:
        """Whether so few labels are wrong, if any, that the set cannot be told from one without; a look at the first can tell."""
        return self.n_wrong is not None and self.n_wrong <= FEW_SHARE * len(self)

    @property
    def count_in_words(self) -> str:
        """How many labels are wrong, as far as it is known.

        Example: "143 (102 to 185)", "no number: none to two in five", "no number".
        """
        low, high = self.n_wrong_low, self.n_wrong_high
        if self.n_wrong is not None:
            return f"{self.n_wrong:,.0f} ({low:,.0f} to {high:,.0f})"
        if low is None or high is None:
            return "no number"
        return f"no number: {share_in_words(low / len(self))} to {share_in_words(high / len(self))}"

    def chance_in_words(self, row: int) -> str:
        """How probably a label is wrong: "98 %"; where perhaps none is, no more than "over 95 %"; "" without a number, and where
        the best guess is that none is and some may be."""
        if self.n_wrong is None or (round(self.n_wrong) == 0 and self.n_wrong_high):
            return ""
        is_cautious = round(self.n_wrong_low or 0.0) == 0 and self.probability[row] > MOST_SAID
        return f"over {percent(MOST_SAID)}" if is_cautious else percent(float(self.probability[row]))

    def expected_wrong(self, count: int) -> tuple[float, float, float] | None:
        """Return how many of the `count` most suspect labels are expected to be wrong, and a 95 % range; None without a number.

        The ends are what is expected where as many labels are wrong as the ends of the interval say, none surer than nine in ten at
        the lower, and two standard deviations of so many draws beyond; but no more than may be wrong in all.
        """
        if not 1 <= count <= len(self):
            raise invalid("count", f"be in 1 ... {len(self)}", count)
        if self.n_wrong is None or self.n_wrong_low is None or self.n_wrong_high is None:
            return None
        first, most = self.order[:count], float(self.n_wrong_high)
        low, high = (sigmoid(self.score[first] + shift_to_sum(self.score, end)) for end in (float(self.n_wrong_low), most))
        ends = (p.sum() + sign * 2 * np.sqrt((p * (1 - p)).sum()) for p, sign in ((np.minimum(low, MOST_SURE), -1), (high, 1)))
        low_end, high_end = (float(np.clip(end, 0, count)) for end in ends)
        return float(self.probability[first].sum()), float(np.floor(low_end)), min(float(np.ceil(high_end)), most)

    def __repr__(self) -> str:
        found = f"{self.count_in_words} wrong, {len(self.flagged):,} flagged"
        return f"Suspects({len(self):,} labels, {self.n_classes} classes: {found})"

    def _columns(self) -> dict[str, np.ndarray]:
        names = np.array(self.classes, dtype=object)
        columns = {"id": self.ids, "label": names[self.labels], "suggested_label": names[self.suggested_label]}
        columns |= {"probability": self.probability, "reason": self.reason}
        return columns | {"score": self.score, "rank": self.rank, "is_suspect": self.is_suspect}

    def _shown(self) -> dict[str, np.ndarray]:
        return {name: values[self.order[: self.most_shown]] for name, values in list(self._columns().items())[:5]}


def shift_to_sum(odds: Values, total: float) -> float:
    """Return what must be added to log-odds so that the probabilities add up to `total`."""
    low, high = -float(odds.max()) - 60.0, -float(odds.min()) + 60.0
    shift = 0.0
    for _ in range(60):
        p = sigmoid(odds + shift)
        gap, slope = float(p.sum()) - total, float((p * (1 - p)).sum())
        if abs(gap) <= 1e-6 * max(total, 1e-3):
            break
        low, high = (low, shift) if gap > 0 else (shift, high)
        newton = shift - gap / slope if slope > 0 else low
        shift = newton if low < newton < high else (low + high) / 2
    return shift


def sigmoid(odds: Values) -> Values:
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(odds, -60.0, 60.0))))


def share_in_words(share: float) -> str:
    """Name a share that is known roughly, as the nearest of a few.

    Example:
        >>> share_in_words(0.004), share_in_words(0.21), share_in_words(0.97)
        ('hardly any', 'one in five', 'nearly all')
    """
    return min(SHARES, key=lambda one: abs(np.arcsin(np.sqrt(SHARES[one])) - np.arcsin(np.sqrt(min(1.0, share)))))


SHARES = {
    "hardly any": 0.0,
    "one in twenty": 0.05,
    "one in ten": 0.1,
    "one in five": 0.2,
    "one in three": 1 / 3,
    "half": 0.5,
    "two in three": 2 / 3,
    "four in five": 0.8,
    "nearly all": 1.0,
}
"""Of all labels, for where there is no number; compared on the scale where shares near 0 and 1 are further apart."""


def with_threshold(
    found: Suspects, margins: Float32[np.ndarray, "networks examples"], is_sample: Bool[np.ndarray, "networks examples"]
) -> Suspects:
    """Count and flag the labels whose margin is as low as that of threshold samples, in a finding that has no count.

    The interval goes from the count by the lower percentile to that by the largest sample: between these lie wrong labels that are
    learned sooner or later than most samples. Where the samples' margins overlap those of many examples there is no count, and a
    note says so. `margins` are of the assigned label, of samples of the extra class, the mean over the epochs of each network; an
    example is judged by the networks in which it was no sample.

    Source:   Pleiss et al. 2020, arXiv:2001.10528, section 4.2. Departs: the interval, which the paper has not.
    """

    def below(percentile: float) -> Bool[np.ndarray, " examples"]:
        at = [np.percentile(of[sample], percentile) for of, sample in zip(margins, is_sample, strict=True)]
        gap = np.where(is_sample, 0.0, margins - np.array(at)[:, None])
        return np.asarray(gap.sum(axis=0) < 0)

    flagged = below(THRESHOLD)
    n_wrong, low, high = (float(one.sum()) for one in (flagged, below(LOWEST), below(100)))
    if high - low > MOST_APART * len(found):
        return replace(found, notes=(*found.notes, OVERLAP))
    return replace(
        found,
        is_suspect=found.is_suspect | flagged,
        probability=sigmoid(found.score + shift_to_sum(found.score, n_wrong)),
        n_wrong=n_wrong,
        n_wrong_low=low,
        n_wrong_high=high,
        why_no_count="",
        method=METHOD,
        notes=found.notes[:-1],  # the last one says why there was no count
    )
