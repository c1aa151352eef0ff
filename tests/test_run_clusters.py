"""`km` of features in a file: the same bytes whoever works and whatever happened before; one at a time on one output."""

import json
import os
import shutil
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest

import dataprune as dp
from dataprune import clustering, store
from dataprune.data import read_features
from dataprune.errors import InputError
from dataprune.run import clusters
from dataprune.run.clusters import ClusterSettings, cluster, score_features
from dataprune.workers import ExecutorConfig

ROWS, WIDTH = 3 * 4096 + 17, 8


@pytest.fixture
def features(tmp_path):
    draw = np.random.default_rng(0)
    x = draw.normal(size=(ROWS, WIDTH)) + draw.integers(0, 5, (ROWS, 1)) * 3
    np.save(tmp_path / "x.npy", x.astype(np.float32))
    return read_features(tmp_path / "x.npy")


def test_directions_from_the_middle_do_not_depend_on_where_it_lies_and_how_far():
    draw = np.random.default_rng(0)
    x = draw.normal(size=(90, 3))
    found = dp.km(x, 5, normalize=True).values
    assert dp.km(3 * x + [500, -200, 9], 5, normalize=True).values == pytest.approx(found, abs=1e-3)
    assert dp.km(3 * x + [500, -200, 9], 5).values == pytest.approx(3 * dp.km(x, 5).values, abs=1e-2)  # as they are, lengths count


@pytest.mark.long
@pytest.mark.parametrize("normalize", [False, True])
def test_processes_give_the_same_bytes(features, tmp_path, monkeypatch, normalize):
    monkeypatch.setattr(clusters, "PART_ROWS", 5000)
    settings = ClusterSettings("9", normalize=normalize)
    for name, config in (("here", ExecutorConfig("serial")), ("there", ExecutorConfig("processes", 2))):
        score_features(features, settings, tmp_path / f"{name}.parquet", config)
    assert (tmp_path / "here.parquet").read_bytes() == (tmp_path / "there.parquet").read_bytes()


def test_a_worker_that_does_not_see_the_features_is_an_error_in_one_line(features, tmp_path, monkeypatch):
    found = clustering.fit(features, 3)

    def cluster(*_):
        features.path.unlink()
        return clusters.Clustering(features, found, None, 0, ())

    monkeypatch.setattr(clusters, "cluster", cluster)
    with pytest.raises(InputError, match=r"x\.npy"):
        score_features(features, ClusterSettings("3"), tmp_path / "km.csv", ExecutorConfig("processes", 1))
    assert not (tmp_path / "km.csv").exists()


def test_again_it_is_given_back_and_other_settings_are_refused(features, tmp_path, monkeypatch):
    out = tmp_path / "km.csv"
    found, nearest, distance = score_features(features, ClusterSettings("auto", sample=2000), out)
    assert (found.asked, found.sample, found.rows, found.curve.rows) == ("auto", 2000, ROWS, 2000)
    with pytest.raises(InputError, match=r"km\.csv holds clusters of other settings: seed 0 there, 1 asked"):
        score_features(features, ClusterSettings("auto", sample=2000, seed=1), out)
    monkeypatch.setattr(clusters, "cluster", None)
    again = score_features(features, ClusterSettings("auto", sample=2000), out)
    assert again[0] == found
    assert np.array_equal(again[1], nearest)
    assert np.array_equal(again[2], distance)
    (tmp_path / "own.csv").write_text("id,km\n")
    with pytest.raises(InputError, match=r"own\.csv is there already and was not made by this command"):
        score_features(features, ClusterSettings("4"), tmp_path / "own.csv")


def test_nothing_is_left_once_it_is_done(features, tmp_path):
    score_features(features, ClusterSettings("4"), tmp_path / "km.csv")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["km.csv", "km.csv.json", "x.npy"]


def test_that_a_sample_was_taken_is_said(features, monkeypatch):
    monkeypatch.setattr(clustering, "FIT_ROWS", 1000)
    found = cluster(features, ClusterSettings("30"))
    assert (found.clusters.rows, found.notes) == (
        1000, ("the centres were fitted on 1,000 of 12,305 rows, drawn by the seed; --sample NUMBER takes more",)
    )  # fmt: skip
    assert cluster(features, ClusterSettings("30", sample=1000)).notes == ()


def test_as_a_score_it_is_that_of_the_file(features, tmp_path):
    settings = ClusterSettings("9", seed=2, restarts=2, normalize=True)
    _, _, distance = score_features(features, settings, tmp_path / "km.parquet")
    for given in (features, np.load(features.path)):
        score = dp.km(given, 9, normalize=True, seed=2, restarts=2)
        assert (score.name, score.harder) == ("km", 1)
        np.testing.assert_array_equal(score.values, distance)
    assert dp.km(features, 9).ids.tolist() == features.ids.tolist()
    with pytest.raises(InputError, match="`clusters` must be"):
        dp.km(features, 0)


def test_two_on_one_output(features, tmp_path):
    message = rf"^`{tmp_path}/km\.csv` is in use by process {os.getpid()} on .*--wait"
    with store.lock(tmp_path / ".km.csv.scratch"), pytest.raises(InputError, match=message):
        score_features(features, ClusterSettings("4"), tmp_path / "km.csv")


def test_one_who_waits_comes_to_the_same(features, tmp_path):
    out = tmp_path / "km.csv"
    score_features(features, ClusterSettings("4"), tmp_path / "alone.csv")
    waiting = threading.Thread(target=score_features, args=(features, ClusterSettings("4"), out), kwargs={"wait": True})
    with store.lock(tmp_path / ".km.csv.scratch"):
        waiting.start()
        time.sleep(0.2)
        assert waiting.is_alive()
        assert not out.exists()
        shutil.rmtree(tmp_path / ".km.csv.scratch", ignore_errors=True)  # as the one who has ended does
    waiting.join(timeout=60)
    assert out.read_bytes() == (tmp_path / "alone.csv").read_bytes()
    assert sorted(one.name for one in tmp_path.glob(".*")) == []


@pytest.mark.long
def test_killed_for_good_it_begins_again(features, tmp_path):
    script = """
        import os, signal, sys
        from pathlib import Path
        from dataprune import store
        from dataprune.data import read_features
        from dataprune.run import clusters
        from dataprune.run.clusters import ClusterSettings

        if sys.argv[1] == "killed":
            store.write_manifest = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
        clusters.score_features(read_features("x.npy"), ClusterSettings("9"), Path("km.parquet"))
    """
    score_features(features, ClusterSettings("9"), tmp_path / "whole.parquet")
    codes = [
        subprocess.run([sys.executable, "-c", textwrap.dedent(script), how], cwd=tmp_path, env=dict(os.environ)).returncode
        for how in ("killed", "again")
    ]
    assert codes == [-9, 0]
    assert (tmp_path / "km.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()
    assert json.loads((tmp_path / "km.parquet.json").read_text())["k"] == 9
    assert sorted(one.name for one in tmp_path.glob(".*")) == []
