"""`dataprune noise` and `export` as a person calls them: what they write, what they say, what they refuse."""

import contextlib
import io
import json
import shutil
from collections import Counter

import numpy as np
import pytest

import dataprune as dp
from command_line import CLASSES, make_pictures
from dataprune.cli import main
from dataprune.noise.words import accuracy_in_words
from dataprune.tables import read_table, write_npy, write_table

COLUMNS = [
    "id",
    "label",
    "suggested_label",
    "probability",
    "score",
    "rank",
    "is_suspect",
    "reason",
    "suggested_probability",
    "decision",
]
PER_CLASS = 20
N = 3 * PER_CLASS
FOLDS = ["--folds", "2", "--epochs", "6", "--batch", "6", "--executor", "serial", "--quiet"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("noise")


@pytest.fixture(scope="module")
def pictures(folder):
    return make_pictures(folder / "pictures", per_class=PER_CLASS)


@pytest.fixture(scope="module")
def noisy(folder, pictures):
    out, said = folder / "noisy.csv", io.StringIO()
    with contextlib.redirect_stdout(said):
        assert main(["noise", "inject", str(pictures), "--rate", "0.1", "--kind", "pairwise", "--out", str(out)]) == 0
    assert "made wrong: 6 labels of 60 (10.0 %), pairwise, seed 0" in said.getvalue()
    return out


@pytest.fixture(scope="module")
def crossed(folder, pictures, noisy):
    """Return a run with folds on labels of which a tenth is wrong."""
    out = folder / "run"
    assert main(["score", str(pictures), "--labels", f"{noisy}:label", "--out", str(out), *FOLDS]) == 0
    return out


def test_inject_keeps_the_truth_and_the_ids(noisy, pictures):
    table = read_table(noisy).columns
    assert list(table) == ["id", "label", "clean_label"]
    assert int((table["label"] != table["clean_label"]).sum()) == 6
    assert Counter(table["clean_label"].tolist()) == dict.fromkeys(CLASSES, PER_CLASS)
    assert "=cmd|x.png" in "".join(table["id"])


def test_inject_by_a_matrix(cli, tmp_path, pictures):
    (tmp_path / "m.csv").write_text("0.5,0.5,0\n0,1,0\n0,0,1\n")
    code, out, err = cli(
        "noise", "inject", pictures, "--kind", "matrix", "--matrix", tmp_path / "m.csv", "--out", tmp_path / "n.parquet"
    )
    assert (code, err) == (0, "")
    table = read_table(tmp_path / "n.parquet").columns
    assert Counter(table["label"].tolist()) == dict(zip(CLASSES, [10, 30, 20], strict=True))
    assert "10  [red]rot labelled blau, 'b'" in out


def test_find_writes_a_row_for_each_example(cli, crossed, tmp_path):
    code, out, err = cli("noise", "find", crossed, "--out", tmp_path / "s.csv")
    assert (code, err) == (0, "")
    table = read_table(tmp_path / "s.csv").columns
    assert list(table) == COLUMNS
    assert sorted(table["rank"].tolist()) == list(range(1, N + 1))
    assert (np.diff(table["score"][np.argsort(table["rank"])]) <= 0).all()
    assert ((table["probability"] >= 0) & (table["probability"] <= 1)).all()
    assert (table["suggested_label"] != table["label"]).all()
    about = json.loads((tmp_path / "s.csv.json").read_text())
    assert about["n_wrong_low"] <= about["n_wrong"] <= about["n_wrong_high"]
    for words in (
        "judged: 60 labels, 3 classes; out-of-sample:",
        "wrong labels, estimated: ",
        "95 % interval",
        "flagged to look at: ",
    ):
        assert words in out
    budgets = [line.split()[0] for line in out[out.index("looked at  are wrong") :].splitlines()[1:] if " and " in line]
    assert str(int(table["is_suspect"].sum())) in budgets, "what is expected of the flagged ones has its range beside it"
    assert cli("noise", "find", crossed, "--out", tmp_path / "again.csv")[0] == 0
    assert (tmp_path / "again.csv").read_bytes() == (tmp_path / "s.csv").read_bytes()


def test_prune_warns_of_flagged_labels_that_it_keeps(cli, crossed, tmp_path):
    prune = ("prune", crossed, "--keep", "1", "--strategy", "random")
    for name in ("s.parquet", "s 1.csv"):
        assert cli("noise", "find", crossed, "--out", tmp_path / name, "--quiet")[0] == 0
        table = read_table(tmp_path / name, as_text=True).columns
        flagged = [str(word).lower() == "true" for word in table["is_suspect"].tolist()]
        code, _, err = cli(*prune)
        assert (code, err.count("\n")) == (0, 1)
        assert f"{sum(flagged)} example" in err
        assert f"dataprune review {crossed}" in err
    table["decision"][flagged] = "keep"  # somebody has looked at them
    write_table(tmp_path / "s 1.csv", table)
    assert cli(*prune)[2] == ""
    (tmp_path / "s 1.csv").unlink()
    assert cli(*prune)[::2] == (0, "")


def test_parquet_holds_the_same(cli, crossed, tmp_path):
    assert cli("noise", "find", crossed, "--out", tmp_path / "s.csv", "--quiet")[:2] == (0, "")
    assert cli("noise", "find", crossed, "--out", tmp_path / "s.parquet", "--quiet")[:2] == (0, "")
    one, other = (read_table(tmp_path / name).columns for name in ("s.csv", "s.parquet"))
    assert all((one[name] == other[name]).all() for name in COLUMNS)


def test_check_says_how_good_it_is_also_of_a_table(cli, crossed, noisy, tmp_path):
    code, out, err = cli("noise", "check", crossed, "--truth", f"{noisy}:clean_label")
    assert (code, err) == (0, "")
    assert "wrong labels: 6 of 60 (10.0 %)" in out
    assert "F1 of the best threshold" in out
    assert "by given label:" in out
    cli("noise", "find", crossed, "--out", tmp_path / "s.parquet", "--quiet")
    # Without a column it is clean_label.
    assert cli("noise", "check", "--suspects", tmp_path / "s.parquet", "--truth", noisy)[1] == out


def test_a_truth_without_names_is_not_joined_to_a_sorted_table(cli, crossed, noisy, tmp_path):
    truth = tmp_path / "truth.csv"
    write_table(truth, {"clean_label": read_table(noisy).columns["clean_label"]})
    assert "wrong labels: 6 of 60" in cli("noise", "check", crossed, "--truth", truth)[1]
    assert cli("noise", "find", crossed, "--out", tmp_path / "s.csv")[0] == 0
    said = refusal(cli("noise", "check", "--suspects", tmp_path / "s.csv", "--truth", truth))
    assert "`--truth` must have a column that names the examples, got clean_label" in said
    # Row numbers say which row is which, so there the order is that of the source.
    cli("export", crossed, "--probabilities", tmp_path / "p.npy", "--which", "out")
    own = ["--probabilities", tmp_path / "p.npy", "--labels", f"{tmp_path / 'labels.csv'}"]
    write_table(tmp_path / "labels.csv", {"label": read_table(noisy).columns["label"]})
    assert cli("noise", "find", *own, "--out", tmp_path / "n.csv")[0] == 0
    assert read_table(tmp_path / "n.csv").columns["id"].tolist() != list(range(N))
    by_file = cli("noise", "check", "--suspects", tmp_path / "n.csv", "--truth", truth)
    assert by_file[1] == cli("noise", "check", *own, "--truth", truth)[1]
    assert "wrong labels: 6 of 60" in by_file[1]


def test_a_run_without_folds_is_judged_and_says_what_that_means(cli, run_folder):
    code, out, err = cli("noise", "find", run_folder)
    assert code == 0
    assert "in-sample: networks that were trained on the labels" in out
    assert "every network was trained on every label" in err
    assert "looks clean" not in out
    assert "nothing was written; add --out suspects.csv to: dataprune noise find" in out


def test_export_and_probabilities_made_elsewhere(cli, crossed, noisy, tmp_path):
    code, out, _ = cli("export", crossed, "--probabilities", tmp_path / "p.npy", "--which", "out")
    assert code == 0
    assert "60 rows of 3 classes, mean over the networks not trained on the example" in out
    p = np.load(tmp_path / "p.npy")
    assert p.shape == (N, 3)
    assert p.dtype == np.float32
    assert p.sum(axis=1) == pytest.approx(np.ones(N), abs=1e-5)
    from dataprune.run.run import open_run

    assert p == pytest.approx(open_run(crossed).trace.probabilities("out"))
    code, out, err = cli("noise", "find", "--probabilities", tmp_path / "p.npy", "--labels", f"{noisy}:label")
    assert (code, err) == (0, "")
    assert "probabilities taken as those of networks that did not see the example" in out


def test_in_python_the_public_names_come_to_the_same(crossed, pictures, noisy, table, tmp_path):
    run, truth = dp.open_run(crossed), dp.read(pictures).labels
    found = dp.find_suspects(run)
    dp.write_suspects(found, str(tmp_path / "s.csv"))
    assert (tmp_path / "s.csv").read_bytes() == table.read_bytes()
    assert dp.read_suspects(str(table)).n_wrong == found.n_wrong
    assert dp.evaluate_suspects(found, truth).n_wrong == 6
    own = dp.find_suspects(dp.Evidence(run.labels, out_of_sample=run.trace.probabilities("out"), ids=run.ids, classes=run.classes))
    assert own.ids.tolist() == found.ids.tolist()
    decided = dp.decide(found, "drop")
    dp.write_cleaned(decided, dp.Targets(tmp_path / "cleaned.csv"))
    assert len(dp.read(str(pictures), labels=str(tmp_path / "cleaned.csv"))) == N - found.is_suspect.sum()
    assert (dp.inject_noise(run.labels, 0.1, n_classes=3) != run.labels).sum() == 6
    assert dp.find_duplicates(dp.read(str(pictures))).n_examples == N


@pytest.fixture(scope="module")
def table(crossed, folder):
    """Return what `noise find` writes."""
    from dataprune.run.run import open_run
    from dataprune.run.suspects import find_suspects, write_suspects

    write_suspects(find_suspects(open_run(crossed)), folder / "suspects.csv")
    return folder / "suspects.csv"


def edited(table, tmp_path, change):
    """Return a copy of a finding whose columns were changed, with what lies beside it."""
    columns = read_table(table).columns
    change(columns)
    write_table(tmp_path / "edited.csv", columns)
    shutil.copy(f"{table}.json", tmp_path / "edited.csv.json")
    return tmp_path / "edited.csv"


class TestFromFindToApply:
    def test_relabel_by_the_table_is_relabel_anew(self, cli, crossed, noisy, table, tmp_path):
        code, said, err = cli("noise", "apply", crossed, "--relabel", "--out", tmp_path / "anew.csv")
        assert (code, err) == (0, "")
        assert said.splitlines()[0] == "of 60 examples: 0 dropped, 6 relabelled, 54 kept as they are"
        again = cli("noise", "apply", crossed, "--relabel", "--suspects", table, "--out", tmp_path / "read.csv")
        assert (again[0], again[1].splitlines()[0], again[2]) == (0, said.splitlines()[0], "")
        assert (tmp_path / "read.csv").read_bytes() == (tmp_path / "anew.csv").read_bytes()
        truth = read_table(noisy).columns["clean_label"]
        cleaned = read_table(tmp_path / "anew.csv").columns
        assert cleaned["label"].tolist() == truth.tolist()

    def test_relabel_only_where_the_suggestion_is_sure_enough(self, cli, crossed, table, tmp_path):
        sure = np.linspace(0.5, 1.0, 6)

        def unsure(columns):
            columns["suggested_probability"][columns["is_suspect"]] = sure

        sheet = edited(table, tmp_path, unsure)
        for confidence, most in ((None, 2), (0.75, 3), (0.3, 6)):
            asked = [] if confidence is None else ["--confidence", confidence]
            _, said, _ = cli("noise", "apply", crossed, "--relabel", "--suspects", sheet, *asked)
            assert f"0 dropped, {most} relabelled, {60 - most} kept" in said
            assert (f"{6 - most} suspect" in said) == (most < 6)

    def test_a_person_fills_in_the_column_decision(self, cli, crossed, table, tmp_path):
        rows = np.flatnonzero(read_table(table).columns["is_suspect"])
        names = read_table(table).columns["id"][rows].tolist()

        def decide(columns):
            assert set(columns["decision"]) == {""}
            columns["decision"][rows[:3]] = ["drop", "relabel", "Keep"]

        sheet = edited(table, tmp_path, decide)
        code, said, err = cli("noise", "apply", crossed, "--decisions", sheet, "--out", tmp_path / "cleaned.csv")
        assert (code, err) == (0, "")
        assert said.splitlines()[0] == "of 60 examples: 1 dropped, 1 relabelled, 58 kept as they are"
        cleaned, before = read_table(tmp_path / "cleaned.csv").columns, read_table(table).columns
        at = [cleaned["id"].tolist().index(name) for name in names]
        assert cleaned["label"][at[1]] == before["suggested_label"][rows[1]]
        assert cleaned["label"][at[2]] == before["label"][rows[2]]
        # The cleaned file is taken for labels, and edited again for decisions.
        left = dp.read(str(crossed.parent / "pictures"), labels=str(tmp_path / "cleaned.csv"))
        assert len(left) == N - 1
        assert left.notes == (f"1 of 60 examples are left out, as the column decision of {tmp_path / 'cleaned.csv'} says",)
        cleaned["decision"][at[0]] = "keep"
        write_table(tmp_path / "twice.csv", cleaned)
        again = cli("noise", "apply", crossed, "--decisions", tmp_path / "twice.csv")[1]
        assert again.splitlines()[0] == "of 60 examples: 0 dropped, 1 relabelled, 59 kept as they are"

    def test_a_table_that_a_spreadsheet_sorted_and_wrote_is_the_same_table(self, cli, crossed, table, tmp_path):
        columns = read_table(table).columns
        order = np.argsort(columns["rank"])
        write_table(tmp_path / "sorted.csv", {name: values[order] for name, values in columns.items()})
        text = (tmp_path / "sorted.csv").read_text(encoding="utf-8").replace(",true,", ",TRUE,").replace(",false,", ",FALSE,")
        (tmp_path / "sorted.csv").write_text("\ufeff" + text, encoding="utf-8")
        shutil.copy(f"{table}.json", tmp_path / "sorted.csv.json")
        for name, file in (("one.csv", table), ("two.csv", tmp_path / "sorted.csv")):
            assert cli("noise", "apply", crossed, "--drop", "--suspects", file, "--out", tmp_path / name)[0] == 0
        assert (tmp_path / "one.csv").read_bytes() == (tmp_path / "two.csv").read_bytes()

    def test_decisions_that_are_not_asked_for_are_named(self, cli, crossed, table, tmp_path):
        sheet = edited(table, tmp_path, lambda columns: columns["decision"].put([3, 4], "drop"))
        _, _, err = cli("noise", "apply", crossed, "--relabel", "--suspects", sheet)
        assert err == f"warning: --relabel does not look at the column decision of {sheet}, filled in 2 rows; --decisions does\n"
        code, _, err = cli("noise", "apply", crossed, "--decisions", table)
        assert (code, err) == (0, f"warning: {table} changes nothing: its column decision is empty or says keep in every row\n")

    def test_without_a_run_the_table_is_enough_for_labels(self, cli, table, tmp_path):
        assert cli("noise", "apply", "--relabel", "--suspects", table, "--out", tmp_path / "c.csv", "--quiet") == (0, "", "")
        assert (read_table(tmp_path / "c.csv").columns["decision"] == "relabel").sum() == 6
        sheet = edited(table, tmp_path, lambda columns: columns["decision"].put([3, 4], "drop"))
        assert "2 dropped, 0 relabelled, 58 kept" in cli("noise", "apply", "--decisions", sheet)[1]
        said = refusal(cli("noise", "apply", "--drop", "--suspects", table, "--copy-to", tmp_path / "x"))
        assert said == "--copy-to and --link-to need the RUN, which knows where the pictures lie."
        said = refusal(cli("noise", "apply", "--drop"))
        assert said == "give a RUN; or, for a file of labels, --suspects FILE that dataprune noise find wrote."

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (
                lambda c: c.pop("suggested_probability"),
                "`found` must have a suggested_probability, got none",
            ),
            (lambda c: c["id"].put(0, "other"), "`--suspects` must have a row for every example, got none for"),
            (
                lambda c: c["label"].put(0, CLASSES[2]),
                "`--suspects` must be what was found in {run}, got other labels in {file}. Find again.",
            ),
            (
                lambda c: c["label"].put(0, "x"),
                "`{file}:label` must hold names of the classes ([red]rot, blau, 'b', grün), got",
            ),
            (lambda c: c["probability"].put(0, 1.2), "`{file}:probability` must hold probabilities, got other values. Find"),
            (lambda c: c.update(is_suspect=c["reason"]), "`{file}:is_suspect` must hold true or false in each row, got other"),
            (lambda c: c.pop("score"), "`column of {file}` must be one of"),
        ],
    )
    def test_a_table_that_does_not_fit_is_refused(self, cli, crossed, table, tmp_path, change, message):
        sheet = edited(table, tmp_path, change)
        said = refusal(cli("noise", "apply", crossed, "--relabel", "--suspects", sheet))
        assert said.startswith(message.format(run=crossed, file=sheet)), said

    def test_typos_are_named_by_their_line(self, cli, crossed, table, tmp_path):
        sheet = edited(table, tmp_path, lambda columns: columns["decision"].put([3, 4], ["delete", "relable"]))
        lines = sheet.read_text(encoding="utf-8").split("\n")
        one, other = (next(number for number, line in enumerate(lines, 1) if word in line) for word in ("delete", "relable"))
        said = refusal(cli("noise", "apply", crossed, "--decisions", sheet))
        typos = f"'delete' in line {one}, 'relable' in line {other}"
        assert said == f"{sheet}: decisions must be one of keep, drop, relabel, got {typos}."
        sheet = edited(table, tmp_path, lambda columns: columns["id"].put(0, "other"))
        assert (
            refusal(cli("noise", "apply", crossed, "--decisions", sheet))
            == f"{sheet}: ids must be those of the run, got 'other' in line 2."
        )


