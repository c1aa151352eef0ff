"""Whether evidence carries a number of wrong labels, or an order to look in and no more."""

from dataclasses import dataclass

import numpy as np

from dataprune.noise.evidence import Evidence
from dataprune.noise.suspects import WhyNoCount

# Of the labels that are right by the estimate, networks of others must name so many: those that name fewer were believed too much
# on pictures of CIFAR-10, see docs/log.md. Of our own, whose share of learned noise is known, fewer do.
LEAST_NAMED = 0.7
LEAST_NAMED_BOTH = 0.5  # where networks that saw the label speak too: set, not fitted
# ... and of few labels, which networks learn by heart, more of those that are right where they name few of all: of 400 photographs
# they named .60, which was .90 and .79 of what is right by the estimate, and told 132 and 98 wrong where 20 and none were, of 1,200
# .71, which was .77, and told 99 where hardly any were; set by these three.
FEW, FEW_NAMED, LEAST_NAMED_FEW, BY_HEART = 2_000, 0.75, 0.93, 0.95
# Networks that had seen pictures before make people's mistakes: of human labels they explained 5 to 14 % of those that they miss by
# noise where half or more were wrong, in one case 35 %; of labels made wrong at random 59 %. Set between, by these.
LEAST_EXPLAINED = 0.25
MOST_WIDTH = 0.5  # of all labels: a wider interval is no number
CHANCE_ERRORS = 3.0  # standard errors above chance, below which networks are said to tell nothing


@dataclass(frozen=True)
class Estimate:
    """How many labels are wrong, a 95 % interval, and whether most of its width is that of the fits, not of the networks."""

    n_wrong: float
    low: float
    high: float
    is_of_fits: bool


def chance_of(evidence: Evidence) -> float:
    """Return how many labels the networks would name if what they name did not depend on the example."""
    named = np.bincount(evidence.probabilities.argmax(axis=1), minlength=evidence.n_classes)
    return float(named @ np.bincount(evidence.labels, minlength=evidence.n_classes)) / len(evidence) ** 2


def why_no_count(evidence: Evidence, estimate: Estimate) -> WhyNoCount:
    """Return why the evidence carries no number of wrong labels; "" where it does."""
    chance = chance_of(evidence)
    if evidence.sampling == "in":
        return "mostly_seen" if evidence.mostly_seen else "in_sample"
    named = evidence.agreement
    if named <= chance + CHANCE_ERRORS * np.sqrt(chance * (1 - chance) / len(evidence)):
        return "near_chance"
    of_right = named * len(evidence) / max(1.0, len(evidence) - estimate.n_wrong)
    least = LEAST_NAMED if evidence.sampling == "out" else LEAST_NAMED_BOTH
    if len(evidence) < FEW and named < FEW_NAMED:
        seen = evidence.in_sample  # whose networks know their labels by heart, or left out those that they do not
        if evidence.retrained or (seen is not None and float((seen.argmax(axis=1) == evidence.labels).mean()) > BY_HEART):
            least = LEAST_NAMED_FEW
    if estimate.n_wrong > len(evidence) / 2 or of_right < least:
        return "too_weak"
    if estimate.high - estimate.low > MOST_WIDTH * len(evidence):
        return "fits_disagree" if estimate.is_of_fits else "too_weak"
    if evidence.pretrained and estimate.n_wrong < LEAST_EXPLAINED * (1 - named) * len(evidence):
        return "by_looks"
    return ""
