"""Scores from your own training loop: a plain PyTorch loop fills a trace, and everything else works as with `dp.score`.

Run it with `python examples/plain_pytorch_loop.py`. It trains two small networks on scikit-learn's digits in a few seconds.
"""

import numpy as np
import torch
from torch import nn

import dataprune as dp

EPOCHS, MEMBERS, BATCH = 6, 2, 64


def train(x: torch.Tensor, y: torch.Tensor, n_classes: int, seed: int) -> dp.Recorder:
    """Train one network as you would anyway; the four lines with `recorder` are all that dataprune adds."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(x.shape[1], 64), nn.ReLU(), nn.Linear(64, n_classes))
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    recorder = dp.Recorder(y.numpy(), n_classes, EPOCHS, seed=seed)
    for epoch in range(EPOCHS):
        model.train()
        for rows in torch.randperm(len(x)).split(BATCH):
            optimiser.zero_grad()
            nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
            optimiser.step()
        # After each epoch, one pass over the examples as they are, without augmentation. `rows` says which example is which.
        model.eval()
        with torch.no_grad():
            for rows in torch.arange(len(x)).split(1024):
                recorder.update(rows, model(x[rows]), epoch)
    return recorder


def main() -> None:
    """Train, score, select, and train on what was kept."""
    digits = dp.read("digits")
    x = torch.from_numpy(digits.images.reshape(len(digits), -1).astype(np.float32) / 255)
    y = torch.from_numpy(np.array(digits.labels))

    recorders = [train(x, y, digits.n_classes, seed) for seed in range(MEMBERS)]
    trace = dp.Trace([recorder.finish() for recorder in recorders], digits.labels, digits.ids)
    scores = dp.score_trace(trace)
    for name, score in scores.items():
        hardest = score.difficulty.argmax()
        print(f"{name:>16}: hardest is id {score.ids[hardest]} with {score.values[hardest]:.3f}")
    for name, reason in scores.absent.items():
        print(f"{name:>16}: not there, {reason}")

    kept = dp.select(scores["el2n"], keep=0.7, strategy="stratified")
    print(f"kept {len(kept)} of {kept.n_total} examples")
    loader = torch.utils.data.DataLoader(kept.subset(torch.utils.data.TensorDataset(x, y)), batch_size=BATCH, shuffle=True)
    print(f"that is {len(loader)} batches an epoch")


if __name__ == "__main__":
    main()
