"""How does a picture become small enough to be one of thousands in a page?"""

import io

import numpy as np
from jaxtyping import UInt8

TINY = 16  # up to so many pixels a side, lossless is both smaller and sharper
QUALITY = 78


def thumbnail(pixels: UInt8[np.ndarray, "height width channels"], side: int = 96) -> bytes:
    """Encode a picture as WebP, at most `side` pixels wide and high; smaller ones keep their size.

    Args:
        pixels: 1 (gray), 3 (RGB) or 4 (RGBA) channels; of any other number the first is shown in gray.

    Example:
        >>> thumbnail(np.zeros((8, 8, 3), np.uint8))[8:12]
        b'WEBP'
    """
    from PIL import Image

    shown = pixels if pixels.shape[-1] in (3, 4) else pixels[..., 0]
    image = Image.fromarray(np.ascontiguousarray(shown))
    if max(image.size) > side:
        image.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=2.0)
    file = io.BytesIO()
    image.save(file, "webp", lossless=max(image.size) <= TINY, quality=QUALITY, method=2)
    return file.getvalue()
