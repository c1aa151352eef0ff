"""What a finding says in words: on what it rests, why a label is suspect, what to beware of."""

import numpy as np

from dataprune.errors import join_some, percent
from dataprune.noise.evidence import Evidence, Labels, Values
from dataprune.noise.ground import chance_of
from dataprune.noise.suspects import NO_INTERVAL, Suspects, WhyNoCount

WHY_NO_COUNT: dict[WhyNoCount, str] = {
    "in_sample": "every network was trained on every label, wrong ones too, so wrong labels are ranked, but neither counted nor "
    "flagged; score with --folds 5 for networks that did not see them",
    "mostly_seen": "most labels have no network that did not see them, so wrong labels are ranked, but neither counted nor "
    "flagged; where the networks of some folds learned nothing, train for more epochs",
    "near_chance": "the networks name the given label of {agree} of the examples, which chance would do too ({chance}), so they "
    "tell nothing about labels: have they learned, and do their answers lie in the order of the labels?",
    "too_weak": "the networks name the given label of {agree} of the examples, too few to tell wrong labels from what they have "
    "not learned, so these are ranked, but neither counted nor flagged; train for more epochs, or look at the first of the list",
    "fits_disagree": "fits of the noise that explain the labels equally well count too differently, so wrong labels are ranked, "
    "but neither counted nor flagged; more examples or better networks would tell, or a look at a sample of the labels",
    "by_looks": "networks that had seen pictures before make people's mistakes too, so wrong labels are ranked, but neither "
    "counted nor flagged; a run with --encoder efficientnet-lite0 can count them, or a look at a sample of the labels",
}
WORTH_SAYING = 0.005
WORTH_WORDS = 0.05  # below this probability of being wrong there is nothing to say about a label


def accuracy_in_words(found: Suspects) -> str:
    """Say first what all else rests on: how often networks name a label that they did not see."""
    if found.accuracy is None:
        mostly = "most labels have no network that did not see them"
        why = mostly if found.why_no_count == "mostly_seen" else "every network was trained on every label"
        return f"Out-of-sample accuracy: unknown, {why}."
    return f"Out-of-sample accuracy: the networks name {percent(found.accuracy, 1)} of the labels that they did not see."


def counts_in_words(found: Suspects) -> str:
    """Name each count of labels once: how many are wrong, as estimated, how many are flagged, how many of these rather wrong."""
    n_flagged, n_probable = len(found.flagged), len(found.probable)
    flags = f"flagged to look at: {n_flagged:,}, {n_probable:,} of them probably wrong" if n_flagged else "none is flagged"
    if found.n_wrong is None:
        return f"wrong labels: {found.count_in_words}; {flags}; most suspect first is an order to look in, no more"
    low, high = found.n_wrong_low or 0.0, found.n_wrong_high or 0.0
    interval = f"{percent(found.n_wrong / len(found), 1)}; 95 % interval {low:,.0f} to {high:,.0f}"
    said = f"wrong labels, estimated: {found.n_wrong:,.0f} of {len(found):,} ({interval}); {flags}"
    is_unsure = found.are_few and round(low) == 0
    if low < n_probable:
        said += f"; percentages beside single labels assume {found.n_wrong:,.0f} wrong ones, and would be smaller with {low:,.0f}"
    few = "; a set without any would show about as much: a look at the first of the list tells which it is"
    return f"{said}{few}" if is_unsure else said


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
        return f"the probabilities give {other_name} {percent(p[other])}, {label_name} {percent(p[label])}"
    votes = evidence.votes[row]
    total = int(votes.sum())
    if not votes[other]:  # no network names it; their probabilities do, beside others
        said = f"no network of {total} says {other_name}, {_number(int(votes[label]))} of them {label_name}"
        return said + right_with(other_name, sure)
    new = np.zeros(1, int) if evidence.out_of_sample_votes is None else evidence.out_of_sample_votes[row].astype(int)
    if new.any() and votes[other] <= votes[label]:  # outvoted by networks that were trained on the label
        n_new, seen = int(new.sum()), int(votes[label] - new[label])
        who = "the network" if n_new == 1 else f"{_number(int(new[other]))} of the {n_new} networks"
        name = other if n_new > 1 else int(new.argmax())
        said = f"{who} that did not see it say{'s' if n_new == 1 else ''} {evidence.classes[name]}"
        said += f", {_number(seen)} of the {total - n_new} trained on it say {label_name}"
        return said + right_with(other_name, sure)
    agreeing = "all" if votes[other] == total else str(int(votes[other]))
    said = f"{agreeing} of {total} networks say {other_name}, {_number(int(votes[label]))} {label_name}"
    rest = total - int(votes[other]) - int(votes[label])
    said += f", {rest} something else" if rest >= max(1, votes[other]) else ""
    return said + right_with(other_name, sure)


def right_with(name: str, share: float) -> str:
    """End a reason: how surely the suggested label is right; with less than half a percent, or without a number of wrong labels
    (0), nothing."""
    return f"; {name} is right with {percent(share)}" if share >= WORTH_SAYING else ""


def _number(count: int) -> str:
    return "none" if count == 0 else str(count)


def method_of(evidence: Evidence) -> str:
    said = {
        "out": "probabilities taken as those of networks that did not see the example",
        "in": "in-sample: networks that were trained on the labels",
        "both": "out-of-sample: networks that did not see the example; in-sample: networks that did, weighed by what the first say",
    }[evidence.sampling]
    return said if not evidence.retrained else f"{said}; half of them or more trained again without suspects"


def notes_of(evidence: Evidence, why: WhyNoCount) -> tuple[str, ...]:
    notes = list(evidence.notes)
    counts = np.bincount(evidence.labels, minlength=evidence.n_classes)
    never = [evidence.classes[index] for index in np.flatnonzero(counts == 0)]
    if never:
        notes.append(f"no example is labelled {join_some(map(repr, never), most=3)}")
    if evidence.pretrained and why not in (*NO_INTERVAL, "by_looks"):
        seen = "networks that had seen pictures before miss much of what people mistake"
        notes.append(f"{seen}: the count may be far too low, and its upper end is no lower than the labels that they do not name")
    if why:
        agree, chance = percent(evidence.agreement), percent(chance_of(evidence))
        notes.append(WHY_NO_COUNT[why].format(agree=agree, chance=chance))
    return tuple(notes)
