"""Other examples in every epoch: InfoBatch in a plain PyTorch loop. Three lines with `sampler` are all that dataprune adds.

Run it with `python examples/dynamic_pruning.py`. It trains two small networks on scikit-learn's digits in a few seconds, one on all
examples in every epoch, one on those that InfoBatch leaves.
"""

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import dataprune as dp

EPOCHS, BATCH = 12, 64


def train(data: TensorDataset, n_classes: int, method: str | dp.Dynamic) -> tuple[nn.Module, int]:
    """Train one network; return it, and how many examples it has seen."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, n_classes))
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    sampler = dp.DynamicSampler(len(data), EPOCHS, method)
    loader = DataLoader(data, batch_size=BATCH, sampler=sampler)  # with workers too: `num_workers=2`
    seen = 0
    for epoch in range(EPOCHS):
        sampler.set_epoch(epoch)
        for x, y, rows in loader:  # the data set gives each example's row beside it
            losses = nn.functional.cross_entropy(model(x), y, reduction="none")
            sampler.update(rows, losses)
            optimiser.zero_grad()
            (losses * sampler.weights(rows)).mean().backward()
            optimiser.step()
            seen += len(rows)
    return model, seen


def main() -> None:
    """Train on four fifths, with and without, and compare on the rest."""
    digits = dp.read("digits")
    x = torch.from_numpy(digits.images.reshape(len(digits), -1).astype(np.float32) / 255)
    y = torch.from_numpy(np.array(digits.labels))
    is_test = np.arange(len(digits)) % 5 == 0
    data = TensorDataset(x[~is_test], y[~is_test], torch.arange(int((~is_test).sum())))
    for name, method in (("all", dp.Dynamic("rs2", keep=1.0)), ("infobatch", "infobatch"), ("rs2", "rs2")):
        model, seen = train(data, digits.n_classes, method)
        with torch.no_grad():
            accuracy = float((model(x[is_test]).argmax(1) == y[is_test]).float().mean())
        print(f"{name:>9}: {seen:,} examples seen, accuracy {100 * accuracy:.1f} % on {is_test.sum()} others")


if __name__ == "__main__":
    main()
