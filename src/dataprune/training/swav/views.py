"""The views of a batch: crop, mirror, blur and colours as a few matrix products on the device.

A crop with its resize is one matrix along each axis, mirrored upside down, a blur is one more in front of it; changes of colour are
one 3×3 matrix and a constant. Draws are made for every row of the set, by row, from named streams.
"""

import math
from dataclasses import dataclass, fields

import numpy as np
import torch
from jaxtyping import Float, Float32, UInt8
from torch import Tensor

from dataprune.training.swav.recipe import ColorAugment, CropSpec

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
# RGB to YIQ: the hue is an angle in the plane of the last two.
YIQ = np.array([LUMA, (0.596, -0.274, -0.322), (0.211, -0.523, 0.312)])
RATIO = 4 / 3  # a crop is at most so much wider than high, or higher than wide (Szegedy et al. 2015)
JITTERED = 0.8  # the share of views whose colours are changed (Chen et al. 2020, arXiv:2002.05709, appendix A)
JITTER = (0.8, 0.8, 0.8, 0.2)  # brightness, contrast, saturation, hue at strength 1 (same source)
BLUR = (0.1 / 224, 2.0 / 224)  # standard deviations of the blur, as a share of the side (same source)


@dataclass(frozen=True)
class Draws:
    """One view of every row: where it is cut out (shares of the picture), whether it is mirrored, what becomes of its colours."""

    top: Float[Tensor, " rows"]
    left: Float[Tensor, " rows"]
    height: Float[Tensor, " rows"]
    width: Float[Tensor, " rows"]
    mirrored: Float[Tensor, " rows"]  # 0 or 1
    colours: Float[Tensor, "rows ch ch"]  # new channels out of old ones
    constant: Float[Tensor, " rows"]  # added to every channel, times the view's mean brightness
    sigma: Float[Tensor, " rows"]  # standard deviation of the blur, as a share of the crop's side; 0 is none

    def of(self, rows: Tensor) -> "Draws":
        return Draws(*(getattr(self, one.name)[rows] for one in fields(self)))

    def to(self, device: torch.device) -> "Draws":
        return Draws(*(getattr(self, one.name).to(device) for one in fields(self)))


def draw(
    crops: CropSpec, look: ColorAugment, n_examples: int, n_channels: int, stream: np.random.Generator, device: torch.device
) -> Draws:
    area = stream.uniform(crops.smallest, crops.largest, n_examples)
    ratio = np.exp(stream.uniform(-math.log(RATIO), math.log(RATIO), n_examples))
    height, width = np.minimum(1, np.sqrt(area / ratio)), np.minimum(1, np.sqrt(area * ratio))
    top, left = stream.random(n_examples) * (1 - height), stream.random(n_examples) * (1 - width)
    mirrored = (stream.random(n_examples) < 0.5) & look.flip
    colours, constant = _colours(look, n_examples, n_channels, stream)
    is_blurred = stream.random(n_examples) < look.blur
    sigma = np.where(is_blurred, stream.uniform(*BLUR, n_examples), 0.0)
    parts = (top, left, height, width, mirrored, colours, constant, sigma)
    return Draws(*(torch.from_numpy(np.asarray(part, np.float32)).to(device) for part in parts))


def _colours(look: ColorAugment, n: int, n_channels: int, stream: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw for each row the matrix of its channels and what is added to them (times the mean brightness of the view). Brightness
    and contrast scale, and contrast adds; saturation and hue leave grays alone, so what is added passes through them."""
    changes = [stream.uniform(-1, 1, n) * look.jitter * most for most in JITTER]
    is_changed, is_gray = stream.random(n) < JITTERED, stream.random(n) < look.gray
    bright, contrast, saturation = (np.where(is_changed, np.maximum(0, 1 + change), 1.0) for change in changes[:3])
    scale, constant = (bright * contrast)[:, None, None], bright * (1 - contrast)
    if n_channels != 3:
        return scale * np.eye(n_channels), constant
    angle = np.where(is_changed, 2 * math.pi * changes[3], 0.0)
    turn = np.zeros((n, 3, 3))
    turn[:, 0, 0] = 1
    turn[:, 1, 1] = turn[:, 2, 2] = np.cos(angle)
    turn[:, 1, 2], turn[:, 2, 1] = -np.sin(angle), np.sin(angle)
    hue = np.linalg.inv(YIQ) @ turn @ YIQ
    to_gray = np.broadcast_to(np.array(LUMA), (3, 3))
    less = np.where(is_gray, 0.0, saturation)[:, None, None]
    return scale * (hue @ (less * np.eye(3) + (1 - less) * to_gray)), constant


def cut_out(
    pictures: UInt8[Tensor, "batch h w ch"], draws: Draws, size: tuple[int, int], blur: bool
) -> Float32[Tensor, "batch ch out_h out_w"]:
    """Cut a view of height and width `size` out of each picture, values in [0, 255]; `blur` is whether any may be blurred."""
    batch, height, width, channels = pictures.shape
    down = _resampling(draws.top, draws.height, height, size[0])
    across = _resampling(draws.left, draws.width, width, size[1])
    across = torch.where(draws.mirrored[:, None, None] > 0, across.flip(1), across)
    if blur:
        down, across = _smoothing(draws.sigma, size[0]) @ down, _smoothing(draws.sigma, size[1]) @ across
    lines = pictures.permute(0, 1, 3, 2).float().reshape(batch, height, channels * width)
    cut = (down @ lines).view(batch, size[0] * channels, width) @ across.transpose(1, 2)
    by_channel = cut.view(batch, size[0], channels, size[1]).transpose(1, 2).reshape(batch, channels, size[0] * size[1])
    luma = pictures.new_tensor(LUMA if channels == 3 else [1 / channels] * channels, dtype=torch.float32)
    constant = draws.constant * (by_channel.mean(2) @ luma)
    mixed = torch.baddbmm(constant[:, None, None], draws.colours, by_channel)
    return mixed.clamp_(0, 255).view(batch, channels, *size)


def _resampling(start: Tensor, length: Tensor, n_in: int, n_out: int) -> Float32[Tensor, "batch out in"]:
    """Return for each picture the matrix that cuts and resizes along one axis: a triangle as wide as an output pixel, at least one
    input pixel, so that nothing is skipped where a view is smaller than its crop."""
    step = length * n_in / n_out
    centre = (start * n_in)[:, None] + (torch.arange(n_out, device=start.device) + 0.5) * step[:, None] - 0.5
    reach = step.clamp(min=1)[:, None, None]
    away = (torch.arange(n_in, device=start.device) - centre[:, :, None]).abs()
    weights = (1 - away / reach).clamp_(min=0)
    return weights / weights.sum(2, keepdim=True)


def _smoothing(sigma: Tensor, side: int) -> Float32[Tensor, "batch side side"]:
    """Return for each picture the matrix of a Gaussian blur along one axis; a sigma of 0 is the identity."""
    place = torch.arange(side, device=sigma.device)
    pixels = (side * sigma).clamp(min=1e-3)[:, None, None]
    weights = torch.exp(-((place[:, None] - place) ** 2) / (2 * pixels**2))
    return weights / weights.sum(2, keepdim=True)