def refusal(result):
    code, out, err = result
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    return err.removeprefix("error: ").strip()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: np.log(p), "must be 0 or more, got -1.099 in row 0 (rows 0, 1, 2, 3, 4 and 55 more). These look like logits"),
        (lambda p: p * 3, "must sum to 1 in each row, got the sum 3 in row 0 (rows 0, 1, 2, 3, 4 and 55 more)."),
        (lambda p: np.where(np.arange(N)[:, None] == 7, np.nan, p), "must be finite, got nan in row 7 (rows 7)."),
        (
            lambda p: p[:, 0],
            "must have a row for each example and a column for each of two classes or more, got shape (60,).",
        ),
    ],
)
def test_what_are_no_probabilities_is_refused_with_rows(cli, noisy, tmp_path, change, message):
    p = tmp_path / "p.npy"
    write_npy(p, change(np.full((N, 3), 1 / 3, np.float32)).astype(np.float32))
    said = refusal(cli("noise", "find", "--probabilities", p, "--labels", f"{noisy}:label"))
    assert said.startswith(f"`{p}` {message}")


def test_what_find_and_check_refuse(cli, crossed, noisy, run_folder, tmp_path):
    p, labels = tmp_path / "p.npy", f"{noisy}:label"
    write_npy(p, np.full((N - 1, 3), 1 / 3, np.float32))
    assert "must have one row for each of the 59 rows" in refusal(cli("noise", "find", "--probabilities", p, "--labels", labels))
    write_npy(p, np.full((N, 2), 0.5, np.float32))
    assert "`--labels` must be of the 2 classes" in refusal(cli("noise", "find", "--probabilities", p, "--labels", labels))
    assert refusal(cli("noise", "find", "--probabilities", p)) == "`--probabilities` needs the labels to judge. Give --labels FILE."
    assert refusal(cli("noise", "find")) == "give either a RUN, or --probabilities FILE with --labels FILE."
    assert "a run has its labels in it" in refusal(cli("noise", "find", crossed, "--labels", labels))
    assert "`--out` must end in .csv or .parquet" in refusal(cli("noise", "find", crossed, "--out", tmp_path / "s.txt"))
    assert "`--out` must lie in a folder that exists" in refusal(cli("noise", "find", crossed, "--out", tmp_path / "no" / "s.csv"))
    assert "beside it" in refusal(cli("noise", "check", "--suspects", noisy, "--truth", noisy))
    assert "'out' is not there for 24" in refusal(cli("export", run_folder, "--probabilities", p, "--which", "out"))
    assert "end in .npy" in refusal(cli("export", run_folder, "--probabilities", tmp_path / "p.csv"))


