"""`km` of features in a file: stopped anywhere, it goes on to the same bytes; what is kept for that is used by its like alone."""

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
from dataprune import store
from dataprune.data import read_features
from dataprune.errors import InputError
from dataprune.run import feature_scores
from dataprune.run.feature_scores import Asked, score_features
from dataprune.run.scratch import Scratch

ROWS, WIDTH = 1500, 8


@pytest.fixture(autouse=True)
def _small_is_large(monkeypatch):
    monkeypatch.setattr(feature_scores, "KEPT_FROM_BYTES", 0)
    monkeypatch.setattr(feature_scores, "PART_ROWS", 1)  # so a part is one block, of 4,096 rows


@pytest.fixture
def features(tmp_path):
    draw = np.random.default_rng(0)
    x = draw.normal(size=(3 * 4096 + 17, WIDTH)) + draw.integers(0, 5, (3 * 4096 + 17, 1)) * 3
    np.save(tmp_path / "x.npy", x.astype(np.float32))
    return read_features(tmp_path / "x.npy")


class Stopped(BaseException):
    pass


def stopping_after(monkeypatch, keeps):
    """Have the work end after so many things were kept, as if it were killed."""
    kept = []

    def noting(write):
        def noted(path, value):
            write(path, value)
            kept.append(path.name)
            if len(kept) == keeps:
                raise Stopped

        return noted

    for name in ("write_json", "write_sealed"):
        monkeypatch.setattr(store, name, noting(getattr(store, name)))
    return kept


@pytest.mark.parametrize("asked", [Asked("auto", sample=2000), Asked("9", restarts=2)])
def test_stopped_anywhere_it_goes_on_to_the_same_bytes(features, tmp_path, monkeypatch, asked):
    whole, out = tmp_path / "whole.parquet", tmp_path / "km.parquet"
    score_features(features, asked, whole)
    stops, did = 0, []
    while not out.with_name("km.parquet.json").exists():
        with monkeypatch.context() as patched:
            kept = stopping_after(patched, 5 if stops else 3)
            try:
                score_features(features, asked, out)
            except Stopped:
                stops += 1
        did += kept
    assert stops >= 2
    assert out.read_bytes() == whole.read_bytes()
    said, expected = (json.loads(path.with_name(f"{path.name}.json").read_text()) for path in (out, whole))
    assert list(said.pop("files").values()) == list(expected.pop("files").values())
    del said["sha256"], expected["sha256"]  # of all, and so of the file's name
    assert said == expected
    # Nothing was done twice.
    assert did.count("assigned-00000.json") == did.count("assigned-00003.json") == did.count("identity.json") == 1
    assert did.count("curve.json") == (asked.clusters == "auto")


def test_nothing_is_left_once_it_is_done(features, tmp_path):
    score_features(features, Asked("4"), tmp_path / "km.csv")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["km.csv", "km.csv.json", "x.npy"]


def test_other_settings_other_features_and_damage_begin_anew(features, tmp_path, monkeypatch):
    whole, out, folder = tmp_path / "whole.csv", tmp_path / "km.csv", tmp_path / ".km.csv.scratch"
    score_features(features, Asked("9"), whole)
    for harm in ("settings", "flipped", "torn"):
        with monkeypatch.context() as patched:
            stopping_after(patched, 5)
            with pytest.raises(Stopped):
                score_features(features, Asked("9", seed=1 if harm == "settings" else 0), out)
        arrays = folder / "fit.safetensors"
        content = bytearray(arrays.read_bytes())
        assert Scratch(folder).load() is not None
        if harm == "flipped":
            content[-3] ^= 1
        arrays.write_bytes(content if harm != "torn" else content[:-9])
        assert (Scratch(folder).load() is None) == (harm != "settings")
        score_features(features, Asked("9"), out)
        assert out.read_bytes() == whole.read_bytes()


def test_as_a_score_it_is_that_of_the_file(features, tmp_path):
    _, _, distance = score_features(features, Asked("9", seed=2, restarts=2, normalize=True), tmp_path / "km.parquet")
    how = {"normalize": True, "seed": 2, "restarts": 2}
    for given in (features, np.load(features.path)):
        score = dp.km(given, 9, **how)
        assert (score.name, score.harder) == ("km", 1)
        np.testing.assert_array_equal(score.values, distance)
    assert dp.km(features, 9).ids.tolist() == features.ids.tolist()
    with pytest.raises(InputError, match="`clusters` must be"):
        dp.km(features, 0)


def test_two_on_one_output(features, tmp_path):
    folder = tmp_path / ".km.csv.scratch"
    folder.mkdir()
    message = rf"^`{tmp_path}/km\.csv` is in use by process {os.getpid()} on .*--wait"
    with store.lock(folder), pytest.raises(InputError, match=message):
        score_features(features, Asked("4"), tmp_path / "km.csv")


def test_one_who_waits_comes_to_the_same(features, tmp_path):
    out = tmp_path / "km.csv"
    score_features(features, Asked("4"), tmp_path / "alone.csv")
    waiting = threading.Thread(target=score_features, args=(features, Asked("4"), out), kwargs={"wait": True})
    with store.lock(tmp_path / ".km.csv.scratch"):
        waiting.start()
        time.sleep(0.2)
        assert waiting.is_alive()
        assert not out.exists()
        shutil.rmtree(tmp_path / ".km.csv.scratch", ignore_errors=True)  # as the one who has ended does
    waiting.join(timeout=60)
    assert out.read_bytes() == (tmp_path / "alone.csv").read_bytes()
    assert sorted(one.name for one in tmp_path.glob(".*")) == []


def test_killed_for_good_it_goes_on(features, tmp_path):
    script = """
        import os, signal, sys
        from pathlib import Path
        from dataprune import store
        from dataprune.data import read_features
        from dataprune.run import feature_scores

        feature_scores.KEPT_FROM_BYTES, feature_scores.PART_ROWS = 0, 1
        write, moments = store.write_json, [int(sys.argv[1])]

        def write_json(path, value):
            write(path, value)
            moments[0] -= 1
            if moments[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)

        store.write_json = write_json
        feature_scores.score_features(read_features("x.npy"), feature_scores.Asked("9"), Path("km.parquet"))
    """
    score_features(features, Asked("9"), tmp_path / "whole.parquet")
    codes = [
        subprocess.run([sys.executable, "-c", textwrap.dedent(script), when], cwd=tmp_path, env=dict(os.environ)).returncode
        for when in ("5", "0")
    ]
    assert codes == [-9, 0]
    assert (tmp_path / "km.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()
