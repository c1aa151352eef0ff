"""The smallest run, study, features and kept set, and the ways in which a stored file goes bad."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dataprune.data import from_arrays, read
from dataprune.run.score import score
from dataprune.training.settings import Hardware, Settings

SERIAL = Hardware(executor="serial")
QUICK = Settings(folds=0, members=2, epochs=2, model="linear", recipe="fast-plain")
N_DIGITS = 100
# What says where the data lie on this machine may be deleted, and a lock holds nothing.
UNCHECKED = ("local.json", ".lock")


def some_digits():
    """Return the first digits."""
    return read("digits").take(np.arange(N_DIGITS))


def quick_run(out):
    """Score the digits into `out`, or go on there."""
    return score(some_digits(), out, QUICK, SERIAL)


def vectors_file(folder):
    """Write feature vectors in a few heaps, and give the path."""
    draw = np.random.default_rng(0)
    heaps = np.arange(240) % 6
    np.save(folder / "vectors.npy", (draw.normal(size=(240, 5)) + 9 * np.eye(6, 5)[heaps]).astype(np.float32))
    return folder / "vectors.npy"


def digit_arrays():
    """Return the digits as arrays in memory, which no path belongs to."""
    digits = some_digits()
    return from_arrays(np.array(digits.images), digits.labels, ids=[f"d{row}" for row in range(len(digits))])


@dataclass(frozen=True)
class Damage:
    """One way in which a file goes bad: `at` is where a bit turns, as a part of its length."""

    name: str
    at: float | None = None

    def to(self, path):
        """Do it."""
        content = bytearray(path.read_bytes())
        if self.name == "missing":
            path.unlink()
        elif self.name == "emptied":
            path.write_bytes(b"")
        elif self.name == "cut short":
            path.write_bytes(content[: len(content) * 2 // 3])
        else:
            place = min(int(self.at * len(content)), len(content) - 1)
            content[place] ^= 1 << (place % 8)
            path.write_bytes(content)

    def __str__(self):
        return self.name if self.at is None else f"{self.name} at {self.at:.0%}"


DAMAGES = (
    *(Damage("a bit turned", at) for at in (0.0, 0.37, 0.71, 1.0)),
    Damage("cut short"),
    Damage("emptied"),
    Damage("missing"),
)


def stored_files(folder):
    """Return what lies in a folder and counts, by relative path."""
    found = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name not in UNCHECKED)
    return [path.relative_to(folder).as_posix() for path in found]


def copy_of(folder, out):
    """Copy a folder to a new place, and give it."""
    shutil.rmtree(out, ignore_errors=True)
    return Path(shutil.copytree(folder, out))
