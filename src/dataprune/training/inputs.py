"""A data set on the device: normalised by its own mean and deviation, gathered and augmented batch by batch."""

import warnings
from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64, UInt8
from torch import Tensor
from torch.nn import functional

from dataprune.blocks import slices
from dataprune.errors import InputError, MachineError
from dataprune.training import augment

NORMALISE_ROWS = 10_000  # mean and deviation come from at most so many evenly spaced pictures
NORMALISE_VALUES = 50_000_000  # ... and from at most so many values of a channel
NORMALISE_BLOCK = 4_000_000  # values looked at together
CACHED_VALUES = 200_000  # of pictures that are normalised together on a CPU
PREDICT_BATCH = 256  # examples looked at together, fewer where pictures are large: what a CPU's cache holds
PREDICT_PIXELS = 1_000_000
MOST_VALUES = 2**28  # of features held in memory: one gigabyte
READY_ROWS = 4_096  # that are normalised together
READY_VALUES = 2**27  # of vectors that are normalised once and held so: half a gigabyte
DEVICE_SHARE = 0.6  # of a GPU's free memory that a data set may take


class Inputs:
    """A data set on a device: pictures stay uint8 until a batch is gathered, vectors are float32."""

    def __init__(
        self, inputs: np.ndarray, normalise: str, device: str, like: "Inputs | None" = None, mirrored: np.ndarray | None = None
    ) -> None:
        """Place the data: (N, H, W, Ch) uint8 or (N, D) float32, in memory or a memory map (which stays one on the CPU), with the
        vectors of the mirror images, where there are such. Shift and scale are those of `like`, as test data take them from the
        training data."""
        self.device = open_device(device)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*not writable.*")  # nothing here writes into it
            self.data = torch.from_numpy(np.ascontiguousarray(inputs))
        if self.device.type != "cuda" or self.data.nbytes < DEVICE_SHARE * torch.cuda.mem_get_info(self.device)[0]:
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
        self.mirrored = None if mirrored is None else torch.from_numpy(np.asarray(mirrored)).to(self.home)
        self.in_ball = normalise == "ball" and not self.are_images
        if self.are_images:
            self._line_shift, self._line_scale = self.shift.repeat(inputs.shape[2]), self.scale.repeat(inputs.shape[2])
        self.ready: Tensor | None = None
        n_rows = len(self) * (1 if self.mirrored is None else 2)
        if not self.are_images and self.home == self.device and n_rows * inputs.shape[1] <= READY_VALUES:
            ready = torch.empty(n_rows, inputs.shape[1], device=self.device)
            for rows in torch.split(torch.arange(n_rows, device=self.device), READY_ROWS):
                ready[rows] = self._vectors(rows)
            self.ready = ready

    def __len__(self) -> int:
        return len(self.data)

    @property
    def have_mirrored(self) -> bool:
        """Whether networks can be shown the mirror images too."""
        return self.are_images or self.mirrored is not None

    def batch(
        self,
        rows: Int64[Tensor, " batch"],
        draws: augment.Draws | None = None,
        *,
        mirrored: bool = False,
        dtype: torch.dtype = torch.float32,
        side: tuple[int, int] | None = None,
    ) -> Float[Tensor, "batch features"] | Float[Tensor, "batch channels height width"]:
        """Gather rows, augmented by the draws (on `home`) if given or all `mirrored`, normalised, channels last in memory. Pictures
        are brought to a smaller height and width, if given; those that are not rotated are of `dtype`."""
        at_home = rows.to(self.home)
        if not self.are_images:
            return self._vectors(self.vector_rows(at_home, draws, mirrored=mirrored))
        pixels = self.data[at_home] if draws is None else augment.crop_and_flip(self.data, at_home, draws)
        angle = None if draws is None else draws.angle
        pixels = pixels.to(self.device) if side is None else shrunk(pixels.to(self.device), side)
        pictures = self._normalised(pixels, dtype if angle is None else torch.float32).permute(0, 3, 1, 2)
        if angle is not None:
            return augment.rotate(pictures, angle[at_home].to(self.device)).contiguous(memory_format=torch.channels_last)
        return pictures.flip(-1) if mirrored else pictures

    def _normalised(self, pixels: UInt8[Tensor, "batch h w ch"], dtype: torch.dtype) -> Float[Tensor, "batch h w ch"]:
        """Normalise whole lines (three channels alone fill no vector unit), on a CPU some at a time, which stay in the cache."""
        n_line = pixels.shape[2] * pixels.shape[3]
        lines, shift, scale = pixels.view(-1, n_line), self._line_shift[:n_line], self._line_scale[:n_line]
        found = torch.empty(lines.shape, dtype=dtype, device=self.device)
        step = len(lines) if lines.is_cuda else max(1, CACHED_VALUES // n_line)
        for some, out in zip(torch.split(lines, step), torch.split(found, step), strict=True):
            values = out.copy_(some) if dtype == torch.float32 else some.float()
            out.copy_(values.sub_(shift).mul_(scale))
        return found.view(pixels.shape)

    def vector_rows(self, rows: Tensor, draws: augment.Draws | None = None, *, mirrored: bool = False) -> Int64[Tensor, " *batch"]:
        """Return the rows of the vectors, mirrored ones behind all others, that `batch` takes."""
        if self.mirrored is None or not (mirrored or (draws is not None and draws.mirrored is not None)):
            return rows
        return rows + len(self) * (1 if draws is None or draws.mirrored is None else draws.mirrored[rows])

    def _vectors(self, rows: Tensor) -> Float[Tensor, "batch features"]:
        if self.ready is not None:
            return self.ready[rows]
        own = self.data[rows % len(self)]
        if self.mirrored is not None:
            own = torch.where((rows < len(self))[:, None], own, self.mirrored[rows % len(self)])
        vectors = (own.to(self.device).float() - self.shift) * self.scale
        return vectors / torch.linalg.vector_norm(vectors, dim=1, keepdim=True).clamp_(min=1) if self.in_ball else vectors


def shrunk(pixels: UInt8[Tensor, "batch h w ch"], side: tuple[int, int]) -> UInt8[Tensor, "batch h2 w2 ch"]:
    """Bring pictures to a smaller height and width, without aliases; on a CPU in whole numbers, ten times as fast as in float32."""
    channels_first = pixels.permute(0, 3, 1, 2)
    if pixels.is_cuda:
        values = functional.interpolate(channels_first.float(), side, mode="bilinear", antialias=True)
        return values.round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()
    return functional.interpolate(channels_first, side, mode="bilinear", antialias=True).permute(0, 2, 3, 1).contiguous()


def example_shape(inputs: np.ndarray) -> tuple[int, ...]:
    """Return the shape of one example as networks see it: (channels, height, width) or (features,)."""
    return (inputs.shape[3], *inputs.shape[1:3]) if inputs.ndim == 4 else inputs.shape[1:]


def open_device(name: str) -> torch.device:
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
    constant = deviation <= 1e-6 * np.abs(mean)
    deviation[constant] = 1.0  # a constant column becomes zero, not infinity
    if normalise == "ball" and inputs.ndim == 2:
        deviation = deviation * np.sqrt(max(1, n_columns - constant.sum()))
    return mean.astype(np.float32), deviation.astype(np.float32)


def _image_moments(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and deviation of each channel from counts of its 256 values: exact, and in the memory of one block."""
    counts = np.zeros((images.shape[3], 256), np.int64)
    for rows in slices(len(images), images[0].size, NORMALISE_BLOCK):
        for channel in range(images.shape[3]):
            counts[channel] += np.bincount(images[rows, ..., channel].ravel(), minlength=256)
    values, share = np.arange(256.0), counts / counts.sum(1, keepdims=True)
    mean = share @ values
    return mean, np.sqrt((share * (values - mean[:, None]) ** 2).sum(1))


def _vector_moments(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and deviation of each column, in two passes over blocks."""
    blocks = list(slices(len(vectors), vectors.shape[1], NORMALISE_BLOCK))
    mean = sum(vectors[block].sum(0, dtype=np.float64) for block in blocks) / len(vectors)
    return mean, np.sqrt(sum(((vectors[block] - mean) ** 2).sum(0) for block in blocks) / len(vectors))


def predict_batch(inputs: Inputs) -> int:
    """Return how many examples are looked at together: on a GPU four times as many."""
    pixels = inputs.shape[1] * inputs.shape[2] if inputs.are_images else 1
    return max(16, min(PREDICT_BATCH, PREDICT_PIXELS // pixels)) * (4 if inputs.device.type == "cuda" else 1)


def map_batches(function: Callable[[Tensor], Tensor], inputs: Inputs, width: int) -> Float32[np.ndarray, "examples width"]:
    """Return what a function makes of every example as it is: it is given clean batches and returns (B, width)."""
    check_size(len(inputs), width)
    found, step = np.empty((len(inputs), width), np.float32), predict_batch(inputs)
    with torch.inference_mode():
        for start in range(0, len(inputs), step):
            rows = torch.arange(start, min(start + step, len(inputs)), device=inputs.device)
            found[start : start + step] = function(inputs.batch(rows)).float().cpu().numpy()
    return found


def check_size(n_examples: int, width: int) -> None:
    if n_examples * width > MOST_VALUES:
        raise InputError(f"{n_examples:,} feature vectors of {width:,} numbers are too many to hold in memory.")
