"""A run recorded in a loop with Accelerate, in one process or, with `accelerate launch`, in several.

Run it with `python examples/accelerate_loop.py`; it needs accelerate, and takes seconds on scikit-learn's digits.
"""

import numpy as np
import torch
from accelerate import Accelerator
from torch.utils.data import DataLoader, TensorDataset

import dataprune as dp
from dataprune.integrations.accelerate import RecordTrace


def main() -> None:
    """Train, record, and ask for the hardest examples."""
    digits = dp.read("digits")
    x = torch.from_numpy(digits.images.reshape(len(digits), -1).astype(np.float32) / 255)
    train_set = TensorDataset(x, torch.from_numpy(np.array(digits.labels)))

    accelerator = Accelerator(cpu=True)
    net = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Dropout(0.2), torch.nn.Linear(64, 10))
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    net, optimizer, loader = accelerator.prepare(net, optimizer, DataLoader(train_set, 64, shuffle=True))
    record = RecordTrace(accelerator, dp.Recorder(digits.labels, digits.classes), train_set)
    for _ in range(3):
        for inputs, labels in loader:
            optimizer.zero_grad()
            accelerator.backward(torch.nn.functional.cross_entropy(net(inputs), labels))
            optimizer.step()
        record.after_epoch(net)

    if accelerator.is_main_process:
        run = dp.write_run(dp.Trace([record.finish()], digits.labels, digits.ids), "digits", "run", model="a net of two layers")
        print(run)
        print(f"kept {len(dp.select(run.scores['el2n'], keep=0.7))} of {len(run.ids)} examples")


if __name__ == "__main__":
    main()