def test_labels_that_are_all_equal_are_refused(cli, pictures, noisy, tmp_path):
    write_table(tmp_path / "equal.csv", {"id": read_table(noisy).columns["id"], "label": np.zeros(N, np.int64)})
    write_npy(tmp_path / "p.npy", np.full((N, 3), 1 / 3, np.float32))
    said = refusal(cli("noise", "find", "--probabilities", tmp_path / "p.npy", "--labels", tmp_path / "equal.csv"))
    assert said == "all labels are equal, so none can be judged wrong. A finding needs at least two classes."
    code, _, err = cli("score", pictures, "--labels", tmp_path / "equal.csv", "--out", tmp_path / "run")
    assert code == 2
    assert err.splitlines()[-1] == "error: the data must hold at least two classes to be scored, got one: '[red]rot'."


def test_labels_of_another_set_are_refused_by_id(cli, pictures, noisy, tmp_path):
    write_table(tmp_path / "other.csv", {"id": [f"x{row}" for row in range(N)], "label": read_table(noisy).columns["label"]})
    said = refusal(cli("score", pictures, "--labels", tmp_path / "other.csv", "--out", tmp_path / "run", "--quiet"))
    assert said.startswith("`--labels` must have a row for every example, got none for the id '[red]rot/")
    assert f"and 55 more (60 of 60) in {tmp_path / 'other.csv'}; its rows without an example: 'x0', 'x1'" in said


