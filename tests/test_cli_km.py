"""`dataprune km`, `dataprune map` and `dataprune score --features`, end to end."""

import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import dataprune as dp
from command_line import SETTINGS
from dataprune import clustering, store, tables
from dataprune.data import read_features
from dataprune.errors import InputError
from dataprune.report.figures import write_plot
from dataprune.report.maps import COLOURS, MARKERS, map_data
from dataprune.report.run_figures import inertia_data
from dataprune.run.clusters import ClusterSettings, add_features, cluster
from dataprune.run.own_scores import known_score
from dataprune.scores import knn_scores

GROUPS, EACH = 6, 40


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Features in six clear groups, as npy, as shards and as Parquet with ids, and their labels."""
    place = tmp_path_factory.mktemp("features")
    draw = np.random.default_rng(0)
    labels = np.arange(GROUPS * EACH) % GROUPS
    x = (draw.normal(size=(GROUPS, 5)) * 30)[labels] + draw.normal(size=(len(labels), 5))
    np.save(place / "x.npy", x.astype(np.float16))
    (place / "shards").mkdir()
    for number, part in enumerate(np.array_split(x.astype(np.float16), 3)):
        np.save(place / "shards" / f"part-{number}.npy", part)
    tables.write_table(place / "y.csv", {"label": labels})
    return place


@pytest.fixture(scope="module")
def scored(flowers, tmp_path_factory):
    out = tmp_path_factory.mktemp("scored") / "run"
    dp.score(dp.read(str(flowers)), out, dp.Settings("low", 2, 3, batch=4, folds=0), dp.Hardware(executor="serial"))
    return out


class TestKm:
    def test_finds_the_groups_and_says_so(self, cli, folder, tmp_path):
        out = tmp_path / "km.parquet"
        code, said, err = cli("km", folder / "x.npy", "--out", out, "--plot", tmp_path / "curve.png", "--restarts", "3")
        assert code == 0, err
        lines = said.splitlines()
        assert lines[0].endswith("x.npy: 240 rows of 5 columns")
        assert lines[1] == "clusters: 6 (the elbow of the inertia curve over 2 ... 48, from 240 rows)"
        assert lines[2].startswith("inertia: ")
        assert lines[2].endswith("clusters of 40 ... 40 rows")
        assert lines[-1] == f"next: dataprune prune RUN --by {out}:km --keep 0.7 --out kept.csv"
        assert "warning: 6 clusters are few" in err
        table = tables.read_table(out)
        assert list(table.columns) == ["id", "km", "cluster"]
        assert table.metadata["km"]["harder"] == 1
        assert len({tuple(table.columns["cluster"][g::GROUPS]) for g in range(GROUPS)}) == GROUPS
        about = json.loads((tmp_path / "km.parquet.json").read_text())
        assert (about["k"], about["elbow"], about["seed"], about["rows"]) == (6, 6, 0, 240)
        assert about["curve"]["clusters"][:3] == [2, 3, 4]
        with Image.open(tmp_path / "curve.png") as picture:
            assert min(picture.size) > 300
        farthest = table.columns["id"][np.argsort(-table.columns["km"], kind="stable")[0]]
        assert lines[4].endswith(farthest)

    def test_shards_and_workers_give_the_same_bytes(self, cli, folder, tmp_path):
        for name, source, workers in (("a.csv", "x.npy", 1), ("b.csv", "shards", 3)):
            assert cli("km", folder / source, "--out", tmp_path / name, "--clusters", "30", "--workers", workers)[0] == 0
        assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()

    def test_classes_sample_and_quiet(self, cli, folder, tmp_path):
        code, said, _ = cli(
            "km", folder / "x.npy", "--out", tmp_path / "a.csv", "--clusters", "classes", "--labels", folder / "y.csv",
            "--sample", "100", "--normalize", "--quiet",
        )  # fmt: skip
        assert (code, said) == (0, "")
        about = json.loads((tmp_path / "a.csv.json").read_text())
        assert (about["k"], about["rows_fitted"], about["normalize"], about["curve"]) == (6, 100, True, None)

    def test_no_elbow_is_a_warning(self):
        x = np.random.default_rng(0).normal(size=(60, 50))
        found = cluster(x, ClusterSettings())
        assert found.curve is not None
        if found.curve.elbow is None:
            assert "has no elbow" in found.notes[0]
            assert found.k in found.curve.clusters

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--clusters", "many"], "error: `--clusters` must be auto, classes or a whole number, got 'many'."),
            (["--clusters", "classes"], "error: `--clusters` must be a number where there are no labels, got 'classes'."),
            (["--clusters", "300"], "error: `--clusters` must be at most the number of rows, 240, got 300."),
            (["--clusters", "30", "--plot", "a.png"], "error: `--plot` must go with --clusters auto"),
            (["--plot", "a.jpg"], "error: `--plot` must end in .png"),
            (["--out", "a.txt"], "error: `--out` must end in "),
            (["--out", "none/a.csv"], "error: `--out` must lie in a folder that exists, got none."),
        ],
    )
    def test_wrong_calls_are_one_line(self, cli, folder, tmp_path, arguments, message):
        code, _, err = cli("km", folder / "x.npy", "--out", tmp_path / "x.csv", *arguments)
        assert code == 2
        assert err.splitlines()[-1].startswith(message)

    def test_no_elbow_takes_a_rule_of_thumb(self, monkeypatch):
        monkeypatch.setattr("dataprune.clustering.elbow", lambda *_: None)
        found = cluster(np.random.default_rng(0).normal(size=(200, 3)), ClusterSettings())
        assert (found.k, found.curve.elbow) == (11, None)
        assert found.notes[0].startswith("the inertia curve has no elbow over 2 ... 40 clusters; 11 were taken")


class TestScore:
    @pytest.fixture
    def run(self, scored, tmp_path):
        shutil.copytree(scored, tmp_path / "run")
        return dp.open_run(tmp_path / "run")

    @pytest.fixture
    def file(self, run, tmp_path):
        x = np.random.default_rng(0).normal(size=(len(run.ids), 4)) + 5 * np.eye(4)[run.labels]
        np.save(tmp_path / "x.npy", x)
        return tmp_path / "x.npy"

    def test_a_finished_run_gains_columns_without_training(self, cli, flowers, run, file):
        again = ["score", flowers, "--out", run.path, *SETTINGS, "--features", file, "--clusters", "4"]
        code, said, err = cli(*again)
        assert code == 0, err
        assert "nothing had to be trained" in said
        assert "4 columns; k-means with 4 clusters (asked: 4)" in said
        found, x = dp.open_run(run.path), np.load(file)
        centres = clustering.fit(x, 4).centres
        assert np.allclose(found.scores["km"].values, clustering.assign(x, centres)[1])
        assert [found.scores[n].harder for n in ("km", "km_cosine", "prototype_distance")] == [1, 1, 1]
        assert all(np.array_equal(found.scores[name].values, one.values) for name, one in run.scores.items())
        assert (found.manifest.features.k, found.manifest.features.digest) == (4, store.sha256(file))
        assert found.manifest.spec == run.manifest.spec
        assert dp.verify(run.path) == []
        before = (run.path / "run.json").read_bytes()
        assert cli(*again)[0] == 0
        assert (run.path / "run.json").read_bytes() == before
        share, distance = knn_scores(x, found.labels)
        assert np.array_equal(found.scores["knn_agreement"].values, share)
        assert np.allclose(found.scores["outlier_distance"].values, distance, atol=1e-6)
        assert [found.scores[n].harder for n in ("knn_agreement", "outlier_distance")] == [-1, 1]
        for name in ("km", "zcore", "data-shapley"):
            assert cli("prune", run.path, "--by", name, "--keep", "0.5")[0] == 0

    def test_a_score_of_the_trace_is_read_in_other_ways(self, cli, run):
        asked = ["--by", "dual", "--until", "2", "--window", "2"]
        code, said, err = cli("prune", run.path, *asked, "--keep", "0.5")
        assert code == 0, err
        assert "hardest by dual (until epoch 2, windows of 2 epochs)" in said
        assert " ".join(asked) in said
        assert cli("prune", run.path, "--by", "dual", "--until", "99", "--keep", "0.5")[0] == 2

    def test_of_very_many_pairs_neighbours_are_compared_where_a_score_is_asked_for(self, run, file, monkeypatch):
        monkeypatch.setattr("dataprune.run.clusters.MOST_PRODUCTS", 10)
        found = add_features(run, read_features(file), "4")
        assert "asked for" in found.scores.absent["knn_agreement"]
        expected = knn_scores(np.load(file), run.labels)[1]
        assert np.allclose(known_score(found, "outlier").values, expected, atol=1e-6)

    def test_ids_match_rows_in_any_order_and_others_are_left_out(self, run, file, tmp_path):
        x, order = np.load(file), np.random.default_rng(1).permutation(len(run.ids))
        ids = [*run.ids[order].tolist(), "stranger"]
        vectors = pa.array([*x[order].tolist(), [1e6] * 4])
        pq.write_table(pa.table({"id": ids, "x": vectors}), tmp_path / "x.parquet")
        one = add_features(run, read_features(file), "4").scores["prototype_distance"].values
        other = add_features(run, read_features(tmp_path / "x.parquet"), "4")
        assert np.allclose(other.scores["prototype_distance"].values, one)
        assert other.scores["km"].values.max() < 100
        assert other.manifest.features.rows_left_out == 1

    def test_rows_without_direction_leave_km_cosine_out(self, run, file):
        x = np.load(file)
        x[3] = 0
        np.save(file, x)
        found = add_features(run, read_features(file), "4")
        assert "km" in found.scores
        assert "all zero at rows 3" in found.scores.absent["km_cosine"]

    def test_too_few_rows_are_refused_before_training(self, cli, flowers, file, tmp_path):
        np.save(file, np.load(file)[:5])
        code, _, err = cli("score", flowers, "--out", tmp_path / "new", *SETTINGS, "--features", file)
        assert code == 2
        assert "`--features` must have one row for each of the 24 examples, got 5 rows in" in err
        assert not (tmp_path / "new").exists()

    def test_an_id_without_features_is_named(self, run, tmp_path):
        pq.write_table(pa.table({"id": ["a"], "x": [1.0]}), tmp_path / "x.parquet")
        with pytest.raises(InputError, match=r"`features` must have a row for every example, got none for the id "):
            add_features(run, read_features(tmp_path / "x.parquet"))

    def test_maps_of_a_run(self, cli, run, file, tmp_path):
        for color in ("label", "el2n"):
            out = tmp_path / f"{color}.png"
            assert cli("map", file, "--color", color, "--run", run.path, "--out", out)[0] == 0
            assert out.stat().st_size > 5000


class TestMap:
    @pytest.mark.parametrize("color", ["cluster", "label"])
    def test_draws_a_sample(self, cli, folder, tmp_path, color):
        out = tmp_path / "map.png"
        code, said, _ = cli(
            "map",
            folder / "x.npy",
            "--color",
            color,
            "--labels",
            folder / "y.csv",
            "--sample",
            "60",
            "--clusters",
            "6",
            "--out",
            out,
        )
        assert code == 0
        assert said.splitlines()[-1] == f"written: {out}, 60 examples coloured by {color}"
        with Image.open(out) as picture:
            colours = {f"#{r:02X}{g:02X}{b:02X}" for _, (r, g, b) in picture.convert("RGB").getcolors(10**6)}
        assert set(COLOURS[:GROUPS]) <= colours

    def test_neighbours_stay_neighbours(self):
        labels = np.arange(90) % 3
        x = np.random.default_rng(0).normal(size=(90, 8)) + 40 * np.eye(8)[labels]
        points = map_data(x, "label", labels, ("a", "b", "c")).points
        away = np.linalg.norm(points[:, None] - points[None], axis=2)
        np.fill_diagonal(away, np.inf)
        assert (labels[away.argmin(axis=1)] == labels).mean() > 0.98

    def test_many_groups_and_names_that_would_be_formulas(self, tmp_path):
        n = len(COLOURS) * len(MARKERS) + 2
        names = tuple(f"_${number}$\x1b" for number in range(n))
        data = map_data(np.random.default_rng(0).normal(size=(n, 3)), "$x$", np.arange(n), names)
        write_plot(data, tmp_path / "a.png")
        few = map_data(np.random.default_rng(0).normal(size=(5, 3)), "$x$", np.arange(5), names[:5])
        write_plot(few, tmp_path / "b.png")
        assert (tmp_path / "b.png").stat().st_size > 0

    def test_inertia_by_hand(self):
        data = inertia_data(np.array([2, 4]), np.array([10.0, 5.0]), 4, None)
        assert (data.inertia.tolist(), data.chosen) == ([1.0, 0.5], 4)
        assert "rule of thumb" in data.description

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--color", "label"], "error: `--color label` needs labels: give --labels FILE:COLUMN or --run RUN."),
            (["--color", "el2n"], "error: `--color` must be label, cluster, FILE:COLUMN, or with --run RUN a score, got 'el2n'."),
            (["--out", "x.jpg"], "error: `--out` must end in .png, got 'x.jpg'."),
        ],
    )
    def test_wrong_calls_are_one_line(self, cli, folder, tmp_path, arguments, message):
        code, _, err = cli("map", folder / "x.npy", "--out", tmp_path / "x.png", *arguments)
        assert (code, err.strip()) == (2, message)
