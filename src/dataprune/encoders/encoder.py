"""An encoder: a frozen function from blocks of what people see to vectors, and what is checked of any."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Shaped

from dataprune.data import EncoderRecord
from dataprune.errors import invalid


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
            got = f"{made.dtype} of shape {made.shape} from {self.record.name}"
            raise invalid("encoder", f"give ({len(block)}, D) numbers for {len(block)} examples", got)
        if not np.isfinite(made).all():
            raise invalid("encoder", "give finite numbers", f"NaN or infinity from {self.record.name}")
        return made.astype(np.float32)
