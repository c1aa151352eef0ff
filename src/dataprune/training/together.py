"""An epoch of many softmax regressions on the same vectors at once, step by step as a batched product: each as if alone."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from dataprune.precision import Precision
from dataprune.training.fit import Fit, Part
from dataprune.training.recipes import Recipe

MOST_TOGETHER = 16  # beyond, their batches leave a processor's cache
MOST_ROWS = 2**24  # of all together: their places are laid out for an epoch


def is_plain(model: str, recipe: Recipe, precision: Precision) -> bool:
    """Return whether a training is the gradient descent of a softmax regression, which may be one of several."""
    return (model, recipe.optimiser, recipe.label_smoothing, precision) == ("linear", "sgd", 0.0, "fp32")


def epoch_losses(fits: Sequence[Fit], parts: Sequence[Part], widths: Sequence[int]) -> list[float]:
    """Train each on its part of an epoch and return the mean losses; `end_epoch` is still to be called. All are plain, of one
    recipe and one width (rows of a batch, at most), and see the same inputs, which lie ready, and labels."""
    order = sorted(range(len(fits)), key=lambda at: -parts[at].taken)  # those that still have steps are the first so many
    found = _epoch([fits[at] for at in order], [parts[at] for at in order], max(widths))
    return [found[order.index(at)] for at in range(len(fits))]


@torch.no_grad()
def _epoch(fits: Sequence[Fit], parts: Sequence[Part], width: int) -> list[float]:
    first = fits[0]
    recipe, vectors, device = first.training.recipe, first.inputs.ready, first.device
    assert vectors is not None
    batches = [fit.begin_epoch(part) for fit, part in zip(fits, parts, strict=True)]
    rows, sizes, truth = _laid_out(fits, batches, width)
    layers = [next(one for one in fit.model.modules() if isinstance(one, nn.Linear)) for fit in fits]
    weight, bias = (torch.stack([getattr(layer, name) for layer in layers]) for name in ("weight", "bias"))
    velocity = [_velocity(fits, at, like) for at, like in enumerate((weight, bias))]
    rates = torch.zeros(len(rows), len(fits), 1, 1)
    for at, (fit, part) in enumerate(zip(fits, parts, strict=True)):
        rates[: part.taken, at, 0, 0] = torch.tensor([fit.rate(part, step) for step in range(part.taken)])
    rates, decay = rates.to(device), torch.tensor([fit.optimiser.decay for fit in fits], device=device)[:, None, None]
    total = torch.zeros(len(fits), device=device)
    minus, seen = -torch.ones(1, device=device), torch.empty(len(fits) * width, vectors.shape[1], device=device)
    places = torch.arange(width, device=device)
    for step in range(len(rows)):
        n = sum(part.taken > step for part in parts)
        x = torch.index_select(vectors, 0, rows[step, :n].view(-1), out=seen[: n * width]).view(n, width, -1)
        log_p = torch.bmm(weight[:n], x.transpose(1, 2)).add_(bias[:n, :, None]).log_softmax(1)
        size, known = sizes[step, :n, None, None], truth[step, :n, None]
        is_there = places < size
        total[:n] -= (log_p.gather(1, known) * is_there).sum((1, 2))
        error = log_p.exp_().scatter_add_(1, known, minus.expand(n, 1, width)).mul_(is_there / size)
        rate = rates[step, :n]
        for value, change, gradient, by in (
            (weight[:n], velocity[0][:n], torch.bmm(error, x).addcmul_(weight[:n], decay[:n]), rate),
            (bias[:n], velocity[1][:n], error.sum(2), rate[:, :, 0]),
        ):
            change.mul_(recipe.momentum).add_(gradient)
            value.addcmul_(gradient.add_(change, alpha=recipe.momentum) if recipe.nesterov else change, by, value=-1)
    for at, (fit, layer) in enumerate(zip(fits, layers, strict=True)):
        layer.weight.copy_(weight[at])
        layer.bias.copy_(bias[at])
        for slot, own in zip(fit.optimiser.slots if recipe.momentum else (), velocity, strict=False):
            slot["momentum_buffer"] = own[at].clone()
    seen_rows = [sum(map(len, one)) for one in batches]
    return [loss / count for loss, count in zip(total.tolist(), seen_rows, strict=True)]


def _laid_out(fits: Sequence[Fit], batches: Sequence[tuple[Tensor, ...]], width: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the rows of each step and training (steps, fits, width), how many are no padding, and their labels."""
    rows = torch.zeros(len(batches[0]), len(fits), width, dtype=torch.int64, device=fits[0].device)
    sizes, truth = torch.ones(rows.shape[:2], dtype=torch.int64, device=rows.device), torch.zeros_like(rows)
    for at, (fit, own) in enumerate(zip(fits, batches, strict=True)):
        padded = pad_sequence(list(own), batch_first=True)
        places = slice(len(own)), at, slice(padded.shape[1])
        truth[places] = fit.labels[padded]
        rows[places] = fit.inputs.vector_rows(padded, fit.draws())
        sizes[: len(own), at] = torch.tensor([len(batch) for batch in own], device=rows.device)
    return rows, sizes, truth


def _velocity(fits: Sequence[Fit], parameter: int, like: Tensor) -> Tensor:
    """Return the momentum of each training's weights or bias, as the optimiser has them; zeros before the first step."""
    nothing = torch.zeros_like(like[0])
    return torch.stack([fit.optimiser.slots[parameter].get("momentum_buffer", nothing) for fit in fits])