def test_answers_that_know_nothing_of_the_labels_are_called_so(cli, crossed, noisy, tmp_path):
    """Another set of the same size cannot be told by its size, but by agreeing no more than chance does."""
    cli("export", crossed, "--probabilities", tmp_path / "p.npy", "--which", "out")
    write_npy(tmp_path / "moved.npy", np.load(tmp_path / "p.npy")[np.random.default_rng(0).permutation(N)])
    said = [
        cli("noise", "find", "--probabilities", tmp_path / name, "--labels", f"{noisy}:label")[2] for name in ("p.npy", "moved.npy")
    ]
    assert said[0] == ""
    assert said[1].startswith("warning: the networks name the given label of ")
    assert "so they tell nothing about labels" in said[1]


def test_a_class_that_never_occurs_is_said_and_nobody_is_suggested_wrongly(cli, pictures, noisy, tmp_path):
    table = read_table(noisy).columns
    two = np.where(table["clean_label"] == CLASSES[2], CLASSES[1], table["clean_label"])
    write_table(tmp_path / "two.csv", {"id": table["id"], "label": two})
    code, _, err = cli("score", pictures, "--labels", tmp_path / "two.csv", "--out", tmp_path / "run", *FOLDS)
    assert code == 0, err
    assert "warning: no example in train of class 'grün'" in err
    code, out, err = cli("noise", "find", tmp_path / "run", "--out", tmp_path / "s.csv")
    assert (code, err) == (0, "warning: no example is labelled 'grün'\n")
    assert "judged: 60 labels, 3 classes" in out
    assert set(read_table(tmp_path / "s.csv").columns["label"].tolist()) == set(CLASSES[:2])
    assert "grün" in cli("noise", "check", tmp_path / "run", "--truth", f"{noisy}:clean_label")[1]


