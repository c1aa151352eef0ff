"""When does which part of the training set come in?"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Int64

from dataprune.errors import invalid
from dataprune.training.fit import batches_of
from dataprune.training.staged import Stage, stage_of_steps, whole_stage

Schedule = Sequence[tuple[int, float]]
"""(epochs, share of the examples) of each stage."""


def scaled(schedule: Schedule, epochs: int) -> tuple[tuple[int, float], ...]:
    """Bring a schedule to another number of epochs, its stages in proportion; a stage that gets none is left out.

    Example:
        >>> scaled([(10, 0.5), (10, 0.75), (20, 1.0)], 8)
        ((2, 0.5), (2, 0.75), (4, 1.0))
    """
    ends = np.floor(np.cumsum([length for length, _ in schedule]) * epochs / sum(length for length, _ in schedule) + 0.5)
    lengths = np.diff(ends, prepend=0).astype(int).tolist()
    return tuple((length, share) for length, (_, share) in zip(lengths, schedule, strict=True) if length)


def stages_by(
    masks: Sequence[Bool[np.ndarray, " examples"]], epochs: Sequence[int], *, budget: str, batch: int, n_all: int
) -> tuple[Stage, ...]:
    """Return the stages that train on each mask for so many epochs, or for the steps of so many epochs on everything.

    Args:
        masks: which rows are trained on, stage by stage.
        epochs: of each.
        budget: `epochs` or `steps`.
        batch: examples a step.
        n_all: how many examples everything is.
    """
    stages = []
    for mask, length in zip(masks, epochs, strict=True):
        if int(mask.sum()) < 2:
            raise invalid("keep", "leave at least 2 examples to train on", int(mask.sum()), "Keep more.")
        if budget == "epochs":
            stages.append(whole_stage(mask, length, batch))
        else:
            stages.append(stage_of_steps(mask, length * batches_of(n_all, batch), batch))
    return tuple(stages)


def growing(
    order: Int64[np.ndarray, " pool"], shares: Sequence[float], n_examples: int
) -> tuple[Bool[np.ndarray, " examples"], ...]:
    """Return the masks of an order's first shares.

    Args:
        order: rows, in the order in which they come in.
        shares: of the rows, in (0, 1].
        n_examples: the length of a mask.
    """
    masks = []
    for share in shares:
        mask = np.zeros(n_examples, bool)
        mask[order[: max(1, int(np.floor(share * len(order) + 0.5)))]] = True
        masks.append(mask)
    return tuple(masks)
