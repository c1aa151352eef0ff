"""Duplicates over the splits of a source, their file, and `dataprune duplicates`."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import dataprune as dp
from dataprune.errors import InputError
from dataprune.run.duplicates import find_duplicates, write_duplicates
from dataprune.run.run import Run
from dataprune.tables import read_table, write_table
from test_noise_duplicates import brighter, finding, scene


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Pictures in train and test: one in two classes, one in both splits, one as a near copy in each place, odd names."""
    place = tmp_path_factory.mktemp("data") / "set"
    for number, split in ((6, "train"), (3, "test")):
        for name in ("cat", "dog"):
            (place / split / name).mkdir(parents=True)
            for index in range(number):
                seed = index + 10 * (name == "dog") + 100 * (split == "test")
                Image.fromarray(scene(seed)).save(place / split / name / f"{index}.png")
    shutil.copy(place / "train/cat/0.png", place / "train/dog/=cmd|x\n.png")
    shutil.copy(place / "train/cat/1.png", place / "test/cat/leak.png")
    Image.fromarray(brighter(scene(12))).save(place / "train/dog/bright.png")
    Image.fromarray(brighter(scene(13))).save(place / "test/cat/bright.png")
    return place


class TestFind:
    def test_conflicts_first_then_leaks_then_the_rest(self, folder):
        found = find_duplicates(dp.read_splits(str(folder)))
        pairs = list(zip(found.ids.tolist(), found.other_ids.tolist(), strict=True))
        assert pairs == [
            ("train/cat/0.png", "train/dog/=cmd|x\n.png"),
            ("train/dog/3.png", "test/cat/bright.png"),
            ("train/cat/1.png", "test/cat/leak.png"),
            ("train/dog/2.png", "train/dog/bright.png"),
        ]
        assert found.is_conflict.tolist() == [True, True, False, False]
        assert found.is_leak.tolist() == [False, True, True, False]
        assert found.is_exact.tolist() == [True, False, True, False]
        assert found.split.tolist() == ["train"] * 4
        assert found.other_split.tolist() == ["train", "test", "test", "train"]
        assert found.n_examples == 22

    def test_without_labels_nothing_conflicts(self):
        x = np.zeros((3, 2, 2, 3), np.uint8)
        found = find_duplicates(dp.from_arrays(x), near=False)
        assert (len(found), found.is_conflict.any()) == (2, False)
        assert found.labels.tolist() == [-1, -1]

    def test_file_round_trip(self, folder, tmp_path):
        found = find_duplicates(dp.read_splits(str(folder)))
        for ending in (".csv", ".parquet"):
            write_duplicates(found, tmp_path / f"d{ending}")
            table = read_table(tmp_path / f"d{ending}").columns
            columns = ["id", "other_id", "kind", "distance", "label", "other_label", "split", "other_split"]
            assert list(table) == columns
            assert table["other_id"].tolist() == found.other_ids.tolist()
            assert table["kind"].tolist() == ["exact", "near", "exact", "near"]
            assert table["distance"] == pytest.approx(found.distance)

    def test_refuses_a_name_it_cannot_write(self, folder, tmp_path):
        found = find_duplicates(dp.read_splits(str(folder)), near=False)
        with pytest.raises(InputError, match=r"end in \.csv or \.parquet"):
            write_duplicates(found, tmp_path / "d.txt")

    def test_equal_input_gives_equal_bytes(self, folder, tmp_path):
        for name in ("one.parquet", "two.parquet"):
            write_duplicates(find_duplicates(dp.read_splits(str(folder))), tmp_path / name)
        assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "two.parquet").read_bytes()


class TestFinding:
    def test_contradicting_examples_of_a_run_become_suspects(self, monkeypatch):
        class Fake(Run):
            def dataset(self, data=None):
                x = np.zeros((3, 2, 2, 3), np.uint8)
                x[2] = 1
                return dp.from_arrays(x, np.array([0, 1, 1]))

        found = finding(probability=[0.2, 0.2, 0.1], labels=[0, 1, 1], suggested=[2, 2, 2])
        monkeypatch.setattr("dataprune.run.suspects.judged", lambda run, seed: found)
        joined = dp.find_suspects(Fake(Path("run"), {}))
        assert joined.is_suspect.tolist() == [True, True, False]
        assert joined.reason.tolist()[:2] == ["identical to b, which is labelled B", "identical to a, which is labelled A"]

    def test_data_that_are_gone_are_said(self, monkeypatch):
        class Gone(Run):
            def dataset(self, data=None):
                raise InputError("the data lay elsewhere.")

        found = finding(probability=[0.2], labels=[0], suggested=[2])
        monkeypatch.setattr("dataprune.run.suspects.judged", lambda run, seed: found)
        notes = dp.find_suspects(Gone(Path("run"), {})).notes
        assert notes == ("identical examples with different labels were not looked for: the data lay elsewhere.",)


