"""One network, trained on rows of a data set that lies on the device: epoch by epoch, so that it can be stopped and taken up."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int64
from torch import Tensor, nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from dataprune.errors import WorkError, invalid, one_line
from dataprune.precision import Precision, autocast
from dataprune.streams import generator, torch_seed
from dataprune.training import augment, probe
from dataprune.training.inputs import MOST_VALUES, Inputs, predict_batch
from dataprune.training.models import MODELS, build, check_name, last_linear
from dataprune.training.optimiser import Optimiser
from dataprune.training.recipes import Plateau, Recipe, batches_of, rate_at, smaller_side

OnBatch = Callable[[Tensor, Tensor, Tensor | None], None]  # rows, logits, penultimate features


@dataclass(frozen=True)
class Training:
    """What one training is: a pure function of this, the data and the rows trained on. `epochs` overrules the recipe's own;
    weights, order, augmentation and dropout are streams of `seed`."""

    model: str
    recipe: Recipe
    epochs: int
    seed: int
    n_classes: int
    device: str = "cpu"
    precision: Precision = "fp32"


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


@dataclass(frozen=True, eq=False)
class Part:
    """What one epoch trains: the first `taken` of the `n_batches` into which the rows are cut. For the schedule of the rate: the
    steps before this epoch, those of the whole training, and the epoch as milestones count it. `weights` (N,) multiply the losses,
    if given."""

    trained_on: Bool[np.ndarray, " examples"]
    n_batches: int
    taken: int
    first_step: int
    n_steps: int
    epoch: int
    weights: np.ndarray | None = None


class Fitting:
    """A network in training. Its state after an epoch is `arrays()` and `info()`, from which `restore` goes on bit for bit."""

    model: nn.Module

    def __init__(self, model: nn.Module, recipe: Recipe, inputs: Inputs) -> None:
        self.inputs, self.device = inputs, inputs.device
        self.model = model.to(self.device)
        if inputs.are_images:
            self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimiser = Optimiser(self.model, recipe)
        self.epoch = 0
        self.loss = math.nan

    def run_epoch(self, batches: Sequence[Tensor], losses: Iterator[Tensor], seed: int, *dropout: str | int) -> None:
        """Take the steps that give the loss of each batch; a mean that is no number is a WorkError."""
        total = torch.zeros((), device=self.device)
        self.model.train()
        with torch_stream(seed, *dropout, device=self.device):
            for batch, loss in zip(batches, losses, strict=True):
                total += loss * len(batch)
        self.end_epoch(float(total) / sum(map(len, batches)))

    def end_epoch(self, loss: float) -> None:
        """Note that an epoch has ended with this mean loss; one that is no number is a WorkError."""
        self.loss = loss
        if not math.isfinite(loss):
            raise WorkError(f"training diverged in epoch {self.epoch + 1}: the loss is {loss}; try a lower learning rate")
        self.epoch += 1

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the tensors of the state: `weights.<name>`, and the optimiser's."""
        return {f"weights.{name}": value for name, value in weights_of(self.model).items()} | self.optimiser.arrays()

    def info(self) -> dict[str, Any]:
        return {"epoch": self.epoch, "loss": self.loss}

    def restore(self, arrays: Mapping[str, np.ndarray], info: Mapping[str, Any]) -> None:
        load_weights(self.model, arrays)
        self.optimiser.restore(arrays)
        self.epoch, self.loss = info["epoch"], info["loss"]


