"""How results of runs show themselves, and what is said where something else is given."""

import numpy as np
import pytest

import dataprune as dp
from dataprune.errors import InputError

QUICK = dp.Settings(folds=0, members=2, epochs=2, model="linear", recipe="fast-gray")
SERIAL = dp.Hardware(executor="serial")


@pytest.fixture(scope="module")
def arrays():
    digits = dp.read("digits").take(np.arange(60))
    return np.array(digits.images), np.array(digits.labels)


@pytest.fixture(scope="module")
def run(arrays, tmp_path_factory):
    return dp.score(arrays, tmp_path_factory.mktemp("run") / "run", QUICK, SERIAL)


def test_a_run_shows_itself(run):
    assert repr(run).startswith("Run(")
    assert "60 examples, 10 classes, 2 of 2 members of 2 epochs" in repr(run)
    assert run._repr_html_().count("<tr>") == 12  # a head, ten rows, the rest
    frame = run.to_pandas()
    assert list(frame.columns) == ["id", "label", *run.scores]
    assert frame["id"].tolist() == run.ids.tolist()
    assert frame["label"].tolist() == [run.classes[label] for label in run.labels]


def test_duplicates_show_themselves(arrays):
    images, labels = arrays
    found = dp.find_duplicates((np.concatenate([images, images[:2]]), np.concatenate([labels, [9 - labels[0], labels[1]]])))
    assert repr(found) == "Duplicates(2 pairs among 62 examples: 2 exact, 1 with different labels, 0 across splits)"
    assert found.to_pandas()["kind"].tolist() == ["exact", "exact"]
    assert "<table>" in found._repr_html_()


def test_features_show_themselves(arrays, tmp_path):
    made = dp.embed(arrays, tmp_path / "x.npy", dp.EmbedSettings("pixels", components=4))
    assert repr(made).startswith(f"Embedding({tmp_path / 'x.npy'}: 60 × 4, pixels, the 20 nearest name the class of ")


@pytest.mark.parametrize("source", [3, None, {"a": 1}, "no such folder", object()])
def test_what_is_no_data(source, tmp_path):
    for call in (
        lambda: dp.score(source, tmp_path / "run"),
        lambda: dp.embed(source, tmp_path / "x.npy"),
        lambda: dp.find_duplicates(source),
    ):
        with pytest.raises(InputError):
            call()


def test_a_run_is_no_data(run, tmp_path):
    for call in (lambda: dp.read(run.path), lambda: dp.score(run.path, tmp_path / "other", QUICK, SERIAL)):
        with pytest.raises(InputError, match="a run"):
            call()


def test_what_is_no_result(run, tmp_path):
    for call in (
        lambda: dp.find_suspects(run.path),
        lambda: dp.write_suspects(run, tmp_path / "s.csv"),
        lambda: dp.write_kept(run.ids, tmp_path / "k.csv"),
        lambda: dp.write_duplicates([], tmp_path / "d.csv"),
        lambda: dp.write_probabilities(run.path, tmp_path / "p.npy"),
        lambda: dp.write_folder(run, run, tmp_path / "f", "copy"),
        lambda: dp.write_cleaned(run, dp.Targets(tmp_path / "c.csv")),
        lambda: dp.write_kept(run, 3),
        lambda: dp.open_run(3),
        lambda: dp.add_features(run.path, None),
    ):
        with pytest.raises(InputError, match="must be"):
            call()
    assert list(tmp_path.iterdir()) == []
