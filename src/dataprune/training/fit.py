"""One network, trained on rows of a data set that lies on the device: epoch by epoch, so that it can be stopped and taken up."""

import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn
from torch.nn import functional

from dataprune.errors import MachineError, WorkError, invalid
from dataprune.streams import generator, torch_seed
from dataprune.training import augment
from dataprune.training.models import build, last_linear, prepare
from dataprune.training.recipes import Plateau, Recipe, rate_at

OnBatch = Callable[[Tensor, Tensor, Tensor | None], None]  # rows, logits, penultimate features

NORMALISE_ROWS = 10_000  # mean and deviation come from at most so many evenly spaced pictures
NORMALISE_VALUES = 50_000_000  # ... and from at most so many values of a channel
NORMALISE_BLOCK = 4_000_000  # values looked at together
PREDICT_BATCH = 500  # examples looked at together, fewer where pictures are large
PREDICT_PIXELS = 4_000_000
DEVICE_SHARE = 0.6  # of a GPU's free memory that a data set may take


@dataclass(frozen=True)
class Training:
    """What one training is: a pure function of this, the data and the rows trained on.

    Attributes:
        epochs: overrules the recipe's own.
        seed: of this network alone; weights, order, augmentation and dropout are streams of it.
        device: `cpu`, `cuda`, `cuda:1`, `mps`.
    """

    model: str
    recipe: Recipe
    epochs: int
    seed: int
    n_classes: int
    device: str = "cpu"


