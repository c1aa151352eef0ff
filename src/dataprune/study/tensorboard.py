"""A listener that writes the curves of trials for TensorBoard."""

from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from dataprune.errors import MachineError

if TYPE_CHECKING:
    from dataprune.study.run_trials import StudyProgress
    from dataprune.study.trial import Trial


class TensorBoardLogger:
    """Writes each trial's curve as event files, in a folder for each trial. Use as a context, and as a study's listener."""

    def __init__(self, folder: Path) -> None:
        """Open the folder; MachineError if the package is missing."""
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise MachineError(
                "TensorBoard files need a package that is not installed: pip install 'dataprune[tensorboard]'."
            ) from None
        self._folder = folder
        self._open = SummaryWriter
        self._writers: dict[str, Any] = {}

    def __enter__(self) -> "TensorBoardLogger":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for writer in self._writers.values():
            writer.close()

    def __call__(self, progress: "StudyProgress") -> None:
        """Take in one message of the study."""
        if progress.epoch is not None:
            trial, epoch = progress.epoch
            writer = self._writer(trial)
            writer.add_scalar("training loss", epoch.loss, epoch.epoch)
            writer.add_scalar("validation accuracy", epoch.accuracy, epoch.epoch)
        if progress.ended is not None:
            trial, result = progress.ended
            if result.status == "ok":
                self._writer(trial).add_scalar("test accuracy", result.test_accuracy, len(result.loss))
            if trial.name in self._writers:
                self._writers.pop(trial.name).close()

    def _writer(self, trial: "Trial") -> Any:
        if trial.name not in self._writers:
            cell = trial.cell
            words = [cell.arm, cell.score, cell.strategy, f"keep-{cell.keep:g}", f"start-{cell.start:g}", cell.order]
            words += [f"clusters-{cell.clusters}" if cell.clusters else "", f"seed-{trial.seed}"]
            name = "_".join("".join(c if c.isalnum() or c in "-." else "-" for c in word) for word in words if word)
            self._writers[trial.name] = self._open(str(self._folder / f"{name}_{trial.name[:8]}"))
        return self._writers[trial.name]
