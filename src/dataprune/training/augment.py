"""Augmentation of a batch: crop, flip and rotation as a few tensor operations on the device."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor
from torch.nn import functional

from dataprune.streams import generator, torch_seed
from dataprune.training.recipes import Recipe

FLIP_VALUES = 8_192  # of a picture, from which on a CPU mirrors one by one


@dataclass(frozen=True)
class Draws:
    """The random draws of one epoch, for each row of the training set: shifts in pixels, mirror or not, angle in radians."""

    down: Int64[Tensor, " examples"] | None
    right: Int64[Tensor, " examples"] | None
    mirrored: Int64[Tensor, " examples"] | None
    angle: Float[Tensor, " examples"] | None


def draw(recipe: Recipe, n_examples: int, side: tuple[int, ...], seed: int, epoch: int, device: torch.device) -> Draws:
    """Draw the augmentation of an epoch for pictures of a height and width, or vectors of no side; the seed is the member's own."""

    def whole_numbers(name: str, low: int, high: int) -> Tensor:
        return torch.from_numpy(generator(seed, "augment", name, epoch).integers(low, high, n_examples)).to(device)

    down, right = (padding(recipe, length) for length in side or (1, 1))
    angle, largest = None, math.radians(recipe.rotation)
    if largest:
        angles = generator(seed, "augment", "angle", epoch).uniform(-largest, largest, n_examples)
        angle = torch.from_numpy(angles.astype(np.float32)).to(device)
    return Draws(
        down=whole_numbers("down", -down, down + 1) if down else None,
        right=whole_numbers("right", -right, right + 1) if right else None,
        mirrored=whole_numbers("mirror", 0, 2) if recipe.flip else None,
        angle=angle,
    )


def padding(recipe: Recipe, length: int) -> int:
    """Return the reflect padding of the crop in pixels; reflection needs it to be less than the picture."""
    return min(round(recipe.crop * length), length - 1)


def crop_and_flip(images: UInt8[Tensor, "n h w ch"], rows: Int64[Tensor, " batch"], draws: Draws) -> UInt8[Tensor, "batch h w ch"]:
    """Gather rows of `images`, each cropped out of its reflection (without repeating the border), perhaps mirrored."""
    mirrored = None if draws.mirrored is None else draws.mirrored[rows]
    shifts = [torch.zeros_like(rows) if drawn is None else drawn[rows] for drawn in (draws.down, draws.right)]
    # On a GPU nothing is asked of the shifts: it would wait for the answer.
    if images.is_cuda or any(2 * int(one.abs().max()) >= n for one, n in zip(shifts, images.shape[1:3], strict=True)):
        return gather(images, rows, shifts[0], shifts[1], mirrored)
    found = torch.empty((len(rows), *images.shape[1:]), dtype=torch.uint8)
    pixels = images.numpy()
    for out, row, below, beside in zip(found.numpy(), *(one.tolist() for one in (rows, *shifts)), strict=True):
        _crop(pixels[row], below, beside, out)  # one by one: what is near stays in the cache
    if mirrored is None:
        return found
    places = mirrored.nonzero().view(-1)
    if found[:1].numel() < FLIP_VALUES:
        found[places] = found[places].flip(2)
    else:
        for place in places.tolist():
            found[place] = found[place].flip(1)
    return found


def gather(
    images: UInt8[Tensor, "n h w ch"],
    rows: Int64[Tensor, " batch"],
    down: Int64[Tensor, " batch"],
    right: Int64[Tensor, " batch"],
    mirrored: Int64[Tensor, " batch"] | None,
) -> UInt8[Tensor, "batch h w ch"]:
    """Do the same pixel by pixel in one indexing operation, as suits a GPU, and shifts by half of a picture."""
    lines, columns = (_reflected(length, shift) for length, shift in zip(images.shape[1:3], (down, right), strict=True))
    if mirrored is not None:
        columns = torch.where(mirrored[:, None].bool(), columns.flip(1), columns)
    return images[rows[:, None, None], lines[:, :, None], columns[:, None, :]]


def _reflected(length: int, shift: Int64[Tensor, " batch"]) -> Int64[Tensor, "batch length"]:
    """Return which of so many places each place shows once it is shifted."""
    places = (torch.arange(length, device=shift.device) + shift[:, None]).abs()
    return torch.where(places >= length, 2 * (length - 1) - places, places)


def _crop(picture: UInt8[np.ndarray, "h w ch"], down: int, right: int, out: UInt8[np.ndarray, "h w ch"]) -> None:
    """Write the picture moved up by `down` and left by `right`, by less than half of it; what is then missing is its reflection."""
    height, width = picture.shape[:2]
    top, bottom = max(0, -down), height - max(0, down)
    left, end = max(0, -right), width - max(0, right)
    lines = out[top:bottom]
    lines[:, left:end] = picture[top + down : bottom + down, left + right : end + right]
    if left:
        lines[:, :left] = lines[:, 2 * left : left : -1]
    elif right:
        lines[:, end:] = lines[:, end - 2 : 2 * end - width - 2 : -1]
    if top:
        out[:top] = out[2 * top : top : -1]
    elif down:
        out[bottom:] = out[bottom - 2 : 2 * bottom - height - 2 : -1]


def rotate(batch: Float[Tensor, "batch ch h w"], angle: Float[Tensor, " batch"]) -> Float[Tensor, "batch ch h w"]:
    """Rotate each picture about its centre, bilinear, with the border reflected into the corners."""
    height, width = batch.shape[2:]
    cos, sin = torch.cos(angle), torch.sin(angle)
    zero = torch.zeros_like(angle)
    # Coordinates run from −1 to 1 on both axes, so a picture that is not square needs its aspect in the off-diagonal.
    matrix = torch.stack([torch.stack([cos, -sin * height / width, zero], 1), torch.stack([sin * width / height, cos, zero], 1)], 1)
    grid = functional.affine_grid(matrix, list(batch.shape), align_corners=False)
    return functional.grid_sample(batch, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def augmented_versions(
    images: UInt8[np.ndarray, "examples h w ch"], recipe: Recipe, versions: int, seed: int
) -> UInt8[np.ndarray, "pictures h w ch"]:
    """Follow each picture by augmented versions of it: N pictures become N * (1 + versions)."""
    pixels, rows = torch.from_numpy(np.ascontiguousarray(images)), torch.arange(len(images))
    columns = [pixels]
    for version in range(versions):
        side = (images.shape[1], images.shape[2])
        draws = draw(recipe, len(rows), side, torch_seed(seed, "show"), version, torch.device("cpu"))
        changed = crop_and_flip(pixels, rows, draws)
        if draws.angle is not None:
            turned = rotate(changed.permute(0, 3, 1, 2).float(), draws.angle)
            changed = turned.permute(0, 2, 3, 1).round().clamp(0, 255).to(torch.uint8)
        columns.append(changed)
    return torch.stack(columns, dim=1).reshape(-1, *images.shape[1:]).numpy()
