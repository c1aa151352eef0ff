"""What do the networks of a trace say of every label?

Knows traces, folds and rounds. Reads a trace chunk by chunk; does not judge.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

from dataprune.noise import Evidence, Suspects
from dataprune.run.opened import Run
from dataprune.trace import Trace

LOWEST = 1e-4  # of a probability, before its logarithm; half precision, in which they are stored, knows little below
LEFT_OUT = 0.5  # from this probability of being wrong on a label is not trained on again
MOST_LEFT_OUT = 0.5  # of the examples of a label: a class stays one


def evidence_of(run: Run) -> Evidence:
    """Gather what the networks of a run say, those of later rounds apart from the first."""
    numbers = [m["member"] for m in run.info["members"] if m["status"] == "ok"]
    spec = run.info["spec"]  # of an older run it names no rounds
    return evidence_of_rounds(run.trace, numbers, spec["members"] // spec.get("rounds", 1), run.classes)


def evidence_of_rounds(trace: Trace, numbers: Sequence[int], round_size: int, classes: tuple[str, ...] = ()) -> Evidence:
    """Gather from the trace of one round or more what a finding reads.

    A later round leaves suspects out of its folds. To ask for each example the same number of networks, suspect or not, those count
    as not having seen it whose fold it is in.

    Args:
        trace: of the members that learned.
        numbers: of these members.
        round_size: members of a round, the first round's come first.
    """
    first = [place for place, number in enumerate(numbers) if number < round_size]
    if len(first) in (0, len(numbers)):
        return evidence_of_trace(trace, classes)
    dealt = trace.trained_on.copy()
    place_of = {number: place for place, number in enumerate(numbers)}
    for place, number in enumerate(numbers):
        dealt[place] = dealt[place_of.get(number % round_size, place)]
    return evidence_of_trace(trace, classes, dealt, evidence_of_trace(trace.of_members(first), classes))


def evidence_of_trace(
    trace: Trace,
    classes: tuple[str, ...] = (),
    dealt: Bool[np.ndarray, "members examples"] | None = None,
    first_round: Evidence | None = None,
) -> Evidence:
    """Gather from a trace what a finding reads.

    Args:
        trace: of the members that learned.
        classes: their names.
        dealt: which members saw which example; what they were trained on if not given.
        first_round: the evidence of the first round, if the trace holds more.
    """
    knew = trace.trained_on if dealt is None else dealt
    parts, start = [], 0
    for chunk in trace.chunks():
        parts.append(_gathered(chunk, knew[:, start : start + len(chunk)]))
        start += len(chunk)
    unseen, seen, margin, votes, unseen_votes = zip(*parts, strict=True)
    return Evidence(
        trace.labels,
        unseen=_whole(unseen),
        seen=_whole(seen),
        margin=_whole(margin),
        votes=_whole(votes),
        unseen_votes=_whole(unseen_votes),
        ids=trace.ids,
        classes=classes,
        first_round=first_round,
    )


def left_out(found: Suspects) -> Bool[np.ndarray, " examples"]:
    """Say which examples the next round is not trained on: the probably wrong ones, of a label at most half, the surest."""
    suspect = found.probability >= LEFT_OUT
    for label in np.unique(found.labels):
        rows = np.flatnonzero(suspect & (found.labels == label))
        most = int(MOST_LEFT_OUT * (found.labels == label).sum())
        suspect[rows[np.argsort(-found.probability[rows], kind="stable")[most:]]] = False
    return suspect


def _whole(parts: Sequence[np.ndarray | None]) -> np.ndarray | None:
    """Join what was gathered chunk by chunk; nothing, where it lacks for some example."""
    there = [part for part in parts if part is not None]
    return np.concatenate(there) if len(there) == len(parts) else None


def _gathered(
    chunk: Trace, knew: Bool[np.ndarray, "members some"]
) -> tuple[
    Float32[np.ndarray, "some classes"] | None,
    Float32[np.ndarray, "some classes"] | None,
    Float64[np.ndarray, " some"] | None,
    Int64[np.ndarray, "some classes"],
    Int64[np.ndarray, "some classes"],
]:
    """Give for some examples: probabilities of members that did not see them, of those that did, the latter's margin, votes."""
    n_knew = knew.sum(axis=0)
    logs = np.zeros((2, chunk.n_examples, chunk.n_classes))
    for member in range(chunk.n_members):
        log_p = np.log(np.maximum(chunk.member_probabilities(member), LOWEST))
        logs[0] += log_p * ~knew[member][:, None]
        logs[1] += log_p * knew[member][:, None]
    rows, votes = np.arange(chunk.n_examples), np.zeros((2, chunk.n_examples, chunk.n_classes), np.int64)
    for member, named in enumerate(chunk.last("predicted")):
        votes[0, rows, named] += 1
        votes[1, rows, named] += ~knew[member]
    seen, margin = None, None
    if (n_knew > 0).all():
        seen = _geometric(logs[1], n_knew)
        margin = (chunk.channel("margin").mean(axis=1, dtype=np.float64) * knew).sum(axis=0) / n_knew
    n_new = chunk.n_members - n_knew
    return (_geometric(logs[0], n_new) if (n_new > 0).all() else None), seen, margin, votes[0], votes[1]


def _geometric(
    logs: Float64[np.ndarray, "some classes"], members: Int64[np.ndarray, " some"]
) -> Float32[np.ndarray, "some classes"]:
    mean = logs / members[:, None]
    p = np.exp(mean - mean.max(axis=1, keepdims=True))
    return np.asarray(p / p.sum(axis=1, keepdims=True), np.float32)