@contextmanager
def torch_stream(seed: int, *names: str | int, device: torch.device) -> Iterator[None]:
    """Run torch's own draws (initial weights, dropout) inside a fork of its generator that starts from a named stream."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.default_generator.manual_seed(torch_seed(seed, *names))  # not `torch.manual_seed`: that seeds every device there is
        if devices:
            number = torch.cuda.current_device() if device.index is None else device.index
            torch.cuda.default_generators[number].manual_seed(torch_seed(seed, *names))
        yield


@contextmanager
def one_thread(device: str) -> Iterator[None]:
    """Compute on one thread if on a CPU: sums are then taken in one order, on any machine with any number of cores."""
    threads = torch.get_num_threads()
    if torch.device(device).type == "cpu":
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


class Inputs:
    """A data set on a device: pictures stay uint8 until a batch is gathered, vectors are float32."""

    def __init__(self, inputs: np.ndarray, normalise: str, device: str, like: "Inputs | None" = None) -> None:
        """Place the data: (N, H, W, Ch) uint8 or (N, D) float32, in memory or a memory map (which stays one on the CPU).

        Args:
            normalise: as in `Recipe`; vectors are standardised by column, unless `none`.
            like: take shift and scale from these instead, as test data do from the training data.
        """
        self.device = open_device(device)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*not writable.*")  # nothing here writes into it
            self.data = torch.from_numpy(np.ascontiguousarray(inputs))
        if _fits(self.data, self.device):
            self.data = self.data.to(self.device)
        self.home = self.data.device  # where batches are gathered: on the device, or of a set too large for it beside it
        self.are_images = inputs.ndim == 4
        self.shape = example_shape(inputs)
        if like is None:
            mean, deviation = _moments(inputs, normalise)
            self.shift = torch.from_numpy(mean).to(self.device)
            self.scale = torch.from_numpy(1 / deviation).to(self.device)
        else:
            self.shift, self.scale = like.shift, like.scale
        if self.are_images:
            self._line_shift, self._line_scale = self.shift.repeat(inputs.shape[2]), self.scale.repeat(inputs.shape[2])

    def __len__(self) -> int:
        return len(self.data)

    def batch(
        self, rows: Int64[Tensor, " batch"], draws: augment.Draws | None = None
    ) -> Float[Tensor, "batch features"] | Float[Tensor, "batch channels height width"]:
        """Gather rows, augmented by the draws (on `home`) if given, normalised, channels last in memory."""
        at_home = rows.to(self.home)
        if not self.are_images:
            vectors: Tensor = (self.data[at_home].to(self.device) - self.shift) * self.scale
            return vectors
        pixels = self.data[at_home] if draws is None else augment.crop_and_flip(self.data, at_home, draws)
        pixels = pixels.to(self.device)
        lines = pixels.float().view(-1, len(self._line_shift))  # whole lines of a picture: three channels alone fill no vector unit
        pictures = lines.sub_(self._line_shift).mul_(self._line_scale).view(pixels.shape).permute(0, 3, 1, 2)
        if draws is not None and draws.angle is not None:
            rotated = augment.rotate(pictures, draws.angle[at_home].to(self.device))
            return rotated.contiguous(memory_format=torch.channels_last)
        return pictures


def example_shape(inputs: np.ndarray) -> tuple[int, ...]:
    """Return the shape of one example as networks see it: (channels, height, width) or (features,)."""
    return (inputs.shape[3], *inputs.shape[1:3]) if inputs.ndim == 4 else inputs.shape[1:]


def _fits(data: Tensor, device: torch.device) -> bool:
    """Return whether a set fits on the device and leaves room for training."""
    if device.type != "cuda":
        return True
    free, _ = torch.cuda.mem_get_info(device)
    return data.numel() * data.element_size() < DEVICE_SHARE * free


def open_device(name: str) -> torch.device:
    """Return the torch device, or say why there is none."""
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as reason:
        first = str(reason).splitlines()[0].rstrip(".")
        raise MachineError(f"`device` {name!r} cannot be used here: {first}. Use --device cpu.") from None
    return device


def _moments(inputs: np.ndarray, normalise: str) -> tuple[np.ndarray, np.ndarray]:
    """Return shift and scale of each channel (or column) so that (x − mean) / deviation is what the network sees."""
    n_columns = inputs.shape[-1]
    if normalise == "none":
        unit = 255.0 if inputs.ndim == 4 else 1.0
        return np.zeros(n_columns, np.float32), np.full(n_columns, unit, np.float32)
    if normalise == "half" and inputs.ndim == 4:
        return np.full(n_columns, 127.5, np.float32), np.full(n_columns, 127.5, np.float32)
    most = min(NORMALISE_ROWS, max(1, NORMALISE_VALUES // max(1, inputs[0].size // n_columns)))
    sample = inputs[:: max(1, -(-len(inputs) // most))]
    mean, deviation = _image_moments(sample) if inputs.ndim == 4 else _vector_moments(sample)
    deviation[deviation < 1e-6 * np.maximum(1.0, np.abs(mean))] = 1.0  # a constant column becomes zero, not infinity
    return mean.astype(np.float32), deviation.astype(np.float32)


def _image_moments(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and deviation of each channel from counts of its 256 values: exact, and in the memory of one block."""
    counts = np.zeros((images.shape[3], 256), np.int64)
    step = max(1, NORMALISE_BLOCK // images[0].size)
    for start in range(0, len(images), step):
        block = images[start : start + step]
        for channel in range(images.shape[3]):
            counts[channel] += np.bincount(block[..., channel].ravel(), minlength=256)
    values, share = np.arange(256.0), counts / counts.sum(1, keepdims=True)
    mean = share @ values
    return mean, np.sqrt((share * (values - mean[:, None]) ** 2).sum(1))


def _vector_moments(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and deviation of each column, in two passes over blocks."""
    step = max(1, NORMALISE_BLOCK // vectors.shape[1])
    blocks = [slice(start, start + step) for start in range(0, len(vectors), step)]
    total = np.zeros(vectors.shape[1])
    for block in blocks:
        total += vectors[block].sum(0, dtype=np.float64)
    mean = total / len(vectors)
    squares = np.zeros_like(mean)
    for block in blocks:
        squares += ((vectors[block] - mean) ** 2).sum(0)
    return mean, np.sqrt(squares / len(vectors))


def predict_batch(shape: tuple[int, ...]) -> int:
    """Return how many examples of a shape (channels, height, width) or (features,) are looked at together."""
    pixels = shape[1] * shape[2] if len(shape) == 3 else 1
    return max(16, min(PREDICT_BATCH, PREDICT_PIXELS // pixels))


@dataclass(frozen=True, eq=False)
class Part:
    """What one epoch trains, where it is not simply all the rows of the training.

    Attributes:
        trained_on: the rows.
        n_batches: into how many batches they are cut.
        taken: how many of these are trained; the others are left out.
        first_step: the number of steps before this epoch.
        n_steps: of the whole training, for the schedule of the rate.
        epoch: by which the recipe's milestones count.
    """

    trained_on: Bool[np.ndarray, " examples"]
    n_batches: int
    taken: int
    first_step: int
    n_steps: int
    epoch: int


def batches_of(n_examples: int, batch: int) -> int:
    """Return into how many batches of like size an epoch is cut.

    Example:
        >>> batches_of(300, 128), batches_of(20, 128)
        (2, 1)
    """
    return max(1, round(n_examples / batch))


class Fit:
    """One network in training. Its state after an epoch is `arrays()` and `info()`, from which `restore` goes on bit for bit."""

    def __init__(
        self,
        training: Training,
        inputs: Inputs,
        labels: Int64[np.ndarray, " examples"],
        trained_on: Bool[np.ndarray, " examples"],
    ) -> None:
        n_trained = int(trained_on.sum())
        if n_trained < 2:
            raise invalid("trained_on", "name at least 2 examples", n_trained)
        self.training, self.inputs, self.trained_on = training, inputs, trained_on
        self.device = inputs.device
        prepare(training.model)
        with torch_stream(training.seed, "weights", device=self.device):
            model = build(training.model, inputs.shape, training.n_classes)
        self.model = model.to(self.device)
        if inputs.are_images:
            self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.labels = torch.from_numpy(np.asarray(labels)).to(self.device)
        self.optimiser = optimiser_for(self.model, training.recipe, self.device)
        self.plateau = Plateau()
        self.epoch = 0
        self.loss = math.nan
        self.n_batches = batches_of(n_trained, training.recipe.batch)
        last = last_linear(self.model, training.n_classes)
        self.last_bias = last is None or last.bias is not None
        self._features = FeatureTap(last)

    def train_epoch(self, on_batch: OnBatch | None = None, part: Part | None = None) -> None:
        """Train one epoch; the permutation is of all rows and the subset is taken out of it.

        Args:
            on_batch: is given each batch's rows, logits (of the augmented pictures, before the step) and penultimate features.
            part: what to train; None is all the rows of this training.

        Raises:
            WorkError: the loss is no longer a number.
        """
        training, recipe, epoch = self.training, self.training.recipe, self.epoch
        if part is None:
            n_steps = training.epochs * self.n_batches
            part = Part(self.trained_on, self.n_batches, self.n_batches, epoch * self.n_batches, n_steps, epoch)
        order = generator(training.seed, "order", epoch).permutation(len(self.inputs))
        rows = torch.from_numpy(order[part.trained_on[order]]).to(self.inputs.home)  # once: a copy a step would make a GPU wait
        batches = torch.tensor_split(rows, part.n_batches)[: part.taken]
        draws = None
        if self.inputs.are_images:
            draws = augment.draw(recipe, len(self.inputs), self.inputs.shape[1:], training.seed, epoch, self.inputs.home)
        total = torch.zeros((), device=self.device)
        self.model.train()
        with torch_stream(training.seed, "dropout", epoch, device=self.device):
            for step, batch in enumerate(batches, part.first_step):
                set_rate(self.optimiser, rate_at(recipe, step, part.n_steps, part.epoch) * self.plateau.factor)
                total += self._step(batch, draws, on_batch) * len(batch)
        self.loss = checked_loss(float(total) / sum(map(len, batches)), epoch)
        self.plateau = self.plateau.after(self.loss, recipe)
        self.epoch += 1

    def _step(self, rows: Tensor, draws: augment.Draws | None, on_batch: OnBatch | None) -> Tensor:
        x = self.inputs.batch(rows, draws)
        with mixed_precision(self.device):
            logits = self.model(x)
        labels = self.labels[rows.to(self.device)]
        loss = functional.cross_entropy(logits.float(), labels, label_smoothing=self.training.recipe.label_smoothing)
        self.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        if on_batch is not None:
            on_batch(rows, logits.detach(), self._features.last())
        return loss.detach()

    def predict(
        self, rows: Int64[np.ndarray, " some"] | None = None, inputs: Inputs | None = None, *, mirrored: bool = False
    ) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
        """Yield rows, logits and penultimate features of clean pictures, batch by batch in row order.

        Args:
            rows: which examples; None is all of them.
            inputs: of which data; None is the training data.
            mirrored: look at the mirror images instead.
        """
        self.model.eval()
        inputs = self.inputs if inputs is None else inputs
        every = torch.from_numpy(np.arange(len(inputs)) if rows is None else rows).to(inputs.home)
        step = predict_batch(inputs.shape)
        for start in range(0, len(every), step):
            some = every[start : start + step]
            with torch.inference_mode(), mixed_precision(self.device):
                seen = inputs.batch(some)
                logits = self.model(seen.flip(-1) if mirrored else seen)
            yield some, logits, self._features.last()

    def weights(self) -> dict[str, np.ndarray]:
        """Return parameters and buffers by name, as arrays."""
        return weights_of(self.model)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return what must be kept to go on after this epoch: weights and the optimiser's tensors."""
        return state_arrays(self.model, self.optimiser)

    def info(self) -> dict[str, Any]:
        """Return the rest of the state, as plain numbers."""
        best = self.plateau.best if math.isfinite(self.plateau.best) else None
        plateau = {"factor": self.plateau.factor, "best": best, "bad_epochs": self.plateau.bad_epochs}
        return {"epoch": self.epoch, "loss": self.loss, "plateau": plateau}

    def restore(self, arrays: Mapping[str, np.ndarray], info: Mapping[str, Any]) -> None:
        """Go back to the state that `arrays` and `info` gave."""
        restore_state(self.model, self.optimiser, arrays)
        plateau = info["plateau"]
        self.plateau = Plateau(plateau["factor"], math.inf if plateau["best"] is None else plateau["best"], plateau["bad_epochs"])
        self.epoch, self.loss = info["epoch"], info["loss"]


def weights_of(model: nn.Module) -> dict[str, np.ndarray]:
    """Return a network's parameters and buffers by name."""
    return {name: value.detach().cpu().numpy() for name, value in model.state_dict().items()}


def load_weights(model: nn.Module, arrays: Mapping[str, np.ndarray]) -> None:
    """Put the arrays called `weights.<name>` into the network."""
    stored = {name.removeprefix("weights."): arrays[name] for name in arrays if name.startswith("weights.")}
    model.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in stored.items()})


