"""Hugging Face's Trainer in a study: any `nn.Module` that returns a loss, here on vectors; judged by that loss.

dataprune study digits --metric loss:lower:0:inf --epochs 10 --out study \
    --trainer "python examples/trainers/train_transformers.py {ids} {test} {seed} {budget} {out} {result}"
"""

import json
import sys
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import StackDataset
from transformers import Trainer, TrainingArguments


class Net(nn.Module):
    """A linear network that returns its loss and its logits, as Trainer wants it."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(64, 10)

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        logits = self.head(x)
        return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}


def main() -> None:
    """Train on the ids in one file, and judge on those in another."""
    ids, test, seed, epochs, out, result = sys.argv[1:]
    torch.manual_seed(int(seed))
    x, y = load_digits(return_X_y=True)
    rows = [[int(line) for line in Path(path).read_text().splitlines()] for path in (ids, test)]
    train_set, test_set = (StackDataset(x=torch.tensor(x[one]).float() / 16, labels=torch.tensor(y[one])) for one in rows)
    how = {"per_device_train_batch_size": 64, "learning_rate": 0.02, "report_to": "none", "save_strategy": "no", "use_cpu": True}
    asked = TrainingArguments(f"{out}/trainer", num_train_epochs=float(epochs), seed=int(seed), disable_tqdm=True, **how)
    trainer = Trainer(Net(), asked, train_dataset=train_set, eval_dataset=test_set)
    trainer.train()
    Path(result).write_text(json.dumps({"loss": trainer.evaluate()["eval_loss"]}))


if __name__ == "__main__":
    main()
