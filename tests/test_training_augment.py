"""Augmentation: against one picture at a time with NumPy, paired draws, and rotation against SciPy."""

import math

import numpy as np
import pytest
import torch
from PIL import Image

from dataprune.training.augment import crop_and_flip, draw, gather, padding, rotate
from dataprune.training.inputs import shrunk
from dataprune.training.recipes import Recipe

CPU = torch.device("cpu")


def by_hand(picture, down, right, mirrored, reach):
    height, width = picture.shape[:2]
    padded = np.pad(picture, ((reach, reach), (reach, reach), (0, 0)), mode="reflect")
    cut = padded[reach + down : reach + down + height, reach + right : reach + right + width]
    return cut[:, ::-1] if mirrored else cut


@pytest.mark.parametrize(("height", "width", "crop"), [(8, 8, 0.25), (6, 11, 0.25), (60, 50, 0.1), (8, 9, 0.49), (5, 5, 0.0)])
def test_crop_and_flip_equals_padding_by_hand(height, width, crop):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (20, height, width, 3), dtype=np.uint8)
    recipe = Recipe("r", crop=crop, flip=True)
    draws = draw(recipe, 20, (height, width), seed=3, epoch=1, device=CPU)
    rows = torch.tensor([4, 0, 19, 7, 7])
    out = crop_and_flip(torch.from_numpy(images), rows, draws).numpy()
    reach = max(padding(recipe, height), padding(recipe, width))
    for picture, row in zip(out, rows.tolist(), strict=True):
        one = [0 if d is None else int(d[row]) for d in (draws.down, draws.right, draws.mirrored)]
        np.testing.assert_array_equal(picture, by_hand(images[row], *one, reach))


def test_at_once_it_gives_the_same():
    images = torch.randint(0, 256, (30, 13, 12, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    draws = draw(Recipe("r", crop=0.3, flip=True), 30, (13, 12), seed=1, epoch=0, device=CPU)
    rows = torch.randperm(30, generator=torch.Generator().manual_seed(1))[:20]
    at_once = gather(images, rows, draws.down[rows], draws.right[rows], draws.mirrored[rows])
    assert torch.equal(at_once, crop_and_flip(images, rows, draws))


@pytest.mark.parametrize(("side", "smaller"), [((32, 32), (24, 24)), ((65, 40), (49, 30))])
def test_shrinking_agrees_with_pillow(side, smaller):
    images = np.random.default_rng(0).integers(0, 256, (5, *side, 3), dtype=np.uint8)
    found = shrunk(torch.from_numpy(images), smaller).numpy()
    for picture, one in zip(images, found, strict=True):
        theirs = np.asarray(Image.fromarray(picture).resize(smaller[::-1], Image.Resampling.BILINEAR))
        assert np.abs(one.astype(int) - theirs).max() <= 1, "they round at other places"


def test_every_shift_and_both_sides_are_drawn():
    draws = draw(Recipe("r", crop=0.125), 5_000, (32, 32), seed=0, epoch=0, device=CPU)
    assert set(draws.down.tolist()) == set(draws.right.tolist()) == set(range(-4, 5))
    assert 0.45 < draws.mirrored.float().mean() < 0.55
    assert abs(np.corrcoef(draws.down, draws.right)[0, 1]) < 0.06


def test_draws_depend_on_seed_and_epoch_only():
    recipe = Recipe("r", rotation=15.0)
    first, same = (draw(recipe, 50, (32, 32), 1, 2, CPU) for _ in range(2))
    other = draw(recipe, 50, (32, 32), 1, 3, CPU)
    for name in ("down", "right", "mirrored", "angle"):
        assert torch.equal(getattr(first, name), getattr(same, name))
        assert not torch.equal(getattr(first, name), getattr(other, name))
    assert float(first.angle.abs().max()) <= math.radians(15)


def test_no_augmentation_gives_the_picture():
    recipe = Recipe("r", crop=0.0, flip=False)
    images = torch.randint(0, 256, (4, 5, 5, 1), dtype=torch.uint8)
    rows = torch.tensor([2, 1])
    out = crop_and_flip(images, rows, draw(recipe, 4, (5, 5), 0, 0, CPU))
    assert torch.equal(out, images[rows])


def test_a_tiny_picture_is_not_padded_beyond_itself():
    images = torch.randint(0, 256, (9, 2, 2, 1), dtype=torch.uint8)
    draws = draw(Recipe("r", crop=0.49), 9, (2, 2), 0, 0, CPU)
    rows = torch.arange(9)
    assert crop_and_flip(images, rows, draws).shape == (9, 2, 2, 1)


@pytest.mark.parametrize("degrees", [-15.0, 7.0, 90.0])
def test_rotation_agrees_with_scipy(degrees):
    from scipy.ndimage import gaussian_filter
    from scipy.ndimage import rotate as reference

    rng = np.random.default_rng(1)
    picture = gaussian_filter(rng.random((21, 21)), 2).astype(np.float32)
    out = rotate(torch.from_numpy(picture)[None, None], torch.tensor([math.radians(degrees)]))[0, 0].numpy()
    expected = reference(picture, degrees, reshape=False, order=1, mode="mirror")
    inner = slice(4, -4)  # the corners differ by how a reflection is defined
    np.testing.assert_allclose(out[inner, inner], expected[inner, inner], atol=2e-3)


def test_rotation_keeps_the_aspect_of_a_picture_that_is_not_square():
    wide = torch.zeros(1, 1, 9, 21)
    wide[0, 0, 4, 6:15] = 1.0  # a horizontal bar, 9 pixels long, turned by 90° becomes vertical and just as long
    turned = rotate(wide, torch.tensor([math.pi / 2]))[0, 0]
    assert turned[:, 10].sum() == pytest.approx(9.0, abs=0.1)
    assert turned[:, 6:15].sum() == pytest.approx(9.0, abs=0.1)  # further out stand its reflections
