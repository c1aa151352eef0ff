"""One training of `proxy` with the tricks of fast CIFAR training, each an option; on a GPU steps are replayed from a CUDA graph.

Whitened first layer, alternating flips, orthogonalised momentum, steps of normalised kernels and label smoothing: Keller Jordan's
airbench (arXiv:2404.00498); Muon: Jordan et al. 2024. Stays out of the library but for Muon, which has paid.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from dataprune.streams import generator
from dataprune.training import augment
from dataprune.training.fit import torch_stream
from dataprune.training.models import ConvNorm, proxy
from dataprune.training.optimiser import orthogonalised
from dataprune.training.recipes import RECIPES

LOOK = 1_000  # pictures looked at together


@dataclass(frozen=True)
class Candidate:
    """A set of options; the defaults are the recipe `fast`.

    `sides` and `batches`: (side or batch, share of the epochs) in turn. `late_rate`: what is left of the peak rate at the end.
    `average`: horizon of the average of weights that is looked at, in epochs. `freeze`: after which share of the training the
    stem and the first layer stay as they are. `norm_rate`: times the rate for the shifts of normalisation layers.
    """

    epochs: int = 10
    width: int = 32
    peak: float = 0.1
    warmup: float = 0.25
    late_rate: float = 0.0
    weight_decay: float = 5e-4
    smoothing: float = 0.0
    whiten: bool = False
    alternate: bool = False
    muon: float = 0.0
    muon_momentum: float = 0.9
    norm_rate: float = 1.0
    average: float = 0.0
    freeze: float = 1.0
    sides: tuple[tuple[int, float], ...] = ((32, 1.0),)
    batches: tuple[tuple[int, float], ...] = ((128, 1.0),)

    def at(self, parts: tuple[tuple[int, float], ...], epoch: int) -> int:
        """Return the side or the batch of an epoch."""
        ends = np.cumsum([share for _, share in parts]) * self.epochs
        return parts[min(int(np.searchsorted(ends, epoch + 0.5)), len(parts) - 1)][0]

    def rate(self, done: float) -> float:
        """Return the factor on the peak rate at a share of the training: a triangle down to `late_rate`."""
        if done < self.warmup:
            return max(done, 1e-3) / self.warmup
        return 1 - (1 - self.late_rate) * (done - self.warmup) / (1 - self.warmup)


@dataclass(eq=False)
class Set:
    """Pictures (N, H, W, C) uint8 and labels on a device, with shift and scale of each channel."""

    pixels: Tensor
    labels: Tensor
    shift: Tensor
    scale: Tensor

    @classmethod
    def on(cls, pixels: np.ndarray, labels: np.ndarray, device: str) -> "Set":
        some = pixels[:: max(1, len(pixels) // 5_000)].astype(np.float32)
        place = [torch.from_numpy(np.ascontiguousarray(one)).to(device) for one in (pixels, labels)]
        moments = [torch.from_numpy(one).to(device) for one in (some.mean((0, 1, 2)), 1 / some.std((0, 1, 2)))]
        return cls(*place, *moments)

    def pictures(self, pixels: Tensor) -> Tensor:
        """Normalise (n, H, W, C) bytes; channels last in memory."""
        return ((pixels.float() - self.shift) * self.scale).permute(0, 3, 1, 2)


def whitened(model: nn.Module, pictures: Tensor) -> None:
    """Make the first kernels the main directions of patches, divided by their deviation, with both signs; they stay so."""
    stem = next(model.children())
    assert isinstance(stem, ConvNorm)
    conv = stem.conv
    patches = functional.unfold(pictures, conv.kernel_size, stride=conv.stride).transpose(1, 2).flatten(0, 1)
    values, ways = torch.linalg.eigh((patches.T @ patches / len(patches)).double().cpu())
    half = conv.out_channels // 2
    kernels = (ways / (values + 1e-2).sqrt()).T.flip(0)[:half].float().view(half, *conv.weight.shape[1:])
    with torch.no_grad():
        conv.weight.copy_(torch.cat([kernels, -kernels])[: conv.out_channels])
    conv.weight.requires_grad_(False)


@dataclass(eq=False)
class Optimiser:
    """Nesterov's momentum on all, or (`muon`) orthogonalised on kernels of normalised length; rates are tensors, for a graph."""

    candidate: Candidate
    plain: list[nn.Parameter]
    shifts: list[nn.Parameter]
    kernels: list[nn.Parameter]
    rate: Tensor
    buffers: dict[Tensor, Tensor] = field(default_factory=dict)

    @classmethod
    def of(cls, model: nn.Module, candidate: Candidate, device: str) -> "Optimiser":
        trained = [p for p in model.parameters() if p.requires_grad]
        shifts = [m.bias for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
        kernels = [p for p in trained if candidate.muon and p.ndim == 4]
        taken = {id(p) for p in (*shifts, *kernels)}
        plain = [p for p in trained if id(p) not in taken]
        made = cls(candidate, plain, shifts, kernels, torch.zeros((), device=device))
        made.buffers = {p: torch.zeros_like(p) for p in trained}
        return made

    @torch.no_grad()
    def step(self) -> None:
        """Take a step down the gradients; what has none (frozen) stays."""
        one = self.candidate
        for group, factor in ((self.plain, one.peak), (self.shifts, one.norm_rate * one.peak)):
            some: list[Tensor] = [p for p in group if p.grad is not None]
            steps = self._nesterov(some, [gradient(p, one.weight_decay if p.ndim > 1 else 0.0) for p in some], 0.9)
            for p, step in zip(some, steps, strict=True):
                p.sub_(step * (self.rate * factor))
        for p in self.kernels:
            if p.grad is not None:
                (moved,) = self._nesterov([p], [gradient(p)], one.muon_momentum)
                p.mul_(len(p) ** 0.5 / p.norm())
                p.sub_(orthogonalised(moved.flatten(1)).view_as(p) * (self.rate * one.muon))

    def _nesterov(self, some: list[Tensor], grads: list[Tensor], momentum: float) -> list[Tensor]:
        for p, grad in zip(some, grads, strict=True):
            self.buffers[p].mul_(momentum).add_(grad)
        return [grad + momentum * self.buffers[p] for p, grad in zip(some, grads, strict=True)]


def gradient(p: Tensor, decay: float = 0.0) -> Tensor:
    """Return the gradient, with decay."""
    assert p.grad is not None
    return p.grad + decay * p if decay else p.grad


@dataclass(eq=False)
class Trainer:
    """One network in training."""

    candidate: Candidate
    data: Set
    seed: int
    n_classes: int
    precision: str = "bf16"
    steps: dict[tuple[int, int, bool], tuple[Tensor, Tensor, Callable[[], None]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        device = self.data.pixels.device
        with torch_stream(self.seed, "weights", device=device):
            model = proxy((3, 32, 32), self.n_classes, self.candidate.width)
        self.model = model.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if self.candidate.whiten:
            rows = torch.arange(0, len(self.data.pixels), max(1, len(self.data.pixels) // 2_000), device=device)
            whitened(self.model, self.data.pictures(self.data.pixels[rows]))
        self.optimiser = Optimiser.of(self.model, self.candidate, str(device))
        self.state = [t for t in self.model.state_dict().values() if t.dtype.is_floating_point]
        self.mean = [t.clone() for t in self.state]

    def autocast(self) -> torch.autocast:
        kind = self.data.pixels.device.type
        return torch.autocast(kind, torch.bfloat16, enabled=self.precision == "bf16", cache_enabled=False)

    def train(self, trained_on: np.ndarray) -> None:
        """Train all epochs."""
        for epoch in range(self.candidate.epochs):
            self.epoch(epoch, trained_on)

    def epoch(self, epoch: int, trained_on: np.ndarray) -> None:
        """Train an epoch; what is left of it after whole batches is left out."""
        one, device = self.candidate, self.data.pixels.device
        side, batch = one.at(one.sides, epoch), one.at(one.batches, epoch)
        batch = min(batch, int(trained_on.sum()))
        frozen = epoch >= one.freeze * one.epochs
        order = generator(self.seed, "order", epoch).permutation(len(trained_on))
        rows = torch.from_numpy(order[trained_on[order]]).to(device)
        pixels, labels = self.shown(rows, epoch), self.data.labels[rows]
        self.model.train()
        x, y, step = self.stepping(side, batch, frozen)
        n_steps = len(rows) // batch
        horizon = one.average * n_steps
        for number in range(n_steps):
            some = slice(number * batch, (number + 1) * batch)
            pictures = self.data.pictures(pixels[some])
            x.copy_(pictures if side == 32 else functional.interpolate(pictures, (side, side), mode="bilinear", antialias=True))
            y.copy_(labels[some])
            self.optimiser.rate.fill_(one.rate((epoch + number / n_steps) / one.epochs))
            step()
            if horizon:
                torch._foreach_lerp_(self.mean, self.state, max(1 / horizon, 1 / (epoch * n_steps + number + 1)))

    def shown(self, rows: Tensor, epoch: int) -> Tensor:
        """Return the pictures of an epoch, cropped and mirrored, in its order."""
        draws = augment.draw(RECIPES["fast"], len(self.data.pixels), (32, 32), self.seed, epoch, rows.device)
        if self.candidate.alternate:
            first = generator(self.seed, "mirror").integers(0, 2, len(self.data.pixels))
            draws = augment.Draws(draws.down, draws.right, torch.from_numpy((first + epoch) % 2).to(rows.device), None)
        return torch.cat([augment.crop_and_flip(self.data.pixels, some, draws) for some in torch.split(rows, 5_000)])

    def stepping(self, side: int, batch: int, frozen: bool) -> tuple[Tensor, Tensor, Callable[[], None]]:
        """Return where a batch is put, and the step on it."""
        device = self.data.pixels.device
        key = (side, batch, frozen)
        if key in self.steps:
            return self.steps[key]
        x = torch.zeros((batch, 3, side, side), device=device).to(memory_format=torch.channels_last)
        y = torch.zeros(batch, dtype=torch.int64, device=device)
        if frozen:
            for p in (p for layer in list(self.model.children())[:2] for p in layer.parameters()):
                p.requires_grad_(False)
                p.grad = None

        def step() -> None:
            with self.autocast():
                logits = self.model(x)
            loss = functional.cross_entropy(logits.float(), y, label_smoothing=self.candidate.smoothing)
            for p in self.model.parameters():
                p.grad = None
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimiser.step()

        state = [*self.model.state_dict().values(), *self.optimiser.buffers.values()]
        self.steps[key] = x, y, captured(step, state, device)
        return self.steps[key]

    def look(self, *, mirrored: bool = False) -> Iterator[Tensor]:
        """Yield the logits of clean pictures, or of their mirror images, in float32, by the averaged weights if there are such."""
        if self.candidate.average:
            with torch.no_grad():
                for own, mean in zip(self.state, self.mean, strict=True):
                    own.copy_(mean)
        self.model.eval()
        with torch.inference_mode():
            for some in torch.split(self.data.pixels, LOOK):
                pictures = self.data.pictures(some)
                yield self.model(pictures.flip(3) if mirrored else pictures)


def captured(step: Callable[[], None], state: list[Tensor], device: torch.device) -> Callable[[], None]:
    """Return the step as the replay of a CUDA graph; as it is on a CPU, or where it cannot be captured."""
    if device.type != "cuda":
        return step
    before = [t.detach().clone() for t in state]
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    try:
        with torch.cuda.stream(stream):
            for _ in range(3):
                step()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            step()
        replay: Callable[[], None] = graph.replay
    except RuntimeError as error:
        print(f"not captured: {error}", flush=True)
        replay = step
    with torch.no_grad():
        for own, old in zip(state, before, strict=True):
            own.copy_(old)
    return replay
