"""Scores of a trace, each a function that gives one number an example; the table SCORES of them, and all that a trace allows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64

from dataprune.errors import InputError, invalid, unknown_choice
from dataprune.plugins import call, load
from dataprune.scores.score import Score, Scores
from dataprune.trace import Trace

Values = Float64[np.ndarray, " examples"]

# How the answer to an example changed from epoch to epoch; means over members.


def flip(trace: Trace) -> Values:
    """Count how often the predicted class changes from one epoch to the next, right or wrong: 0 ... T − 1."""
    _check_epochs(trace, "flip")
    predicted = trace.channel("predicted")
    return np.asarray((predicted[:, 1:] != predicted[:, :-1]).sum(axis=1, dtype=np.float64).mean(axis=0))


def forget(trace: Trace) -> Values:
    """Count how often an example is right after one epoch and wrong after the next: 0 ... T / 2.

    An example that was never right was never forgotten and counts 0, like one that was always right, so unlearnable or wrongly
    labelled examples are not among the hardest; `forget_toneva` puts them first.

    Departs: never learned counts 0; counted from epoch to epoch over the recorded passes, not each time an example is in a batch.
    """
    _check_epochs(trace, "forget")
    return np.asarray(_n_forgotten(_right(trace)).mean(axis=0))


def forget_toneva(trace: Trace) -> Values:
    """Count how often an example is forgotten, where one that a member never got right counts T, more than any other can: 0 ... T.

    Departs: T in place of infinity, so that a mean over members exists; counted from epoch to epoch over the recorded passes.
    """
    _check_epochs(trace, "forget_toneva")
    right = _right(trace)
    return np.asarray(np.where(right.any(axis=1), _n_forgotten(right), float(trace.n_epochs)).mean(axis=0))


def confidence(trace: Trace) -> Values:
    """Average the label's probability over epochs and members."""
    return np.asarray(trace.channel("p_label").mean(axis=(0, 1), dtype=np.float64))


def variability(trace: Trace) -> Values:
    """Measure how much the label's probability moves: its standard deviation over epochs (divided by T), in [0, 0.5].

    Large are ambiguous examples; those that are always wrong have little.
    """
    _check_epochs(trace, "variability")
    return np.asarray(trace.channel("p_label").std(axis=1, dtype=np.float64).mean(axis=0))


def correctness(trace: Trace) -> Values:
    """Measure the share of epochs after which the label is predicted. Departs: a share, not a count."""
    return np.asarray(_right(trace).mean(axis=(0, 1), dtype=np.float64))


def aum(trace: Trace) -> Values:
    """Average the margin, the label's logit minus the largest other, over all epochs and members ("area under the margin").

    In logits, negative where mostly another class led. Departs: one measurement after each epoch; no threshold samples.
    """
    return np.asarray(trace.channel("margin").mean(axis=(0, 1), dtype=np.float64))


# How hard an example is at the last recorded epoch.


def el2n(trace: Trace) -> Values:
    """Measure the error of the prediction as a vector: ‖p − onehot(label)‖₂, in [0, √2], the mean over members.

    Neither a sum nor a mean over epochs. Its value depends on how long was trained: scores of different numbers of epochs cannot
    be compared.

    Source: section 2. Departs: p comes from the pass over clean images after the epoch (with when="clean"), and how early that
        epoch lies and how many members are averaged (there ten) is the caller's choice.
    """
    return np.asarray(trace.last("el2n").mean(axis=0, dtype=np.float64))


def grand(trace: Trace) -> Values:
    """Measure the norm of the loss's gradient in the last layer: ‖p − onehot(label)‖₂ · √(‖h‖² + 1), the mean over members.

    h is the last layer's input, the 1 its bias. Source: section 2. Departs: the gradient of the last layer, not of all weights.
    """
    return np.asarray(trace.last("grand").mean(axis=0, dtype=np.float64))


def entropy(trace: Trace) -> Values:
    """Measure how undecided the members are: −Σ p log p in nats, in [0, log K], the mean over members.

    The mean of the members' entropies, not the entropy of their mean: members that are sure of different classes count 0 here (and
    high in `std`). The label plays no part.
    """
    return np.asarray(trace.last("entropy").mean(axis=0, dtype=np.float64))


def std(trace: Trace) -> Values:
    """Measure how much members disagree: the unbiased standard deviation of p over members, summed over classes.

    The label plays no part.
    """
    if trace.n_members < 2:
        raise InputError("std needs two members that learned, got 1. Train with more --members.")
    mean = np.zeros((trace.n_examples, trace.n_classes))
    squares = np.zeros_like(mean)
    for member in range(trace.n_members):  # one member in memory at a time (Welford 1962)
        p = trace.member_probabilities(member).astype(np.float64)
        before = p - mean
        mean += before / (member + 1)
        squares += before * (p - mean)
    return np.asarray(np.sqrt(squares / (trace.n_members - 1)).sum(axis=1))


def pred_sum(trace: Trace) -> Values:
    """Count the members that predict the label ("true prediction sum"): 0 ... E."""
    return np.asarray((trace.last("predicted") == trace.labels).sum(axis=0, dtype=np.float64))


