"""The table SCORES, and the scores that a trace allows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from dataprune.errors import InputError, invalid, unknown_choice
from dataprune.plugins import call, load
from dataprune.scores import dynamics, ensemble
from dataprune.scores.score import Score, Scores
from dataprune.trace import Trace

TraceScore = Callable[[Trace], Float64[np.ndarray, " examples"]]


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

    function: TraceScore
    harder: int
    formula: str
    needs: str
    source: str


_SWAYAMDIPTA = "Swayamdipta et al. 2020, arXiv:2009.10795"
_TONEVA = "Toneva et al. 2019, arXiv:1812.05159"
_PAUL = "Paul et al. 2021, arXiv:2107.07075"
_OURS = "the report on CIFAR and vegetables, 2023"

SCORES: dict[str, ScoreSpec] = {
    "el2n": ScoreSpec(ensemble.el2n, 1, "mean over members of ‖p − onehot(label)‖₂, last epoch", "a trace", _PAUL),
    "std": ScoreSpec(ensemble.std, 1, "Σ over classes of the std of p over members, last epoch", "two members", _OURS),
    "pred_sum": ScoreSpec(ensemble.pred_sum, -1, "members that predict the label, last epoch", "a trace", _OURS),
    "flip": ScoreSpec(dynamics.flip, 1, "changes of the predicted class between epochs, mean over members", "two epochs", _OURS),
    "forget": ScoreSpec(dynamics.forget, 1, "right, then wrong; never learned counts 0; mean over members", "two epochs", _TONEVA),
    "forget_toneva": ScoreSpec(
        dynamics.forget_toneva, 1, "right, then wrong; never learned counts T; mean over members", "two epochs", _TONEVA
    ),
    "confidence": ScoreSpec(dynamics.confidence, -1, "mean of p(label) over epochs and members", "a trace", _SWAYAMDIPTA),
    "variability": ScoreSpec(dynamics.variability, 1, "std of p(label) over epochs, mean over members", "two epochs", _SWAYAMDIPTA),
    "correctness": ScoreSpec(dynamics.correctness, -1, "share of epochs with the label predicted", "a trace", _SWAYAMDIPTA),
    "aum": ScoreSpec(
        dynamics.aum,
        -1,
        "mean over epochs and members of logit(label) − best other",
        "a trace",
        "Pleiss et al. 2020, arXiv:2001.10528",
    ),
    "grand": ScoreSpec(
        ensemble.grand, 1, "mean over members of ‖p − onehot(label)‖₂ · √(‖h‖² + 1), last epoch", "the last layer's inputs", _PAUL
    ),
    "entropy": ScoreSpec(
        ensemble.entropy, 1, "mean over members of −Σ p log p, last epoch", "a trace", "Coleman et al. 2020, arXiv:1906.11829"
    ),
}


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
    values: dict[str, list[np.ndarray]] = {name: [] for name in specs}
    for chunk in trace.chunks():
        for name, spec in specs.items():
            if name in absent:
                continue
            try:
                part = np.asarray(spec.function(chunk))
            except InputError as reason:
                absent[name] = str(reason)
                continue
            if part.shape != (chunk.n_examples,):
                raise invalid(f"score '{name}'", f"give {chunk.n_examples} numbers for as many examples", f"shape {part.shape}")
            values[name].append(part)
    about = {"ids": trace.ids if ids is None else ids, "labels": trace.labels}
    present = [
        Score(name, np.concatenate(values[name]), spec.harder, **about) for name, spec in specs.items() if name not in absent
    ]
    return Scores(present, absent)


def _spec(name: str) -> ScoreSpec:
    if name in SCORES:
        return SCORES[name]
    if ":" not in name:
        raise unknown_choice("score", name, SCORES)
    harder = int(getattr(load(name), "harder", 1))
    return ScoreSpec(lambda trace: call(name, trace), harder, f"see {name}", "a trace", name)
