"""Encoded pictures to pixels, by rules that give the same pixels everywhere; and pixels to a PNG file or a small WebP."""

import contextlib
import hashlib
import io
import struct
import warnings
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import numpy as np
import PIL
import simplejpeg
from jaxtyping import UInt8
from PIL import Image, ImageOps, UnidentifiedImageError

from dataprune.data.pixels import Scale

DECODER = 2  # version of the rules below; it is part of a pack's key, so a change of the rules decodes anew
MAX_PIXELS = 100_000_000
MAX_FILE_BYTES = 512 * 2**20
LONGEST = 10  # times the short side, of a picture that is measured
TINY = 16  # up to so many pixels a side, lossless is both smaller and sharper
DIGEST_BYTES = 16
ALL_BITS = Scale(0, 16)
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "AVIF")
SUFFIXES = frozenset(
    [".jpg", ".jpeg", ".jfif", ".jpe", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".avif", ".heic", ".heif"]
)
Fit = Literal["crop", "pad", "stretch"]
FITS: tuple[Fit, ...] = get_args(Fit)
Remark = Literal["", "beyond", "low byte", "on black"]
_JPEG, _PNG = b"\xff\xd8\xff", b"\x89PNG"
_EXIF_WITHIN = 65536  # an APP1 segment is at most 64 KB and stands near the start
_ORIENTATION = 0x0112
_ADOBE, _ABOUT = 0xEE, frozenset({*range(0xE0, 0xF0), 0xFE})  # segments of a JPEG: says the colours; says nothing of pixels
_FAILS = (OSError, SyntaxError, ValueError, EOFError, LookupError, TypeError, MemoryError, struct.error)


class BadPicture(Exception):
    """These bytes are no picture that can be used; the message says why."""


def versions() -> str:
    """Name all that decides which pixels come out: our rules and the libraries."""
    said = f"decoder {DECODER}, simplejpeg {simplejpeg.__version__}, Pillow {PIL.__version__}"
    with contextlib.suppress(metadata.PackageNotFoundError):
        said += f", pillow-heif {metadata.version('pillow-heif')}"
    return said


class Decoded(NamedTuple):
    """A picture as a square, the digest of the whole picture, and what is remarkable: see `Remark`."""

    pixels: UInt8[np.ndarray, "size size 3"]
    digest: bytes
    remark: Remark


def picture_size(data: bytes) -> tuple[int, int]:
    """Read height and width from the header (before any turning by EXIF), without decoding; raise BadPicture as `decode`."""
    if data[:3] == _JPEG:
        return _jpeg_header(data)[:2]
    with _pillow(data) as picture:
        return picture.height, picture.width


def extremes(data: bytes) -> tuple[int, int] | None:
    """Return the smallest and the largest gray value of a picture of 16 bits; None for every other picture."""
    if data[:3] == _JPEG:
        return None
    with _pillow(data) as picture:
        if not is_deep(picture):
            return None
        with _refusing():
            values = _deep_values(picture)
    return int(values.min()), int(values.max())


def decode(data: bytes, size: int, fit: Fit = "crop", scale: Scale = ALL_BITS) -> Decoded:
    """Decode a picture to an RGB square of side `size`, as `fit_square` makes it.

    Gray becomes RGB; alpha is laid over white, or over black where the picture would vanish in white; gray values of 16 bits are
    scaled, colours of 16 bits lose their low byte; CMYK is converted by Pillow without a colour profile; of an animation the first
    frame counts; EXIF orientation is applied. Anything truncated, damaged, unknown, empty, or too large is a BadPicture.
    """
    if not data:
        raise BadPicture("empty (0 bytes)")
    whole = (_decode_jpeg(data, size) if data[:3] == _JPEG else None) or _decode_pillow(data, scale)
    return whole._replace(pixels=fit_square(whole.pixels, size, fit))


