"""Pixels from bytes: every mode and format made on the spot, orientation, size, and everything that must be refused."""

import io
import struct
import zlib

import numpy as np
import pytest
import simplejpeg
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dataprune.data import decode as decoding
from dataprune.data.decode import MAX_PIXELS, BadPicture, fit_square, picture_size


def decode(data, size, *form):
    return decoding.decode(data, size, *form).pixels


def encoded(picture, kind, **options):
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def noise(height, width, channels=3):
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, channels), dtype=np.uint8)
    return pixels if channels > 1 else pixels[:, :, 0]


def smooth(size=32):
    """A picture that JPEG keeps nearly as it is."""
    ramp = np.linspace(0, 255, size)
    return np.stack([np.tile(ramp, (size, 1)), np.tile(ramp[:, None], (1, size)), np.full((size, size), 90.0)], -1).astype(np.uint8)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM"])
def test_lossless_formats_give_their_pixels(kind):
    pixels = noise(16, 16)
    assert np.array_equal(decode(encoded(Image.fromarray(pixels), kind), 16), pixels)
    assert picture_size(encoded(Image.fromarray(pixels), kind)) == (16, 16)


def test_webp_lossless():
    pixels = noise(16, 16)
    assert np.array_equal(decode(encoded(Image.fromarray(pixels), "WEBP", lossless=True), 16), pixels)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}, {"optimize": True}])
def test_jpeg_equals_pillow(options):
    data = encoded(Image.fromarray(smooth()), "JPEG", quality=95, **options)
    by_pillow = np.asarray(Image.open(io.BytesIO(data)))
    # Two builds of the same library may round a colour conversion differently by one or two steps.
    assert np.abs(decode(data, 32).astype(int) - by_pillow).max() <= 2
    assert np.abs(decode(data, 32).astype(int) - smooth()).mean() < 4


def test_gray_becomes_rgb():
    pixels = noise(8, 8, 1)
    for kind in ("PNG", "PPM"):
        assert np.array_equal(decode(encoded(Image.fromarray(pixels), kind), 8), np.repeat(pixels[:, :, None], 3, 2))
    assert decode(encoded(Image.fromarray(pixels), "JPEG"), 8).shape == (8, 8, 3)


def test_one_bit_and_palette():
    bits = Image.fromarray(noise(8, 8, 1)).convert("1")
    assert np.array_equal(decode(encoded(bits, "PNG"), 8), np.asarray(bits.convert("RGB")))
    palette = Image.fromarray(noise(8, 8)).quantize(16)
    assert np.array_equal(decode(encoded(palette, "PNG"), 8), np.asarray(palette.convert("RGB")))


def test_alpha_is_laid_over_white():
    pixels = np.zeros((8, 8, 4), np.uint8)
    pixels[:4] = (10, 20, 30, 255)
    pixels[4:] = (10, 20, 30, 0)
    for kind in ("PNG", "TIFF"):
        found = decode(encoded(Image.fromarray(pixels), kind), 8)
        assert (found[:4] == (10, 20, 30)).all()
        assert (found[4:] == 255).all()
    half = decode(encoded(Image.fromarray(np.full((8, 8, 4), (0, 0, 0, 128), np.uint8)), "PNG"), 8)
    assert np.unique(half).tolist() == [127]  # 255 · (1 − 128/255)


def test_transparent_palette_and_gray_are_laid_over_white():
    palette = Image.new("P", (8, 8), 0)
    palette.putpalette([200, 0, 0, 0, 0, 200])
    palette.putpixel((0, 0), 1)
    found = decode(encoded(palette, "PNG", transparency=0), 8)
    assert found[0, 0].tolist() == [0, 0, 200]
    assert found[1, 1].tolist() == [255, 255, 255]
    gray = decode(encoded(Image.merge("LA", [Image.new("L", (8, 8), 7), Image.new("L", (8, 8), 0)]), "PNG"), 8)
    assert (gray == 255).all()


def test_sixteen_bits_are_rounded_to_eight():
    values = np.array([[0, 255, 256, 65535]] * 4, np.uint16)
    for kind in ("PNG", "TIFF", "PPM"):
        found = decode(encoded(Image.fromarray(values), kind), 4)
        assert found[0, :, 0].tolist() == [0, 1, 1, 255], kind


def test_pixels_of_unknown_range_are_refused():
    for picture in (Image.fromarray(np.ones((4, 4), np.float32)), Image.fromarray(np.ones((4, 4), np.int32))):
        with pytest.raises(BadPicture, match="32-bit pixels"):
            decode(encoded(picture, "TIFF"), 4)


def test_cmyk_jpeg():
    red = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    data = encoded(red, "JPEG", quality=95)
    assert simplejpeg.decode_jpeg_header(data)[2] == "CMYK"
    assert np.abs(decode(data, 16).astype(int) - (255, 0, 0)).max() <= 6
    with pytest.raises(BadPicture, match="Premature end"):
        decode(data[:-10], 16)


def test_animation_gives_its_first_frame():
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert (decode(data, 8) == (255, 0, 0)).all()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_orientation_equals_pillow(orientation, kind):
    from PIL import ImageOps

    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(Image.fromarray(smooth()), kind, exif=exif)
    by_pillow = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
    assert np.abs(decode(data, 32).astype(int) - by_pillow).max() <= 2


