"""The encoders by which pictures become features, frozen or learned here, and the identity of what they make."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float32, Float64

from dataprune import store
from dataprune.clustering import refuse_rows
from dataprune.components import COMPONENTS, on_components, pixel_components
from dataprune.data import Dataset
from dataprune.encoders import Encoding, choose, encode
from dataprune.encoders.encoder import OURS
from dataprune.encoders.vectors import record_of
from dataprune.errors import InputError, check_type, invalid, unknown_choice
from dataprune.run.run import Run, other_data, undamaged
from dataprune.trace import open_member
from dataprune.training.settings import Cost, Hardware, SwavSettings
from dataprune.training.swav.recipe import plan_swav

if TYPE_CHECKING:
    from dataprune.training.swav.job import SwavEpochDone

LEARNED = ("swav", "trace", "pixels")

Encode = Callable[[Dataset], Float32[np.ndarray, "examples features"]]


@dataclass(frozen=True)
class EmbedSettings:
    """What features may be asked for.

    Attributes:
        encoder: `swav`, `trace`, `pixels`, or one of those that `dataprune.encode` takes; `auto` is the built-in one for colour
            photographs, if it is installed, else `swav`.
        model: for `trace`, if the run's model was `module:function`: that name, for a stored name is not followed.
    """

    encoder: str = "auto"
    swav: SwavSettings = field(default_factory=SwavSettings)
    components: int = COMPONENTS
    model: str | None = None


@dataclass(frozen=True)
class EmbedProgress:
    """What a listener hears: the cost once before training, then each finished epoch, and how many are done of all."""

    done: int
    total: int
    cost: Cost | None = None
    epoch: "SwavEpochDone | None" = None


Listener = Callable[[EmbedProgress], None]


@dataclass(frozen=True, eq=False)
class Encoder:
    """What came of it: a way to make features of any picture of this size, what training it took, and what else to note."""

    features_of: Encode
    examples_seen: int = 0
    flops: int = 0
    about: Mapping[str, object] = field(default_factory=dict)

    def encode(self, some: Dataset) -> Float32[np.ndarray, "examples features"]:
        """Make features; those that are no numbers are refused, with their rows."""
        features = self.features_of(some)
        refuse_rows(np.asarray(~np.isfinite(features).all(axis=1)), 0, "NaN or infinite")
        return features


@dataclass(frozen=True, eq=False)
class Method:
    """An encoder with its settings: its identity as plain JSON, and the work before features can be made, resumed in scratch."""

    identity: dict[str, Any]
    prepare: Callable[[Path, Listener | None], Encoder]


def method_of(dataset: Dataset, settings: EmbedSettings, hardware: Hardware, run: Run | None) -> Method:
    """Choose the encoder and check everything that can be checked before long work."""
    name = settings.encoder
    if name == "auto" and dataset.records is not None and dataset.encoder is not None:
        as_read = Encoder(lambda some: np.asarray(some.inputs, np.float32))
        return Method({"encoder": name, **asdict(dataset.encoder)}, lambda scratch, listener: as_read)
    if name == "auto":
        learns = settings.swav != SwavSettings(seed=settings.swav.seed)
        name = "swav" if learns or run is not None else choose(dataset, name)[0] or "swav"
    if name == "trace":
        return _trace(dataset, settings.model, hardware, run)
    if run is not None:
        raise invalid("run", "go with --encoder trace", f"--encoder {name}")
    if name == "swav":
        return _swav(dataset, settings.swav, hardware)
    if dataset.images is None and not (dataset.kind == "texts" and name not in LEARNED):
        width = dataset.inputs.shape[1]
        raise InputError(f"--encoder {name} needs pictures, not vectors of {width} columns. Give them to `dataprune km`.")
    if name == "pixels":
        return _pixels(dataset, settings.components)
    if ":" not in name and name not in OURS:
        raise unknown_choice("encoder", name, ("auto", *LEARNED, *OURS, "timm:...", "hf:...", "module:function"))
    return _frozen(dataset, name, hardware)


def _directions(
    features: Float32[np.ndarray, "examples features"],
    mean: Float64[np.ndarray, " features"],
    deviation: Float64[np.ndarray, " features"],
) -> Float32[np.ndarray, "examples features"]:
    """Standardise columns and bring rows to length one (zeros stay): of a network trained by directions only directions count."""
    moved = (features - mean) / np.where(deviation > 0, deviation, 1.0)
    length = np.linalg.norm(moved, axis=1, keepdims=True)
    return np.asarray(moved / np.where(length > 0, length, 1.0), np.float32)


def _frozen(dataset: Dataset, name: str, hardware: Hardware) -> Method:
    how = Encoding(hardware.resolved_device(), hardware.workers)
    record = record_of(dataset, name, how)

    def prepare(scratch: Path, listener: Listener | None) -> Encoder:
        hear = None if listener is None else lambda done, total: listener(EmbedProgress(done, total))
        return Encoder(lambda some: np.asarray(encode(some, name, replace(how, progress=hear)).features, np.float32))

    return Method({"encoder": name, **asdict(record)}, prepare)


def _swav(dataset: Dataset, settings: SwavSettings, hardware: Hardware) -> Method:
    from dataprune.training.swav.job import swav_cost, swav_features, timed_swav_cost, train_swav

    plan = plan_swav(dataset, settings)
    cost = swav_cost(dataset, plan)  # refuses a model that is unknown or does not fit

    def prepare(scratch: Path, listener: Listener | None) -> Encoder:
        # One training, whose checkpoints lie here: a cluster would gain nothing.
        here = replace(hardware, executor=None) if hardware.executor == "ray" else hardware
        device = here.resolved_device()
        if listener is not None:
            listener(EmbedProgress(0, plan.epochs, cost=timed_swav_cost(dataset, plan, device)))

        def heard(epoch: "SwavEpochDone") -> None:
            if listener is not None:
                listener(EmbedProgress(epoch.epoch, plan.epochs, epoch=epoch))

        executor = here.executor or ("processes" if device == "cpu" else "serial")
        outcome = train_swav(dataset, plan, scratch, device=device, executor=executor, on_message=heard)
        done = outcome.result("training", "What was finished is kept: the same command goes on." if outcome.lost else "")
        weights = store.open_arrays(done.weights)
        own = swav_features(dataset, plan, weights, dataset, device)
        mean, deviation = own.mean(axis=0, dtype=np.float64), own.std(axis=0, dtype=np.float64)

        def encode(some: Dataset) -> np.ndarray:
            features = own if some is dataset else swav_features(some, plan, weights, dataset, device)
            return _directions(features, mean, deviation)

        about = {"final_loss": done.loss, "peak_bytes": done.peak_bytes, "device": device, "bit_exact": device == "cpu"}
        about |= {"training_seconds": round(done.seconds, 3), "processor_seconds": round(done.processor_seconds, 3)}
        return Encoder(encode, len(dataset) * plan.epochs, int(cost.flops), about)

    return Method({"encoder": "swav", "rows": "standardised, of length one", **asdict(plan)}, prepare)


def _trace(dataset: Dataset, model: str | None, hardware: Hardware, run: Run | None) -> Method:
    if run is None:
        raise invalid("run", "be given with --encoder trace", "none", "Name a folder made by `dataprune score` by --run RUN.")
    check_type("run", run, Run, "Open its folder with `open_run`.")
    spec, recipe, member = run.manifest.spec, run.manifest.spec.recipe, run.manifest.learned[0]
    if recipe is None:
        raise InputError(f"{run.path} was recorded in another training and has no network. Give its vectors as --features FILE.")
    how = Encoding(hardware.resolved_device(), hardware.workers)
    if spec.encoder is not None and dataset.encoder is None:
        if run.eyes == "scratch":
            raise invalid("encoder", f"go with data encoded by {spec.encoder.name}, as those of {run.path}", "trace")
        dataset = encode(dataset, run.eyes, how)
    if not run.is_of(dataset):
        raise other_data(run, dataset, "the data", "Give the data that were scored, with the same options.")
    if ":" in spec.model and model != spec.model:
        raise InputError(f"the network of {run.path} is code, not run unasked. If you trust it, give --model {spec.model}.")

    def prepare(scratch: Path, listener: Listener | None) -> Encoder:
        from dataprune.training.features import Built, penultimate

        path = undamaged(run.path / str(member.file), member.sha256)
        arrays, device = open_member(path).arrays, hardware.resolved_device()
        built = Built(spec.model, recipe.normalise, spec.n_classes, device)
        about = {"device": device, "bit_exact": device == "cpu"}
        return Encoder(lambda some: penultimate(encode(some, run.eyes, how), arrays, built, trained_on=dataset), about=about)

    return Method({"encoder": "trace", "member": member.member, "weights": member.sha256}, prepare)


def _pixels(dataset: Dataset, components: int) -> Method:
    """Encode by principal components, a control."""
    if components < 1:
        raise invalid("components", "be at least 1", components)

    def prepare(scratch: Path, listener: Listener | None) -> Encoder:
        found = pixel_components(np.asarray(dataset.images), components)
        return Encoder(
            lambda some: on_components(np.asarray(some.images), found), len(dataset), about={"explained_variance": found.explained}
        )

    return Method({"encoder": "pixels", "components": components}, prepare)
