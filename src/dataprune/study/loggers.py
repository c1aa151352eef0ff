"""Curves of a study's trials for other tools: TensorBoard, Weights & Biases, MLflow."""

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from dataprune.errors import MachineError, one_line
from dataprune.study.run_trials import StudyProgress
from dataprune.study.trial import Trial

PROJECT = "dataprune"  # of Weights & Biases, and experiment of MLflow, where their environment names no other
logger = logging.getLogger(__name__)


class Curve(Protocol):
    """The curve of one trial."""

    def add(self, values: Mapping[str, float], step: int) -> None:
        """Add figures of an epoch."""

    def close(self) -> None:
        """End the curve."""


Open = Callable[[str, dict[str, Any]], Curve]
"""Begin the curve of a trial, by its name and what it is."""


class StudyLog:
    """Follows a study in one of `LOGGERS`, in a folder or as its environment says. Use as a context, and as a study's listener.

    What fails there is logged once and ends the log, not the study.
    """

    def __init__(self, name: str, folder: Path) -> None:
        """Import the library; MachineError if it is not installed."""
        try:
            self._begin: Open | None = LOGGERS[name](folder)
        except ImportError:
            raise MachineError(f"--log {name} needs a package that is not installed: pip install 'dataprune[{name}]'.") from None
        except Exception as error:  # noqa: BLE001 as below
            raise MachineError(f"--log {name} cannot be begun: {one_line(error)}.") from None
        self._curves: dict[str, Curve] = {}

    def __enter__(self) -> "StudyLog":
        return self

    def __exit__(self, *error: object) -> None:
        with self._noting():
            for curve in self._curves.values():
                curve.close()

    def __call__(self, progress: StudyProgress) -> None:
        """Take in one message of the study."""
        with self._noting():
            if progress.epoch is not None and self._begin is not None:
                trial, epoch = progress.epoch
                self._curve(trial).add({"training loss": epoch.loss, "validation accuracy": epoch.accuracy}, epoch.epoch)
            if progress.ended is not None and self._begin is not None:
                trial, result = progress.ended
                if result.status == "ok":
                    self._curve(trial).add({"test accuracy": result.test_accuracy}, len(result.loss))
                if trial.name in self._curves:
                    self._curves.pop(trial.name).close()

    @contextmanager
    def _noting(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # noqa: BLE001 whatever a library or a network raises
            logger.warning("no more is logged: %s: %s", type(error).__name__, one_line(error))
            self._begin, self._curves = None, {}

    def _curve(self, trial: Trial) -> Curve:
        assert self._begin is not None
        if trial.name not in self._curves:
            cell = trial.cell
            about = {name: getattr(cell, name) for name in ("arm", "score", "strategy", "keep", "start", "order", "clusters")}
            words = [cell.arm, cell.score, cell.strategy, f"keep-{cell.keep:g}", f"start-{cell.start:g}", cell.order]
            words += [f"clusters-{cell.clusters}" if cell.clusters else "", f"seed-{trial.seed}"]
            name = "_".join("".join(c if c.isalnum() or c in "-." else "-" for c in word) for word in words if word)
            self._curves[trial.name] = self._begin(f"{name}_{trial.name[:8]}", {**about, "seed": trial.seed})
        return self._curves[trial.name]


def _tensorboard(folder: Path) -> Open:
    from torch.utils.tensorboard import SummaryWriter

    class Events:
        """Event files in a folder of the trial's own."""

        def __init__(self, name: str, about: dict[str, Any]) -> None:
            self._writer: Any = SummaryWriter(str(folder / name))

        def add(self, values: Mapping[str, float], step: int) -> None:
            for name, value in values.items():
                self._writer.add_scalar(name, value, step)

        def close(self) -> None:
            self._writer.close()

    return Events


def _wandb(folder: Path) -> Open:
    import wandb

    class Run:
        """A run, grouped with the study's others; where and whether online is wandb's own environment."""

        def __init__(self, name: str, about: dict[str, Any]) -> None:
            folder.mkdir(parents=True, exist_ok=True)
            where = {"project": os.environ.get("WANDB_PROJECT", PROJECT), "group": folder.absolute().parts[-3], "dir": str(folder)}
            quiet = wandb.Settings(silent=True, console="off")
            self._run: Any = wandb.init(name=name, config=about, reinit="create_new", settings=quiet, **where)

        def add(self, values: Mapping[str, float], step: int) -> None:
            self._run.log(dict(values), step=step)

        def close(self) -> None:
            self._run.finish()

    return Run


def _mlflow(folder: Path) -> Open:
    from mlflow.tracking import MlflowClient

    @cache
    def client() -> Any:  # not before the study has its folder
        if "MLFLOW_TRACKING_URI" in os.environ:
            return MlflowClient()
        folder.mkdir(parents=True, exist_ok=True)
        return MlflowClient(f"sqlite:///{folder.absolute() / 'mlflow.db'}")

    class Run:
        """A run of the experiment; in the folder where MLFLOW_TRACKING_URI names no place."""

        def __init__(self, name: str, about: dict[str, Any]) -> None:
            experiment = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
            found = client().get_experiment_by_name(experiment)
            number = client().create_experiment(experiment) if found is None else found.experiment_id
            self._id = client().create_run(number, run_name=name).info.run_id
            for key, value in about.items():
                client().log_param(self._id, key, value)

        def add(self, values: Mapping[str, float], step: int) -> None:
            for name, value in values.items():
                client().log_metric(self._id, name, value, step=step)

        def close(self) -> None:
            client().set_terminated(self._id)

    return Run


LOGGERS: dict[str, Callable[[Path], Open]] = {"tensorboard": _tensorboard, "wandb": _wandb, "mlflow": _mlflow}
