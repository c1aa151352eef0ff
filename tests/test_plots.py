"""Sheets of pictures, the map of examples, and text that is shown."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import dataprune as dp
from dataprune.errors import InputError
from dataprune.report.charts import draw_sheet, sheet_data
from dataprune.report.maps import MOST_POINTS, class_counts, map_inline, map_of
from dataprune.report.text import display_text
from dataprune.training.augment import augmented_versions
from dataprune.training.recipes import Recipe

PLAIN = Recipe("plain", crop=0.0, flip=False)


def pictures(n, side=6, channels=3, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, side, side, channels), dtype=np.uint8)


@pytest.mark.parametrize(
    ("text", "harmless"),
    [
        ("roses/1.jpg", "roses/1.jpg"),
        ("Füße 花 [red]x[/red] $x_1$", "Füße 花 [red]x[/red] $x_1$"),
        ("a\nb\tc\r", r"a\nb\tc\r"),
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("\x9b31m", r"\x9b31m"),
        ("exe.\u202egpj", r"exe.\u202egpj"),
        ("\u2066\u2069\u200b\u2028", r"\u2066\u2069\u200b\u2028"),
        ("\udcff", r"\udcff"),
        ("", ""),
    ],
)
def test_shown_by_hand(text, harmless):
    assert display_text(text) == harmless


@settings(max_examples=50)
@given(st.text(st.characters(codec=None), max_size=200), st.integers(5, 60))
def test_shown_is_printable_and_bounded(text, most):
    out = display_text(text, most)
    assert out.isprintable()
    assert len(out) <= most
    assert display_text(out, most) == out


def test_long_text_keeps_both_ends_and_is_quick():
    assert display_text("x" * 10_000_000 + "end.png", 20) == "xxxxxxxxx...xend.png"


def test_sheet_lays_pictures_out_by_rows():
    images = pictures(5)
    rows = sheet_data(images, list("abcde"), columns=2, heading="five")
    assert [(row.heading, row.captions) for row in rows] == [("five", ("a", "b")), ("", ("c", "d")), ("", ("e",))]
    assert np.array_equal(np.concatenate([row.pictures for row in rows]), images)


@settings(max_examples=25)
@given(st.integers(1, 40), st.integers(1, 12))
def test_sheet_holds_every_picture_once_in_order(n, columns):
    images = np.arange(n, dtype=np.uint8).reshape(n, 1, 1, 1)
    rows = sheet_data(images, columns=columns)
    assert len(rows) == -(-n // columns)
    assert np.concatenate([row.pictures for row in rows]).ravel().tolist() == list(range(n))


def test_captions_are_harmless_and_short():
    (row,) = sheet_data(pictures(2), ["\x1b[31m", "a" * 50])
    assert row.captions == (r"\x1b[31m", "aaaaaaa...aaaaaa")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sheet_data(pictures(0)), "`count` must be in 1 ... 1000 pictures of one sheet, got 0."),
        (lambda: sheet_data(pictures(1001, 1)), "`count` must be in 1 ... 1000 pictures of one sheet, got 1001."),
        (lambda: sheet_data(pictures(2), columns=0), "`columns` must be at least 1, got 0."),
        (lambda: sheet_data(pictures(2), ["a"]), "`captions` must be one for each of 2 pictures, got 1."),
    ],
)
def test_what_cannot_be_a_sheet_is_refused(call, message):
    with pytest.raises(InputError) as caught:
        call()
    assert str(caught.value) == message


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_drawn_sheet_is_a_picture_and_the_same_each_time(tmp_path, channels):
    rows = sheet_data(pictures(9, channels=channels), ["$\\frac{", "花", "[red]", *"abcdef"], heading="$x^")
    draw_sheet(rows, tmp_path / "one.png")
    draw_sheet(rows, tmp_path / "two.png")
    with Image.open(tmp_path / "one.png") as picture:
        assert picture.size == (880, 305)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()


def test_drawn_pixels_are_those_given(tmp_path):
    red, blue = np.zeros((2, 4, 4, 3), np.uint8)
    red[..., 0], blue[..., 2] = 255, 255
    draw_sheet(sheet_data(np.stack([red, blue])), tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as picture:
        assert picture.convert("RGB").getpixel((55, 80)) == (255, 0, 0)
        assert picture.convert("RGB").getpixel((165, 80)) == (0, 0, 255)


def test_drawing_into_something_else_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"`out` must end in \.png, got '.*sheet\.jpg'\."):
        draw_sheet(sheet_data(pictures(1)), tmp_path / "sheet.jpg")
    with pytest.raises(InputError, match=r"`rows` must hold at least one row, got none\."):
        draw_sheet((), tmp_path / "sheet.png")
    assert list(tmp_path.iterdir()) == []


def test_augmented_pictures_follow_their_own():
    images = pictures(3, side=8)
    out = augmented_versions(images, Recipe("r", rotation=15.0), versions=4, seed=1)
    assert out.shape == (15, 8, 8, 3)
    assert out.dtype == np.uint8
    assert np.array_equal(out[::5], images)
    assert not np.array_equal(out[1], out[2])
    assert np.array_equal(out, augmented_versions(images, Recipe("r", rotation=15.0), versions=4, seed=1))


def test_without_augmentation_all_versions_are_equal():
    images = pictures(2)
    assert np.array_equal(augmented_versions(images, PLAIN, 2, 0), np.repeat(images, 3, axis=0))


def test_flips_are_the_picture_or_its_mirror():
    images = pictures(4)
    out = augmented_versions(images, Recipe("flip", crop=0.0), 6, 0).reshape(4, 7, 6, 6, 3)
    mirrored = [np.array_equal(out[i, j], images[i, :, ::-1]) for i in range(4) for j in range(7)]
    same = [np.array_equal(out[i, j], images[i]) for i in range(4) for j in range(7)]
    assert all(a != b for a, b in zip(mirrored, same, strict=True))
    assert 0 < sum(mirrored) < 24


def test_map_is_binned_beyond_what_an_eye_tells_apart():
    rng = np.random.default_rng(0)
    n = MOST_POINTS + 1
    flagged = rng.random(n) < 0.1

    def scores(variability, confidence):
        return dp.Scores([dp.Score("variability", variability, 1), dp.Score("confidence", confidence, -1)])

    found = map_of(scores(rng.random(n) / 2, rng.random(n)), flagged, rng.permutation(n))
    assert found.is_binned
    assert found.counts.sum() == n
    assert found.n_suspects.sum() == flagged.sum()
    assert all(found.cell[row] == place for place, rows in enumerate(found.rows) for row in rows.tolist())
    labels = rng.integers(0, 3, n)
    told = class_counts(found, labels, 3)
    assert sum(sum(one[1::2]) for one in told) == n
    text = map_inline(found, "map").element(found)
    assert text.count("data-k=") == len(found.counts)
    assert "style=" not in text
    few = map_of(scores(np.zeros(3), np.ones(3)), np.zeros(3, bool), np.arange(3))
    assert not few.is_binned
    assert map_of(dp.Scores([dp.Score("variability", np.zeros(3), 1)]), np.zeros(3, bool), np.arange(3)) is None
    assert map_inline(few, "map").body.count("<circle ") == 3
