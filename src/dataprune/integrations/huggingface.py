"""A callback for Hugging Face's Trainer."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import default_collate
from transformers import TrainerCallback

from dataprune.integrations.clean_pass import CleanPass, taken


class RecordTrace(CleanPass, TrainerCallback):
    """Fills a recorder while a Trainer trains: after each epoch, also one that a limit of steps cuts short.

    Arguments are those of `CleanPass`; `collate` is the Trainer's if not given, and columns that the model does not take are left
    out, as by the Trainer. What was recorded lies in each checkpoint, from which training may go on in the same `output_dir`.

        record = RecordTrace(dp.Recorder(labels, names), clean_set)
        Trainer(model=model, args=arguments, train_dataset=train_set, callbacks=[record]).train()
        trace = dp.Trace([record.finish()], labels)
    """

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Take up what a checkpoint holds, where training goes on from one."""
        self._records, passed, model = state.is_world_process_zero, state.epoch or 0.0, kwargs["model"]
        collate, names = getattr(kwargs.get("train_dataloader"), "collate_fn", default_collate), taken(model)

        def collated(items: list[Any]) -> Any:
            kept = [{name: one[name] for name in one if name in names or name.startswith("label")} for one in items]
            return collate(kept)

        if self._collate is None:
            self._collate = lambda items: collated(items) if isinstance(items[0], Mapping) else collate(items)
        if self._records:
            with suppress(Exception):  # none is there, or not whole, and `begin` says so
                self.load_state_dict(torch.load(_record_in(args, state), weights_only=True))
            self.begin(int(passed + 1e-6), state.global_step, abs(passed - round(passed)) < 1e-6, model)

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.epoch_ended(state.global_step, kwargs["model"])

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self._records:
            with self.safely("writing the record into a checkpoint"):
                torch.save(self.state_dict(), _record_in(args, state))


def _record_in(args: Any, state: Any) -> Path:
    return Path(args.output_dir) / f"checkpoint-{state.global_step}" / "dataprune_trace.pt"
