"""The whole scoring run against the procedure it replaces, measured per image in one run and multiplied out.

    python benchmarks/procedure.py

The published procedure on CIFAR-10: an ensemble of 10 ResNet-18 (3×3 stem) trained 2 epochs and looked at once; another run of
6 epochs, looked at after each, for flip and forget; batch 25, Adam, pictures opened and transformed one by one with Pillow in a
torch DataLoader. Ours: `dataprune score` with its defaults, all channels recorded. One thread each. The mark is 20 ×.
"""

import time

import numpy as np
import torch
from PIL import Image, ImageOps
from record import record
from torch.nn import functional

from dataprune.data import from_arrays
from dataprune.trace import Recorder
from dataprune.training.fit import Fit, Training, one_thread
from dataprune.training.inputs import Inputs
from dataprune.training.models import build
from dataprune.training.plan import plan
from dataprune.training.recipes import RECIPES
from dataprune.training.settings import Settings

SIZE = 50_000  # of the set that is multiplied out to
PUBLISHED_TRAINED = 10 * 2 + 6
PUBLISHED_LOOKED = 10 + 6


class PerImage(torch.utils.data.Dataset):
    """Pictures opened and transformed one by one: pad by 4 with reflection, crop, flip, rotate, to a normalised tensor."""

    def __init__(self, images: np.ndarray, labels: np.ndarray, augment: bool) -> None:
        self.images, self.labels, self.augment = images, labels, augment
        self.rng = np.random.default_rng(0)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, row: int) -> tuple[torch.Tensor, int]:
        picture = Image.fromarray(self.images[row])
        if self.augment:
            padded = Image.fromarray(np.pad(np.asarray(picture), ((4, 4), (4, 4), (0, 0)), mode="reflect"))
            left, top = self.rng.integers(0, 9, 2).tolist()
            picture = padded.crop((left, top, left + 32, top + 32))
            if self.rng.random() < 0.5:
                picture = ImageOps.mirror(picture)
            picture = picture.rotate(self.rng.uniform(-15, 15), Image.Resampling.BILINEAR)
        x = torch.from_numpy(np.array(picture)).permute(2, 0, 1).float().div(127.5).sub(1)
        return x, int(self.labels[row])


def published(images: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Return seconds an image of a training pass and of a look."""
    model = build("resnet18", (3, 32, 32), 10)
    optimiser = torch.optim.Adam(model.parameters(), 1e-3)
    loader = torch.utils.data.DataLoader(PerImage(images, labels, True), batch_size=25, shuffle=True)
    n_images = 0
    begun = 0.0
    for number, (x, y) in enumerate(loader):
        if number == 1:
            begun, n_images = time.perf_counter(), 0
        optimiser.zero_grad()
        functional.cross_entropy(model(x), y).backward()
        optimiser.step()
        n_images += len(x)
    trained = (time.perf_counter() - begun) / n_images
    model.eval()
    begun = time.perf_counter()
    with torch.inference_mode():
        for x, _ in torch.utils.data.DataLoader(PerImage(images, labels, False), batch_size=25):
            model(x).softmax(1)
    return trained, (time.perf_counter() - begun) / len(images)


def ours(images: np.ndarray, labels: np.ndarray, model: str) -> tuple[float, float]:
    """Return seconds an image of a training pass and of a clean pass that records every channel."""
    recipe, n = RECIPES["fast"], len(images)
    fit = Fit(Training(model, recipe, 3, 0, 10), Inputs(images, "own", "cpu"), labels, np.ones(n, bool))
    fit.train_epoch()
    begun = time.perf_counter()
    fit.train_epoch()
    trained = (time.perf_counter() - begun) / n
    recorder = Recorder(labels, 10, 1)
    begun = time.perf_counter()
    for rows, logits, features in fit.predict():
        recorder.update(rows, logits, 0, features)
    return trained, (time.perf_counter() - begun) / n


def main() -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (5_120, 32, 32, 3), dtype=np.uint8)
    labels = rng.integers(0, 10, len(images))
    defaults = plan(from_arrays(np.zeros((SIZE, 32, 32, 3), np.uint8), np.arange(SIZE) % 10), Settings()).ensemble
    with one_thread("cpu"):
        theirs_train, theirs_look = published(images[:400], labels[:400])
        our_train, our_look = ours(images, labels, defaults.model)
    theirs = SIZE * (PUBLISHED_TRAINED * theirs_train + PUBLISHED_LOOKED * theirs_look)
    passes = defaults.members * defaults.epochs
    mine = SIZE * passes * (our_train + our_look)
    record(
        "scoring against the published procedure",
        {
            "published_ms_per_image": {"train": round(1e3 * theirs_train, 3), "look": round(1e3 * theirs_look, 3)},
            "ours_ms_per_image": {"train": round(1e3 * our_train, 3), "look": round(1e3 * our_look, 3)},
            "published_core_hours": round(theirs / 3600, 2),
            "ours_core_hours": round(mine / 3600, 3),
            "ratio": round(theirs / mine, 1),
        },
    )


if __name__ == "__main__":
    main()
