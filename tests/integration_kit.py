"""Small trainings with dropout, frozen batch norm and noise in the inputs, by each library; run as a script in two processes.

python -m torch.distributed.run --standalone --nproc-per-node 2 tests/integration_kit.py OUT
python tests/integration_kit.py OUT spawn
"""

import logging
import sys
import tempfile
import warnings
from pathlib import Path

import lightning.pytorch as pl
import numpy as np
import torch
from accelerate import Accelerator
from torch.utils.data import DataLoader
from transformers import Trainer, TrainingArguments, set_seed

import dataprune as dp
from dataprune.integrations import accelerate, huggingface, lightning

N, NAMES = 60, ("a", "b", "c")
MODULES = {"huggingface": huggingface, "lightning": lightning, "accelerate": accelerate}


class Plants(torch.utils.data.Dataset):
    """Vectors near their class; noisy ones draw from every global generator."""

    def __init__(self, is_noisy=False, as_pairs=False):
        self.labels = torch.arange(N) % 3
        self.x = torch.randn(N, 8, generator=torch.Generator().manual_seed(0)) + self.labels[:, None]
        self.is_noisy, self.as_pairs = is_noisy, as_pairs

    def __len__(self):
        return N

    def __getitem__(self, row):
        x = self.x[row]
        if self.is_noisy:
            x = x + torch.randn(8) + float(np.random.rand())  # noqa: NPY002 as augmentations do
        return (x, self.labels[row]) if self.as_pairs else {"x": x, "labels": self.labels[row]}


class Net(torch.nn.Module):
    """A backbone with batch norm that is frozen, one that is not, dropout and a head; losses as Hugging Face's models give them."""

    def __init__(self):
        super().__init__()
        self.frozen = torch.nn.BatchNorm1d(8).eval()
        self.front = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.BatchNorm1d(16))
        self.drop, self.head = torch.nn.Dropout(0.3), torch.nn.Linear(16, 3)

    def train(self, mode=True):
        super().train(mode)
        self.frozen.eval()
        return self

    def forward(self, x, labels=None):
        logits = self.head(self.drop(self.front(self.frozen(x)).relu()))
        return {"logits": logits} | ({} if labels is None else {"loss": torch.nn.functional.cross_entropy(logits, labels)})


class Module(pl.LightningModule):
    """The same net; its frozen part stays so only if nobody calls `train` on it."""

    def __init__(self):
        super().__init__()
        self.net = torch.nn.ModuleList([torch.nn.BatchNorm1d(8).eval(), torch.nn.Linear(8, 16), torch.nn.BatchNorm1d(16)])
        self.drop, self.head = torch.nn.Dropout(0.3), torch.nn.Linear(16, 3)

    def forward(self, x):
        for layer in self.net:
            x = layer(x)
        return self.head(self.drop(x.relu()))

    def training_step(self, batch, _):
        return torch.nn.functional.cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch, _):
        self.log("loss", torch.nn.functional.cross_entropy(self(batch[0]), batch[1]), sync_dist=True)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


def recorder(library, clean=None, *first, **options):
    """Return a new recorder of a library."""
    clean = Plants(as_pairs=library == "lightning") if clean is None else clean
    return MODULES[library].RecordTrace(*first, dp.Recorder(Plants().labels.numpy(), NAMES), clean, batch=25, **options)


def weights(module):
    """Return all parameters and buffers in one row."""
    return torch.cat([value.detach().flatten().float() for value in module.state_dict().values()])


def by_huggingface(record, out, resume=None, callbacks=(), **arguments):
    """Train; return the weights."""
    set_seed(0)
    net, plain = Net(), {"report_to": [], "disable_tqdm": True, "use_cpu": True, "logging_strategy": "no", "save_strategy": "no"}
    asked = TrainingArguments(str(out), per_device_train_batch_size=8, **{**plain, **arguments})
    callbacks = [*callbacks, *([record] if record else [])]
    Trainer(model=net, args=asked, train_dataset=Plants(True), eval_dataset=Plants(), callbacks=callbacks).train(resume)
    return weights(net)


def by_lightning(record, out, resume=None, callbacks=(), **arguments):
    """Train; return the weights."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    pl.seed_everything(0, verbose=False)
    module, callbacks = Module(), [*callbacks, *([record] if record else [])]
    plain = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu", "devices": 1}
    plain["enable_checkpointing"] = any(isinstance(one, pl.callbacks.ModelCheckpoint) for one in callbacks)
    trainer = pl.Trainer(default_root_dir=out, callbacks=callbacks, **{**plain, **arguments})
    valid = DataLoader(Plants(as_pairs=True), 30) if callbacks and not record else None
    trainer.fit(module, DataLoader(Plants(True, True), 8, shuffle=True), valid, ckpt_path=resume)
    assert not module.net[0].training
    return weights(module)


def by_accelerate(is_recorded, out, resume=None, epochs=2, saves=False, clean=None):
    """Train; return the weights and what recorded."""
    set_seed(0)
    accelerator = Accelerator(cpu=True)
    net = Net()
    net, optimizer, loader = accelerator.prepare(
        net, torch.optim.SGD(net.parameters(), 0.1), DataLoader(Plants(True), 8, shuffle=True)
    )
    record = recorder("accelerate", clean, accelerator) if is_recorded else None
    first = 0
    if resume:
        accelerator.load_state(resume)
        first = 1
    for epoch in range(first, epochs):
        for batch in loader:
            optimizer.zero_grad()
            accelerator.backward(net(**batch)["loss"])
            optimizer.step()
        if record:
            record.after_epoch(net)
        if saves:
            accelerator.save_state(str(Path(out) / f"epoch-{epoch}"))
    return weights(accelerator.unwrap_model(net)), record


def main(out, how=""):
    """Train in two processes with and without recording, and write down whether the weights are the same and what was recorded."""
    warnings.simplefilter("ignore")
    if how == "spawn":
        record = recorder("lightning")
        by_lightning(record, out, max_epochs=2, devices=2, strategy="ddp_spawn")
        try:
            record.finish()
        except dp.errors.InputError as error:
            Path(out, "spawn.txt").write_text(str(error), encoding="utf-8")
        return
    rank = None
    for library in MODULES:
        record = None if library == "accelerate" else recorder(library)
        with tempfile.TemporaryDirectory() as folder:
            if library == "huggingface":
                both = [by_huggingface(one, folder, num_train_epochs=2) for one in (record, None)]
            elif library == "lightning":
                both = [by_lightning(one, folder, max_epochs=2, devices=2, strategy="ddp") for one in (record, None)]
            else:
                (with_it, record), (without, _) = by_accelerate(True, folder), by_accelerate(False, folder)
                both = [with_it, without]
        rank = torch.distributed.get_rank()
        said = {"same": np.array(torch.equal(*both))}
        try:
            said["p_label"] = record.finish().arrays["p_label"]
        except dp.errors.InputError as error:
            said["refused"] = np.array(str(error))
        np.savez(f"{out}/{library}-{rank}.npz", **said)


if __name__ == "__main__":
    main(*sys.argv[1:])
