"""Labels that contradict each other on identical examples, and what that makes of them as suspects."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float64, Int64

from dataprune.noise.suspects import Suspects

ID_LETTERS = 40  # of an id in a reason; of a longer one the middle is cut


@dataclass(frozen=True, eq=False)
class Conflicts:
    """Examples whose exact doubles are labelled otherwise, except where most doubles agree with their own label."""

    rows: Int64[np.ndarray, " conflicts"]
    others: Int64[np.ndarray, " conflicts"]  # row of a double with another label: the first with the suggested one
    suggested_label: Int64[np.ndarray, " conflicts"]  # the commonest among the doubles, other than its own; the smallest of several
    probability: Float64[
        np.ndarray, " conflicts"
    ]  # that its own is wrong: the share of its doubles, with itself, labelled otherwise


def conflicts(first: Int64[np.ndarray, " examples"], labels: Int64[np.ndarray, " examples"]) -> Conflicts:
    """Find the examples that contradict identical ones, whose `first` is as `identical` gives it.

    Example:
        >>> found = conflicts(np.array([0, 1, 0, 0]), np.array([2, 1, 2, 5]))
        >>> found.rows.tolist(), found.suggested_label.tolist(), found.probability.round(2).tolist()
        ([3], [2], [0.67])
    """
    order = np.argsort(first, kind="stable")
    rows, others, suggested, probability = [], [], [], []
    for group in np.split(order, np.flatnonzero(np.diff(first[order])) + 1):
        own = labels[group]
        if len(group) == 1 or (own == own[0]).all():
            continue
        names, counts = np.unique(own, return_counts=True)
        for row, label in zip(group.tolist(), own.tolist(), strict=True):
            agreeing = int(counts[names == label][0])
            if 2 * agreeing > len(group):
                continue
            other = int(names[np.where(names == label, 0, counts).argmax()])
            rows.append(row)
            others.append(int(group[own == other][0]))
            suggested.append(other)
            probability.append(1 - agreeing / len(group))
    place = np.argsort(np.array(rows, np.int64), kind="stable")
    at, twins, names = (np.array(values, np.int64)[place] for values in (rows, others, suggested))
    return Conflicts(at, twins, names, np.array(probability, np.float64)[place])


def with_conflicts(found: Suspects, against: Conflicts) -> Suspects:
    """Make suspects of the examples that contradict identical ones, with the reason in words.

    Of the two labels one at most is right. What the finding says of each is weighed against the other: with odds a and b of being
    wrong, a / (a + b). An example that the finding holds for worse than that stays as it is, but for the reason.
    """
    if not len(against.rows):
        return found
    odds = np.exp(found.score.clip(-30, 30))
    own, other = odds[against.rows], odds[against.others]
    shared = np.maximum(own / (own + other), found.probability[against.rows]).clip(1e-9, 1 - 1e-9)
    said = []
    for row, twin, label in zip(against.rows.tolist(), against.others.tolist(), against.suggested_label.tolist(), strict=True):
        reason = f"identical to {_short(str(found.ids[twin]))}, which is labelled {found.classes[label]}"
        said.append(f"{reason}; {found.reason[row]}" if found.reason[row] else reason)
    changes = {
        "probability": shared,
        "score": np.log(shared / (1 - shared)),
        "suggested_label": against.suggested_label,
        "suggested_probability": shared,
        "is_suspect": True,
        "reason": said,
        "contradicted_by": against.others,
    }
    found = replace(found, contradicted_by=np.full(len(found), -1, np.int64))
    for name, values in changes.items():
        if getattr(found, name) is not None:
            column = getattr(found, name).copy()
            column[against.rows] = values
            found = replace(found, **{name: column})
    return found


def _short(name: str) -> str:
    half = ID_LETTERS // 2
    return name if len(name) <= ID_LETTERS else f"{name[: half - 1]}...{name[-half + 2 :]}"
