"""Encoded pictures to pixels, by rules that give the same pixels everywhere; and pixels to a PNG file or a small WebP."""

import contextlib
import io
import struct
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import PIL
import simplejpeg
from jaxtyping import UInt8
from PIL import Image, ImageOps, UnidentifiedImageError

DECODER = 1
"""Version of the rules below; it is part of a pack's key, so a change of the rules decodes anew."""

MAX_PIXELS = 100_000_000
MAX_FILE_BYTES = 512 * 2**20
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"})

TINY = 16  # up to so many pixels a side, lossless is both smaller and sharper
_JPEG = b"\xff\xd8\xff"
_EXIF_WITHIN = 65536  # an APP1 segment is at most 64 KB and stands near the start
_ORIENTATION = 0x0112
_FAILS = (OSError, SyntaxError, ValueError, EOFError, LookupError, TypeError, MemoryError, struct.error)


class BadPicture(Exception):
    """These bytes are no picture that can be used; the message says why."""


def versions() -> str:
    """Name all that decides which pixels come out: our rules and the two libraries."""
    return f"decoder {DECODER}, simplejpeg {simplejpeg.__version__}, Pillow {PIL.__version__}"


def picture_size(data: bytes) -> tuple[int, int]:
    """Read height and width from the header (before any turning by EXIF), without decoding; raise BadPicture as `decode`."""
    if data[:3] == _JPEG:
        return _jpeg_header(data)[:2]
    with _pillow(data) as picture:
        return picture.height, picture.width


def decode(data: bytes, size: int) -> UInt8[np.ndarray, "size size 3"]:
    """Decode a picture to an RGB square: the centre square, resized with an antialiasing bicubic filter.

    Gray becomes RGB; alpha is laid over white; 16-bit values lose their low byte; CMYK is converted by Pillow without a colour
    profile; of an animation the first frame counts; EXIF orientation is applied.

    Args:     data: the file's bytes. size: side of the result in pixels, at least 1.
    Raises:   BadPicture for anything truncated, damaged, unknown, empty, or above 100 million pixels.
    """
    if not data:
        raise BadPicture("empty (0 bytes)")
    pixels = _decode_jpeg(data, size) if data[:3] == _JPEG else None
    return fit_square(_decode_pillow(data) if pixels is None else pixels, size)


def fit_square(pixels: UInt8[np.ndarray, "height width channels"], size: int) -> UInt8[np.ndarray, "size size channels"]:
    """Cut the centre square and resize it (bicubic, antialiased) to `size`; a square of that size comes back as it is."""
    height, width, channels = pixels.shape
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    if side == size:
        return np.ascontiguousarray(pixels[top : top + side, left : left + side])
    box = (left, top, left + side, top + side)

    def resized(plane: np.ndarray) -> np.ndarray:
        # reducing_gap: Pillow first shrinks by whole factors down to 3 × the target, then filters; the difference is not visible.
        picture = Image.fromarray(np.ascontiguousarray(plane))
        return np.asarray(picture.resize((size, size), Image.Resampling.BICUBIC, box=box, reducing_gap=3.0))

    return resized(pixels) if channels == 3 else np.stack([resized(pixels[:, :, c]) for c in range(channels)], axis=-1)


def to_rgb(picture: Image.Image) -> UInt8[np.ndarray, "height width 3"]:
    """Convert any Pillow picture to RGB by the rules of `decode`.

    Raises:   BadPicture for 32-bit integer and floating-point pixels, whose range is unknown.
    """
    mode = picture.mode
    if is_deep(picture):
        gray = (np.asarray(picture).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8)
        return np.repeat(gray[:, :, None], 3, axis=2)
    if mode in ("I", "F"):
        raise BadPicture(f"32-bit pixels (mode {mode}) have no known range: convert the picture to 8 or 16 bit")
    if mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in picture.info:
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture.convert("RGBA"))
    return np.asarray(picture.convert("RGB"))


def is_deep(picture: Image.Image) -> bool:
    """Return whether a picture has 16 bits."""
    return picture.mode.startswith("I;16") or (picture.mode == "I" and picture.format in ("PNG", "PPM"))


