"""One network, trained without labels by SwAV (Caron et al. 2020, arXiv:2006.09882): epoch by epoch, so that it can be resumed."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor, nn
from torch.nn import functional

from dataprune.errors import InputError
from dataprune.precision import autocast
from dataprune.streams import generator
from dataprune.training.fit import FeatureTap, Fitting, load_weights, torch_stream
from dataprune.training.inputs import Inputs, map_batches
from dataprune.training.models import build, check_name, last_linear, proxy
from dataprune.training.recipes import batches_of, rate_at
from dataprune.training.swav import views
from dataprune.training.swav.recipe import Swav, SwavRecipe


def sinkhorn(scores: Float[Tensor, "rows prototypes"], epsilon: float, iterations: int) -> Float[Tensor, "rows prototypes"]:
    """Assign rows softly to prototypes: rows sum to 1, and every prototype gets about an equal share of them.

    A small `epsilon` is nearly a hard assignment; in each iteration columns and rows are divided in turn.

    Source:   Cuturi 2013, arXiv:1306.0895; Caron et al. 2020, equation 5 and its code in listing 1. In double precision: exp(2 /
              0.05) is beyond half precision, and the sums over columns lose single rows in single precision.
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
    """Return how badly each view predicts the codes of the others: cross-entropy, the mean over codes and over other views."""
    log_p = [functional.log_softmax(one / temperature, dim=1) for one in scores]
    total = scores[0].new_zeros(())
    for own, code in enumerate(codes):
        wanted = code.to(log_p[0].dtype)
        others = [one for view, one in enumerate(log_p) if view != own]
        total = total - torch.stack([(wanted * one).sum(1).mean() for one in others]).mean()
    return total / len(codes)


class SwavNetwork(nn.Module):
    """The network, whose last linear layer is the projection's first, the rest of the projection, and the prototypes."""

    def __init__(self, recipe: SwavRecipe, shape: tuple[int, ...]) -> None:
        super().__init__()
        width = recipe.hidden
        self.network = proxy(shape, width, recipe.width) if recipe.model == "proxy" else build(recipe.model, shape, width)
        last = last_linear(self.network, width)
        if last is None:
            raise InputError(f"model {recipe.model!r} has no last linear layer with {width} outputs, so it has no features.")
        self.tap = FeatureTap(last)
        self.projection = nn.Sequential(nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, recipe.projection))
        self.prototypes = nn.Linear(recipe.projection, recipe.prototypes, bias=False)
        self.width = last.in_features

    def forward(self, x: Float[Tensor, "batch ch h w"]) -> Float32[Tensor, "batch projection"]:
        return functional.normalize(self.projection(self.network(x)).float(), dim=1)

    def scores(self, z: Float32[Tensor, "batch projection"]) -> Float32[Tensor, "batch prototypes"]:
        """Return the cosine of projections with every prototype, in full precision."""
        with torch.autocast(z.device.type, enabled=False):
            return functional.linear(z, self.prototypes.weight)

    @torch.no_grad()
    def normalise_prototypes(self) -> None:
        self.prototypes.weight.copy_(functional.normalize(self.prototypes.weight, dim=1))


class SwavFit(Fitting):
    """One network in training without labels."""

    model: SwavNetwork

    def __init__(self, swav: Swav, inputs: Inputs) -> None:
        recipe = swav.recipe
        check_name(recipe.model)
        with torch_stream(swav.seed, "swav", "weights", device=inputs.device):
            model = SwavNetwork(recipe, inputs.shape)
        model.normalise_prototypes()
        super().__init__(model, recipe.steps, inputs)
        self.swav, self.recipe = swav, recipe
        self.n_batches = batches_of(len(inputs), recipe.steps.batch)
        self.n_steps = swav.epochs * self.n_batches

    def train_epoch(self) -> None:
        seed, epoch, inputs = self.swav.seed, self.epoch, self.inputs
        order = torch.from_numpy(generator(seed, "swav", "order", epoch).permutation(len(inputs))).to(inputs.home)
        drawn = [self._draw(number) for number in range(self.recipe.crops.count)]
        batches = torch.tensor_split(order, self.n_batches)

        def losses() -> Iterator[Tensor]:
            for step, rows in enumerate(batches, epoch * self.n_batches):
                self.optimiser.rate = rate_at(self.recipe.steps, step, self.n_steps, epoch)
                yield self._step(rows, drawn, step)

        self.run_epoch(batches, losses(), seed, "swav", "dropout", epoch)

    def _draw(self, view: int) -> views.Draws:
        stream = generator(self.swav.seed, "swav", "view", 0, view, self.epoch)
        return views.draw(self.recipe.crops, self.recipe.look, len(self.inputs), self.inputs.shape[0], stream, self.inputs.home)

    def _step(self, rows: Int64[Tensor, " batch"], drawn: list[views.Draws], step: int) -> Float32[Tensor, ""]:
        recipe, model = self.recipe, self.model
        model.normalise_prototypes()
        pictures = self.inputs.data[rows].to(self.device)
        size = recipe.crops.size(self.inputs.shape)
        seen = torch.cat([self._look(pictures, draws.of(rows), size) for draws in drawn])
        with autocast(self.device, "bf16" if self.device.type == "cuda" else "fp32"):
            projected = model(seen.contiguous(memory_format=torch.channels_last)).chunk(recipe.crops.count)
        scores = [model.scores(z) for z in projected]
        with torch.no_grad():
            codes = [sinkhorn(one, recipe.epsilon, recipe.iterations) for one in scores]
        loss = swapped_loss(scores, codes, recipe.temperature)
        self.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        prototypes = model.prototypes.weight
        held = prototypes.detach().clone() if step < recipe.frozen * self.n_steps else None
        if held is not None and prototypes.grad is not None:
            prototypes.grad.zero_()  # zeros, not None: fused optimisers need a gradient of every parameter
        self.optimiser.step()
        if held is not None:  # weight decay and momentum moved them
            prototypes.data.copy_(held)
        return loss.detach()

    def _look(self, pictures: Tensor, draws: views.Draws, size: tuple[int, int]) -> Tensor:
        cut = views.cut_out(pictures, draws.to(self.device), size, blur=self.recipe.look.blur > 0)
        return cut.sub_(self.inputs.shift[:, None, None]).mul_(self.inputs.scale[:, None, None])


def embed_rows(swav: Swav, inputs: Inputs, weights: Mapping[str, np.ndarray]) -> Float32[np.ndarray, "examples features"]:
    """Return what the network's last layer sees of every picture, normalised as the training set was; weights are `SwavFit`'s."""
    with torch_stream(0, "swav", device=torch.device("cpu")):
        model = SwavNetwork(swav.recipe, inputs.shape)
    load_weights(model, weights)
    model.to(inputs.device).eval()
    with autocast(inputs.device, "bf16" if inputs.device.type == "cuda" else "fp32"):
        return map_batches(partial(model.tap.of, model.network), inputs, model.width)