class TestCommand:
    def test_says_what_there_is_and_what_to_do(self, cli, folder, tmp_path):
        code, said, err = cli("duplicates", folder, "--out", tmp_path / "d.csv")
        assert (code, err) == (0, "")
        lines = said.splitlines()
        assert lines[0].startswith(f"read {folder}: train 14, test 8 ")
        assert lines[1] == "4 pairs of duplicates among 22 examples"
        assert [line.split() for line in lines[2:6]] == [
            ["exact", "near"],
            ["different", "labels", "1", "1"],
            ["in", "two", "splits", "1", "0"],
            ["others", "0", "1"],
        ]
        assert lines[8].split() == ["exact", "train", "train/cat/0.png", "(cat)", r"train/dog/=cmd|x\n.png", "(dog)"]
        assert "in two splits: 2 examples outside train" in said
        assert "identical ones in train" in said, "no others become suspects"
        assert lines[-1] == f"written: {tmp_path / 'd.csv'}"

    def test_exact_only_and_a_strict_distance(self, cli, folder):
        assert "2 pairs of duplicates" in cli("duplicates", folder, "--exact-only")[1]
        assert "2 pairs of duplicates" in cli("duplicates", folder, "--distance", "0")[1]
        code, said, err = cli("duplicates", folder, "--exact-only", "--distance", "0.1")
        assert (code, said, err) == (
            2,
            "",
            "error: `--exact-only` must go without --distance, --features and --encoder, got --distance.\n",
        )

    def test_none(self, cli, folder):
        code, said, _ = cli("duplicates", folder / "test" / "dog", "--quiet")
        assert (code, said) == (0, "")
        said = cli("duplicates", "digits", "--exact-only")[1]
        assert said.splitlines()[1:] == ["no duplicates among 1,797 examples"]

    def test_out_is_checked_before_any_work(self, cli, folder):
        code, said, err = cli("duplicates", folder, "--out", "d.txt")
        assert (code, said) == (2, "")
        assert "must end in .csv or .parquet, got 'd.txt'" in err


def described(folder):
    """Return features of every picture of the set, by split, with near ones planted: in two classes, and in two splits."""
    splits = dp.read_splits(str(folder))
    names = [*splits.train.ids.tolist(), *splits.test.ids.tolist()]
    x = np.random.default_rng(0).normal(size=(len(names), 32)).astype(np.float32)
    place = {name: row for row, name in enumerate(names)}
    for one, other in (("train/cat/2.png", "train/dog/4.png"), ("train/cat/3.png", "test/cat/1.png")):
        x[place[other]] = 2 * x[place[one]]
    return splits, names, x