def decode_whole(data: bytes, side: int, scale: Scale = ALL_BITS) -> tuple[UInt8[np.ndarray, "height width 3"], int, int]:
    """Decode a picture in its proportions, the short side brought down to `side`; return it, and its height and width. All else is
    as `decode` says. The long side is squeezed to ten times the short one. Height and width are those of the whole picture, before
    it is turned by EXIF."""
    if not data:
        raise BadPicture("empty (0 bytes)")
    height, width = picture_size(data)
    pixels = ((_decode_jpeg(data, side) if data[:3] == _JPEG else None) or _decode_pillow(data, scale)).pixels
    least = min(pixels.shape[:2])
    if least > side:
        wide, high = (min(LONGEST * side, round(one * side / least)) for one in (pixels.shape[1], pixels.shape[0]))
        pixels = np.asarray(Image.fromarray(pixels).resize((wide, high), Image.Resampling.BICUBIC, reducing_gap=3.0))
    return pixels, height, width


def fit_square(
    pixels: UInt8[np.ndarray, "height width channels"], size: int, fit: Fit = "crop"
) -> UInt8[np.ndarray, "size size channels"]:
    """Bring a picture to a square (bicubic, antialiased): its centre, or all of it with black borders, or out of proportion."""
    height, width, channels = pixels.shape
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    if side == size and (fit == "crop" or height == width):
        return np.ascontiguousarray(pixels[top : top + side, left : left + side])
    box = (left, top, left + side, top + side) if fit == "crop" else (0, 0, width, height)
    wide, high = (max(1, round(one * size / max(height, width))) if fit == "pad" else size for one in (width, height))

    def resized(plane: np.ndarray) -> np.ndarray:
        # reducing_gap: Pillow first shrinks by whole factors down to 3 × the target, then filters; the difference is not visible.
        picture = Image.fromarray(np.ascontiguousarray(plane))
        return np.asarray(picture.resize((wide, high), Image.Resampling.BICUBIC, box=box, reducing_gap=3.0))

    made = resized(pixels) if channels == 3 else np.stack([resized(pixels[:, :, c]) for c in range(channels)], axis=-1)
    if (high, wide) == (size, size):
        return made
    square = np.zeros((size, size, channels), np.uint8)
    top, left = (size - high) // 2, (size - wide) // 2
    square[top : top + high, left : left + wide] = made
    return square


def digest_of(pixels: np.ndarray, more: bytes = b"") -> bytes:
    start = f"{pixels.dtype.str} {pixels.shape} ".encode() + more
    return hashlib.blake2b(np.ascontiguousarray(pixels).data, digest_size=DIGEST_BYTES, key=hashlib.sha256(start).digest()).digest()


def to_rgb(picture: Image.Image) -> UInt8[np.ndarray, "height width 3"]:
    """Convert any Pillow picture to RGB by the rules of `decode`; pixels of 32 bits, whose range is unknown, are a BadPicture."""
    return _whole(picture, ALL_BITS).pixels


def is_deep(picture: Image.Image) -> bool:
    return picture.mode.startswith("I;16") or (picture.mode == "I" and picture.format in ("PNG", "PPM"))


def write_png(path: Path, pixels: UInt8[np.ndarray, "height width channels"]) -> None:
    """Write a picture of 1 (gray), 3 (RGB) or 4 (RGBA) channels without loss, straight to `path`."""
    Image.fromarray(np.ascontiguousarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)).save(path, "png")


def thumbnail(pixels: UInt8[np.ndarray, "height width channels"], side: int = 96) -> bytes:
    """Encode a picture as WebP, at most `side` pixels wide and high; of other than 3 or 4 channels the first, in gray."""
    image = Image.fromarray(np.ascontiguousarray(pixels if pixels.shape[-1] in (3, 4) else pixels[..., 0]))
    if max(image.size) > side:
        image.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=2.0)
    file = io.BytesIO()
    image.save(file, "webp", lossless=max(image.size) <= TINY, quality=78, method=2)
    return file.getvalue()


