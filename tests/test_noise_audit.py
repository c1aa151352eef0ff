"""A sample of labels to look at: by hand, by properties, by simulated persons; and the table that is filled in."""

import csv
import itertools
from dataclasses import replace

import numpy as np
import pytest

import dataprune as dp
from dataprune.cli.noise_said import say_most_suspect
from dataprune.errors import InputError
from dataprune.noise.suspects import Suspects
from dataprune.noise.words import right_with
from dataprune.tables import read_table, write_table

CLASSES = ("cat", "dog")


def finding(p, *, counted=True):
    """Return a finding that gives the probabilities; from .5 on a label is flagged."""
    p = np.asarray(p, np.float64)
    n, total = len(p), float(p.sum())
    count = (total, 0.5 * total, 1.5 * total) if counted else (None, None, None)
    ids = np.array([f"{row}.png" for row in range(n)], dtype=np.dtypes.StringDType())
    labels = np.arange(n) % 2
    odds = np.log(p / (1 - p))
    why = np.full(n, "the networks say so", dtype=object)
    return Suspects(ids, labels, 1 - labels, p, odds, (p >= 0.5) & counted, why, *count, CLASSES, "out", "by hand")


def drawn(n=2000, middle=-3.0, seed=0):
    """Return probabilities, and which labels are wrong by them."""
    rng = np.random.default_rng(seed)
    p = 1 / (1 + np.exp(-(middle + 2.5 * rng.normal(size=n))))
    return p, rng.random(n) < p


@pytest.mark.parametrize("counted", [True, False])
def test_a_smaller_sample_begins_a_larger_one_and_chances_add_up(counted):
    found = finding(drawn()[0], counted=counted)
    small, large = (dp.audit(found, size, seed=3) for size in (40, 100))
    assert small.rows.tolist() == large.rows[:40].tolist()
    assert len(set(large.rows.tolist())) == 100
    for sample in (small, large):
        assert sample.chance.sum() == pytest.approx(len(sample))
        assert (sample.chance > 0).all()
    assert (found.rank[large.rows] <= 200).sum() >= 15, "the top is looked at more"
    assert (found.rank[large.rows] > 1000).sum() >= 10, "and the rest too"


def test_the_estimate_weighs_each_by_its_chance():
    """Horvitz and Thompson: the sum over wrong labels that were looked at of one over their chance."""
    p, wrong = drawn()
    sample = dp.audit(finding(p), 80, seed=1)
    said = sample.estimate(wrong[sample.rows])
    hits = sample.rows[wrong[sample.rows]]
    assert said.n_wrong.value == pytest.approx((1 / sample.chance[hits]).sum())
    flagged = sample.found.is_suspect
    assert said.precision.value == pytest.approx((1 / sample.chance[hits[flagged[hits]]]).sum() / flagged.sum())
    assert said.n_unfound.value == pytest.approx((1 / sample.chance[hits[~flagged[hits]]]).sum())


def test_a_look_at_all_leaves_nothing_open():
    p, wrong = drawn(60)
    sample = dp.audit(finding(p), 60)
    said = sample.estimate(wrong[sample.rows])
    assert (said.n_wrong.low, said.n_wrong.value, said.n_wrong.high) == pytest.approx((wrong.sum(),) * 3)


@pytest.mark.parametrize("which", ["none", "all"])
def test_where_all_decisions_are_equal_the_interval_has_a_width(which):
    sample = dp.audit(finding(drawn()[0]), 100)
    said = sample.estimate(np.full(100, which == "all")).n_wrong
    assert (said.low == 0) == (which == "none")
    assert (said.high == 2000) == (which == "all")
    assert 10 < said.high - said.low < 400


