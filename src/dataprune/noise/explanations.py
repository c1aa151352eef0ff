"""A finding in words: the reason for each label, and what the finding rests on."""

import numpy as np

from dataprune.noise.evidence import Evidence, Labels, Values

WORTH_WORDS = 0.05  # below this probability of being wrong there is nothing to say about a label


def reasons(evidence: Evidence, suggested: Labels, probability: Values, suggested_probability: Values) -> np.ndarray:
    """Return for each label that may be wrong what speaks against it; empty texts for the others."""
    texts = np.full(len(evidence), "", dtype=object)
    for row in np.flatnonzero(probability >= WORTH_WORDS).tolist():
        label, other = int(evidence.labels[row]), int(suggested[row])
        texts[row] = _reason(evidence, row, label, other, float(suggested_probability[row]))
    return texts


def _reason(evidence: Evidence, row: int, label: int, other: int, sure: float) -> str:
    label_name, other_name = evidence.classes[label], evidence.classes[other]
    if evidence.votes is None:
        p = evidence.probabilities[row]
        return f"the probabilities give {other_name} {p[other]:.0%}, {label_name} {p[label]:.0%}"
    votes = evidence.votes[row]
    total = int(votes.sum())
    said = f"{_of(int(votes[other]), total)} say {other_name} ({sure:.0%} sure), {_number(int(votes[label]))} {label_name}"
    rest = total - int(votes[other]) - int(votes[label])
    if rest >= max(1, votes[other]):
        said += f", {rest} something else"
    new = np.zeros(1) if evidence.out_of_sample_votes is None else evidence.out_of_sample_votes[row]
    if not new.any() or votes[other] > votes[label]:
        return said
    return f"{said}; of the {int(new.sum())} that did not see it {_number(int(new[other]))} {other_name}"


def _of(count: int, total: int) -> str:
    return f"{_number(count) if count != total else 'all'} of {total} networks"


def _number(count: int) -> str:
    return "none" if count == 0 else str(count)


def method_in_words(evidence: Evidence) -> str:
    """Return on what the finding rests."""
    said = {
        "out": "probabilities taken as those of networks that did not see the example",
        "in": "in-sample: networks that were trained on every label",
        "both": "out-of-sample: networks that did not see the example; in-sample: networks that did, weighed by what the first say",
    }[evidence.sampling]
    return said if not evidence.retrained else f"{said}; half of them or more trained again without suspects"
