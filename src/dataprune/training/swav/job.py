"""Trains without labels as one job of a worker, takes up what was interrupted, and gives features."""

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from dataprune.data import Dataset
from dataprune.data.handle import DataHandle, open_shared, share
from dataprune.errors import DatapruneError, InputError, MachineError
from dataprune.store import Arrays, canonical_json, open_arrays, read_json, save_arrays, sha256, write_json
from dataprune.training.ensemble import CHECKPOINT, peak_bytes, training_environment
from dataprune.training.plan import TIMED_FROM_FLOPS, Price
from dataprune.training.swav.recipe import Swav
from dataprune.workers import Executor, Job, Outcome, Report, run_jobs

MOST_VALUES = 2**28  # of features held in memory: one gigabyte
TIMED_FLOPS = 2e11  # of an epoch that is timed
FEWEST_TIMED = 16  # rows of it
CHECKPOINT_SECONDS = 2.0  # so much work may be lost: of a tiny set, epochs take less time than writing them down


@dataclass(frozen=True)
class SwavJob:
    """All that a worker needs; the scratch folder is its own."""

    swav: Swav
    shared: DataHandle
    data_key: str
    scratch: Path
    device: str


@dataclass(frozen=True)
class SwavEpochDone:
    """The progress message after each epoch."""

    epoch: int
    loss: float
    seconds: float


@dataclass(frozen=True)
class SwavDone:
    """A finished training: the file with its weights in the scratch folder, and what it took in all."""

    weights: Path
    loss: float
    seconds: float
    processor_seconds: float
    peak_bytes: int


def train_swav(
    dataset: Dataset,
    swav: Swav,
    scratch: Path,
    *,
    device: str = "cpu",
    executor: Executor = "processes",
    on_message: Callable[[SwavEpochDone], None] | None = None,
) -> Outcome:
    """Train in a worker (value of the outcome: `SwavDone`).

    Args:
        scratch: for checkpoints; an interrupted training goes on from there.
    """
    job = SwavJob(swav, share(dataset, scratch), dataset.pixels_digest, scratch, device)

    def passed_on(_: str, message: Any) -> None:
        if on_message is not None:
            on_message(message)

    return next(run_jobs([Job("swav", _run_swav, job)], executor=executor, workers=1, on_message=passed_on))


def swav_features(dataset: Dataset, swav: Swav, weights: Arrays, trained_on: Dataset, device: str) -> Float32[np.ndarray, "n d"]:
    """Compute the features of pictures, which need not be those that were trained on.

    Args:
        dataset: pictures of the shape of `trained_on`.
        weights: of the finished training.
        trained_on: the training set, whose mean and deviation the pictures are brought to.
    """
    from dataprune.training.fit import Inputs, one_thread
    from dataprune.training.swav.fit import embed_rows

    with one_thread(device):
        known = Inputs(trained_on.inputs, swav.recipe.steps.normalise, device)
        inputs = known if dataset is trained_on else known.like(dataset.inputs)
        stored = {name: weights[name] for name in weights.names}
        return embed_rows(swav, inputs, stored, swav.layer)


def _run_swav(job: SwavJob, report: Report) -> SwavDone:
    """Train from the last checkpoint on."""
    from dataprune.training.fit import one_thread

    with one_thread(job.device):
        try:
            return _train(job, report)
        except RuntimeError as error:  # torch has no other class for it on a CPU
            if "alloc" not in str(error) and "out of memory" not in str(error):
                raise
            raise MachineError(f"not enough memory to train on {job.device}. Try a smaller --batch or --image-size.") from error


def _train(job: SwavJob, report: Report) -> SwavDone:
    from dataprune.training.fit import Inputs
    from dataprune.training.swav.fit import SwavFit

    started, processor = time.perf_counter(), time.process_time()
    inputs, _ = open_shared(job.shared)
    fit = SwavFit(job.swav, Inputs(inputs, job.swav.recipe.steps.normalise, job.device))
    job.scratch.mkdir(parents=True, exist_ok=True)
    spent, used, path = _resume(job, fit)
    before = written = started
    while fit.epoch < job.swav.epochs:
        fit.train_epoch()
        now = time.perf_counter()
        if fit.epoch == job.swav.epochs or now - written >= CHECKPOINT_SECONDS:
            path, written = _checkpoint(job, fit, spent + now - started, used + time.process_time() - processor), now
        report(SwavEpochDone(fit.epoch, fit.loss, now - before))
        before = now
    assert path is not None
    seconds, used = spent + time.perf_counter() - started, used + time.process_time() - processor
    return SwavDone(path, fit.loss, seconds, used, peak_bytes())