def write_png(path: Path, pixels: UInt8[np.ndarray, "height width channels"]) -> None:
    """Write a picture of 1 (gray), 3 (RGB) or 4 (RGBA) channels without loss, straight to `path`."""
    Image.fromarray(np.ascontiguousarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)).save(path, "png")


def thumbnail(pixels: UInt8[np.ndarray, "height width channels"], side: int = 96) -> bytes:
    """Encode a picture as WebP, at most `side` pixels wide and high; smaller ones keep their size.

    1 (gray), 3 (RGB) or 4 (RGBA) channels; of any other number the first is shown in gray.

    Example:
        >>> thumbnail(np.zeros((8, 8, 3), np.uint8))[8:12]
        b'WEBP'
    """
    image = Image.fromarray(np.ascontiguousarray(pixels if pixels.shape[-1] in (3, 4) else pixels[..., 0]))
    if max(image.size) > side:
        image.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=2.0)
    file = io.BytesIO()
    image.save(file, "webp", lossless=max(image.size) <= TINY, quality=78, method=2)
    return file.getvalue()


@contextlib.contextmanager
def _refusing() -> Iterator[None]:
    """Turn whatever the decoders raise in the block into BadPicture, and keep their warnings back."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns from 89 million pixels on; our own limit follows
            yield
    except UnidentifiedImageError:
        raise BadPicture(f"no picture in a known format ({', '.join(FORMATS)})") from None
    except (*_FAILS, Image.DecompressionBombError) as error:
        text = " ".join(str(error).split()) or type(error).__name__
        raise BadPicture(text.removeprefix("tjDecompressHeader3(): ")) from None


def _decode_jpeg(data: bytes, size: int) -> np.ndarray | None:
    """Decode strictly; None for CMYK and YCCK, which are checked here and converted by Pillow."""
    height, width, space = _jpeg_header(data)
    with _refusing():
        if space in ("CMYK", "YCCK"):
            simplejpeg.decode_jpeg(data, "CMYK")
            return None
        # The DCT is scaled only when far more than enough pixels remain for a filter of good quality.
        enough = 2 * size if min(height, width) > 4 * size else 0
        pixels: np.ndarray = simplejpeg.decode_jpeg(data, "RGB", min_height=enough, min_width=enough)
    orientation = None
    if b"Exif" in data[:_EXIF_WITHIN]:
        with contextlib.suppress(BadPicture), _refusing(), Image.open(io.BytesIO(data), formats=("JPEG",)) as picture:
            orientation = picture.getexif().get(_ORIENTATION)  # where it cannot be read, the pixels are sound all the same
    if not isinstance(orientation, int) or not 2 <= orientation <= 8:
        return pixels
    upright = Image.fromarray(pixels)
    upright.getexif()[_ORIENTATION] = orientation
    return np.asarray(ImageOps.exif_transpose(upright))


def _jpeg_header(data: bytes) -> tuple[int, int, str]:
    with _refusing():
        height, width, space, _ = simplejpeg.decode_jpeg_header(data)
    _check_pixels(height, width)
    return height, width, space


def _check_pixels(height: int, width: int) -> None:
    if height * width > MAX_PIXELS:
        raise BadPicture(f"claims {width} × {height} pixels, more than the {MAX_PIXELS // 10**6} million that are decoded")
    if height * width == 0:
        raise BadPicture("has no pixels")


def _pillow(data: bytes) -> Image.Image:
    with _refusing():
        picture = Image.open(io.BytesIO(data), formats=FORMATS)
    _check_pixels(picture.height, picture.width)
    return picture


def _decode_pillow(data: bytes) -> np.ndarray:
    with _refusing():
        if data[:4] == b"\x89PNG":
            with _pillow(data) as picture:
                picture.verify()  # the checksum of every chunk, which loading does not look at
        with _pillow(data) as picture:
            picture.load()
            turned = ImageOps.exif_transpose(picture)
            turned.format = picture.format
            return to_rgb(turned)
