"""A run recorded in Lightning: the pages and commands of dataprune for a training that it knows nothing of.

Run it with `python examples/lightning_trainer.py`; it needs lightning, and takes seconds on scikit-learn's digits.
"""

import lightning
import numpy as np
import torch
from torch.utils.data import DataLoader, TensorDataset

import dataprune as dp
from dataprune.integrations.lightning import RecordTrace


class Net(lightning.LightningModule):
    """A module as you have it: nothing in it is for dataprune."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Dropout(0.2), torch.nn.Linear(64, 10))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)

    def training_step(self, batch: list[torch.Tensor], _: int) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(self(batch[0]), batch[1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), 1e-2)


def main() -> None:
    """Train, record, and ask for the hardest examples."""
    digits = dp.read("digits")
    x = torch.from_numpy(digits.images.reshape(len(digits), -1).astype(np.float32) / 255)
    train_set = TensorDataset(x, torch.from_numpy(np.array(digits.labels)))

    record = RecordTrace(dp.Recorder(digits.labels, digits.classes), train_set)
    options = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = lightning.Trainer(max_epochs=3, accelerator="cpu", callbacks=[record], **options)
    trainer.fit(Net(), DataLoader(train_set, 64, shuffle=True))

    run = dp.write_run(dp.Trace([record.finish()], digits.labels, digits.ids), "digits", "run", model="a net of two layers")
    print(run)
    print(f"kept {len(dp.select(run.scores['el2n'], keep=0.7))} of {len(run.ids)} examples")


if __name__ == "__main__":
    main()