class TestFeatures:
    """The same pairs from a file in the order of the splits, from one with ids in any order, and in Python."""

    PAIRS = (
        ("exact", "train/cat/0.png", "train/dog/=cmd|x\n.png"),
        ("near", "train/cat/2.png", "train/dog/4.png"),
        ("exact", "train/cat/1.png", "test/cat/leak.png"),
        ("near", "train/cat/3.png", "test/cat/1.png"),
    )

    def told(self, table):
        columns = read_table(table).columns
        return tuple(zip(columns["kind"].tolist(), columns["id"].tolist(), columns["other_id"].tolist(), strict=True))

    @pytest.mark.parametrize("kind", ["rows", "ids", "shards"])
    def test_of_all_splits(self, cli, folder, tmp_path, kind):
        _, names, x = described(folder)
        order = np.random.default_rng(1).permutation(len(names))
        if kind == "rows":
            np.save(tmp_path / "f.npy", x)
        elif kind == "ids":
            columns = {f"x{column}": x[order, column] for column in range(x.shape[1])}
            write_table(tmp_path / "f.parquet", {"id": [names[row] for row in order]} | columns)
        else:
            (tmp_path / "f").mkdir()
            for number, rows in enumerate(np.array_split(np.arange(len(x)), 3)):
                np.save(tmp_path / "f" / f"{number}.npy", x[rows])
        file = {"rows": "f.npy", "ids": "f.parquet", "shards": "f"}[kind]
        code, said, err = cli("duplicates", folder, "--features", tmp_path / file, "--out", tmp_path / "d.csv")
        assert (code, err) == (0, "")
        assert self.told(tmp_path / "d.csv") == self.PAIRS
        assert "in two splits: 2 examples outside train" in said

    def test_of_train_only(self, cli, folder, tmp_path):
        splits, _, x = described(folder)
        np.save(tmp_path / "f.npy", x[: len(splits.train)])
        write_table(tmp_path / "f.parquet", {"id": splits.train.ids} | {f"x{n}": x[: len(splits.train), n] for n in range(32)})
        for file in ("f.npy", "f.parquet"):
            code, _, err = cli("duplicates", folder, "--features", tmp_path / file, "--out", tmp_path / "d.csv")
            note = f"{tmp_path / file} holds features of train only: near duplicates in other splits were not looked for"
            assert (code, err) == (0, f"warning: {note}\n")
            assert self.told(tmp_path / "d.csv") == self.PAIRS[:3]

    def test_of_a_function_and_of_a_run(self, cli, folder, run_folder, flowers, monkeypatch):
        monkeypatch.syspath_prepend(Path(__file__).parent)
        code, said, err = cli("duplicates", folder, "--encoder", "test_duplicates:corners", "--distance", "0.001")
        assert (code, err) == (0, "")
        assert "train/cat/1.png (cat)  test/cat/leak.png (cat)" in said
        code, said, err = cli("duplicates", flowers, "--encoder", "trace", "--run", run_folder)
        assert (code, err) == (0, "")
        assert said.startswith(f"read {flowers}: train 24 ")

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (
                ["--features", "short.npy"],
                "features` must have one row for each of the 22 examples, or of the 14 in train, got 5 in",
            ),
            (
                ["--features", "short.parquet"],
                "features` must have a row for every example, got none for the id 'train/cat/0.png', ",
            ),
            (["--features", "none.npy"], "`none.npy` must be an existing file"),
            (["--encoder", "trace"], "`--run` must be given with --encoder trace, and only with it, got none."),
            (["--run", "x"], "`--run` must be given with --encoder trace, and only with it, got x."),
            (
                ["--features", "short.npy", "--exact-only"],
                "`--exact-only` must go without --distance, --features and --encoder, got --features.",
            ),
            (["--encoder", "no_such_module:f"], "'no_such_module:f': there is no module 'no_such_module'."),
        ],
    )
    def test_refuses(self, cli, folder, tmp_path, monkeypatch, arguments, message):
        monkeypatch.chdir(tmp_path)
        np.save("short.npy", np.ones((5, 3)))
        write_table(Path("short.parquet"), {"id": ["test/cat/0.png"], "x": [1.0], "y": [2.0]})
        code, said, err = cli("duplicates", folder, *arguments, "--quiet")
        assert (code, said) == (2, "")
        assert message in err


def corners(batch):
    """Return the pixels of a corner of each picture."""
    return batch[:, :8, :8].reshape(len(batch), -1).astype(np.float32) - 128


class TestLearned:
    """Features that were learned are kept in the cache, and are made again only where they are not whole."""

    def method(self, made):
        from dataprune.run.encoders import Encoder

        class Counting:
            @property
            def identity(self):
                return {"encoder": "swav"}

            def prepare(self, scratch, listener):
                made.append(scratch)
                (scratch / "checkpoint").write_text("x")
                return Encoder(lambda part: np.full((len(part), 3), len(made), np.float32), 0, 0, {})

        return Counting()

    def test_kept_and_found_again(self, folder, tmp_path, monkeypatch):
        from dataprune.run.features import made_features

        splits, made = dp.read_splits(str(folder)), []
        monkeypatch.setattr("dataprune.run.features.method_of", lambda *_: self.method(made))
        monkeypatch.setattr("dataprune.run.features.cache_root", lambda: (tmp_path, ""))
        for _ in range(2):
            features = made_features(splits, "swav")
            assert (features.shape, len(made)) == ((22, 3), 1)
        manifest, file = sorted((tmp_path / "features").iterdir())
        assert (manifest.suffix, file.suffix) == (".json", ".npy")
        with file.open("r+b") as opened:
            opened.seek(-1, 2)
            opened.write(b"x")
        assert made_features(splits, "swav")[0, 0] == 2

    @pytest.mark.slow
    def test_by_swav(self, cli, folder):
        """Learned once and kept; what is found of so few pictures says nothing, beyond those that are identical."""
        (_, first, _), (code, again, err) = (cli("duplicates", folder, "--features", "swav") for _ in range(2))
        assert "to train:" in first
        assert (code, err) == (0, "")
        assert "to train:" not in again
        assert "pairs of duplicates among 22 examples" in again
        assert first.endswith(again[again.index("pairs of duplicates") :])


@pytest.mark.long
def test_flowers_hold_pictures_under_two_classes(shared_data):
    found = find_duplicates(dp.read_splits(str(shared_data / "flowers")), near=False)
    assert (len(found), int(found.is_conflict.sum())) == (6, 4)
    assert {name.split("/")[-1] for name in found.ids[:4].tolist()} == {
        name.split("/")[-1] for name in found.other_ids[:4].tolist()
    }
