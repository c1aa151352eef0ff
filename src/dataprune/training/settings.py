"""What a training may be asked for, where it runs, what it costs, how its trace is read. Options and their help are from here."""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from numbers import Integral
from typing import TYPE_CHECKING, Literal, get_args

from dataprune.errors import invalid, unknown_choice

if TYPE_CHECKING:
    from dataprune.workers import ExecutorConfig

RECORDED = ("second_split", "vog")  # scores of which `record` keeps what they need
MEASURES = ("seconds", "examples_seen", "flops")


@dataclass(frozen=True)
class Settings:
    """What a run may be asked for; whatever is None follows from `effort` and the data. All of it is the run's identity.

    Attributes:
        effort: How much to spend. Members and epochs follow from it and from the size of the set.
        members: Networks in the ensemble. Default: one for each fold and repeat.
        epochs: Passes over the set for each network. Default: by effort and size.
        model: proxy (a fast convnet, the default), proxy-wide, encoder-tuned (a pretrained network, trained on), simple, resnet18,
            plain18; for features linear (the default), mlp, trees (boosted; the default for rows of a table where they judge
            better); or module:function.
        recipe: How networks are trained: fast (the default for colour), progressive (the default for more than 10,000 colour
            pictures of 32 to 63 pixels with folds 0), fast-gray, fast-plain, fast-plain-gray, fast-vectors, probe (the default for
            linear on features), report-cifar10, report-cifar100, report-photos, or module:function; trees and encoder-tuned have
            their own, trees and tuned (tuned-gray).
        batch: Examples per step. Default: the recipe's, fewer for small sets.
        when: Record on clean pictures after each epoch, or (cheaper, noisier) on augmented ones while training.
        folds: Train each member on all folds but one, so that every example has answers of networks that did not see it; with 0
            on everything, and wrong labels are not counted. Default: 5, or what divides the members.
        repeats: How often the set is cut into folds; folds x repeats members. Default: 1, or 2 with effort high.
        rounds: With 2, train as many members again, without the labels that the first ones call wrong; finds wrong labels best.
        threshold_samples: With --folds 0: train two more networks that learn some examples as an extra class, as if they were
            wrongly labelled, to tell from them how many labels are wrong.
        record: Record more, for scores that need it, with commas: vog (the weights after up to ten epochs), second_split (each
            network is trained again on what it had left out).
        precision: Compute in float32 (fp32) or bfloat16 (bf16). auto measures which of them is faster here; a run that was begun
            goes on with its own.
        seed: Number from which everything random follows; the same number gives the same result.
    """

    effort: Literal["low", "medium", "high"] = "medium"
    members: int | None = None
    epochs: int | None = None
    model: str | None = None
    recipe: str | None = None
    batch: int | None = None
    when: Literal["clean", "online"] = "clean"
    folds: int | None = None
    repeats: int | None = None
    rounds: int = 1
    threshold_samples: bool = False
    record: str | None = None
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        _check_kinds(self)
        for name in self.recorded:
            if name not in RECORDED:
                raise unknown_choice("record", name, RECORDED)
        _check_least(self, 1, "members", "epochs", "batch", "repeats", "rounds")
        _check_least(self, 0, "folds")
        if self.folds == 1:
            raise invalid("folds", "be 0 (no folds) or at least 2", self.folds)

    @property
    def recorded(self) -> tuple[str, ...]:
        """What is recorded more, in the order of names."""
        return () if self.record is None else tuple(sorted(set(self.record.split(","))))


@dataclass(frozen=True)
class ScoreReading:
    """How a score is read anew from the trace of a run, in place of its column.

    Attributes:
        until: Score as if training had ended after so many epochs.
        window: Epochs in a window of dual, dyn_unc and tdds, and those that el2n_sum adds up. Default: 10, or all of fewer.
        evidence: Which networks speak for an example: all, those trained on it (in), or those that were not (out; needs --folds).
    """

    until: int | None = None
    window: int | None = None
    evidence: Literal["all", "in", "out"] = "all"

    @property
    def words(self) -> str:
        said = [f"until epoch {self.until}"] if self.until is not None else []
        said += [f"windows of {self.window} epochs"] if self.window is not None else []
        said += [] if self.evidence == "all" else [f"{self.evidence}-of-sample" if self.evidence == "out" else "in-sample"]
        return ", ".join(said)


@dataclass(frozen=True)
class SwavSettings:
    """What a training without labels may be asked for; whatever is None follows from `effort` and the data.

    Attributes:
        effort: For swav: how much to spend. Width and epochs follow from it. Default: medium.
        recipe: For swav: fast (the default for colour), fast-gray, report (ResNet-18, two full crops, 200 epochs), or
            module:function.
        model: For swav: the network, as for dataprune score. For trace: its name again, if it is module:function.
        epochs: For swav: passes over the set. Default: by effort and size.
        batch: For swav: examples per step. Default: the recipe's.
        seed: Number from which weights, crops and order follow; the same number gives the same result.
    """

    effort: Literal["low", "medium", "high"] | None = None
    recipe: str | None = None
    model: str | None = None
    epochs: int | None = None
    batch: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        _check_kinds(self)
        _check_least(self, 1, "epochs", "batch")


