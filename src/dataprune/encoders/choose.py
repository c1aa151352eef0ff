"""Which encoder `auto` means: the built-in one for colour photographs, none for all else."""

import numpy as np
from jaxtyping import UInt8

from dataprune.data import Dataset

MINILM = "all-minilm-l6-v2"  # for texts
OURS = ("efficientnet-lite0", "efficientnet-lite1", "efficientnet-lite2", MINILM)  # those that a stored file may name
BUILT_IN = OURS[0]
LIBRARIES = ("timm", "hf", "torchhub", "open_clip", "onnx")  # NAME:... is a model of theirs; of any other NAME, a function
SMALLEST = 64  # pixels a side: smaller ones gain little (docs/log.md has figures of CIFAR-10)
LOOKED_AT = 64  # pictures
COLOURED, DETAILED = 8.0, 64  # the mean range of the channels, of 255, and different values of a channel: in the median picture
MISSED = (
    "photographs are judged far better by networks that have seen many, and the built-in one is not installed; "
    "pip install 'dataprune[encoder]' adds it"
)


def choose(dataset: Dataset, encoder: str) -> tuple[str | None, tuple[str, ...]]:
    """Return the encoder that a name means for a data set, None for networks from scratch or for vectors as they are.

    Where `auto` misses the built-in encoder, a note says so.
    """
    if encoder == "scratch" or (encoder == "auto" and dataset.features is not None):
        return None, ()
    if encoder != "auto":
        return encoder, ()
    if dataset.images is None or not are_photographs(dataset.images):
        return None, ()
    from dataprune.encoders.efficientnet import weights_file

    return (None, (MISSED,)) if weights_file(BUILT_IN) is None else (BUILT_IN, ())


def are_photographs(images: UInt8[np.ndarray, "examples height width channels"]) -> bool:
    """Return whether pictures are large enough, coloured, and rich in detail.

    Example:
        >>> are_photographs(np.zeros((4, 64, 64, 3), np.uint8))
        False
    """
    if images.shape[3] < 3 or min(images.shape[1:3]) < SMALLEST:
        return False
    some = [images[row] for row in np.linspace(0, len(images) - 1, min(LOOKED_AT, len(images))).astype(int)]
    colour = [np.ptp(one[..., :3].astype(np.int16), axis=2).mean() for one in some]
    detail = [len(np.unique(one[..., 1])) for one in some]
    return bool(np.median(colour) >= COLOURED and np.median(detail) >= DETAILED)
