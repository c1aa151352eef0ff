"""The checkpoint of a training: its state after an epoch in one file, and a note that names the file and what it is of."""

import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dataprune.errors import DatapruneError, MachineError
from dataprune.store import Arrays, canonical_json, open_arrays, read_json, save_arrays, sha256, write_json
from dataprune.workers import Pool

CHECKPOINT = "checkpoint.json"
FORMAT = 3
CHECKPOINT_SECONDS = 2.0  # so much work may be lost: of a small set, epochs take less time than writing them down


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of one training, of which the latest is kept, in a folder of its own. `identity` is all that its bits follow
    from, as JSON; the checkpoint of another training is not taken up."""

    folder: Path
    identity: str

    @classmethod
    def of(cls, folder: Path, device: str, **training: object) -> "Checkpoints":
        """Return those of a training; what computes is part of its identity."""
        return cls(folder, canonical_json({"format": FORMAT, **training, **training_environment(device)}))

    def path(self, epoch: int) -> Path:
        return self.folder / f"epoch-{epoch:04d}.safetensors"

    def save(self, epoch: int, arrays: Mapping[str, np.ndarray], info: Mapping[str, Any]) -> None:
        """Write a new state file, then the note that names it with its checksum, then drop the old one."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.path(epoch)
        save_arrays(path, arrays, info)
        write_json(self.folder / CHECKPOINT, {"file": path.name, "sha256": sha256(path), "identity": self.identity})
        for old in self.folder.glob("epoch-*.safetensors"):
            if old != path:
                old.unlink()

    def latest(self) -> Arrays | None:
        """Return the last state if it is whole and of this very training."""
        try:
            note = read_json(self.folder / CHECKPOINT)
            path = self.folder / Path(note["file"]).name
            is_sound = note["identity"] == self.identity and note["sha256"] == sha256(path)
            return open_arrays(path) if is_sound else None
        except (DatapruneError, OSError, KeyError, TypeError):
            return None


def training_environment(device: str) -> dict[str, str]:
    """Name what the bits of a training depend on beside its spec: the kind of device and the versions that compute."""
    import torch

    return {"device": torch.device(device).type, "torch": str(torch.__version__), "numpy": np.__version__}


@contextmanager
def training_on(device: str, what: str, scratch: Path | None) -> Iterator[Path]:
    """Train on one thread in the scratch folder: a temporary one (None) on a machine that does not see the driver's. Too little
    memory to train `what` is a MachineError."""
    from dataprune.training.fit import one_thread

    with (
        one_thread(device),
        tempfile.TemporaryDirectory(prefix="dataprune-") if scratch is None else nullcontext(scratch) as folder,
    ):
        try:
            yield Path(folder)
        except RuntimeError as error:  # torch has no other class for it on a CPU
            if "alloc" not in str(error) and "out of memory" not in str(error):
                raise
            raise MachineError(f"not enough memory to train {what} on {device}. Try fewer --workers or --batch.") from error


def is_seen(scratch: Path, workers: Pool) -> bool:
    """Return whether all machines of a pool see this very folder; a marker file in it tells."""
    path = scratch / "landmark.json"
    write_json(path, {"landmark": uuid.uuid4().hex})
    return not workers.nodes_without([path])


def peak_bytes() -> int:
    """Read this process's largest resident size: from the kernel's own line where there is one, since `ru_maxrss` on Linux
    begins with the size of the process that started this one."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