def _right(trace: Trace) -> Bool[np.ndarray, "members epochs examples"]:
    return np.asarray(trace.channel("predicted") == trace.labels)


def _n_forgotten(right: Bool[np.ndarray, "members epochs examples"]) -> Float64[np.ndarray, "members examples"]:
    return np.asarray((right[:, :-1] & ~right[:, 1:]).sum(axis=1, dtype=np.float64))


def _check_epochs(trace: Trace, name: str) -> None:
    if trace.n_epochs < 2:
        raise InputError(f"{name} needs two epochs, got {trace.n_epochs}. Train with --epochs 2 or more.")


@dataclass(frozen=True)
class ScoreSpec:
    """A score of a trace: how it is computed and what it means.

    Attributes:
        function: of a `Trace`, called on chunks of examples; gives one number an example.
        harder: +1 if larger values are harder, -1 if smaller ones are.
        formula: in one line.
        needs: what the trace must hold, in words.
        source: where the score comes from.
    """

    function: Callable[[Trace], Values]
    harder: int
    formula: str
    needs: str
    source: str


_COLEMAN = "Coleman et al. 2020, arXiv:1906.11829"
_PAUL = "Paul et al. 2021, arXiv:2107.07075"
_PLEISS = "Pleiss et al. 2020, arXiv:2001.10528"
_SWAYAMDIPTA = "Swayamdipta et al. 2020, arXiv:2009.10795"
_TONEVA = "Toneva et al. 2019, arXiv:1812.05159"
_OURS = "the report on CIFAR and vegetables, 2023"
_GRAND = "mean over members of ‖p − onehot(label)‖₂ · √(‖h‖² + 1), last epoch"

SCORES: dict[str, ScoreSpec] = {
    "el2n": ScoreSpec(el2n, 1, "mean over members of ‖p − onehot(label)‖₂, last epoch", "a trace", _PAUL),
    "std": ScoreSpec(std, 1, "Σ over classes of the std of p over members, last epoch", "two members", _OURS),
    "pred_sum": ScoreSpec(pred_sum, -1, "members that predict the label, last epoch", "a trace", _OURS),
    "flip": ScoreSpec(flip, 1, "changes of the predicted class between epochs, mean over members", "two epochs", _OURS),
    "forget": ScoreSpec(forget, 1, "right, then wrong; never learned counts 0; mean over members", "two epochs", _TONEVA),
    "forget_toneva": ScoreSpec(
        forget_toneva, 1, "right, then wrong; never learned counts T; mean over members", "two epochs", _TONEVA
    ),
    "confidence": ScoreSpec(confidence, -1, "mean of p(label) over epochs and members", "a trace", _SWAYAMDIPTA),
    "variability": ScoreSpec(variability, 1, "std of p(label) over epochs, mean over members", "two epochs", _SWAYAMDIPTA),
    "correctness": ScoreSpec(correctness, -1, "share of epochs with the label predicted", "a trace", _SWAYAMDIPTA),
    "aum": ScoreSpec(aum, -1, "mean over epochs and members of logit(label) − best other", "a trace", _PLEISS),
    "grand": ScoreSpec(grand, 1, _GRAND, "the last layer's inputs", _PAUL),
    "entropy": ScoreSpec(entropy, 1, "mean over members of −Σ p log p, last epoch", "a trace", _COLEMAN),
}
"""Direction, needs and source of each score stand here, not at its function."""


def score_trace(trace: Trace, names: Sequence[str] | None = None, ids: np.ndarray | None = None) -> Scores:
    """Compute scores from a trace, reading it in chunks.

    Args:
        trace: of members that may be scored.
        names: of the table `SCORES`, or `"module:function"`: a function of a `Trace` that gives one number an example, called on
            chunks of examples; its attribute `harder` (default 1) is its direction. All of the table if not given.
        ids: (N,) the examples' names; the trace's own if not given.

    Returns:
        The scores; in `.absent` those that this trace does not allow, with the reason.

    Raises:
        InputError: an unknown name, or a function of yours that gives NaN or too few numbers.
    """
    specs = {name: _spec(name) for name in (SCORES if names is None else names)}
    absent: dict[str, str] = {}
    parts: dict[str, list[np.ndarray]] = {name: [] for name in specs}
    for chunk in trace.chunks():
        for name in [one for one in specs if one not in absent]:
            try:
                part = np.asarray(specs[name].function(chunk))
            except InputError as reason:
                absent[name] = str(reason)
                continue
            if part.shape != (chunk.n_examples,):
                raise invalid(f"score '{name}'", f"give {chunk.n_examples} numbers for as many examples", f"shape {part.shape}")
            parts[name].append(part)
    names, ids = [name for name in specs if name not in absent], trace.ids if ids is None else ids
    return Scores([Score(name, np.concatenate(parts[name]), specs[name].harder, ids, trace.labels) for name in names], absent)


def _spec(name: str) -> ScoreSpec:
    if name in SCORES:
        return SCORES[name]
    if ":" not in name:
        raise unknown_choice("score", name, SCORES)
    harder = int(getattr(load(name), "harder", 1))
    return ScoreSpec(lambda trace: call(name, trace), harder, f"see {name}", "a trace", name)
