"""What leaves a run for other tools?"""

from pathlib import Path
from typing import Literal

import numpy as np

from dataprune import store
from dataprune.errors import invalid
from dataprune.run.run import Run
from dataprune.tables import write_npy


def write_probabilities(run: Run, out: str | Path, which: Literal["all", "in", "out"] = "all") -> tuple[int, int]:
    """Write class probabilities of the last epoch, the mean over members, as .npy (examples, classes) float32.

    Args:
        run: finished.
        out: ends in `.npy`.
        which: over all members, over those trained on the example ("in"), or those that were not ("out").

    Returns:
        The shape of what was written.

    Raises:
        InputError: another ending, the folder does not exist, or no such member for some example.
        MachineError: no room, or no permission.
    """
    path = Path(out)
    if path.suffix.lower() != ".npy":
        raise invalid("out", "end in .npy", repr(str(out)))
    if not path.parent.is_dir():
        raise invalid("out", "lie in a folder that exists", f"{path.parent}")
    p = np.concatenate([chunk.probabilities(which) for chunk in run.trace.chunks()])
    with store.writing(path, p.nbytes) as temporary:
        write_npy(temporary, p)
    return p.shape[0], p.shape[1]