def test_orientation_before_the_centre_is_cut():
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = np.zeros((8, 16, 3), np.uint8)
    pixels[:, :4] = 255
    assert not decode(encoded(Image.fromarray(pixels), "PNG", exif=exif), 8).any()


def test_unreadable_exif_is_no_reason_to_refuse():
    data = encoded(Image.fromarray(smooth()), "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff rubbish")
    assert decode(data, 32).shape == (32, 32, 3)


def test_centre_square_is_cut_and_resized():
    pixels = noise(10, 31)
    assert np.array_equal(fit_square(pixels, 10), pixels[:, 10:20])
    pixels = noise(30, 10)
    data = encoded(Image.fromarray(pixels), "PNG")
    assert np.array_equal(decode(data, 10), pixels[10:20])
    # Resizing the short side first and cutting then is the same: the filter sees the pixels beside the square.
    whole = np.asarray(Image.fromarray(pixels).resize((5, 15), Image.Resampling.BICUBIC))
    assert np.array_equal(decode(data, 5), whole[5:10])


def test_resize_equals_pillow_and_averages():
    checks = np.indices((64, 64)).sum(0) % 2 * 255
    small = fit_square(np.repeat(checks[:, :, None], 3, 2).astype(np.uint8), 8)
    assert np.abs(small.astype(int) - 127).max() <= 2  # without antialiasing it would be all 0 or all 255
    pixels = noise(40, 40)
    by_pillow = np.asarray(Image.fromarray(pixels).resize((24, 24), Image.Resampling.BICUBIC))
    assert np.array_equal(fit_square(pixels, 24), by_pillow)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 5), st.integers(1, 48))
def test_fit_square_has_the_asked_shape_and_keeps_a_constant(height, width, channels, size):
    pixels = np.full((height, width, channels), 77, np.uint8)
    found = fit_square(pixels, size)
    assert found.shape == (size, size, channels)
    assert (found == 77).all()


def test_large_jpeg_is_scaled_while_decoding_and_looks_the_same():
    large = np.asarray(Image.fromarray(smooth()).resize((800, 800), Image.Resampling.BICUBIC))
    data = encoded(Image.fromarray(large), "JPEG", quality=95)
    whole = fit_square(simplejpeg.decode_jpeg(data), 64)
    assert np.abs(decode(data, 64).astype(int) - whole).mean() < 1.5


def cut(data, share):
    return data[: int(len(data) * share)]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "TIFF", "BMP", "PPM", "WEBP"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
def test_truncated_pictures_are_refused(kind, share):
    with pytest.raises(BadPicture):
        decode(cut(encoded(Image.fromarray(noise(32, 32)), kind), share), 32)


def test_jpeg_without_its_end_is_refused():
    data = encoded(Image.fromarray(smooth()), "JPEG")
    with pytest.raises(BadPicture, match="Premature end"):
        decode(data[:-2], 32)


def test_one_flipped_bit_anywhere_in_a_png_is_refused():
    """Also in the check value at the end of the pixels, which loading alone does not look at."""
    data = encoded(Image.fromarray(noise(4, 4)), "PNG")
    end = data.index(b"IEND") - 4
    for place in range(end):
        damaged = bytearray(data)
        damaged[place] ^= 4
        with pytest.raises(BadPicture):
            decode(bytes(damaged), 4)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"hello, I am text", "no picture in a known format"),
        (b"\xff\xd8\xff\xe0 nothing else", "."),
        (b"%PDF-1.4", "no picture in a known format"),
    ],
)
def test_what_is_no_picture_is_refused(data, reason):
    with pytest.raises(BadPicture, match=reason):
        decode(data, 8)


def png_header(width, height):
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    idat = b"IDAT" + zlib.compress(b"\0" * 64)
    chunks = b"".join(struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in (body, idat, b"IEND"))
    return b"\x89PNG\r\n\x1a\n" + chunks


def test_bombs_are_refused_by_their_header():
    assert MAX_PIXELS == 100_000_000
    for side in (10_001, 20_000, 60_000):
        with pytest.raises(BadPicture, match=r"pixels"):
            decode(png_header(side, side), 8)
    small = bytearray(encoded(Image.fromarray(smooth()), "JPEG"))
    place = small.index(b"\xff\xc0")
    small[place + 5 : place + 9] = struct.pack(">HH", 20_000, 20_000)
    for ask in (lambda: decode(bytes(small), 8), lambda: picture_size(bytes(small))):
        with pytest.raises(BadPicture, match="20000 × 20000 pixels, more than the 100 million"):
            ask()


def test_between_pillows_warning_and_our_limit_no_warning_escapes():
    with pytest.raises(BadPicture, match=r"truncated|broken"):
        decode(png_header(9_600, 10_000), 8)


def test_other_formats_are_not_opened():
    with pytest.raises(BadPicture, match="known format"):
        decode(encoded(Image.fromarray(smooth()), "PDF"), 8)
    with pytest.raises(BadPicture, match="known format"):
        decode(encoded(Image.fromarray(smooth()), "ICO"), 8)
