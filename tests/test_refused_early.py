"""Whatever can be checked is checked before anything long; whatever was left out is said where the result is read."""

import dataclasses
import logging
import sys

import numpy as np
import pytest
from PIL import Image

import dataprune as dp
from dataprune import data as reading
from dataprune.cli.prune import Rule
from dataprune.errors import InputError
from dataprune.scores import score_trace
from dataprune.training.settings import ScoreReading
from toys import toy_trace

scoring = sys.modules[dp.score.__module__]
QUICK = ("--members", "2", "--epochs", "6", "--model", "simple", "--executor", "serial", "--folds", "0")


@pytest.fixture
def pictures(tmp_path):
    draw = np.random.default_rng(0)
    for label, shade in (("dark", 40), ("light", 200)):
        (tmp_path / "data" / label).mkdir(parents=True)
        for number in range(12):
            pixels = (shade + draw.integers(-20, 20, (16, 16, 3))).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "data" / label / f"{number}.png")
    return tmp_path / "data"


@pytest.fixture
def unread(monkeypatch):
    """Data whose reading fails the test: refused before that, or not early."""

    def fail(*_, **__):
        pytest.fail("the data were read first")

    for name in ("read", "read_splits"):
        monkeypatch.setattr(reading, name, fail)
        monkeypatch.setitem(vars(dp), name, fail)
    monkeypatch.setattr(sys.modules["dataprune.encoders.vectors"], "read", fail)