@pytest.mark.parametrize(("middle", "counted"), [(-3.0, False), (-5.0, True), (-1.5, True)])
def test_the_interval_holds_the_truth_for_most_persons_and_is_narrower_than_by_chance(middle, counted):
    p, wrong = drawn(1500, middle)
    found, held, values, widths = finding(p, counted=counted), 0, [], []
    for person in range(60):
        sample = dp.audit(found, 100, seed=person)
        said = sample.estimate(wrong[sample.rows]).n_wrong
        held += said.low <= wrong.sum() <= said.high
        values.append(said.value)
        widths.append(said.high - said.low)
    assert held >= 53  # of 60 at 95 %: less once in 200
    assert abs(np.mean(values) - wrong.sum()) < 4 * np.std(values) / np.sqrt(60), "unbiased"
    rate = wrong.mean()
    assert np.mean(widths) < 0.95 * 2 * 1.96 * np.sqrt(rate * (1 - rate) / 100) * len(p)


def test_a_ranking_that_is_worth_nothing_costs_width_not_truth():
    p, wrong = drawn(1500)
    wrong = np.random.default_rng(1).permutation(wrong)
    found, held = finding(p), 0
    for person in range(60):
        sample = dp.audit(found, 100, seed=person)
        said = sample.estimate(wrong[sample.rows]).n_wrong
        held += said.low <= wrong.sum() <= said.high
    assert held >= 50


def test_flags_that_are_all_right_labels_do_not_hide_the_wrong_ones_elsewhere():
    p = np.where(np.arange(300) < 30, 0.97, 0.001)
    found, held = finding(p), 0
    for person in range(60):
        wrong = np.zeros(300, bool)
        wrong[30 + np.random.default_rng(person).permutation(270)[:5]] = True
        sample = dp.audit(found, 40, seed=person)
        said = sample.estimate(wrong[sample.rows])
        held += said.n_wrong.low <= 5 <= said.n_wrong.high
        assert said.n_wrong.high >= said.n_unfound.high, "a part is no more than the whole"
    assert held >= 53


def test_the_findings_count_is_joined_where_it_fits():
    p, wrong = drawn(1500)
    found = finding(p)
    sample = dp.audit(found, 100)
    said = sample.estimate(wrong[sample.rows])
    assert said.fits
    assert said.n_together.high - said.n_together.low < min(said.n_wrong.high - said.n_wrong.low, p.sum())
    all_wrong = sample.estimate(np.ones(100, bool))
    assert (all_wrong.n_together, all_wrong.fits) == (None, False)
    assert dp.audit(finding(p, counted=False), 100).estimate(wrong[:100]).fits is None


def test_what_is_refused():
    found = finding(drawn(300)[0])
    for size in (3, 301):
        with pytest.raises(InputError, match=rf"`size` must be in \d+ ... 300, got {size}"):
            dp.audit(found, size)
    with pytest.raises(InputError, match="`wrong` must be true or false for each of the 50 rows"):
        dp.audit(found, 50).estimate(np.zeros(49, bool))


def test_where_perhaps_none_is_wrong_no_label_is_said_to_be_surely_so(capsys, monkeypatch):
    monkeypatch.setattr("dataprune.cli.lines.collected", None)
    monkeypatch.setattr("dataprune.cli.lines._is_quiet", False)
    found = finding(np.where(np.arange(60) < 5, 0.9999, 0.01))
    for low, shown in ((0.0, "over 95 %"), (3.0, "100 %")):
        say_most_suspect(replace(found, n_wrong_low=low))
        first = capsys.readouterr().out.splitlines()[2]
        assert [words for words in ("over 95 %", "100 %") if words in first] == [shown]
        assert replace(found, n_wrong_low=low).chance_in_words(int(found.order[0])) == shown


def test_where_the_best_guess_is_none_no_label_is_said_to_be_right_for_sure():
    found = finding(np.full(60, 1e-4))
    first = int(found.order[0])
    assert replace(found, n_wrong=0.2, n_wrong_low=0.0, n_wrong_high=9.0).chance_in_words(first) == ""
    assert replace(found, n_wrong=0.0, n_wrong_low=0.0, n_wrong_high=0.0).chance_in_words(first) == "0 %"
    assert replace(found, n_wrong=1.0, n_wrong_low=0.0, n_wrong_high=9.0).chance_in_words(first) == "0 %"
    assert [right_with("cat", share) for share in (0.004, 0.4)] == ["", "; cat is right with 40 %"]


