"""Scores of what goes on inside a network: how deep a prediction is made, and how its gradients changed from epoch to epoch."""

from collections.abc import Iterable

import numpy as np
from jaxtyping import Bool, Float32, Int64

from dataprune.scores.dynamics import Values
from dataprune.scores.neighbours import nearest

NEIGHBOURS = 30  # as published
SUPPORT = 10_000  # examples that are asked, of more evenly spaced ones

Labels = Int64[np.ndarray, " examples"]


def prediction_depth(
    layers: Iterable[Float32[np.ndarray, "examples features"]],
    predicted: Labels,
    labels: Labels,
    trained_on: Bool[np.ndarray, " examples"],
) -> Values:
    """Return the first layer from which on an example's nearest neighbours name what the network does: 0, the input, ... L.

    Of L layers (what goes into each, from the input on, and at last the logits) each is asked by the labels of the 30 nearest
    training examples before it (Euclidean, the example itself left out); L stands for those that disagree even at the logits. The
    label of the example itself plays no part.

    Source:   section 2.1. Departs: large layers are averaged over places; of more than 10,000 training examples so many are asked.
    """
    support = np.flatnonzero(trained_on)
    support = support[np.linspace(0, len(support) - 1, min(len(support), SUPPORT)).astype(np.int64)]
    depth = np.zeros(len(labels))
    for place, layer in enumerate(layers, 1):
        depth[neighbours_vote(layer, labels, support) != predicted] = place
    return depth


def neighbours_vote(x: Float32[np.ndarray, "examples features"], labels: Labels, support: Int64[np.ndarray, " rows"]) -> Labels:
    """Return the label of most of the nearest rows of a support, of equally many the lowest; no example is its own neighbour."""
    _, near = nearest(x[support], x, min(NEIGHBOURS + 1, len(support)), metric="euclidean")
    is_other = support[near] != np.arange(len(x))[:, None]
    is_other[is_other.all(axis=1), -1] = False
    votes = np.zeros((len(x), int(labels.max()) + 1), np.int32)
    np.add.at(votes, (np.nonzero(is_other)[0], labels[support[near[is_other]]]), 1)
    return np.asarray(votes.argmax(axis=1))


def vog(gradients: Iterable[Float32[np.ndarray, "epochs some inputs"]], labels: Labels) -> Values:
    """Measure how much the gradient of the label's logit by the input varies over epochs, in standard deviations of its class.

    The standard deviation over epochs (divided by their number) of each input, the mean over inputs; of this, the distance from
    the class's mean over the class's deviation, 0 where a class has none. Gradients come by blocks of examples.

    Source: section 2, as in the authors' code. Departs: gradients by the inputs as the network sees them, each channel an input.
    """
    spread = np.concatenate([block.std(axis=0).mean(axis=1, dtype=np.float64) for block in gradients])
    _, place = np.unique(labels, return_inverse=True)
    counts = np.bincount(place)
    away = spread - (np.bincount(place, spread) / counts)[place]
    deviation = np.sqrt(np.bincount(place, away**2) / counts)[place]
    return np.divide(away, deviation, out=np.zeros_like(away), where=deviation > 1e-12 * np.abs(spread))
