"""What the networks of a trace say of every label, as evidence for `dataprune.noise`."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

from dataprune.noise import Evidence, Suspects
from dataprune.noise.evidence import resisting
from dataprune.run.run import Run
from dataprune.trace import Trace
from dataprune.training.recipes import PRETRAINED

LOWEST = 1e-4  # of a probability, before its logarithm; half precision, in which they are stored, knows little below
LEFT_OUT = 0.5  # from this probability of being wrong on a label is not trained on again
MOST_LEFT_OUT = 0.5  # of the examples of a label: a class stays one


def evidence_of(run: Run) -> Evidence:
    """Gather what the networks of a run say, those of later rounds apart from the first."""
    found = evidence_of_rounds(run.trace, *_rounds_of(run), run.classes)
    found = replace(found, pretrained=run.manifest.spec.model == PRETRAINED)
    unseen, recipe = (found.count_from or found).out_of_sample, run.manifest.spec.recipe
    if recipe is None or recipe.weight_decay is not None or unseen is None:
        return found
    # A probe that does not memorise gives in on what it saw, which looks like agreement: only members that did not see it count.
    return replace(found, count_from=Evidence(found.labels, out_of_sample=unseen, ids=found.ids, classes=found.classes, ours=True))


def evidence_of_rounds(trace: Trace, numbers: Sequence[int], round_size: int, classes: tuple[str, ...] = ()) -> Evidence:
    """Gather from the trace of one round or more what a finding reads; `numbers` are those of the members that learned. A later
    round leaves suspects out of its folds. To ask for each example the same number of networks, suspect or not, those whose fold it
    is in count as not trained on it."""
    first = [place for place, number in enumerate(numbers) if number < round_size]
    retrained = len(first) not in (0, len(numbers))
    count_from = evidence_of_trace(trace.of_members(first) if retrained else trace, classes)
    if not retrained:
        return evidence_of_trace(trace, classes, mirrored=True, count_from=count_from) if trace.has_mirrored else count_from
    dealt = _dealt(trace, numbers, round_size)
    return evidence_of_trace(trace, classes, dealt, mirrored=True, count_from=count_from, retrained=True)


def dealt_of(run: Run) -> Bool[np.ndarray, "members examples"]:
    """Return which examples lie in the folds that each network was dealt, those that a later round left out among them."""
    return _dealt(run.trace, *_rounds_of(run))


def _rounds_of(run: Run) -> tuple[list[int], int]:
    return [member.member for member in run.manifest.learned], run.manifest.spec.round_size


def _dealt(trace: Trace, numbers: Sequence[int], round_size: int) -> Bool[np.ndarray, "members examples"]:
    dealt, place_of = trace.trained_on.copy(), {number: place for place, number in enumerate(numbers)}
    for place, number in enumerate(numbers):
        dealt[place] = dealt[place_of.get(number % round_size, place)]
    return dealt


def evidence_of_trace(
    trace: Trace,
    classes: tuple[str, ...] = (),
    dealt: Bool[np.ndarray, "members examples"] | None = None,
    *,
    mirrored: bool = False,
    count_from: Evidence | None = None,
    retrained: bool = False,
) -> Evidence:
    """Gather from a trace what a finding reads. Where a member failed, some examples may have no network that did not see them, or
    none that did: if these are the fewer, the others speak for them, and a note says so; else there is no such view. `dealt` says
    which members saw which example, if not what they were trained on; with `mirrored` what members say of mirror images counts
    too."""
    knew = trace.trained_on if dealt is None else dealt
    is_new, is_known = np.asarray((~knew).any(axis=0)), np.asarray(knew.any(axis=0))
    has_out, has_in = 2 * is_new.sum() >= len(is_new), 2 * is_known.sum() >= len(is_known)
    shape, count = (trace.n_examples, trace.n_classes), np.min_scalar_type(trace.n_members)
    # Of a thousand classes each of these may be gigabytes: made where it is read, once.
    out_of_sample, in_sample = (np.empty(shape if some.any() else (0, 0), np.float32) for some in (is_new, is_known))
    votes, out_of_sample_votes = np.empty(shape, count), np.empty(shape if has_out else (0, 0), count)
    margin, start = np.empty(trace.n_examples), 0
    for chunk in trace.chunks():
        some = slice(start, start + len(chunk))
        unseen, seen, margin[some], votes[some], unseen_votes = _gathered(chunk, knew[:, some], mirrored)
        for table, values in ((out_of_sample, unseen), (in_sample, seen), (out_of_sample_votes, unseen_votes)):
            if len(table):
                table[some] = values
        start = some.stop
    notes: list[str] = []

    def note(lacking: Bool[np.ndarray, " examples"], lacked: str, others: str) -> None:
        share = f"{int(lacking.sum()):,} of {len(lacking):,} examples"
        notes.append(f"{share} have no network that {lacked}; those that {others} speak for them")

    if has_in and not is_known.all():
        in_sample[~is_known] = out_of_sample[~is_known]
        note(~is_known, "saw them in training", "did not")
    if has_out and not is_new.all():
        out_of_sample[~is_new] = resisting(in_sample[~is_new], trace.labels[~is_new], margin[~is_new])
        note(~is_new, "did not see them", "did")
    return Evidence(
        trace.labels,
        out_of_sample=out_of_sample if has_out else None,
        in_sample=in_sample if has_in else None,
        margin=margin if has_in else None,
        votes=votes,
        out_of_sample_votes=out_of_sample_votes if has_out else None,
        ids=trace.ids,
        classes=classes,
        notes=tuple(notes),
        count_from=count_from,
        retrained=retrained,
        mostly_seen=not has_out and bool(is_new.any()),
    )


def excluded(found: Suspects) -> Bool[np.ndarray, " examples"]:
    """Return which examples the next round is not trained on: the probably wrong ones, of a label at most half, the surest. None
    where the evidence carries no number of wrong labels."""
    suspect = (found.probability >= LEFT_OUT) & (found.n_wrong is not None)
    for label in np.unique(found.labels):
        rows = np.flatnonzero(suspect & (found.labels == label))
        most = int(MOST_LEFT_OUT * (found.labels == label).sum())
        suspect[rows[np.argsort(-found.probability[rows], kind="stable")[most:]]] = False
    return suspect


def _gathered(
    chunk: Trace, knew: Bool[np.ndarray, "members some"], mirrored: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return for some examples: probabilities of members that did not see them, of those that did, the latter's margin, votes. NaN
    where there is no such member; but the margin is then that of those that there are."""
    logs = np.zeros((2, chunk.n_examples, chunk.n_classes))
    for member in range(chunk.n_members):
        log_p = np.log(np.maximum(chunk.member_probabilities(member, mirrored=mirrored), LOWEST))
        logs[0] += log_p * ~knew[member][:, None]
        logs[1] += log_p * knew[member][:, None]
    rows, votes = np.arange(chunk.n_examples), np.zeros((2, chunk.n_examples, chunk.n_classes), np.int64)
    for member, named in enumerate(chunk.last("predicted")):
        votes[0, rows, named] += 1
        votes[1, rows, named] += ~knew[member]
    speaks = knew | ~knew.any(axis=0)
    margin = (chunk.channel("margin").mean(axis=1, dtype=np.float64) * speaks).sum(axis=0) / speaks.sum(axis=0)
    return _geometric(logs[0], (~knew).sum(axis=0)), _geometric(logs[1], knew.sum(axis=0)), margin, votes[0], votes[1]


def _geometric(
    logs: Float64[np.ndarray, "some classes"], members: Int64[np.ndarray, " some"]
) -> Float32[np.ndarray, "some classes"]:
    mean = logs / np.where(members == 0, np.nan, members)[:, None]
    p = np.exp(mean - mean.max(axis=1, keepdims=True))
    return np.asarray(p / p.sum(axis=1, keepdims=True), np.float32)
