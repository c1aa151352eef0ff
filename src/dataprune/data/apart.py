"""Does a folder for results lie where pictures are looked for?"""

import os
from pathlib import Path

from dataprune.data.dataset import Dataset
from dataprune.data.folders import SPLIT_NAMES
from dataprune.errors import invalid


def refuse_output_inside_data(dataset: Dataset, out: Path, name: str = "out") -> None:
    """Refuse a folder that would be a class of the data, and so make the same command find other data.

    A folder beside `train` and `test` is no class, nor is one whose name begins with a dot.

    Raises:
        InputError: `out` lies among the classes that the data were read from.
    """
    if dataset.origin is None or dataset.origin.kind != "folder" or not len(dataset):
        return
    base = Path(dataset.origin.path)
    firsts = {str(name).partition("/")[0] for name in dataset.ids}
    split = firsts.pop() if len(firsts) == 1 else ""
    classes = base / split if split.casefold() in SPLIT_NAMES else base
    place = Path(os.path.realpath(out))
    if place.is_relative_to(classes) and not any(part.startswith(".") for part in place.relative_to(classes).parts):
        raise invalid(name, f"lie outside the data in {classes}", str(out), "It would be taken for a class: choose another folder.")
