"""Materials for pages without any training: hostile names, few and many classes, made in a moment."""

from dataclasses import replace

import numpy as np

from dataprune.data import Dataset
from dataprune.noise import Suspects
from dataprune.report.page.data import ReportData
from dataprune.report.predictions import EnsemblePredictions
from dataprune.run.duplicates import Duplicates
from dataprune.run.manifest import MachineRecord, MemberRecord, Phase, RunData, RunManifest, RunSpec
from dataprune.scores import Score, Scores
from dataprune.training.recipes import Recipe

HOSTILE = (
    "<script>document.title='broken'</script>",
    '"><img src=x onerror="document.title=\'broken\'">',
    "</script><script>document.title='broken'</script>",
    "=cmd|' /C calc'!A0",
    "\u202eexe.gpj\u2066",
    'O\'Brien, "quoted"\nnew line',
    "{{ 7 * 7 }}{% raw %}",
    "花" * 5000,
)
SCORE_NAMES = ("el2n", "pred_sum", "confidence", "variability", "aum")


def manifest_of(n, classes, kind="images", shape=(8, 8, 3), members=4, epochs=5, **more):
    """Make a manifest as a run has it."""
    made = RunManifest(
        spec=RunSpec("ab" * 32, n, "proxy", Recipe("fast"), members, epochs, len(classes), "clean", 0, folds=2, repeats=2),
        data=RunData(
            n, tuple(classes), tuple(np.bincount(np.arange(n) % len(classes), minlength=len(classes)).tolist()), shape, kind
        ),
        members=tuple(MemberRecord(member, "ok", "", accuracy=0.8) for member in range(members)),
        scores={},
        absent_scores={},
        read={},
        skipped=(),
        notes=(),
        cost=(Phase("train", 75.0, flops=10**12),),
        machine=MachineRecord("x86_64"),
        versions={"dataprune": "0.1.0"},
        finished="2026-01-01T00:00:00+00:00",
    )
    return replace(made, **more)


def material(n=40, classes=("cat", "dog", "ship"), *, ids=None, pictures=True, features=None, seed=0, **parts):
    """Make the material of a page from random answers; a fifth of the labels is contradicted by the ensemble and suspect."""
    rng = np.random.default_rng(seed)
    n_classes = len(classes)
    labels = (np.arange(n) % n_classes).astype(np.int64)
    ids = np.array([f"{row}.png" for row in range(n)] if ids is None else ids, np.dtypes.StringDType())
    wrong = np.arange(n) % 5 == 0
    best = np.where(wrong, (labels + 1) % n_classes, labels)
    second = np.where(wrong, labels, (labels + 1) % n_classes)
    sure = rng.uniform(0.6, 0.99, n).astype(np.float32)
    curve = np.linspace(0.4, 0.8, 5)
    told = EnsemblePredictions(
        "out",
        np.stack([best, second], axis=1).astype(np.int32),
        np.stack([sure, 1 - sure], axis=1),
        np.where(wrong, 1 - sure, sure).astype(np.float32),
        curve,
        curve + 0.1,
        curve - 0.1,
        np.array([np.nan, 0.4, 0.3, 0.2, 0.1]),
    )
    values = {
        "el2n": (wrong + rng.random(n) / 2, 1),
        "pred_sum": (np.where(wrong, 0.0, 4.0), -1),
        "confidence": (told.p_label.astype(np.float64), -1),
        "variability": (rng.random(n) / 2, 1),
        "aum": (np.where(wrong, -1.0, 1.0) + rng.random(n), -1),
    }
    scores = Scores([Score(name, array, harder, ids, labels) for name, (array, harder) in values.items()], {"std": "two members"})
    images = rng.integers(0, 256, (n, 8, 8, 3), dtype=np.uint8) if pictures else None
    kind = {} if pictures else {"kind": "features", "shape": (4,)}
    found = {"suspects": suspects(ids, labels, best, sure, wrong, classes)} | parts
    about = manifest_of(n, classes, **kind)
    return ReportData("my run", about, ids, labels, scores, told, images, features, "given", **found)


def suspects(ids, labels, best, sure, wrong, classes):
    """Make a finding."""
    probability = np.where(wrong, sure, 0.01).astype(np.float64)
    return Suspects(
        ids=np.asarray(ids),
        labels=labels,
        suggested_label=best.astype(np.int64),
        probability=probability,
        score=probability,
        is_suspect=wrong,
        reason=np.array([f"the networks see <b>class {c}</b>" for c in best.tolist()], object),
        n_wrong=float(wrong.sum()),
        n_wrong_low=1.0,
        n_wrong_high=float(len(ids)),
        classes=tuple(classes),
        sampling="out",
        method="made up",
        notes=("looked at <i>all</i>",),
    )


def pairs(one):
    """Return two pairs: two pictures of the set with different labels, and one that also lies in the test split."""
    n = len(one)
    names, pixels = np.array(["test/<b>1.png"]), np.zeros((1, 8, 8, 3), np.uint8)
    test = Dataset(one.labels[2:3], names, one.classes, pixels)
    found = Duplicates(
        ids=one.ids[[0, 2]],
        other_ids=np.array([str(one.ids[1]), names[0]]),
        split=np.array(["train", "train"]),
        other_split=np.array(["train", "test"]),
        distance=np.array([0.25, 0.0], np.float32),
        is_exact=np.array([False, True]),
        labels=one.labels[[0, 2]],
        other_labels=one.labels[[1, 2]],
        rows=np.array([0, 2]),
        other_rows=np.array([1, 0]),
        classes=one.classes,
        n_examples=n + 1,
    )
    return {"duplicates": found, "pair_rows": np.array([[0, 1], [2, n]]), "beyond": {"test": test}}
