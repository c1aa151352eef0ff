"""Which copies of pictures are found, by pixels and by what a run's network sees?

    python benchmarks/duplicates.py DATA --run RUN [--count 300]

Makes copies of pictures of DATA, changed in ten ways, puts those of one way at a time beside all of DATA and counts how many are
told as near duplicates of their originals, with the default limits. Also how many pairs DATA holds by each way, and by both.
RUN was scored on DATA.
"""

import argparse
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image
from record import record

import dataprune as dp
from dataprune.noise.duplicates import find_pairs
from dataprune.run.encoders import EmbedSettings, method_of
from dataprune.training.settings import Hardware

Picture = UInt8[np.ndarray, "height width channels"]
BICUBIC = Image.Resampling.BICUBIC


def resized(picture: Picture, height: int, width: int) -> Picture:
    return np.asarray(Image.fromarray(picture).resize((width, height), BICUBIC))


def jpeg(picture: Picture) -> Picture:
    blob = io.BytesIO()
    Image.fromarray(picture).save(blob, "jpeg", quality=30)
    return np.asarray(Image.open(blob).convert("RGB"))


def zoomed(picture: Picture, share: float) -> Picture:
    height, width = picture.shape[:2]
    top, left = int(height * (1 - share) / 2), int(width * (1 - share) / 2)
    return resized(picture[top : height - top, left : width - left], height, width)


def turned(picture: Picture, degrees: float) -> Picture:
    return np.asarray(Image.fromarray(picture).rotate(degrees, BICUBIC))


CHANGES: dict[str, Callable[[Picture], Picture]] = {
    "mirrored": lambda x: np.ascontiguousarray(x[:, ::-1]),
    "JPEG at quality 30": jpeg,
    "half the size and back": lambda x: resized(resized(x, x.shape[0] // 2, x.shape[1] // 2), *x.shape[:2]),
    "darker": lambda x: np.clip(x * 0.8 + 30, 0, 255).astype(np.uint8),
    "gray": lambda x: np.repeat(np.asarray(Image.fromarray(x).convert("L"))[..., None], 3, axis=2),
    "zoomed by 10 %": lambda x: zoomed(x, 0.9),
    "zoomed by 33 %": lambda x: zoomed(x, 0.75),
    "turned by 5°": lambda x: turned(x, 5),
    "turned by 10°": lambda x: turned(x, 10),
    "shifted by 6 %": lambda x: np.roll(x, (x.shape[0] // 16, x.shape[1] // 16), axis=(0, 1)),
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data")
    parser.add_argument("--run", required=True)
    parser.add_argument("--count", type=int, default=300)
    asked = parser.parse_args()
    run = dp.open_run(asked.run)
    train = run.dataset(asked.data)
    assert train.images is not None, "pictures are needed"
    encoder = method_of(train, EmbedSettings("trace"), Hardware(), run).prepare(Path(), None)
    features, pictures = encoder.encode(train), np.asarray(train.images)
    rows = np.random.default_rng(0).choice(len(train), min(asked.count, len(train)), replace=False)
    by_pixels, by_features = pairs(pictures), pairs(pictures, features)
    found = {}
    for name, change in CHANGES.items():
        copies = np.stack([change(picture) for picture in pictures[rows]])
        made = {(int(row), len(train) + number) for number, row in enumerate(rows)}
        seen = np.concatenate([features, encoder.encode(dp.from_arrays(copies))])
        both = np.concatenate([pictures, copies])
        found[name] = [round(len(made & one) / len(rows), 3) for one in (pairs(both), pairs(both, seen))]
    result = {
        "n_examples": len(train),
        "copies": len(rows),
        "pairs_by_pixels": len(by_pixels),
        "pairs_by_features": len(by_features),
        "pairs_by_both": len(by_pixels & by_features),
        "found_by_pixels_and_by_features": found,
    }
    record("copies found", result)


def pairs(pictures: np.ndarray, features: np.ndarray | None = None) -> set[tuple[int, int]]:
    found = find_pairs([pictures], features=features)
    return set(zip(found.first.tolist(), found.second.tolist(), strict=True))


if __name__ == "__main__":
    main()
