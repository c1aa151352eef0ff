"""Count wrong labels by threshold samples, where every network was trained on every label.

Source: Pleiss et al. 2020, arXiv:2001.10528, section 4.2. Departs: the interval, which the paper has not.
"""

from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float32

from dataprune.noise.suspects import Suspects, shift_to_sum, sigmoid

THRESHOLD, LOWEST = 99, 90  # percentiles of the samples' margins: of the paper, and of the lower end
MOST_APART = 0.1  # of all labels, between the ends of the interval: beyond it the samples are learned as right labels are
OVERLAP = "threshold samples were learned much as other examples, so they count nothing; fewer epochs, more examples or folds help"
METHOD = "in-sample, counted by threshold samples: examples learned as an extra class, as if they were wrongly labelled"


def with_threshold(
    found: Suspects, margins: Float32[np.ndarray, "networks examples"], is_sample: Bool[np.ndarray, "networks examples"]
) -> Suspects:
    """Count and flag the labels whose margin is as low as that of threshold samples, in a finding that has no count.

    Where the samples' margins overlap those of many examples there is no count, and a note says so.

    The interval goes from the count by the lower percentile to that by the largest sample: between these lie wrong labels that are
    learned sooner or later than most samples.

    Args:
        margins: of the assigned label, of samples the extra class; the mean over the epochs of each network.
        is_sample: which examples were its samples; an example is judged by the networks in which it was none.
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
