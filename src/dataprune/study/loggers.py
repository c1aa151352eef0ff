"""Curves of a study's trials for other tools: TensorBoard, Weights & Biases, MLflow."""

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any

from dataprune.errors import MachineError, one_line
from dataprune.study.run_trials import StudyProgress
from dataprune.study.trial import Trial

PROJECT = "dataprune"  # of Weights & Biases, and experiment of MLflow, where their environment names no other
logger = logging.getLogger(__name__)


Curve = tuple[Callable[[Mapping[str, float], int], None], Callable[[], object]]
"""Of one trial: add figures of an epoch; end it."""

Begin = Callable[[str, dict[str, Any]], Curve]
"""Begin the curve of a trial, by its name and what it is."""


class StudyLog:
    """Follows a study in one of `LOGGERS`, in a folder or as its environment says. Use as a context, and as a study's listener.

    What fails there is logged once and ends the log, not the study.
    """

    def __init__(self, name: str, folder: Path) -> None:
        """Import the library; MachineError if it is not installed."""
        try:
            self._begin: Begin | None = LOGGERS[name](folder)
        except ImportError:
            raise MachineError(f"--log {name} needs a package that is not installed: pip install 'dataprune[{name}]'.") from None
        except Exception as error:  # noqa: BLE001 as below
            raise MachineError(f"--log {name} cannot be begun: {one_line(error)}.") from None
        self._curves: dict[str, Curve] = {}

    def __enter__(self) -> "StudyLog":
        return self

    def __exit__(self, *error: object) -> None:
        with self._noting():
            for _, end in self._curves.values():
                end()

    def __call__(self, progress: StudyProgress) -> None:
        """Take in one message of the study."""
        with self._noting():
            if progress.epoch is not None and self._begin is not None:
                trial, epoch = progress.epoch
                self._curve(trial)[0]({"training loss": epoch.loss, "validation accuracy": epoch.accuracy}, epoch.epoch)
            if progress.ended is not None and self._begin is not None:
                trial, result = progress.ended
                if result.status == "ok":
                    self._curve(trial)[0]({"test accuracy": result.test_accuracy}, len(result.loss))
                if trial.name in self._curves:
                    self._curves.pop(trial.name)[1]()

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


def _tensorboard(folder: Path) -> Begin:
    """Write event files, in a folder for each trial."""
    from torch.utils.tensorboard import SummaryWriter

    def begin(name: str, about: dict[str, Any]) -> Curve:
        """Open the event files of a trial."""
        writer: Any = SummaryWriter(str(folder / name))

        def add(values: Mapping[str, float], step: int) -> None:
            for what, value in values.items():
                writer.add_scalar(what, value, step)

        return add, writer.close

    return begin


def _wandb(folder: Path) -> Begin:
    """Make a run for each trial, grouped by study; where and whether online is wandb's own environment."""
    import wandb

    def begin(name: str, about: dict[str, Any]) -> Curve:
        """Start a run by the trial's name, with what it is as its configuration."""
        folder.mkdir(parents=True, exist_ok=True)
        group, project = folder.absolute().parts[-3], os.environ.get("WANDB_PROJECT", PROJECT)
        where: dict[str, Any] = {"project": project, "group": group, "dir": str(folder)}
        quiet = wandb.Settings(silent=True, console="off")
        run: Any = wandb.init(name=name, config=about, reinit="create_new", settings=quiet, **where)
        return lambda values, step: run.log(dict(values), step=step), run.finish

    return begin


def _mlflow(folder: Path) -> Begin:
    """Make a run of the experiment for each trial; in a database in the folder where MLFLOW_TRACKING_URI names no place."""
    from mlflow.tracking import MlflowClient

    @cache
    def client() -> Any:  # not before the study has its folder
        if "MLFLOW_TRACKING_URI" in os.environ:
            return MlflowClient()
        folder.mkdir(parents=True, exist_ok=True)
        return MlflowClient(f"sqlite:///{folder.absolute() / 'mlflow.db'}")

    def begin(name: str, about: dict[str, Any]) -> Curve:
        """Create a run by the trial's name, in an experiment made if need be, with what it is as parameters."""
        experiment = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
        found = client().get_experiment_by_name(experiment)
        number = client().create_experiment(experiment) if found is None else found.experiment_id
        run = client().create_run(number, run_name=name).info.run_id
        for key, value in about.items():
            client().log_param(run, key, value)

        def add(values: Mapping[str, float], step: int) -> None:
            for what, value in values.items():
                client().log_metric(run, what, value, step=step)

        return add, partial(client().set_terminated, run)

    return begin


LOGGERS: dict[str, Callable[[Path], Begin]] = {"tensorboard": _tensorboard, "wandb": _wandb, "mlflow": _mlflow}
