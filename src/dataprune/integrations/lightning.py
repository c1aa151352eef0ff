"""A callback for Lightning."""

from lightning.pytorch import Callback, LightningModule, Trainer

from dataprune.integrations.clean_pass import CleanPass


class RecordTrace(CleanPass, Callback):
    """Fills a recorder while a Lightning Trainer trains: after each epoch, also one that a limit of steps cuts short.

    Arguments are those of `CleanPass`. The model is called in the Trainer's precision. What was recorded is in each checkpoint, for
    `ckpt_path`. With `ddp_spawn`, whose processes keep what they know, nothing is recorded, and a warning says so: use `ddp`.

        record = RecordTrace(dp.Recorder(labels, names), clean_set)
        Trainer(max_epochs=6, callbacks=[record]).fit(module, train_loader)
        trace = dp.Trace([record.finish()], labels)
    """

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record what is missing of a checkpoint that training goes on from."""
        self._records, loop = trainer.is_global_zero, trainer.fit_loop
        if self._records and type(trainer.strategy.launcher).__name__ == "_MultiProcessingLauncher":
            with self.safely("recording"):
                raise RuntimeError("ddp_spawn keeps it in processes that end. Use ddp")
        elif self._records:
            is_between = not loop.restarted_mid_epoch or loop.epoch_loop.batch_progress.is_last_batch
            around = trainer.precision_plugin.forward_context()
            self.begin(loop.epoch_progress.current.processed, trainer.global_step, is_between, pl_module, around)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.epoch_ended(trainer.global_step, pl_module, trainer.precision_plugin.forward_context())