class Fit(Fitting):
    """One classifier in training."""

    def __init__(
        self, training: Training, inputs: Inputs, labels: Int64[np.ndarray, " examples"], trained_on: Bool[np.ndarray, " examples"]
    ) -> None:
        n_trained = int(trained_on.sum())
        if n_trained < 2:
            raise invalid("trained_on", "name at least 2 examples", n_trained)
        check_name(training.model)
        with torch_stream(training.seed, "weights", device=inputs.device):
            model = build(training.model, inputs.shape, training.n_classes)
        super().__init__(model, training.recipe, inputs)
        self.training, self.trained_on = training, trained_on
        # What the first layer would round to: half of the memory to go through. Networks of one's own are shown float32.
        self.dtype = torch.bfloat16 if training.precision == "bf16" and training.model in MODELS else torch.float32
        self.look: Precision = training.precision if self.device.type == "cuda" else "fp32"
        self.labels = torch.from_numpy(np.asarray(labels)).to(self.device)
        self.plateau, self.peak = Plateau(), 1.0
        self.strength: float | None = None
        self.kept: dict[str, np.ndarray] = {}
        self.weights: Tensor | None = None
        self.side: tuple[int, int] | None = None  # of pictures in this epoch, where it is not their own
        self.n_batches = batches_of(n_trained, training.recipe.batch)
        last = last_linear(self.model, training.n_classes)
        self.last_bias = last is None or last.bias is not None
        self.width = None if last is None else last.in_features
        self._tap = FeatureTap(last)

    def train_epoch(self, on_batch: OnBatch | None = None, part: Part | None = None) -> None:
        """Train one epoch, of all the rows of this training or a part: those of a permutation of the whole set. `on_batch` is given
        each batch's rows, logits (of the augmented pictures, before the step) and penultimate features."""
        training, epoch = self.training, self.epoch
        if part is None:
            n_steps = training.epochs * self.n_batches
            part = Part(self.trained_on, self.n_batches, self.n_batches, epoch * self.n_batches, n_steps, epoch)
        batches = self.begin_epoch(part)
        draws = self.draws()

        def losses() -> Iterator[Tensor]:
            for step, batch in enumerate(batches):
                self.optimiser.rate = self.rate(part, step)
                yield self._step(batch, draws, on_batch)

        self.run_epoch(batches, losses(), training.seed, "dropout", epoch)

    def begin_epoch(self, part: Part) -> tuple[Tensor, ...]:
        self._regularise(part)
        self.weights = None if part.weights is None else torch.from_numpy(part.weights).to(self.device)
        steps = part.first_step, part.n_batches, part.n_steps
        self.side = smaller_side(self.training.recipe, self.inputs.shape[1:], *steps)
        order = generator(self.training.seed, "order", self.epoch).permutation(len(self.inputs))
        rows = torch.from_numpy(order[part.trained_on[order]]).to(self.inputs.home)  # once: a copy a step would make a GPU wait
        return torch.tensor_split(rows, part.n_batches)[: part.taken]

    def draws(self) -> augment.Draws | None:
        training, inputs = self.training, self.inputs
        if not inputs.have_mirrored:
            return None
        return augment.draw(training.recipe, len(inputs), inputs.shape[1:], training.seed, self.epoch, inputs.home)

    def rate(self, part: Part, step: int) -> float:
        of_schedule = rate_at(self.training.recipe, part.first_step + step, part.n_steps, part.epoch)
        return of_schedule * self.peak * self.plateau.factor

    def end_epoch(self, loss: float) -> None:
        super().end_epoch(loss)
        self.plateau = self.plateau.after(loss, self.training.recipe)

    def _regularise(self, part: Part) -> None:
        """Set weight decay and peak rate where the recipe has the strength chosen: once, on the rows of this training."""
        training, recipe = self.training, self.training.recipe
        if recipe.weight_decay is not None:
            return
        if self.strength is None:
            every = np.flatnonzero(self.trained_on)
            rows = generator(training.seed, "strength").permutation(every)[: probe.MOST_ROWS]
            x = self.inputs.batch(torch.from_numpy(rows)).cpu().numpy()
            self.strength = probe.choose_strength(x, self.labels.cpu().numpy()[rows], len(every))
        labels = self.labels.cpu().numpy()[part.trained_on]
        decay = 1 / (self.strength * len(labels))  # of a loss averaged over rows
        self.optimiser.decay = decay
        self.peak = probe.rate_of(decay, labels, len(labels) / part.n_batches, part.n_steps, recipe.momentum)

    def _step(self, rows: Tensor, draws: augment.Draws | None, on_batch: OnBatch | None) -> Tensor:
        x = self.inputs.batch(rows, draws, dtype=self.dtype, side=self.side)
        with autocast(self.device, self.training.precision):
            logits = self.model(x)
        there, smoothing = rows.to(self.device), self.training.recipe.label_smoothing
        if self.weights is None:
            loss = functional.cross_entropy(logits.float(), self.labels[there], label_smoothing=smoothing)
        else:
            each = functional.cross_entropy(logits.float(), self.labels[there], label_smoothing=smoothing, reduction="none")
            loss = (each * self.weights[there]).mean()
        self.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        if on_batch is not None:
            on_batch(rows, logits.detach(), self._tap.seen)
        return loss.detach()

    def predict(
        self, rows: Int64[np.ndarray, " some"] | None = None, inputs: Inputs | None = None, *, mirrored: bool = False
    ) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
        """Yield rows, logits and penultimate features of clean pictures (or their mirror images), as large as the last epoch had
        them, batch by batch in row order.
        Without `rows` all are looked at, without `inputs` the training data."""
        self.model.eval()
        inputs = self.inputs if inputs is None else inputs
        every = torch.from_numpy(np.arange(len(inputs)) if rows is None else rows).to(inputs.home)
        step = predict_batch(inputs)
        for start in range(0, len(every), step):
            some = every[start : start + step]
            with torch.inference_mode(), autocast(self.device, self.look):
                logits = self.model(inputs.batch(some, mirrored=mirrored, side=self.side))
            yield some, logits, self._tap.seen

    def named(self, rows: Int64[np.ndarray, " some"] | None = None, inputs: Inputs | None = None) -> Int64[np.ndarray, " some"]:
        """Return the class that is named for each example that `predict` looks at."""
        return np.concatenate([logits.argmax(1).cpu().numpy() for _, logits, _ in self.predict(rows, inputs)])

    def room_for_features(self) -> Float32[np.ndarray, "examples features"] | None:
        """Return room for what goes into the last linear layer for each example; None where there is no such layer, or too much."""
        if self.width is None or len(self.inputs) * self.width > MOST_VALUES:
            return None
        return np.empty((len(self.inputs), self.width), np.float32)

    def keep(self) -> None:
        """Keep the weights as they are after this epoch, as `weights@<epoch>.<name>`."""
        self.kept |= {f"weights@{self.epoch:04d}.{name}": value.copy() for name, value in weights_of(self.model).items()}

    def arrays(self) -> dict[str, np.ndarray]:
        return super().arrays() | self.kept

    def info(self) -> dict[str, Any]:
        return super().info() | {"plateau": asdict(self.plateau), "strength": self.strength}

    def restore(self, arrays: Mapping[str, np.ndarray], info: Mapping[str, Any]) -> None:
        super().restore(arrays, info)
        self.plateau, self.strength = Plateau(**info["plateau"]), info["strength"]
        self.kept = {name: np.array(value) for name, value in arrays.items() if name.startswith("weights@")}


