"""Stands for a command line that knows nothing of dataprune, such as `yolo classify train`: KEY=VALUE words, a table as its result.

It trains a nearest mean on a folder of a folder for each class, and tests on what its `val` names.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image


def vectors(folder: Path) -> tuple[np.ndarray, list[str]]:
    """Read the pictures of a folder and the names of their classes."""
    files = sorted(folder.glob("*/*"))
    return np.stack([np.asarray(Image.open(file), np.float64).ravel() for file in files]), [file.parent.name for file in files]


def main() -> None:
    """Train, and write PROJECT/results.csv."""
    asked = dict(word.split("=", 1) for word in sys.argv[1:])
    (x, y), (test_x, test_y) = vectors(Path(asked["data"])), vectors(Path(asked["val"]))
    names = sorted(set(y))
    means = np.stack([x[np.array(y) == name].mean(axis=0) for name in names])
    found = [names[((means - row) ** 2).sum(axis=1).argmin()] for row in test_x]
    right = np.mean([one == two for one, two in zip(found, test_y, strict=True)])
    Path(asked["project"]).mkdir(parents=True, exist_ok=True)
    (Path(asked["project"]) / "results.csv").write_text(f"epoch,top1\n1,{right:.4f}\n")


if __name__ == "__main__":
    main()
