"""A run recorded in Hugging Face's Trainer: the pages and commands of dataprune for a training that it knows nothing of.

Run it with `python examples/huggingface_trainer.py`; it needs transformers and accelerate, and takes seconds on digits.
"""

import tempfile
from typing import Any

import numpy as np
import torch
from transformers import Trainer, TrainingArguments

import dataprune as dp
from dataprune.integrations.huggingface import RecordTrace


class Net(torch.nn.Module):
    """Takes and gives what the Trainer expects: named inputs with labels, a loss and logits."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Dropout(0.2), torch.nn.Linear(64, 10))

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        logits = self.layers(x)
        return {"loss": torch.nn.functional.cross_entropy(logits, labels), "logits": logits}


def main() -> None:
    """Train, record, and ask for the hardest examples."""
    digits = dp.read("digits")
    x = digits.images.reshape(len(digits), -1).astype(np.float32) / 255
    items: list[dict[str, Any]] = [{"x": row, "labels": int(label)} for row, label in zip(x, digits.labels, strict=True)]

    record = RecordTrace(dp.Recorder(digits.labels, digits.classes), items)
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder,
            num_train_epochs=3,
            per_device_train_batch_size=64,
            learning_rate=1e-2,
            report_to=[],
            disable_tqdm=True,
            use_cpu=True,
        )
        Trainer(model=Net(), args=arguments, train_dataset=items, callbacks=[record]).train()

    run = dp.write_run(dp.Trace([record.finish()], digits.labels, digits.ids), "digits", "run", model="a net of two layers")
    print(run)
    print(f"kept {len(dp.select(run.scores['el2n'], keep=0.7))} of {len(run.ids)} examples")


if __name__ == "__main__":
    main()
