"""What follows a study elsewhere: each trial's curve under its name; a library that fails ends the log and not the study."""

import logging
import sys
from types import SimpleNamespace

import pytest

from dataprune.errors import MachineError
from dataprune.study.loggers import LOGGERS, StudyLog
from dataprune.study.results_table import Cell

CURVE = [({"training loss": 0.5, "validation accuracy": 0.7}, 1), ({"training loss": 0.25, "validation accuracy": 0.8}, 2)]


def messages(n_trials=2, status="ok"):
    """Yield what a listener hears of trials that run side by side, of two epochs each."""
    cell = Cell("el2n", "hardest", 0.5)
    trials = [SimpleNamespace(name=f"{seed:064d}", cell=cell, seed=seed) for seed in range(n_trials)]
    for values, epoch in CURVE:
        for trial in trials:
            done = SimpleNamespace(loss=values["training loss"], accuracy=values["validation accuracy"], epoch=epoch)
            yield SimpleNamespace(epoch=(trial, done), ended=None)
    for trial in trials:
        yield SimpleNamespace(epoch=None, ended=(trial, SimpleNamespace(status=status, test_accuracy=0.75, loss=[0.5, 0.25])))


class Kept:
    """A curve that keeps what it is given; `fails` names the call that raises."""

    made, fails = [], ""

    def __init__(self, name, about):
        self.name, self.about, self.added, self.closed = name, about, [], 0
        self._fail("begin")
        Kept.made.append(self)

    def add(self, values, step):
        self._fail("add")
        self.added.append((dict(values), step))

    def close(self):
        self._fail("close")
        self.closed += 1

    @property
    def both(self):
        return self.add, self.close

    def _fail(self, call):
        if Kept.fails == call:
            raise ConnectionError("no\nnetwork")


@pytest.fixture
def kept(monkeypatch):
    monkeypatch.setitem(LOGGERS, "wandb", lambda folder: lambda name, about: Kept(name, about).both)
    monkeypatch.setattr(Kept, "made", [])
    return Kept


@pytest.mark.parametrize("status", ["ok", "failed"])
def test_each_trial_has_a_curve_of_its_own(kept, tmp_path, status):
    with StudyLog("wandb", tmp_path) as log:
        for message in messages(status=status):
            log(message)
    test = [({"test accuracy": 0.75}, 2)] if status == "ok" else []
    assert [one.added for one in kept.made] == [CURVE + test] * 2
    assert [one.closed for one in kept.made] == [1, 1]
    assert [one.about["seed"] for one in kept.made] == [0, 1]
    assert len({one.name for one in kept.made}) == 2


def test_a_study_that_stops_closes_its_curves(kept, tmp_path):
    with StudyLog("wandb", tmp_path) as log:
        log(next(messages()))
    assert [one.closed for one in kept.made] == [1]


@pytest.mark.parametrize("call", ["begin", "add", "close"])
def test_what_fails_is_said_once_and_ends_the_log_alone(kept, tmp_path, monkeypatch, caplog, call):
    monkeypatch.setattr(kept, "fails", call)
    with caplog.at_level(logging.WARNING), StudyLog("wandb", tmp_path) as log:
        for message in messages():
            log(message)
    assert [record.getMessage() for record in caplog.records] == ["no more is logged: ConnectionError: no network"]


@pytest.mark.parametrize("name", [*LOGGERS])
def test_a_library_that_is_missing_is_named_before_any_training(name, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, {"tensorboard": "torch.utils.tensorboard", "mlflow": "mlflow.tracking"}.get(name, name), None)
    with pytest.raises(MachineError, match=rf"dataprune\[{name}\]"):
        StudyLog(name, tmp_path)


@pytest.mark.integrations
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # theirs, of what they are built on
@pytest.mark.parametrize("name", [*LOGGERS])
def test_the_libraries_themselves(name, tmp_path, monkeypatch, caplog):
    pytest.importorskip(name)
    monkeypatch.setenv("WANDB_MODE", "offline")
    folder = tmp_path / "study" / "log" / name
    with StudyLog(name, folder) as log:
        assert not folder.exists()  # the study makes its folder first
        for message in messages():
            log(message)
    assert [one for one in caplog.records if one.name.startswith("dataprune")] == []
    files = [one.name for one in folder.rglob("*") if one.is_file()]
    ends = {"tensorboard": "events", "wandb": ".wandb", "mlflow": "mlflow.db"}[name]
    assert sum(ends in one for one in files) == (1 if name == "mlflow" else 2)