def weights_of(model: nn.Module) -> dict[str, np.ndarray]:
    return {name: value.detach().cpu().numpy() for name, value in model.state_dict().items()}


def load_weights(model: nn.Module, arrays: Mapping[str, np.ndarray]) -> None:
    """Put the arrays called `weights.<name>` into the network."""
    stored = {name.removeprefix("weights."): arrays[name] for name in arrays if name.startswith("weights.")}
    model.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in stored.items()})


class FeatureTap:
    """Remembers in `seen` what last went into the last linear layer."""

    def __init__(self, layer: nn.Linear | None) -> None:
        self.seen: Tensor | None = None
        if layer is not None:
            layer.register_forward_pre_hook(self._remember)

    def _remember(self, layer: nn.Module, given: tuple[Tensor, ...]) -> None:
        self.seen = given[0].detach()

    def of(self, network: nn.Module, x: Tensor) -> Tensor:
        """Return what goes into the layer where its network looks at a batch."""
        network(x)
        assert self.seen is not None
        return self.seen


def forward_flops(model: str, shape: tuple[int, ...], n_classes: int) -> int:
    """Count the operations of one example's forward pass; training is three times that."""
    check_name(model)
    with torch_stream(0, "weights", device=torch.device("cpu")):
        network = build(model, shape, n_classes).eval()
        if ":" in model:
            check_outputs(model, network, shape, n_classes)
        return count_flops(network, shape)


def check_outputs(model: str, network: nn.Module, shape: tuple[int, ...], n_classes: int) -> None:
    """Refuse a network of one's own that does not take the examples, or gives other than a number for each class."""
    try:
        with torch.inference_mode():
            given = network(torch.zeros((2, *shape)))
    except Exception as error:
        raise invalid("model", f"take shape {shape}", f"{type(error).__name__} ({one_line(error)}) in {model}") from error
    what = str(tuple(given.shape)) if isinstance(given, Tensor) else type(given).__name__
    if what != str((2, n_classes)):
        raise invalid("model", f"give logits alone, a tensor of shape (N, {n_classes})", f"{what} for 2 examples, from {model}")


class _FlopCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the operations of what torch has formulas for. Torch's own counter imports torch's compiler first: a second."""

    total = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        found, formula = func(*args, **(kwargs or {})), flop_registry.get(func.overloadpacket)
        self.total += 0 if formula is None else formula(*args, **(kwargs or {}), out_val=found)
        return found


def count_flops(network: Callable[[Tensor], Tensor], shape: tuple[int, ...]) -> int:
    """Count the floating-point operations on one example; a multiply-add counts as two."""
    with torch.no_grad(), _FlopCounter() as counter:  # type: ignore[no-untyped-call]
        network(torch.zeros((1, *shape)))
    return int(counter.total)
