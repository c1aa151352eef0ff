"""What a trained member makes of examples: the input of its layers, and the gradient of the label's logit by its own input."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int64
from torch import Tensor, nn
from torch.nn import functional

from dataprune.blocks import slices
from dataprune.data import Dataset
from dataprune.errors import InputError
from dataprune.trace import MemberTrace
from dataprune.training.fit import FeatureTap, load_weights, one_thread
from dataprune.training.inputs import Inputs, map_batches
from dataprune.training.models import build, check_name, last_linear

WIDTH = 512  # numbers of a layer that are looked at; larger maps are averaged over places
GRADIENT_VALUES = 2**24  # held at once


@dataclass(frozen=True)
class Built:
    """How a member's network is built, how its inputs are normalised (as its recipe had it), and where it computes."""

    model: str
    normalise: str
    n_classes: int
    device: str = "cpu"

    def network(self, inputs: Inputs, weights: Mapping[str, np.ndarray]) -> nn.Module:
        check_name(self.model)
        with torch.random.fork_rng(devices=[]):
            network = build(self.model, inputs.shape, self.n_classes)
        load_weights(network, weights)
        return network.to(inputs.device).eval()


def penultimate(
    dataset: Dataset, weights: Mapping[str, np.ndarray], built: Built, trained_on: Dataset | None = None
) -> Float32[np.ndarray, "examples features"]:
    """Return the input of the last linear layer for every example, without augmentation, by arrays called `weights.<name>`; the
    examples are brought to the mean and deviation of `trained_on`, by default their own."""
    known = None if trained_on is None else Inputs(trained_on.inputs, built.normalise, built.device)
    inputs = Inputs(dataset.inputs, built.normalise, built.device, like=known)
    network = built.network(inputs, weights)
    layer = last_linear(network, built.n_classes)
    if layer is None:
        raise InputError(f"model {built.model!r} has no last linear layer with {built.n_classes} outputs, so no features.")
    with one_thread(built.device):
        return map_batches(partial(FeatureTap(layer).of, network), inputs, layer.in_features)


@dataclass(frozen=True, eq=False)
class MemberNetwork:
    """A member's network, as scores of networks look at it, on the examples that the run was made of."""

    dataset: Dataset
    member: MemberTrace
    built: Built

    @property
    def trained_on(self) -> Bool[np.ndarray, " examples"]:
        return np.asarray(self.member.arrays["trained_on"], bool)

    @property
    def predicted(self) -> Int64[np.ndarray, " examples"]:
        return np.asarray(self.member.arrays["predicted"][-1], np.int64)

    def layers(self) -> Iterator[Float32[np.ndarray, "examples features"]]:
        """Yield what goes into each layer, from the input on, and at last the logits; without hidden layers it is refused."""
        inputs = Inputs(self.dataset.inputs, self.built.normalise, self.built.device)
        network = self.built.network(inputs, self.member.arrays)
        seen: list[Tensor] = []
        for layer in hidden_layers(network, self.built.model):
            layer.register_forward_pre_hook(lambda _, given: seen.append(_averaged(given[0])))

        def looked_at(x: Tensor) -> Tensor:
            seen.clear()
            logits = network(x)
            return torch.cat([*seen, logits], dim=1)

        with one_thread(self.built.device):
            looked_at(inputs.batch(torch.arange(2)))
            widths = [*(one.shape[1] for one in seen), self.built.n_classes]
            whole = map_batches(looked_at, inputs, sum(widths))
        yield from np.split(whole, np.cumsum(widths)[:-1], axis=1)

    def gradients(self) -> Iterator[Float32[np.ndarray, "epochs some inputs"]]:
        """Yield block by block the gradient of the label's logit by the input, by the weights that were kept (`weights@EPOCH`)."""
        arrays, labels = self.member.arrays, torch.tensor(self.dataset.labels)
        epochs = sorted({name.partition(".")[0] for name in arrays if name.startswith("weights@")})
        if len(epochs) < 2:
            raise InputError("vog needs the weights of two epochs or more. Score with --record vog.")
        inputs = Inputs(self.dataset.inputs, self.built.normalise, self.built.device)
        stages = [{name.replace(one, "weights"): arrays[name] for name in arrays if name.startswith(f"{one}.")} for one in epochs]
        networks = [self.built.network(inputs, stage) for stage in stages]
        hidden_layers(networks[0], self.built.model)
        with one_thread(self.built.device):
            for some in slices(len(inputs), len(epochs) * int(np.prod(inputs.shape)), GRADIENT_VALUES):
                rows = torch.arange(some.start, some.stop)
                x, own = inputs.batch(rows).requires_grad_(), labels[rows].to(inputs.device)[:, None]
                found = [torch.autograd.grad(network(x).gather(1, own).sum(), x)[0].flatten(1) for network in networks]
                yield torch.stack(found).cpu().numpy()


def hidden_layers(network: nn.Module, model: str) -> list[nn.Module]:
    """Return the parts of a network that have weights, one after the other, the last being what gives the logits."""
    parts = [part for part in network.children() if any(True for _ in part.parameters())]
    if len(parts) == 1 and list(parts[0].children()):
        return hidden_layers(parts[0], model)
    if len(parts) < 2:
        raise InputError(f"model {model!r} has no hidden layers, by which prediction_depth and vog judge. Take a deeper one.")
    return parts


def _averaged(x: Tensor) -> Tensor:
    """Bring a batch to rows of about WIDTH numbers at most, by means over neighbouring places of maps."""
    if x.ndim == 4 and x[0].numel() > WIDTH:
        side = max(1, int((WIDTH / x.shape[1]) ** 0.5))
        x = functional.adaptive_avg_pool2d(x, (min(side, x.shape[2]), min(side, x.shape[3])))
    return x.flatten(1)
