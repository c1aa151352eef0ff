"""A plain PyTorch script that a study can run: it trains on the ids that it is given and writes one JSON file.

dataprune study digits --epochs 20 --out study \
    --trainer "python examples/trainers/train_pytorch.py {ids} {test} {result} --seed {seed} --epochs {budget}"
"""

import argparse
import json
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from torch import nn


def main() -> None:
    """Train a small network on the digits that are named."""
    parser = argparse.ArgumentParser()
    parser.add_argument("ids", type=Path)
    parser.add_argument("test", type=Path)
    parser.add_argument("result", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=float, default=20)
    asked = parser.parse_args()
    torch.manual_seed(asked.seed)
    x, y = (torch.from_numpy(array) for array in load_digits(return_X_y=True))
    kept, test = (torch.tensor([int(line) for line in path.read_text().splitlines()]) for path in (asked.ids, asked.test))
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    for epoch in range(round(asked.epochs)):
        for batch in kept[torch.randperm(len(kept))].split(64):
            loss = nn.functional.cross_entropy(model(x[batch].float() / 16), y[batch])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        print(f"epoch {epoch}: loss {loss.item():.3f}")  # to the trial's log
    correct = (model(x[test].float() / 16).argmax(1) == y[test]).tolist()
    result = {"accuracy": sum(correct) / len(correct), "correct": correct, "ids_seen": [str(row) for row in kept.tolist()]}
    asked.result.write_text(json.dumps(result))


if __name__ == "__main__":
    main()
