"""How does a picture that has no file of its own become one?"""

from pathlib import Path

import numpy as np
from jaxtyping import UInt8


def write_png(path: Path, pixels: UInt8[np.ndarray, "height width channels"]) -> None:
    """Write a picture without loss.

    Args:
        path: straight to this path.
        pixels: 1 (gray), 3 (RGB) or 4 (RGBA) channels.
    """
    from PIL import Image

    Image.fromarray(np.ascontiguousarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)).save(path, "png")
