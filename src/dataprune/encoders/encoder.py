"""An encoder, a frozen function from what people see to vectors; and which one `auto` means: the built-in one for photographs."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Shaped, UInt8

from dataprune.data import Dataset, EncoderRecord
from dataprune.errors import invalid

MINILM = "all-minilm-l6-v2"  # for texts
OURS = ("efficientnet-lite0", "efficientnet-lite1", "efficientnet-lite2", MINILM)  # those that a stored file may name
BUILT_IN = OURS[0]
LIBRARIES = ("timm", "hf", "torchhub", "open_clip", "onnx")  # NAME:... is a model of theirs; of any other NAME, a function
SMALLEST = 64  # pixels a side: of smaller ones networks from scratch find as much where they see many (docs/log.md)
FEW, SMALLEST_OF_FEW = 10_000, 32  # and less where they see so many or fewer
LOOKED_AT = 64  # pictures
COLOURED, DETAILED = 8.0, 64  # the mean range of the channels, of 255, and different values of a channel: in the median picture
MISSED = (
    "photographs are judged better by networks that have seen many, and the built-in one is not installed; "
    "pip install 'dataprune[encoder]' adds it"
)


@dataclass(frozen=True, eq=False)
class Encoder:
    """A frozen function, called with blocks of content (pictures: (B, H, W, Ch) uint8), and its identity."""

    record: EncoderRecord
    function: Callable[[np.ndarray], object]

    def __call__(self, block: Shaped[np.ndarray, "batch ..."]) -> Float32[np.ndarray, "batch features"]:
        """Return the vector of each example of a block; whatever is no vector of finite numbers is refused."""
        value = self.function(block)
        made = np.asarray(value.detach().float().cpu() if hasattr(value, "detach") else value)
        if made.ndim != 2 or len(made) != len(block) or made.dtype.kind not in "iuf" or not made.shape[1]:
            raise invalid("encoder", f"give ({len(block)}, D) numbers", f"{made.dtype} {made.shape} from {self.record.name}")
        if not np.isfinite(made).all():
            raise invalid("encoder", "give finite numbers", f"NaN or infinity from {self.record.name}")
        return made.astype(np.float32)


def choose(dataset: Dataset, encoder: str) -> tuple[str | None, tuple[str, ...]]:
    """Return the encoder that a name means for a data set, None for networks from scratch or for vectors as they are. Where `auto`
    misses the built-in encoder, a note says so."""
    if encoder not in ("auto", "scratch"):
        return encoder, ()
    if encoder == "scratch" or dataset.features is not None or dataset.images is None or not are_photographs(dataset.images):
        return None, ()
    from dataprune.encoders.efficientnet import weights_file

    return (None, (MISSED,)) if weights_file(BUILT_IN) is None else (BUILT_IN, ())


def are_photographs(images: UInt8[np.ndarray, "examples height width channels"]) -> bool:
    """Return whether pictures are large enough (of few less will do), coloured, and rich in detail."""
    if images.shape[3] < 3 or min(images.shape[1:3]) < (SMALLEST_OF_FEW if len(images) <= FEW else SMALLEST):
        return False
    some = [images[row] for row in np.linspace(0, len(images) - 1, min(LOOKED_AT, len(images))).astype(int)]
    colour = [np.ptp(one[..., :3].astype(np.int16), axis=2).mean() for one in some]
    detail = [len(np.unique(one[..., 1])) for one in some]
    return bool(np.median(colour) >= COLOURED and np.median(detail) >= DETAILED)
