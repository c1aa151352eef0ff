"""A training without labels as one job of a worker: what it costs, the training, and the features that come of it."""

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32

from dataprune.data import Dataset
from dataprune.data.handle import DataHandle, open_shared, share
from dataprune.precision import LITTLE_FLOPS
from dataprune.store import Arrays
from dataprune.training.checkpoint import CHECKPOINT_SECONDS, Checkpoints, peak_bytes, training_on
from dataprune.training.fit import count_flops, one_thread, torch_stream
from dataprune.training.inputs import Inputs, check_size, example_shape
from dataprune.training.models import check_name
from dataprune.training.settings import Cost, seconds_of
from dataprune.training.swav.fit import SwavFit, SwavNetwork, embed_rows
from dataprune.training.swav.recipe import Swav
from dataprune.workers import Executor, ExecutorConfig, Job, Outcome, Report, run_jobs

TIMED_FLOPS = 2e11  # of an epoch that is timed
FEWEST_TIMED = 16  # rows of it


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
    on_message: Callable[[SwavEpochDone], None] = lambda message: None,
) -> Outcome:
    """Train in a worker (value of the outcome: `SwavDone`), from the last checkpoint in the scratch folder on."""
    job = Job("swav", _run_swav, SwavJob(swav, share(dataset.bare, scratch), dataset.content_digest, scratch, device))
    return next(run_jobs([job], ExecutorConfig(executor, 1), lambda _, message: on_message(message)))


def swav_features(dataset: Dataset, swav: Swav, weights: Arrays, trained_on: Dataset, device: str) -> Float32[np.ndarray, "n d"]:
    """Return the features of pictures, brought to the mean and deviation of those that were `trained_on`."""
    with one_thread(device):
        normalise = swav.recipe.steps.normalise
        known = None if dataset is trained_on else Inputs(trained_on.content, normalise, device)
        inputs = Inputs(dataset.content, normalise, device, like=known)
        return embed_rows(swav, inputs, dict(weights.arrays))


def _run_swav(job: SwavJob, report: Report) -> SwavDone:
    begun = before = written = time.perf_counter()
    processor_begun = time.process_time()
    with training_on(job.device, "swav", job.scratch):
        fit = SwavFit(job.swav, Inputs(open_shared(job.shared)[0], job.swav.recipe.steps.normalise, job.device))
        checkpoints = Checkpoints.of(job.scratch, job.device, swav=asdict(job.swav), data=job.data_key)
        if (last := checkpoints.latest()) is not None:
            fit.restore(last.arrays, last.info["fit"])
            begun, processor_begun = begun - last.info["seconds"], processor_begun - last.info["processor_seconds"]
        while fit.epoch < job.swav.epochs:
            fit.train_epoch()
            now = time.perf_counter()
            if fit.epoch == job.swav.epochs or now - written >= CHECKPOINT_SECONDS:
                spent = {"seconds": now - begun, "processor_seconds": time.process_time() - processor_begun}
                checkpoints.save(fit.epoch, fit.arrays(), {"fit": fit.info(), **spent})
                written = now
            report(SwavEpochDone(fit.epoch, fit.loss, now - before))
            before = now
    seconds, processor_seconds = time.perf_counter() - begun, time.process_time() - processor_begun
    return SwavDone(checkpoints.path(fit.epoch), fit.loss, seconds, processor_seconds, peak_bytes())


def swav_cost(dataset: Dataset, swav: Swav) -> Cost:
    """Return what the training will cost, not timed; a model that is unknown or does not fit the crops is refused."""
    recipe, shape, n = swav.recipe, example_shape(dataset.content), len(dataset)
    check_name(recipe.model)
    with torch_stream(0, "weights", device=torch.device("cpu")):
        model = SwavNetwork(recipe, shape).eval()
    check_size(n, model.width)
    forward = recipe.crops.count * count_flops(lambda x: model.scores(model(x)), (shape[0], *recipe.crops.size(shape)))
    return Cost(math.nan, n * swav.epochs, 3 * forward * n * swav.epochs)


def timed_swav_cost(dataset: Dataset, swav: Swav, device: str) -> Cost:
    """Return the cost with seconds, from a few steps on this machine; work too short to wait for is not timed."""
    cost = swav_cost(dataset, swav)
    if cost.flops < LITTLE_FLOPS:
        return cost
    recipe = swav.recipe
    n_rows = min(len(dataset), max(FEWEST_TIMED, min(2 * recipe.steps.batch, int(TIMED_FLOPS * cost.examples_seen / cost.flops))))
    steps = replace(recipe.steps, batch=max(2, n_rows // 2))
    few = replace(swav, recipe=replace(recipe, steps=steps))
    with one_thread(device):
        fit = SwavFit(few, Inputs(np.ascontiguousarray(dataset.content[:n_rows]), steps.normalise, device))
        return replace(cost, seconds=seconds_of(fit.train_epoch) * cost.examples_seen / n_rows)