def test_a_truth_that_does_not_fit_is_refused_by_id(cli, crossed, noisy, tmp_path):
    table = read_table(noisy).columns
    short = {name: values[3:] for name, values in table.items()}
    write_table(tmp_path / "short.csv", short)
    assert "`--truth` must have a row for every example, got none for the id" in refusal(
        cli("noise", "check", crossed, "--truth", tmp_path / "short.csv")
    )
    write_table(tmp_path / "other.csv", {"id": [f"x{row}" for row in range(N)], "label": table["label"]})
    assert "and 55 more" in refusal(cli("noise", "check", crossed, "--truth", tmp_path / "other.csv"))
    write_table(tmp_path / "high.csv", {"clean_label": np.arange(7, 7 + N)})
    assert "be class indices in [0, 3)" in refusal(cli("noise", "check", crossed, "--truth", tmp_path / "high.csv"))
    write_table(tmp_path / "rows.csv", {"clean_label": table["label"][:5]})
    assert "`--truth` must have one row for each of the 60 examples, got 5" in refusal(
        cli("noise", "check", crossed, "--truth", tmp_path / "rows.csv")
    )


def test_what_inject_refuses(cli, pictures, tmp_path):
    out = tmp_path / "n.csv"
    assert "`--rate` must be in (0, 1), got 30.0" in refusal(
        cli("noise", "inject", pictures, "--quiet", "--rate", 30, "--out", out)
    )
    assert "`--rate` must be in (0, 1), got None" in refusal(cli("noise", "inject", pictures, "--quiet", "--out", out))
    assert "look-alike" in refusal(cli("noise", "inject", pictures, "--quiet", "--rate", 0.1, "--kind", "look-alike", "--out", out))
    (tmp_path / "m.csv").write_text("a,b\n1,2\n")
    bad = ("noise", "inject", pictures, "--kind", "matrix", "--matrix")
    assert "must be a readable matrix of numbers" in refusal(cli(*bad, tmp_path / "m.csv", "--out", out))
    assert "must be an existing file" in refusal(cli(*bad, tmp_path / "none.csv", "--out", out))
    assert "`--matrix` must end in .csv or .npy" in refusal(cli(*bad, tmp_path / "m.txt", "--out", out))
    assert not out.exists()