def state_arrays(model: nn.Module, optimiser: torch.optim.Optimizer) -> dict[str, np.ndarray]:
    """Return the tensors of a training: `weights.<name>`, and the optimiser's as `optimiser.<parameter>.<slot>`."""
    return {f"weights.{name}": value for name, value in weights_of(model).items()} | {
        f"optimiser.{index}.{slot}": torch.as_tensor(value).cpu().numpy()
        for index, slots in optimiser.state_dict()["state"].items()
        for slot, value in slots.items()
        if value is not None
    }


def restore_state(model: nn.Module, optimiser: torch.optim.Optimizer, arrays: Mapping[str, np.ndarray]) -> None:
    """Put back what `state_arrays` gave."""
    load_weights(model, arrays)
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    slots: dict[int, dict[str, Tensor]] = {}
    for name in arrays:
        if name.startswith("optimiser."):
            _, index, slot = name.split(".", 2)
            value, like = torch.from_numpy(np.array(arrays[name])), parameters[int(index)]
            if value.shape == like.shape:  # the fused step walks both in memory order, so the strides must be the parameter's
                value = torch.empty_like(like).copy_(value)
            slots.setdefault(int(index), {})[slot] = value
    optimiser.load_state_dict({"state": slots, "param_groups": optimiser.state_dict()["param_groups"]})


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of every parameter."""
    for group in optimiser.param_groups:
        group["lr"] = rate


def checked_loss(loss: float, epoch: int) -> float:
    """Return the mean loss of an epoch, or stop a training that diverged."""
    if not math.isfinite(loss):
        raise WorkError(f"training diverged in epoch {epoch + 1}: the loss is {loss}; try a lower learning rate")
    return loss


class FeatureTap:
    """Remembers what last went into the last linear layer."""

    def __init__(self, layer: nn.Linear | None) -> None:
        self._seen: Tensor | None = None
        if layer is not None:
            layer.register_forward_pre_hook(self._remember)

    def _remember(self, layer: nn.Module, given: tuple[Tensor, ...]) -> None:
        self._seen = given[0].detach()

    def last(self) -> Tensor | None:
        return self._seen


def optimiser_for(model: nn.Module, recipe: Recipe, device: torch.device) -> torch.optim.Optimizer:
    """Build the recipe's optimiser; only matrices and kernels decay."""
    groups = [
        {"params": [p for p in model.parameters() if p.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [p for p in model.parameters() if p.ndim <= 1], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    fused = device.type in ("cpu", "cuda")
    if recipe.optimiser == "sgd":
        nesterov = recipe.nesterov and recipe.momentum > 0
        return torch.optim.SGD(groups, recipe.learning_rate, recipe.momentum, nesterov=nesterov, fused=fused)
    kind = torch.optim.Adam if recipe.optimiser == "adam" else torch.optim.AdamW
    return kind(groups, recipe.learning_rate, fused=fused)


def mixed_precision(device: torch.device) -> torch.autocast:
    """Compute in bfloat16 where it pays: on CUDA (measured on CPUs: nothing gained)."""
    return torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda")


def forward_flops(model: str, shape: tuple[int, ...], n_classes: int) -> int:
    """Count the operations of one example's forward pass; training is three times that."""
    prepare(model)
    with torch_stream(0, "weights", device=torch.device("cpu")):
        return count_flops(build(model, shape, n_classes).eval(), shape)


def count_flops(network: Callable[[Tensor], Tensor], shape: tuple[int, ...]) -> int:
    """Count the floating-point operations on one example; a multiply-add counts as two."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network(torch.zeros((1, *shape)))
    return int(counter.get_total_flops())
