"""Codes and loss of SwAV (Caron et al. 2020, arXiv:2006.09882, sections 3.1 and 3.2), on the scores of prototypes alone."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Float32
from torch import Tensor
from torch.nn import functional


def sinkhorn(scores: Float[Tensor, "rows prototypes"], epsilon: float, iterations: int) -> Float[Tensor, "rows prototypes"]:
    """Assign rows softly to prototypes so that every prototype gets an equal share of them.

    Args:
        scores: of each row for each prototype; cosines here, so within ±1.
        epsilon: smoothness, positive; small is nearly a hard assignment.
        iterations: of dividing columns and rows in turn.

    Returns:
        Rows that sum to 1; columns sum to about rows / prototypes.

    Source:
        Cuturi 2013, arXiv:1306.0895; Caron et al. 2020, equation 5 and its code in listing 1. In double precision: exp(2 / 0.05) is
        beyond half precision, and the sums over columns lose single rows in single precision.

    Example:
        >>> sinkhorn(torch.tensor([[1.0, 0.0], [0.0, 1.0]]), 0.5, 3).round(decimals=3).tolist()
        [[0.881, 0.119], [0.119, 0.881]]
    """
    wide = (scores.float() if scores.device.type == "mps" else scores.double()) / epsilon  # an MPS device has no double
    q = torch.exp(wide - wide.max())
    for _ in range(iterations):
        q = q / q.sum(0, keepdim=True).clamp(min=torch.finfo(q.dtype).tiny)
        q = q / q.sum(1, keepdim=True).clamp(min=torch.finfo(q.dtype).tiny)
    return q


def swapped_loss(
    scores: Sequence[Float32[Tensor, "batch prototypes"]], codes: Sequence[Float[Tensor, "batch prototypes"]], temperature: float
) -> Float32[Tensor, ""]:
    """Return how badly each view predicts the codes of the others, as cross-entropy.

    Args:
        scores: of every view; the first ones are those that have codes.
        codes: of the first views.
        temperature: of the softmax over a view's scores.

    Returns:
        The mean over codes and over the views that are not the code's own.
    """
    log_p = [functional.log_softmax(one / temperature, dim=1) for one in scores]
    total = scores[0].new_zeros(())
    for own, code in enumerate(codes):
        wanted = code.to(log_p[0].dtype)
        others = [one for view, one in enumerate(log_p) if view != own]
        total = total - torch.stack([(wanted * one).sum(1).mean() for one in others]).mean()
    return total / len(codes)
