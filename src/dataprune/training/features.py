"""Features that a trained member gives: what its last layer sees."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float32

from dataprune.data import Dataset
from dataprune.errors import InputError


def penultimate(
    dataset: Dataset,
    weights: Mapping[str, np.ndarray],
    model: str,
    normalise: str,
    n_classes: int,
    device: str = "cpu",
    trained_on: Dataset | None = None,
) -> Float32[np.ndarray, "examples features"]:
    """Return the input of the last linear layer for every example, without augmentation.

    Args:
        weights: arrays called `weights.<name>`, as a trace's member holds them.
        normalise: as the member's recipe had it.
        trained_on: whose mean and deviation the examples are brought to; None is the data set itself.
    """
    import torch

    from dataprune.training.fit import FeatureTap, load_weights, one_thread
    from dataprune.training.inputs import Inputs, map_batches
    from dataprune.training.models import build, last_linear, prepare

    known = None if trained_on is None else Inputs(trained_on.inputs, normalise, device)
    inputs = Inputs(dataset.inputs, normalise, device, like=known)
    prepare(model)
    with torch.random.fork_rng(devices=[]):
        network = build(model, inputs.shape, n_classes)
    layer = last_linear(network, n_classes)
    if layer is None:
        raise InputError(f"model {model!r} has no last linear layer with {n_classes} outputs, so it has no penultimate features.")
    load_weights(network, weights)
    network.to(inputs.device).eval()
    tap = FeatureTap(layer)

    def seen_by_last_layer(x: torch.Tensor) -> torch.Tensor:
        network(x)
        assert tap.seen is not None
        return tap.seen

    with one_thread(device):
        return map_batches(seen_by_last_layer, inputs, layer.in_features)