def _checkpoint(job: SwavJob, fit: Any, seconds: float, used: float) -> Path:
    """Write a new state file, then the note that names it with its checksum, then drop the old one."""
    path = job.scratch / f"epoch-{fit.epoch:04d}.safetensors"
    save_arrays(path, fit.arrays(), fit.info())
    note = {"file": path.name, "sha256": sha256(path), "identity": _identity(job), "seconds": seconds, "processor_seconds": used}
    write_json(job.scratch / CHECKPOINT, note)
    for old in job.scratch.glob("epoch-*.safetensors"):
        if old != path:
            old.unlink()
    return path


def _resume(job: SwavJob, fit: Any) -> tuple[float, float, Path | None]:
    """Take up the last checkpoint if it is whole and of this very training; give the seconds and processor seconds already spent,
    and its file."""
    try:
        note = read_json(job.scratch / CHECKPOINT)
        path = job.scratch / Path(note["file"]).name
        if note["identity"] != _identity(job) or sha256(path) != note["sha256"]:
            return 0.0, 0.0, None
        stored = open_arrays(path)
    except (DatapruneError, OSError, KeyError, TypeError):
        return 0.0, 0.0, None
    fit.restore({name: stored[name] for name in stored.names}, stored.info)
    return float(note["seconds"]), float(note["processor_seconds"]), path


def _identity(job: SwavJob) -> str:
    return canonical_json({"swav": dataclasses.asdict(job.swav), "data": job.data_key, **training_environment(job.device)})


def swav_price(dataset: Dataset, swav: Swav) -> Price:
    """Return what the training will cost in operations; a training pass counts as three looks.

    Raises:
        InputError: the model is unknown, or does not fit the pictures or their crops.
    """
    from torch.utils.flop_counter import FlopCounterMode

    images = dataset.images
    assert images is not None, "checked by `plan_swav`"
    import torch

    from dataprune.training.fit import torch_stream
    from dataprune.training.models import prepare
    from dataprune.training.swav.fit import SwavNetwork

    recipe, shape = swav.recipe, (images.shape[3], *images.shape[1:3])
    prepare(recipe.model)
    with torch_stream(0, "weights", device=torch.device("cpu")):
        model = SwavNetwork(recipe, shape).eval()

    def look(size: tuple[int, int]) -> int:
        with FlopCounterMode(display=False) as counter, torch.inference_mode():
            model.scores(model(torch.zeros((1, shape[0], *size))))
        return int(counter.get_total_flops())

    n = len(dataset)
    if n * model.widths[swav.layer] > MOST_VALUES:
        raise InputError(f"{n:,} feature vectors of {model.widths[swav.layer]:,} numbers are too many to hold in memory.")
    step = 3 * sum(crops.count * look(crops.size(shape)) for crops in recipe.groups)
    return Price(swav.epochs, step * n * swav.epochs, look(shape[1:]) * n, None)


def timed_swav_price(dataset: Dataset, swav: Swav, device: str) -> Price:
    """Return the price with seconds, from a few steps on this machine; work too short to ask about is not timed."""
    asked = swav_price(dataset, swav)
    if asked.flops < TIMED_FROM_FLOPS:
        return asked
    from dataprune.training.fit import Inputs, one_thread
    from dataprune.training.swav.fit import SwavFit

    recipe = swav.recipe
    of_row = asked.flops / swav.epochs / len(dataset)
    n_rows = min(len(dataset), max(FEWEST_TIMED, min(2 * recipe.steps.batch, int(TIMED_FLOPS / of_row))))
    steps = dataclasses.replace(recipe.steps, batch=max(2, n_rows // 2))
    few = dataclasses.replace(swav, recipe=dataclasses.replace(recipe, steps=steps), queue=0)
    with one_thread(device):
        fit = SwavFit(few, Inputs(np.ascontiguousarray(dataset.inputs[:n_rows]), steps.normalise, device))
        fit.train_epoch()
        begun = time.perf_counter()
        fit.train_epoch()
        seconds = time.perf_counter() - begun
    return dataclasses.replace(asked, seconds=swav.epochs * seconds * len(dataset) / n_rows)
