"""Situations from public bug reports of the field's tools: a label stays with its example, or is refused; never silently wrong."""

import csv

import numpy as np
import pytest
from PIL import Image

import dataprune as dp
from dataprune.errors import InputError


def picture(path, value, size=(16, 16)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, tuple(value) if hasattr(value, "__len__") else (value,) * 3).save(path)


def write_csv(path, header, rows):
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def given(dataset):
    return dict(zip(dataset.ids.tolist(), (dataset.classes[label] for label in dataset.labels), strict=True))


@pytest.fixture
def numbered(tmp_path):
    """A flat folder 0.png … 11.png, whose ids sort otherwise than their numbers; the first six are cats."""
    for number in range(12):
        picture(tmp_path / "nat" / f"{number}.png", 20 * number)
    return tmp_path / "nat"


def animal(number):
    return "cat" if number < 6 else "dog"


class TestKeys:
    """S1: a column whose values are the ids is the key, whatever it is called."""

    @pytest.mark.parametrize("key", ["id", "filename", "file_name", "image", "Id", "image_id", "path", "whatever"])
    @pytest.mark.parametrize("form", ["{}.png", "{}", "./{}.png", "nat/{}.png"])
    def test_labels_are_joined_by_the_column_that_names_the_examples(self, numbered, tmp_path, key, form):
        rows = [(form.format(n), animal(n)) for n in reversed(range(12))]
        table = write_csv(tmp_path / "labels.csv", [key, "label"], rows)
        found = given(dp.read(numbered, labels=table))
        assert found == {f"{n}.png": animal(n) for n in range(12)}

    def test_unicode_forms_name_the_same_example(self, tmp_path):
        for name in ("caf\u00e9", "na\u00efve"):
            picture(tmp_path / "data" / f"{name}.png", 9)
        table = write_csv(tmp_path / "labels.csv", ["file", "label"], [("nai\u0308ve.png", "b"), ("cafe\u0301.png", "a")])
        found = given(dp.read(tmp_path / "data", labels=table))
        assert found == {"caf\u00e9.png": "a", "na\u00efve.png": "b"}

    def test_a_key_that_fits_in_part_is_refused_with_examples_from_both_sides(self, numbered, tmp_path):
        rows = [(f"{n}.png", animal(n)) for n in range(11)] + [("other.png", "cat")]
        table = write_csv(tmp_path / "labels.csv", ["filename", "label"], rows)
        with pytest.raises(InputError) as refused:
            dp.read(numbered, labels=table)
        assert "11.png" in str(refused.value)
        assert "other.png" in str(refused.value)

    def test_without_any_key_rows_are_taken_and_it_is_said(self, numbered, tmp_path):
        table = write_csv(tmp_path / "labels.csv", ["label"], [(animal(n % 12),) for n in range(12)])
        found = dp.read(numbered, labels=table)
        assert any("by row" in note for note in found.notes)


class TestNamesOfNumbers:
    """S2: class folders 0 … 11; an index is taken only where it cannot be a name."""

    @pytest.fixture
    def signs(self, tmp_path):
        for label in range(12):
            for number in range(3):
                picture(tmp_path / "Train" / str(label) / f"{number}.png", 5 * label + number)
        return tmp_path / "Train"

    def test_our_own_truth_reads_back_as_it_was(self, signs, tmp_path, cli):
        assert cli("noise", "inject", signs, "--rate", "0.1", "--kind", "uniform", "--out", tmp_path / "gt.csv")[0] == 0
        clean = dp.read(signs, labels=f"{tmp_path / 'gt.csv'}:clean_label")
        assert given(clean) == given(dp.read(signs))
        noisy = dp.read(signs, labels=f"{tmp_path / 'gt.csv'}:label")
        assert sum(a != b for a, b in zip(noisy.labels, dp.read(signs).labels, strict=True)) == 4

    def test_scores_and_copies_keep_the_class(self, signs, tmp_path, cli):
        out = tmp_path / "run"
        code, _, err = cli(
            "score",
            signs,
            "--out",
            out,
            "--members",
            "2",
            "--epochs",
            "1",
            "--model",
            "simple",
            "--folds",
            "0",
            "--executor",
            "serial",
        )
        assert code == 0, err
        assert given(dp.read(signs, labels=f"{out / 'scores.parquet'}:label")) == given(dp.read(signs))
        small = tmp_path / "small"
        code, _, err = cli("prune", out, "--keep", "0.5", "--strategy", "random", "--balanced", "--copy-to", small)
        assert code == 0, err
        for copy in small.rglob("*.png"):
            assert copy.read_bytes() == (signs / copy.relative_to(small)).read_bytes()