@pytest.mark.parametrize(
    "wrong",
    [{"effort": "max"}, {"epochs": 0}, {"epochs": 1.5}, {"members": "3"}, {"when": "later"}, {"folds": 1}, {"seed": None}],
)
def test_settings_are_refused_when_they_are_made(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        dp.Settings(**wrong)


@pytest.mark.parametrize(
    ("command", "name"),
    [
        (("score", "--model", "proxi"), "proxy"),
        (("score", "--recipe", "fats"), "fast"),
        (("score", "--model", "nowhere:model"), "nowhere"),
        (("study", "--model", "resnet19"), "resnet18"),
        (("study", "--scores", "el2m"), "el2n"),
        (("study", "--scores", "km"), "features"),
    ],
)
def test_names_are_refused_before_the_data_are_read(pictures, tmp_path, cli, unread, command, name):
    code, _, err = cli(command[0], pictures, "--out", tmp_path / "out", *command[1:])
    assert code == 2
    assert name in err
    assert not (tmp_path / "out").exists()


def test_python_refuses_as_early(pictures, tmp_path, unread):
    with pytest.raises(InputError, match="proxy"):
        dp.score(pictures, tmp_path / "run", dp.Settings(model="proxi"))


@pytest.mark.long
def test_a_score_that_the_run_lacks_is_refused_before_any_training(pictures, tmp_path, cli):
    assert cli("score", pictures, "--out", tmp_path / "run", *QUICK)[0] == 0
    code, _, err = cli("study", pictures, "--run", tmp_path / "run", "--scores", "el2m", "--out", tmp_path / "study")
    assert (code, "el2n" in err) == (2, True)
    assert not (tmp_path / "study").exists()


@pytest.mark.parametrize(
    ("returns", "said"),
    [
        ("(self.layer(x.flatten(1)), x)", "tuple"),
        ("self.layer(x.flatten(1))[:, :1]", r"\(2, 1\)"),
        ("self.layer(x)", "RuntimeError"),
    ],
)
def test_a_model_of_ones_own_is_tried_before_the_folder_is_claimed(pictures, tmp_path, monkeypatch, returns, said):
    name = f"own_{abs(hash(returns))}"
    (tmp_path / f"{name}.py").write_text(
        "import torch\nclass Own(torch.nn.Module):\n    def __init__(self, n_in, n):\n        super().__init__()\n"
        f"        self.layer = torch.nn.Linear(n_in, n)\n    def forward(self, x):\n        return {returns}\n"
        "def model(shape, n_classes):\n    return Own(shape[0] * shape[1] * shape[2], n_classes)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(InputError, match=said):
        dp.score(pictures, tmp_path / "run", dp.Settings(model=f"{name}:model", members=1, epochs=1))
    assert not (tmp_path / "run").exists()


def test_a_score_asked_by_name_that_fails_raises(tmp_path, monkeypatch):
    (tmp_path / "own_scores_here.py").write_text(
        "import torch\ndef fails(trace):\n    raise RuntimeError('no luck')\n"
        "def graded(trace):\n    return torch.ones(trace.n_examples, requires_grad=True)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    trace = toy_trace()
    with pytest.raises(InputError, match="no luck"):
        score_trace(trace, ["own_scores_here:fails"])
    assert (score_trace(trace, ["own_scores_here:graded"])["own_scores_here:graded"].values == 1).all()


def test_duplicates_list_what_they_left_out(pictures, cli):
    (pictures / "dark" / "broken.png").write_bytes(b"no picture")
    code, _, err = cli("duplicates", pictures, "--on-error", "skip", "--exact-only")
    assert code == 0
    assert "dark/broken.png" in err


@pytest.mark.long
def test_a_picture_that_is_gone_names_itself_and_leaves_the_others(pictures, tmp_path, cli):
    (pictures / "dark" / "broken.png").write_bytes(b"no picture")
    assert cli("score", pictures, "--on-error", "skip", "--out", tmp_path / "run", *QUICK)[0] == 0
    whole = dp.open_run(tmp_path / "run").report(tmp_path / "a.html")
    (pictures / "light" / "3.png").unlink()
    page = dp.open_run(tmp_path / "run").report(tmp_path / "b.html")
    text = (tmp_path / "b.html").read_text()
    top = text.index('id="suspects"')
    assert whole.n_pictures - page.n_pictures <= 1
    assert "dark/broken.png" in text[:top]
    assert "light/3.png" in text[:top]
    assert "Pictures are not shown" not in text


def test_a_lost_member_is_said_in_python(pictures, tmp_path, monkeypatch, caplog):
    publish = scoring.publish

    def one_at_chance(*arguments):
        records = publish(*arguments)
        return records | {1: dataclasses.replace(records[1], status="at chance", reason="no better")}

    monkeypatch.setattr(scoring, "publish", one_at_chance)
    with caplog.at_level(logging.WARNING):
        run = dp.score(pictures, tmp_path / "run", dp.Settings(members=2, epochs=6, model="simple"), dp.Hardware(executor="serial"))
    (line,) = run.failed
    assert line == "member 1 (at chance): no better"
    assert line in caplog.text
    assert line in run.manifest.notes


def test_what_libraries_give_is_taken_or_refused_in_a_line(tmp_path):
    import pandas as pd

    p = np.full((4, 2), 0.5)
    found = dp.Evidence(np.array([0, 1, 0, 1]), out_of_sample=p, classes=np.array(["a", "b"]))
    assert found.classes == ("a", "b")
    with pytest.raises(InputError, match="out_of_sample"):
        dp.Evidence(np.array([0, 1, 0, 1]), out_of_sample=p[:, 0])
    with pytest.raises(InputError, match="features"):
        dp.km(pd.DataFrame(p))
    assert dp.Targets(labels=str(tmp_path / "c.csv")).paths == [tmp_path / "c.csv"]


@pytest.mark.parametrize(
    "asked",
    [{"count": 5}, {"option": ("gamma=1",)}, {"cut_by": "aum"}, {"start": 0.1}, {"cut": 0.2}, {"until": 3}, {"evidence": "out"}],
)
def test_what_no_study_tried_is_refused_with_proven(asked, tmp_path):
    (name,) = asked
    rule, reread = (Rule(), ScoreReading(**asked)) if hasattr(ScoreReading, name) else (Rule(**asked), ScoreReading())
    with pytest.raises(InputError, match=f"`{name}` must be left out with --proven"):
        rule.proven_by(tmp_path, None, reread)
