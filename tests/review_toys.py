"""Runs for reviews without any training: answers are made up, so that labels that are wrong on purpose look wrong."""

import threading
from contextlib import contextmanager

import numpy as np
from PIL import Image

import dataprune as dp

CLASSES = ("cat", "dog", "ship")


def recorded(data, out, wrong=(), members=2, epochs=4, seed=0):
    """Write a run of a data set whose rows `wrong` are contradicted; half of the members did not see each example."""
    rng, n, k = np.random.default_rng(seed), len(data), len(data.classes)
    truth = data.labels.copy()
    truth[list(wrong)] = (truth[list(wrong)] + 1) % k
    fold, found = np.arange(n) % members, []
    for member in range(members):
        recorder = dp.Recorder(data.labels, data.classes, epochs, trained_on=fold != member)
        for epoch in range(epochs):
            logits = rng.normal(size=(n, k)) + (1 + epoch) * np.eye(k)[truth]
            recorder.update(np.arange(n), logits.astype(np.float32), epoch)
        found.append(recorder.finish())
    return dp.write_run(dp.Trace(found, data.labels, data.ids), data, out)


def vectors(n=12, seed=0):
    """Return a small set of vectors with paths as ids."""
    rng, labels = np.random.default_rng(seed), np.arange(n) % 3
    return dp.from_arrays(rng.random((n, 2), np.float32), labels, ids=[f"x/{row}.png" for row in range(n)], classes=CLASSES)


def pictures(folder, n=30, side=24, seed=0):
    """Write a folder of pictures, with a test split that holds a copy of one of train; return it."""
    rng = np.random.default_rng(seed)
    for row in range(n + 3):
        split, name = ("train", CLASSES[row % 3]) if row < n else ("test", CLASSES[row % 3])
        (folder / split / name).mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 90, (side, side, 3), dtype=np.uint8)
        pixels[..., row % 3] += 120
        Image.fromarray(pixels).save(folder / split / name / f"{row:03}.png")
    (folder / "test" / "cat" / "copy.png").write_bytes((folder / "train" / "cat" / "000.png").read_bytes())
    return folder


@contextmanager
def served(book, token):
    """Serve a review in a thread; yield its port."""
    import uvicorn

    from dataprune.review import server

    with server.listening(0) as at:
        port = at.getsockname()[1]
        running = uvicorn.Server(uvicorn.Config(server.Pages(book, port, token).app, log_level="error", lifespan="off", ws="none"))
        thread = threading.Thread(target=running.run, kwargs={"sockets": [at]})
        thread.start()
        try:
            yield port
        finally:
            running.should_exit = True
            thread.join()
