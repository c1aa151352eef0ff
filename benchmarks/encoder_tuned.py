"""Does it pay to train the built-in encoder's last block on one's own pictures, beside the frozen one with the default probe?

    python benchmarks/encoder_tuned.py DATA [--inject uniform:0.1] [--epochs 8] [--rate 0.003] [--pixels 224] [--device cuda]

What the earlier blocks give is kept once. For each of five folds a linear layer on the mean of the last block's maps is trained
together with that block and the last convolution, from the frozen weights and the scikit-learn probe's solution on.
"""

import argparse
import time

import numpy as np
import torch
from encoders import say
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn
from torch.nn import functional

import dataprune as dp
from dataprune import noise
from dataprune.encoders.efficientnet import EfficientNet, efficientnet
from dataprune.noise import Evidence
from dataprune.training.ensemble import assign_folds

FOLDS, BATCH = 5, 64


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data")
    parser.add_argument("--inject", default="uniform:0.1")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--pixels", type=int, default=224)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rows", type=int, default=0, help="of train, at most")
    parser.add_argument("--seed", type=int, default=0, help="of the wrong labels, the folds and the order")
    asked = parser.parse_args()
    data = dp.read(asked.data, image_size=asked.pixels)
    data = data.take(np.linspace(0, len(data) - 1, min(asked.rows or len(data), len(data))).astype(np.int64))
    truth, (kind, rate) = np.asarray(data.labels), asked.inject.split(":")
    labels = noise.inject_noise(truth, float(rate), kind, n_classes=data.n_classes, ids=data.ids.tolist(), seed=asked.seed)
    begun = time.process_time()
    maps = earlier(np.asarray(data.images), asked.device)
    seconds = {"earlier blocks": time.process_time() - begun}
    frozen, tuned = np.empty((2, len(data), data.n_classes), np.float32)
    fold = assign_folds(labels, FOLDS, asked.seed, 0)
    for one in range(FOLDS):
        begun = time.process_time()
        rows, asks = np.flatnonzero(fold != one), np.flatnonzero(fold == one)
        frozen[asks], head = probe(maps, labels, rows, asks)
        seconds["probes"] = seconds.get("probes", 0) + time.process_time() - begun
        begun = time.process_time()
        tuned[asks] = tune(maps, labels, (rows, asks), head, asked)
        seconds["tuning"] = seconds.get("tuning", 0) + time.process_time() - begun
    about = {"epochs": asked.epochs, "rate": asked.rate, "cpu_seconds": {name: round(one, 1) for name, one in seconds.items()}}
    mean = np.sqrt(frozen * tuned)
    for name, p in (("frozen", frozen), ("last block tuned", tuned), ("both", mean / mean.sum(axis=1, keepdims=True))):
        right = float((p.argmax(axis=1) == truth).mean())
        found = noise.find(Evidence(labels, out_of_sample=p))
        say(name, found, truth, asked.device, about | {"right": right})


def earlier(pictures: np.ndarray, device: str) -> Tensor:
    """Return the maps before the last block, in half precision."""
    network, made = efficientnet("efficientnet-lite0").to(device), []
    assert isinstance(network, EfficientNet)
    with torch.inference_mode():
        for start in range(0, len(pictures), BATCH):
            x = torch.from_numpy(np.array(pictures[start : start + BATCH])).to(device).permute(0, 3, 1, 2).float().sub(127).div(128)
            made.append(network.blocks[:-1](network.stem(x)).half().cpu())
    return torch.cat(made).clone()


class Last(nn.Module):
    """The last block and convolution, mean pooling, and a linear layer on standardised columns."""

    mean: Tensor
    scale: Tensor

    def __init__(self, mean: Tensor, scale: Tensor, n_classes: int) -> None:
        super().__init__()
        network = efficientnet("efficientnet-lite0")
        assert isinstance(network, EfficientNet)
        self.block, self.head = network.blocks[-1], network.head
        for parameter in self.parameters():
            parameter.requires_grad_(True)
        self.register_buffer("mean", mean)
        self.register_buffer("scale", scale)
        self.linear = nn.Linear(len(mean), n_classes)

    def features(self, maps: Tensor) -> Tensor:
        return torch.mean(self.head(self.block(maps.float())), (2, 3))

    def forward(self, maps: Tensor) -> Tensor:
        x = (self.features(maps) - self.mean) / self.scale
        return functional.linear(functional.normalize(x), self.linear.weight, self.linear.bias)


def probe(maps: Tensor, labels: np.ndarray, rows: np.ndarray, asks: np.ndarray) -> tuple[np.ndarray, Last]:
    """Fit the probe of scikit-learn, standardised, unit norm, C 1; return what it says of others, and the network that says it."""
    bare = Last(torch.zeros(1280), torch.ones(1280), int(labels.max()) + 1)
    with torch.inference_mode():
        x = torch.cat([bare.features(maps[start : start + BATCH]) for start in range(0, len(maps), BATCH)]).clone()
    mean, scale = x[rows].mean(0), x[rows].std(0) + 1e-6
    seen = functional.normalize((x - mean) / scale).numpy()
    fitted = LogisticRegression(C=1.0, max_iter=300).fit(seen[rows], labels[rows])
    head = Last(mean, scale, int(labels.max()) + 1)
    with torch.no_grad():
        head.linear.weight.copy_(torch.from_numpy(fitted.coef_))
        head.linear.bias.copy_(torch.from_numpy(fitted.intercept_))
    return fitted.predict_proba(seen[asks]), head


def tune(
    maps: Tensor, labels: np.ndarray, split: tuple[np.ndarray, np.ndarray], head: Last, asked: argparse.Namespace
) -> np.ndarray:
    """Train on; return what the network says at the end."""
    rows, asks = split
    head.to(asked.device)
    given = torch.from_numpy(labels)
    optimiser = torch.optim.SGD(head.parameters(), asked.rate, momentum=0.9, weight_decay=1e-4)
    steps = asked.epochs * -(-len(rows) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, asked.rate, total_steps=steps)
    draw = np.random.default_rng(asked.seed)
    for _ in range(asked.epochs):
        order = draw.permutation(rows)
        for start in range(0, len(order), BATCH):
            some = torch.from_numpy(order[start : start + BATCH])
            x = maps[some].to(asked.device)
            loss = functional.cross_entropy(head(x.flip(3) if draw.random() < 0.5 else x), given[some].to(asked.device))
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
    with torch.inference_mode():
        said = [head(maps[asks[start : start + BATCH]].to(asked.device)).softmax(1).cpu() for start in range(0, len(asks), BATCH)]
    return torch.cat(said).numpy()


if __name__ == "__main__":
    main()