def shown_whole(file: Path, side: int) -> bytes:
    """Return all of a picture in a file as WebP, at most `side` pixels wide and high; raise BadPicture as `decode`, or OSError."""
    data = file.read_bytes()
    found = (_decode_jpeg(data, side) if data[:3] == _JPEG else None) or _decode_pillow(data, ALL_BITS)
    return thumbnail(found.pixels, side)


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


def _whole(picture: Image.Image, scale: Scale) -> Decoded:
    """Convert a whole picture to RGB; its digest is of all that it holds."""
    mode = picture.mode
    if is_deep(picture):
        deep = _deep_values(picture)
        gray = np.repeat(scale.to_bytes(deep)[:, :, None], 3, axis=2)
        return Decoded(gray, digest_of(deep), "beyond" if deep.min() < scale.start or deep.max() > scale.top else "")
    if mode in ("I", "F"):
        raise BadPicture(f"32-bit pixels (mode {mode}) have no known range: convert the picture to 8 or 16 bit")
    if mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        alpha = np.asarray(picture)[:, :, 3]
        grounds = (Image.new("RGBA", picture.size, one) for one in ("white", "black"))
        white, black = (np.asarray(Image.alpha_composite(ground, picture))[:, :, :3] for ground in grounds)
        vanishes = bool((white == white[0, 0]).all()) and not bool((black == black[0, 0]).all())
        rgb = np.ascontiguousarray(black if vanishes else white)
        return Decoded(rgb, digest_of(rgb, alpha.tobytes() if (alpha < 255).any() else b""), "on black" if vanishes else "")
    rgb = np.asarray(picture.convert("RGB"))
    return Decoded(rgb, digest_of(rgb), "")


def _deep_values(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture).astype(np.int64).clip(0, 2**16 - 1).astype(np.uint16)


def _decode_jpeg(data: bytes, size: int) -> Decoded | None:
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
    if isinstance(orientation, int) and 2 <= orientation <= 8:
        upright = Image.fromarray(pixels)
        upright.getexif()[_ORIENTATION] = orientation
        pixels = np.asarray(ImageOps.exif_transpose(upright))
    # Of a picture that was not decoded in full, what is encoded speaks: small differences may be lost in the scaling.
    return Decoded(pixels, digest_of(pixels, _bare_jpeg(data) if enough else b""), "")


def _bare_jpeg(data: bytes) -> bytes:
    """Return a JPEG file without segments that change no pixel: comments, profiles, Exif, thumbnails."""
    kept, at = [data[:2]], 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] not in (0xDA, 0xFF):
        end = at + 2 + max(2, int.from_bytes(data[at + 2 : at + 4], "big"))
        if data[at + 1] == _ADOBE or data[at + 1] not in _ABOUT:
            kept.append(data[at:end])
        at = end
    return b"".join([*kept, data[at:]])


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
    is_heic = data[4:8] == b"ftyp" and data[8:12] not in (b"avif", b"avis")
    if is_heic:
        try:
            import pillow_heif
        except ImportError:
            raise BadPicture("HEIC needs pillow-heif: pip install 'dataprune[heic]'") from None
        pillow_heif.register_heif_opener(thumbnails=False)
    with _refusing():
        picture = Image.open(io.BytesIO(data), formats=("HEIF",) if is_heic else FORMATS)
    _check_pixels(picture.height, picture.width)
    return picture


def _decode_pillow(data: bytes, scale: Scale) -> Decoded:
    with _refusing():
        if data[:4] == _PNG:
            with _pillow(data) as picture:
                picture.verify()  # the checksum of every chunk, which loading does not look at
        with _pillow(data) as picture:
            picture.load()
            turned = ImageOps.exif_transpose(picture)
            turned.format = picture.format
            found = _whole(turned, scale)
    # Of 16-bit colours Pillow gives the high byte only. In a PNG file, depth and kind stand here.
    return found._replace(remark="low byte") if data[:4] == _PNG and data[24] == 16 and data[25] != 0 else found