MOST_ON_GPU = 8
GPU_SHARE = 10 * 2**30  # bytes


@dataclass(frozen=True)
class Hardware:
    """Where and how wide to work; none of it changes a result.

    Attributes:
        device: Where to train: cpu, cuda, cuda:1, mps. Default: cuda if there is one.
        executor: One after the other, side by side in processes, or on Ray. Default: processes, on mps serial.
        workers: Processes at once; no result depends on it. Default: one per core; on CUDA at most 8, two cores and 10 GB of the
            GPU's free memory each.
        address: With executor ray: the cluster to join (auto or HOST:PORT), made by ray start --head. Default: one on this
            machine, ended afterwards.
        gpus: With executor ray: the share of a GPU that one training takes. Default: a whole one where the device is no CPU.
    """

    device: str | None = None
    executor: Literal["serial", "processes", "ray"] | None = None
    workers: int | None = None
    address: str | None = None
    gpus: float | None = None

    def __post_init__(self) -> None:
        _check_kinds(self)
        if self.device is not None and not re.fullmatch(r"cpu|mps|cuda(:\d+)?", self.device):
            raise invalid("device", "be cpu, cuda (or cuda:1) or mps", repr(self.device))
        _check_least(self, 1, "workers")
        _check_least(self, 0, "gpus")

    def resolved_device(self) -> str:
        """Return the device to train on: the one asked for, else CUDA if there is one, else the CPU.

        Raises:   MachineError: the device asked for cannot be used.
        """
        if self.executor == "ray":  # the devices are the nodes', not this machine's
            return self.device or ("cuda" if self.gpus else "cpu")
        import torch

        from dataprune.training.inputs import open_device

        if self.device is None:
            return "cuda" if torch.cuda.is_available() else "cpu"
        return str(open_device(self.device))

    def executor_config(self, device: str) -> "ExecutorConfig":
        """Return who trains on a device."""
        from dataprune.workers import ExecutorConfig, default_workers

        executor, workers = self.executor or ("serial" if device == "mps" else "processes"), self.workers
        if workers is None and executor == "processes":
            workers = on_gpu(device) if device.startswith("cuda") else default_workers()
        gpus = self.gpus if self.gpus is not None else float(executor == "ray" and device != "cpu")
        return ExecutorConfig(executor, workers, address=self.address, gpus=gpus)

    def gain(self, device: str, jobs: int) -> float:
        """Return how many times faster than one after the other so many jobs are foreseen to end."""
        from dataprune.workers import default_workers

        config = self.executor_config(device)
        at_once = 1 if config.executor == "serial" else min(config.workers or default_workers(), jobs)
        # Measured on one H200, whose steps of the default network leave most of it idle: eight at once are 2.85 times as fast.
        return at_once**0.5 if device.startswith("cuda") and config.executor == "processes" else float(at_once)


def on_gpu(device: str) -> int:
    """Return how many trainings share a GPU: a network that leaves it idle wants several, memory and cores bound them."""
    import torch

    from dataprune.workers import default_workers

    free = torch.cuda.mem_get_info(torch.device(device))[0]
    return max(1, min(MOST_ON_GPU, default_workers() // 2, free // GPU_SHARE))


def _check_kinds(settings: "Settings | SwavSettings | Hardware") -> None:
    """Refuse what is none of the choices that a field names, and what is no whole number where it wants one."""
    for one in fields(settings):
        value, kinds = getattr(settings, one.name), (one.type, *get_args(one.type))
        choices = [choice for kind in kinds for choice in get_args(kind) if isinstance(choice, str)]
        if value is None and type(None) in kinds:
            continue
        if choices and value not in choices:
            raise unknown_choice(one.name, value, choices)
        if int in kinds and (isinstance(value, bool) or not isinstance(value, Integral)):
            raise invalid(one.name, "be a whole number", repr(value))


def _check_least(settings: object, least: int, *names: str) -> None:
    for name in names:
        value = getattr(settings, name)
        if value is not None and not value >= least:
            raise invalid(name, f"be at least {least}", value)


@dataclass(frozen=True)
class Cost:
    """A cost in three currencies, NaN where it is not known: seconds (of work, added up over processes, where it is done; of the
    clock, where it is foreseen), examples through the network in training, and floating-point operations, the one to compare by
    where the scoring network is another than the trained one."""

    seconds: float
    examples_seen: float
    flops: float

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.seconds + other.seconds, self.examples_seen + other.examples_seen, self.flops + other.flops)

    def __getitem__(self, measure: str) -> float:
        return float(getattr(self, measure))


def seconds_of(step: Callable[[], object]) -> float:
    """Do a step twice and time the second: the first one pays for what is set up once."""
    step()
    begun = time.perf_counter()
    step()
    return time.perf_counter() - begun