class TestTable:
    @pytest.fixture
    def suspects(self, tmp_path):
        dp.write_suspects(finding(drawn(300)[0]), tmp_path / "suspects.csv")
        return tmp_path / "suspects.csv"

    @staticmethod
    def rows_of(path):
        with path.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))

    def fill(self, path, words, **more):
        rows = self.rows_of(path)
        for row, word in zip(rows, words, strict=False):
            row |= {"decision": word} | more
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)

    def test_a_table_is_filled_in_by_and_by_and_grows(self, cli, suspects, tmp_path):
        table = tmp_path / "audit.csv"
        command = ["noise", "audit", "--suspects", suspects, "--out", table]
        assert cli(*command, "--size", "30")[0] == 0
        assert [row["given_label"] in CLASSES for row in self.rows_of(table)] == [True] * 30
        words = list(itertools.islice(itertools.cycle(["keep", "keep", "relabel"]), 40))
        self.fill(table, words[:22], note="mine")
        code, out, _ = cli(*command, "--size", "30")
        assert code == 0
        assert "left: 8 of 30" in out
        assert "wrong labels: " not in out
        assert "--size 22" in out
        assert "wrong labels: " in cli(*command, "--size", "22")[1]
        assert len(self.rows_of(table)) == 30, "nothing is lost by a smaller size"
        assert "left: 18 of 40" in cli(*command, "--size", "40")[1]
        rows = self.rows_of(table)
        assert [row["decision"] for row in rows] == [*words[:22], *[""] * 18]
        assert rows[0]["note"] == "mine"
        self.fill(table, words)
        out = cli(*command, "--size", "40")[1]
        assert "looked at: 40 of 300 labels, 13 of them wrong" in out
        assert "95 % interval" in out
        before = table.read_bytes()
        assert cli(*command, "--size", "40")[1] == out
        assert table.read_bytes() == before

    def test_decisions_of_the_page_go_into_the_table(self, cli, suspects, tmp_path):
        table, saved = tmp_path / "audit.parquet", tmp_path / "decisions.csv"
        sample = dp.audit(dp.read_suspects(suspects), 30)
        ids = [str(sample.found.ids[row]) for row in sample.rows]
        saved.write_text("id,decision,label\n" + "".join(f"{name},drop,\n" for name in ids[:29]), encoding="utf-8")
        command = ["noise", "audit", "--suspects", suspects, "--size", "30", "--out", table]
        assert "left: 1 of 30" in cli(*command, "--decisions", saved)[1]
        assert "left: 1 of 30" in cli(*command)[1], "they stay"
        other = CLASSES[1 - int(sample.found.labels[sample.rows[29]])]
        saved.write_text(f"id,decision,label\n{ids[29]},relabel,{other}\n", encoding="utf-8")
        assert "30 of them wrong" in cli(*command, "--decisions", saved)[1]
        assert read_table(table).columns["new_label"][29] == other

    def test_decisions_about_other_labels_are_refused(self, cli, suspects, tmp_path):
        """A second round, whose run has the corrected labels, with the table of the first."""
        table = tmp_path / "audit.csv"
        command = ["noise", "audit", "--suspects", suspects, "--size", "30", "--out", table]
        cli(*command)
        self.fill(table, ["keep"] * 30)
        rows, before = self.rows_of(suspects), table.read_bytes()
        for row in rows:
            row["label"], row["suggested_label"] = row["suggested_label"], row["label"]
        with suspects.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
        code, out, err = cli(*command)
        assert (code, out, table.read_bytes()) == (2, "", before)
        assert "the column given_label must hold the labels of the run" in err
        assert "in line 2" in err

    def test_rows_of_other_splits_stay_as_they_are(self, cli, suspects, tmp_path):
        table = tmp_path / "audit.csv"
        command = ["noise", "audit", "--suspects", suspects, "--size", "30", "--out", table]
        cli(*command)
        self.fill(table, ["drop", "keep"], split="train")
        rows = self.rows_of(table)
        other = dict.fromkeys(rows[0], "") | {"id": rows[1]["id"], "decision": "relabel", "new_label": "rose", "split": "test"}
        with table.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows([other, *rows])
        assert "left: 28 of 30" in cli(*command)[1]
        assert self.rows_of(table) == [*rows, other]
        assert "left: 28 of 30" in cli(*command)[1]

    def test_to_relabel_by_the_given_label_is_to_keep(self, cli, suspects, tmp_path):
        table = tmp_path / "audit.csv"
        command = ["noise", "audit", "--suspects", suspects, "--size", "30", "--out", table]
        cli(*command)
        given = [row["given_label"] for row in self.rows_of(table)]
        for name in CLASSES:
            self.fill(table, ["relabel"] * 30, new_label=name)
            assert f"looked at: 30 of 300 labels, {30 - given.count(name)} of them wrong" in cli(*command)[1]

    def test_a_size_is_named_only_where_it_looks_at_the_decisions(self, cli, suspects, tmp_path):
        table = tmp_path / "audit.csv"
        command = ["noise", "audit", "--suspects", suspects, "--out", table]
        cli(*command, "--size", "40")
        self.fill(table, ["keep"] * 33)
        assert "3 decisions more, which --size 30 does not look at: --size 33 does" in cli(*command, "--size", "30")[2]
        table.unlink()
        asked = {row["id"] for row in (cli(*command, "--size", "40"), self.rows_of(table))[1]}
        other = next(name for name in map("{}.png".format, range(300)) if name not in asked)
        table.write_text(f"id,decision\n{other},drop\n", encoding="utf-8")
        warned = cli(*command, "--size", "30")[2]
        assert "1 decision more" in warned
        assert "--size 31" not in warned

    @pytest.mark.parametrize("own", [False, True])
    def test_what_comes_next_can_be_done(self, cli, suspects, tmp_path, monkeypatch, own):
        monkeypatch.chdir(tmp_path)
        found = dp.read_suspects(suspects)
        np.save("p.npy", np.where(np.arange(2) == found.labels[:, None], 0.9, 0.1))
        write_table(tmp_path / "labels.csv", {"label": found.labels})
        command = ["noise", "audit", "--out", "audit.csv", "--size", "30"]
        command += ["--probabilities", "p.npy", "--labels", "labels.csv"] if own else ["--suspects", "suspects.csv"]
        if own:
            suspects.unlink()
        cli(*command)
        self.fill(tmp_path / "audit.csv", ["drop"] * 30)
        told = [line.split(": dataprune ")[1] for line in cli(*command)[1].splitlines() if ": dataprune " in line]
        assert len(told) == 1 + own
        for line in told:
            assert cli(*line.split())[0] == 0
        assert (read_table(tmp_path / "cleaned.csv").columns["decision"] == "drop").sum() == 30

    def test_of_fewer_labels_than_it_looks_at_by_default_all_are_looked_at(self, cli, tmp_path):
        dp.write_suspects(finding(drawn(60)[0]), tmp_path / "few.csv")
        assert "60 labels to look at" in cli("noise", "audit", "--suspects", tmp_path / "few.csv", "--out", tmp_path / "a.csv")[1]
        assert len(dp.audit(finding(drawn(300)[0]))) == 100

    def test_other_tables_and_words_are_refused(self, cli, suspects, tmp_path):
        table = tmp_path / "mine.csv"
        table.write_text("id,name\n1,x\n", encoding="utf-8")
        command = ["noise", "audit", "--suspects", suspects, "--size", "30", "--out", table]
        code, _, err = cli(*command)
        assert (code, table.read_text(encoding="utf-8")) == (2, "id,name\n1,x\n")
        assert "have a column `decision`" in err
        table.write_text("id,decision\n0.png,maybe\n", encoding="utf-8")
        code, _, err = cli(*command)
        assert (code, "'maybe' in line 2" in err) == (2, True)
