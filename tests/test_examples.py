"""The examples run as a reader would run them."""

import contextlib
import importlib.util
import io
import os
import re
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.utils import Bunch

import dataprune as dp
from dataprune.run.journal import Journal

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.py"))
NEED_LIBRARIES = {"accelerate_loop", "huggingface_trainer", "lightning_trainer"}
marked = [
    pytest.param(path, marks=pytest.mark.integrations if path.stem in NEED_LIBRARIES else pytest.mark.long) for path in EXAMPLES
]


@pytest.mark.parametrize("path", marked, ids=lambda path: path.stem)
def test_example_runs_from_any_folder(path: Path, tmp_path: Path) -> None:
    needs = path.stem in NEED_LIBRARIES  # which warn of themselves
    environment = os.environ | {"OMP_NUM_THREADS": "1", "DATAPRUNE_CACHE": str(tmp_path / "cache")}
    environment |= {} if needs else {"PYTHONWARNINGS": "error"}
    done = subprocess.run([sys.executable, str(path)], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    if needs:
        assert "1 of 1 members of 3 epochs" in done.stdout
        assert "kept 1006 of 1437 examples" in done.stdout  # floor(0.7 · 1437 + 0.5)
        return
    assert done.stderr == ""
    if path.stem == "plain_pytorch_loop":
        assert "kept 1006 of 1437 examples" in done.stdout
        assert "el2n: hardest is id " in done.stdout
    else:
        seen = [int(line.split()[1].replace(",", "")) for line in done.stdout.splitlines()]
        assert seen[0] > seen[1] > seen[2] == 6900  # half of 1,149 twelve times, rounded up


def test_every_example_is_known() -> None:
    assert {path.stem for path in EXAMPLES} == {"dynamic_pruning", "plain_pytorch_loop", *NEED_LIBRARIES}


TRAINERS = Path(__file__).parents[1] / "examples" / "trainers"
CALLS = {
    "train_pytorch.py {ids} {test} {result} --seed {seed} --epochs {budget}": ("accuracy", 20, 0.85),
    "train_transformers.py {ids} {test} {seed} {budget} {out} {result}": ("loss:lower:0:inf", 10, 0.5),
    "train_sklearn:train": ("f1:higher:0:1", 0, 0.9),
    "train_yolo.py {folder} DATA {seed} {out} {result}": ("top1:higher:0:1", 0, 0.8),
}


# What takes seconds to import.
TIERS = {"train_transformers.py": pytest.mark.slow} | dict.fromkeys(("train_pytorch.py", "train_sklearn:train"), pytest.mark.long)
IDS = [call.split()[0] for call in CALLS]


@pytest.mark.parametrize(
    "call", [pytest.param(one, marks=TIERS.get(name, ()), id=name) for one, name in zip(CALLS, IDS, strict=True)]
)
def test_a_study_trains_by_each_of_the_trainers(call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if "transformers" in call and importlib.util.find_spec("transformers") is None:
        pytest.skip("transformers is not installed")
    monkeypatch.syspath_prepend(str(TRAINERS))
    metric, epochs, bound = CALLS[call]
    splits = dp.read_splits("digits")
    if "DATA" in call:
        rows = enumerate(splits.test.images[:100])
        for row, picture in rows:
            place = tmp_path / "test" / splits.test.classes[splits.test.labels[row]]
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.asarray(picture).squeeze()).save(place / f"{row}.png")
    if ":" not in call:
        script, places = call.replace("DATA", shlex.quote(str(tmp_path / "test"))).split(" ", 1)
        call = f"{shlex.quote(sys.executable)} {shlex.quote(str(TRAINERS / script))} {places}"
    spec = replace(dp.preset("half"), parts=(), seeds=1, trainer=call, metric=metric, epochs=epochs)
    study = dp.run_study(splits, spec, tmp_path / "study", hardware=dp.Hardware(executor="serial"))
    assert study.trials["error"].tolist() == [""]
    value = study.trials["test_accuracy" if metric == "accuracy" else metric.split(":")[0]][0]
    assert value < bound if "lower" in metric else value > bound


@pytest.mark.long
def test_the_readme_runs_as_it_stands(cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All its commands but the installation and what waits for a person, one after the other in one folder; then its Python."""
    monkeypatch.setattr("dataprune.training.plan.LEAST_STEPS", 1)
    monkeypatch.setattr("dataprune.training.plan.EFFORTS", {"medium": (1, 2, 2)})  # a fifth of the epochs
    monkeypatch.setattr("dataprune.study.grid.EPOCHS", 2)
    digits = load_digits()
    monkeypatch.setattr("sklearn.datasets.load_digits", lambda: Bunch(images=digits.images[:600], target=digits.target[:600]))
    monkeypatch.setattr("dataprune.data.arrays.DIGITS_TRAIN", 480)  # a third of the digits
    monkeypatch.chdir(tmp_path)
    text = (Path(__file__).parents[1] / "README.md").read_text("utf-8")
    lines = [line for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]
    commands = [line for line in lines if not line.startswith(("pip ", "dataprune review"))]
    assert len(commands) >= 6
    for line in commands:
        if "noise apply" in line:  # somebody has decided in `dataprune review`
            Journal(tmp_path / "run").decide({("train", "7"): ("drop", "")}, 0)
        code, _, err = cli(*shlex.split(line, comments=True)[1:])
        assert code == 0, f"{line}: {err}"
    assert {"run", "kept.csv", "suspects.csv", "report.html", "cleaned.csv", "study"} <= {one.name for one in tmp_path.iterdir()}
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    with contextlib.redirect_stdout(io.StringIO()) as said:
        exec(code, {"train_set": range(480)})
    assert "labels look wrong" in said.getvalue()
