"""The command line for tests: a process of its own, a tiny folder of pictures with odd names, and settings that take seconds."""

import subprocess
import sys

import numpy as np
from PIL import Image

CLASSES = ("[red]rot", "blau, 'b'", "grün")
ODD_NAMES = ("[red]x.png", 'a,"b".png', "new\nline.png", "\x1b[31mesc\u202e.png", "花.png", "=cmd|x.png")
PER_CLASS = 8
SETTINGS = ["--folds", "0", "--members", "2", "--epochs", "3", "--batch", "4", "--effort", "low"]


PATIENCE_SECONDS = 1200  # seconds are enough; on a machine that others keep busy a command may wait for minutes


def run_cli(*arguments, **options):
    """Run the command in a process of its own."""
    command = [sys.executable, "-m", "dataprune", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, timeout=PATIENCE_SECONDS, **({"text": True} | options))


def complaints(err):
    """Return what stands on stderr beside the note that so easy a set is memorised."""
    return [line for line in err.splitlines() if not line.startswith("warning: the members have memorised")]


def make_pictures(folder, per_class=PER_CLASS, names=ODD_NAMES):
    """Make pictures whose colour is their class, with some noise."""
    noise = np.random.default_rng(0)
    for index, name in enumerate(CLASSES):
        (folder / name).mkdir(parents=True)
        for number in range(per_class):
            pixels = noise.integers(0, 100, (12, 12, 3), dtype=np.uint8)
            pixels[..., index] += 150
            Image.fromarray(pixels).save(folder / name / (names[number] if number < len(names) else f"{number}.png"), "png")
    return folder
