"""Does a device compute what the CPU does? Each check gives what differs, how much may, and whether that holds.

What is exact on paper (gathered bytes, initial weights) must be equal; float32 sums may differ by their order; a network in
bfloat16 has eight bits, and a training run amplifies them: it is held against how much another seed changes.
"""

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr

import dataprune as dp
from dataprune.training import augment
from dataprune.training.fit import Fit, Training, one_thread, weights_of
from dataprune.training.inputs import Inputs
from dataprune.training.recipes import RECIPES, REPORT_CIFAR10

EPOCHS = 6
WRONG = 0.1  # of the labels of digits


def checks(device: str, digits: int) -> dict[str, dict[str, Any]]:
    """Run every check, scoring on so many digits."""
    with one_thread(device):
        return batches(device) | network(device) | recorder(device) | scores(device, digits)


def at_most(value: float, most: float) -> dict[str, Any]:
    """Judge a difference."""
    return {"value": float(f"{value:.3g}"), "at_most": float(f"{most:.3g}"), "ok": bool(value <= most)}


def at_least(value: float, least: float) -> dict[str, Any]:
    """Judge an agreement."""
    return {"value": float(f"{value:.4g}"), "at_least": float(f"{least:.4g}"), "ok": bool(value >= least)}


def batches(device: str) -> dict[str, dict[str, Any]]:
    """Gather, augment and normalise the same pictures."""
    images = np.random.default_rng(0).integers(0, 256, (64, 32, 32, 3), dtype=np.uint8)
    found = {}
    cases = (
        (RECIPES["fast"], None, 1e-5),
        (REPORT_CIFAR10, None, 1e-3),  # rotates, by interpolation
        (RECIPES["progressive"], (24, 24), 0.03),  # a shade, which a CPU may round to the other side
    )
    for recipe, side, most in cases:
        made = []
        for one in ("cpu", device):
            inputs = Inputs(images, "own", one)
            rows = torch.arange(64, device=inputs.device)
            draws = augment.draw(recipe, 64, (32, 32), 0, 0, inputs.home)
            made.append(inputs.batch(rows, draws, side=side).cpu())
        found[f"batches of {recipe.name}"] = at_most(float((made[0] - made[1]).abs().max()), most)
    return found


def network(device: str) -> dict[str, dict[str, Any]]:
    """Build the same network, and show it the same pictures."""
    images = np.random.default_rng(0).integers(0, 256, (64, 32, 32, 3), dtype=np.uint8)
    labels = np.arange(64) % 10
    fits = [
        Fit(
            Training("proxy", RECIPES["fast"], 1, 0, 10, one, "fp32" if one == "cpu" else "bf16"),
            Inputs(images, "own", one),
            labels,
            np.ones(64, bool),
        )
        for one in ("cpu", device)
    ]
    weights = [weights_of(fit.model) for fit in fits]
    off = max(float(np.abs(weights[0][name] - weights[1][name]).max()) for name in weights[0])
    seen = [torch.cat([logits.float().softmax(1).cpu() for _, logits, _ in fit.predict()]) for fit in fits]
    return {
        "initial weights": at_most(off, 0.0),
        "probabilities of an untrained network": at_most(float((seen[0] - seen[1]).abs().max()), 0.02),
    }


def recorder(device: str) -> dict[str, dict[str, Any]]:
    """Record the same logits."""
    draw = np.random.default_rng(0)
    labels, traces = draw.integers(0, 10, 500), []
    logits = torch.from_numpy(draw.normal(size=(2, 500, 10)).astype(np.float32))
    features = torch.from_numpy(draw.normal(size=(500, 16)).astype(np.float32))
    for one in ("cpu", device):
        recorder = dp.Recorder(labels, 10, 2)
        for epoch in range(2):
            recorder.update(torch.arange(500, device=one), logits[epoch].to(one), epoch, features.to(one))
        traces.append(recorder.finish().arrays)
    names = [name for name, value in traces[0].items() if value.dtype.kind == "f"]
    off = max(float(np.nanmax(np.abs(traces[0][name].astype(np.float64) - traces[1][name]))) for name in names)
    same = np.array_equal(traces[0]["predicted"], traces[1]["predicted"])
    return {"channels of the same logits": at_most(off, 1e-3), "predictions of the same logits": at_least(float(same), 1.0)}


def scores(device: str, digits: int) -> dict[str, dict[str, Any]]:
    """Score digits, of which a tenth has a wrong label, on both, and on the CPU by another seed."""
    data = dp.read("digits").take(np.arange(digits))
    assert data.labels is not None
    draw = np.random.default_rng(0)
    wrong = draw.permutation(len(data))[: round(WRONG * len(data))]
    labels = data.labels.copy()
    labels[wrong] = (labels[wrong] + draw.integers(1, 10, len(wrong))) % 10
    noisy = replace(data, labels=labels)
    with tempfile.TemporaryDirectory() as folder:
        runs = [
            dp.score(
                noisy, Path(folder) / name, dp.Settings(members=2, epochs=EPOCHS, folds=0, seed=seed), dp.Hardware(one, "serial")
            )
            for name, one, seed in (("cpu", "cpu", 0), ("device", device, 0), ("other", "cpu", 1), ("again", device, 0))
        ]
        el2n = [run.scores["el2n"].values for run in runs]
        p_label = [run.trace.channel("p_label") for run in runs[:3]]
        accuracy = [np.mean([member.accuracy for member in run.manifest.members]) for run in runs]
    hardest = set(np.argsort(-el2n[1])[: len(wrong)].tolist())
    another_seed = float(spearmanr(el2n[0], el2n[2]).statistic)
    return {
        "accuracy of the members": at_most(float(abs(accuracy[0] - accuracy[1])), 0.02),
        "p_label over the whole trace, mean difference (at most another seed's)": at_most(
            float(np.abs(p_label[0] - p_label[1]).mean()), float(np.abs(p_label[0] - p_label[2]).mean())
        ),
        "el2n, rank correlation (at least as another seed's)": at_least(
            float(spearmanr(el2n[0], el2n[1]).statistic), another_seed - 0.02
        ),
        "wrong labels among the hardest": at_least(len(hardest & set(wrong.tolist())) / len(wrong), 0.7),
        "the same run again, el2n": {"value": float(np.abs(el2n[1] - el2n[3]).max()), "ok": True},
    }