def test_folds_larger_than_the_smallest_class_are_handled_and_said(cli, tmp_path):
    pictures = make_pictures(tmp_path / "pictures", per_class=2)
    settings = ["--folds", "3", "--epochs", "2", "--batch", "3", "--executor", "serial"]
    code, _, err = cli("score", pictures, "--out", tmp_path / "run", *settings)
    assert code == 0, err
    assert "fewer examples than the 3 folds in class" in err
    assert cli("noise", "find", tmp_path / "run")[0] == 0


def test_examples_without_a_network_of_one_kind_are_spoken_for_by_the_other_and_it_is_said():
    from dataprune.run.evidence import evidence_of_trace
    from toys import PROBABILITIES, TRAINED_ON, toy_trace

    evidence = evidence_of_trace(toy_trace())
    # Example 0 was seen by both members; the others by one.
    assert evidence.notes == ("1 of 4 examples have no network that did not see them; those that did speak for them",)
    last = PROBABILITIES[:, -1]
    assert TRAINED_ON[:, 1].tolist() == [True, False]
    assert evidence.in_sample[1] == pytest.approx(last[0, 1], abs=1e-3)
    assert evidence.out_of_sample[1] == pytest.approx(last[1, 1], abs=1e-3)
    # Neither answer changes over the epochs, so the margin is that of the last one.
    both = np.sqrt(last[0, 0] * last[1, 0])
    assert evidence.out_of_sample[0] == pytest.approx(both / both.sum(), abs=1e-2)
    assert evidence.votes.sum(axis=1).tolist() == [2, 2, 2, 2]
    assert evidence.out_of_sample_votes.sum(axis=1).tolist() == [0, 1, 1, 1]
    # The label's logit minus the best other, over the three epochs of the member that saw example 1.
    assert evidence.margin[1] == pytest.approx(np.log([7 / 2, 1 / 2, 8]).mean(), abs=1e-5)


def test_a_view_that_most_examples_lack_is_none():
    from dataprune.run.evidence import evidence_of_trace
    from toys import random_logits, trace_of

    labels, logits = random_logits(members=1)
    part = np.arange(20) < 5
    evidence = evidence_of_trace(trace_of(labels, logits, trained_on=part))
    assert (evidence.sampling, evidence.in_sample, evidence.margin) == ("out", None, None)
    assert evidence.notes == ("5 of 20 examples have no network that did not see them; those that did speak for them",)
    turned = evidence_of_trace(trace_of(labels, logits, trained_on=~part))
    assert (turned.sampling, turned.mostly_seen) == ("in", True)
    found = dp.find_suspects(turned)
    assert (found.n_wrong, found.why_no_count) == (None, "mostly_seen")
    assert "every network was trained on every label" not in f"{found.notes} {accuracy_in_words(found)}"
    assert dp.find_suspects(evidence_of_trace(trace_of(labels, logits))).why_no_count == "in_sample"
    assert turned.notes == ("5 of 20 examples have no network that saw them in training; those that did not speak for them",)
    assert turned.in_sample == pytest.approx(trace_of(labels, logits).probabilities("all"), abs=1e-5)