class TestConventions:
    """S10: the order of the columns of probabilities."""

    def test_classes_are_named_or_a_better_order_is_refused(self, tmp_path, cli):
        rng = np.random.default_rng(0)
        classes = ["negative", "ambiguous", "positive"]
        truth = rng.integers(0, 3, 90)
        p = np.full((90, 3), 0.05)
        p[np.arange(90), truth] = 0.9
        np.save(tmp_path / "p.npy", p)
        write_csv(tmp_path / "labels.csv", ["label"], [(classes[label],) for label in truth])
        arguments = ("noise", "find", "--probabilities", tmp_path / "p.npy", "--labels", tmp_path / "labels.csv")
        code, _, err = cli(*arguments)
        assert code == 2
        assert "negative" in err
        code, out, err = cli(*arguments, "--classes", ",".join(classes))
        assert code == 0, err
        assert "none is flagged" in out


class TestIds:
    """The same examples under other ids: from another folder, by a column, after a selection."""

    def test_a_run_is_of_the_same_examples_read_from_above(self, tmp_path):
        for label in ("lily", "rose"):
            for number in range(4):
                picture(
                    tmp_path / "flowers" / "train" / label / f"{number}.png", 20 * number if label == "lily" else 255 - 20 * number
                )
                picture(tmp_path / "flowers" / "test" / label / f"{number}.png", 30 * number)
        below, above = dp.read(tmp_path / "flowers" / "train"), dp.read(tmp_path / "flowers")
        settings = dp.Settings(members=2, epochs=12, model="simple", folds=0)
        run = dp.score(below, tmp_path / "run", settings, dp.Hardware(executor="serial"))
        assert run.is_of(below)
        assert run.is_of(above)
        assert not run.is_of(above.with_labels(1 - above.labels))
        assert not run.is_of(dp.read(tmp_path / "flowers" / "test"))

    def test_ids_of_a_hugging_face_data_set_stay_with_their_examples(self):
        datasets = pytest.importorskip("datasets")
        columns = {"id": ["x", "y", "z"], "image": [Image.new("RGB", (8, 8), (n, n, n)) for n in (1, 2, 3)], "label": [0, 1, 0]}
        made = datasets.Dataset.from_dict(columns).cast_column("image", datasets.Image()).select([2, 0])
        assert dp.from_huggingface(made).ids.tolist() == ["z", "x"]
        with pytest.raises(InputError, match="lable"):
            dp.from_huggingface(made, label="lable")

    def test_labels_from_one_on_make_no_class_without_examples(self):
        found = dp.from_arrays(np.zeros((4, 2), np.float32), [1, 3, 2, 1])
        assert found.classes == ("1", "2", "3")
        assert given(found) == {"0": "1", "1": "3", "2": "2", "3": "1"}

    def test_indices_of_named_classes_are_never_names(self):
        found = dp.from_arrays(np.zeros((3, 2), np.float32), [0, 1, 2], classes=["1", "10", "2"])
        assert given(found) == {"0": "1", "1": "10", "2": "2"}

    def test_numbers_that_name_classes_are_names(self, tmp_path):
        data = dp.from_arrays(np.zeros((3, 2), np.float32), [0, 1, 2], ids=["a", "b", "c"], classes=["1", "10", "2"])
        names = write_csv(tmp_path / "names.csv", ["id", "label"], [("a", 2), ("b", 1), ("c", 10)])
        assert given(dp.read(data, labels=names)) == {"a": "2", "b": "1", "c": "10"}


def test_indices_that_may_begin_at_one_are_refused(tmp_path):
    for name in ("a", "b", "c"):
        picture(tmp_path / "d" / name / f"{name}.png", 9)
    rows = [("a/a.png", 1), ("b/b.png", 2), ("c/c.png", 1)]
    with pytest.raises(InputError, match="no 0"):
        dp.read(tmp_path / "d", labels=write_csv(tmp_path / "labels.csv", ["file", "label"], rows))
    rows[2] = ("c/c.png", 0)
    found = dp.read(tmp_path / "d", labels=write_csv(tmp_path / "labels.csv", ["file", "label"], rows))
    assert given(found) == {"a/a.png": "b", "b/b.png": "c", "c/c.png": "a"}
