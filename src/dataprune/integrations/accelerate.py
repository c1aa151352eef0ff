"""A recorder for training loops with Accelerate."""

from typing import Any

import torch
from accelerate import Accelerator

from dataprune.integrations.clean_pass import CleanPass
from dataprune.trace import Recorder


class RecordTrace(CleanPass):
    """Fills a recorder in a loop with an `Accelerator`: call `after_epoch` in every process.

    Arguments are the accelerator and those of `CleanPass`. What was recorded is in what `save_state` saves and `load_state` loads.

        record = RecordTrace(accelerator, dp.Recorder(labels, names), clean_set)
        for epoch in range(epochs):
            ...
            record.after_epoch(model)
        if accelerator.is_main_process:
            trace = dp.Trace([record.finish()], labels)
    """

    def __init__(self, accelerator: Accelerator, recorder: Recorder, clean_set: Any, **options: Any) -> None:
        super().__init__(recorder, clean_set, **options)
        self._accelerator, self._records = accelerator, accelerator.is_main_process
        accelerator.register_for_checkpointing(self)

    def after_epoch(self, model: torch.nn.Module) -> None:
        """Record the epoch that has ended, with the model as `prepare` gave it."""
        self.epoch_ended(self._step + 1, self._accelerator.unwrap_model(model), self._accelerator.autocast())
        self._accelerator.wait_for_everyone()
