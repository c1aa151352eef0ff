"""Acting on suspects: what is decided, a person's file, the cleaned labels and folders, and `dataprune noise apply`."""

import signal

import numpy as np
import pytest
from PIL import Image

import dataprune as dp
import kill_everywhere
from command_line import make_pictures
from dataprune.data import Dataset
from dataprune.errors import InputError
from dataprune.noise.decide import Decisions, decide
from dataprune.run.decisions import read_decisions
from dataprune.run.export import Targets, write_cleaned
from dataprune.tables import read_table, write_table
from machine_kit import fill, names
from test_noise_duplicates import finding

IDS = ["a", "b\nc", "=d", "../e", "f"]
LABELS = np.array([0, 1, 2, 0, 1])
CLASSES = ("A", "B", "C")


def found():
    return finding(probability=[0.95, 0.6, 0.2], labels=[0, 1, 2], suggested=[1, 0, 0], sure=[0.91, 0.5, 0.2])


class TestDecide:
    def test_drop_drops_every_suspect(self):
        decided = decide(found(), "drop")
        assert decided.decision.tolist() == ["drop", "drop", "keep"]
        assert decided.labels.tolist() == [0, 1, 2]
        assert (decided.rows.tolist(), decided.n_left) == ([2], 0)

    def test_relabel_where_it_is_sure_enough(self):
        decided = decide(found(), "relabel")
        assert decided.decision.tolist() == ["relabel", "keep", "keep"]
        assert decided.labels.tolist() == [1, 1, 2]
        assert (decided.rows.tolist(), decided.n_left) == ([0, 1, 2], 1)
        assert decide(found(), "relabel", confidence=0.5).labels.tolist() == [1, 0, 2]
        assert decide(found(), "relabel", confidence=0.92).count("relabel") == 0

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("remove", 0.9), "`action` must be one of drop, relabel, got 'remove'."),
            (("relabel", 90.0), "`confidence` must be in (0, 1], got 90.0."),
            (("relabel", float("nan")), "`confidence` must be in (0, 1], got nan."),
        ],
    )
    def test_refuses(self, arguments, message):
        with pytest.raises(InputError) as refused:
            decide(found(), arguments[0], confidence=arguments[1])
        assert str(refused.value).startswith(message)

    def test_a_finding_without_confidence_cannot_relabel(self):
        from dataclasses import replace

        with pytest.raises(InputError, match="have a suggested_probability"):
            decide(replace(found(), suggested_probability=None), "relabel")


class TestDecisionsFile:
    def read(self, tmp_path, text, suggested=None):
        path = tmp_path / "decisions.csv"
        path.write_text(text, encoding="utf-8")
        return read_decisions(path, IDS, LABELS, CLASSES, suggested)

    def test_what_a_person_wrote(self, tmp_path):
        text = 'id,decision,new_label,remark\n"b\nc",Relabel ,C,?\na,,,\n=d,drop,,\nf,relabel,0,\n'
        decided = self.read(tmp_path, text)
        assert decided.decision.tolist() == ["keep", "relabel", "drop", "keep", "relabel"]
        assert decided.labels.tolist() == [0, 2, 2, 0, 0]
        assert decided.given.tolist() == LABELS.tolist()

    def test_the_suggested_label_where_no_other_is_named(self, tmp_path):
        assert self.read(tmp_path, "id,decision,suggested_label\na,relabel,2\nf,keep,0\n").labels.tolist() == [2, 1, 2, 0, 1]
        with_found = finding(probability=[0.9] * 5, labels=LABELS, suggested=[1, 2, 0, 2, 0])
        assert self.read(tmp_path, "id,decision,new_label\na,relabel,\nf,relabel,C\n", with_found).labels.tolist() == [
            1,
            1,
            2,
            0,
            2,
        ]

    @pytest.mark.parametrize("ending", [".csv", ".parquet"])
    def test_what_was_written_is_read_back(self, tmp_path, ending):
        decision = np.array(["keep", "relabel", "drop", "keep", "relabel"], dtype=object)
        before = Decisions(np.array(IDS, np.dtypes.StringDType()), LABELS, np.array([0, 2, 2, 0, 0]), decision, CLASSES)
        write_cleaned(before, Targets(tmp_path / f"cleaned{ending}"))
        after = read_decisions(tmp_path / f"cleaned{ending}", IDS, LABELS, CLASSES)
        assert after.labels.tolist() == before.labels.tolist()
        assert after.decision.tolist() == before.decision.tolist()

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            (
                'id,decision\n"b\nc",keep\n\na,dorp\nf,x\n',
                "decisions must be one of keep, drop, relabel, got 'dorp' in line 5, 'x' in line 6.",
            ),
            ("id,decision\nz,keep\n", "ids must be those of the run, got 'z' in line 2."),
            ("id,decision\na,keep\na,drop\n", "each id must have one row, got 'a' in line 3."),
            ("id,decision\na,relabel\n", "to relabel, give the new label in the column new_label, got 'relabel' in line 2."),
            (
                "id,decision,new_label\na,relabel,D\n",
                "new labels must be names or indices of the classes (A, B, C), got 'D' in line 2.",
            ),
            (
                "id,decision,new_label\na,relabel,3\n",
                "new labels must be names or indices of the classes (A, B, C), got '3' in line 2.",
            ),
        ],
    )
    def test_faults_are_named_by_their_line(self, tmp_path, text, message):
        with pytest.raises(InputError) as refused:
            self.read(tmp_path, text)
        assert str(refused.value) == f"{tmp_path / 'decisions.csv'}: {message}"

    def test_in_the_table_of_a_finding_the_label_is_the_given_one(self, tmp_path):
        """And the names of what is suggested count, not the indices, where classes are called by other numbers."""
        text = "id,label,suggested_label,decision\na,A,C,relabel\nf,B,A,relabel\n=d,C,B,\n"
        assert self.read(tmp_path, text).labels.tolist() == [2, 1, 2, 0, 0]
        sheet = tmp_path / "numbers.csv"
        sheet.write_text("id,label,suggested_label,decision\na,1,2,relabel\nf,2,3,relabel\n")
        assert read_decisions(sheet, IDS, LABELS, ("1", "2", "3")).labels.tolist() == [1, 1, 2, 0, 2]

    def test_as_the_page_of_a_run_saves_it(self, tmp_path):
        text = '"id","decision","label"\n"b\nc","relabel","C"\n"a","drop",""\n"=d","keep",""\n'
        decided = self.read(tmp_path, text)
        assert decided.decision.tolist() == ["drop", "relabel", "keep", "keep", "keep"]
        assert decided.labels.tolist() == [0, 2, 2, 0, 1]

    def test_a_label_that_stays_the_given_one_is_no_new_label(self, tmp_path):
        """As in a row of a written file whose decision a person turned from keep into relabel."""
        text = "id,label,given_label,decision\na,A,A,relabel\n"
        with pytest.raises(InputError, match="to relabel, give the new label in the column new_label, got 'relabel' in line 2"):
            self.read(tmp_path, text)
        with_found = finding(probability=[0.9] * 5, labels=LABELS, suggested=[1, 2, 0, 2, 0])
        assert self.read(tmp_path, text, with_found).labels.tolist() == [1, 1, 2, 0, 1]

    @pytest.mark.parametrize(
        ("text", "column", "cell"),
        [
            ("id,label,suggested_label,decision\na,0,1,\nf,2,1,drop\n", "label", "'2' in line 3"),
            ("id,label,given_label,decision\na,A,A,\nf,A,C,relabel\n", "given_label", "'C' in line 3"),
            ("id,label,given_label,decision\na,A,A,\nf,A,D,keep\n", "given_label", "'D' in line 3"),
        ],
    )
    def test_decisions_about_other_labels_are_refused(self, tmp_path, text, column, cell):
        with pytest.raises(InputError) as refused:
            self.read(tmp_path, text)
        said = f"{tmp_path / 'decisions.csv'}: the column {column} must hold the labels of the run, got {cell}. "
        assert str(refused.value).startswith(said)

    def test_a_new_label_that_is_the_given_one_keeps(self, tmp_path):
        """In `label` beside `given_label` it is none (above); in `new_label` a person wrote it."""
        decided = self.read(tmp_path, "id,given_label,decision,new_label\na,A,relabel,A\nf,,relabel,C\n")
        assert decided.decision.tolist() == ["keep", "keep", "keep", "keep", "relabel"]

    def test_missing_column(self, tmp_path):
        with pytest.raises(InputError, match=r"have a column `decision` in .*, got none\. It has id, verdict\."):
            self.read(tmp_path, "id,verdict\na,keep\n")


class TestLabelsThatDrop:
    """A file that `write_labels` made is taken by `--labels`, and what it drops is left out and said."""

    def write(self, path, decision, given=True):
        columns = {"id": [str(row) for row in range(4)], "label": ["x", "y", "y", "x"], "decision": decision}
        write_table(path, columns | ({"given_label": ["x"] * 4} if given else {}))

    def data(self):
        return dp.from_arrays(np.arange(4 * 12, dtype=np.uint8).reshape(4, 2, 2, 3), np.array(["x", "x", "y", "y"]))

    @pytest.mark.parametrize("ending", [".csv", ".parquet"])
    def test_dropped_are_left_out_and_said(self, tmp_path, ending):
        path = tmp_path / f"cleaned{ending}"
        self.write(path, ["keep", "drop", "relabel", "keep"])
        read = dp.read(self.data(), labels=str(path))
        assert read.ids.tolist() == ["0", "2", "3"]
        assert read.labels.tolist() == [0, 1, 0]
        assert read.notes == (f"1 of 4 examples are left out, as the column decision of {path} says",)

    def test_another_column_called_decision_means_nothing(self, tmp_path):
        self.write(tmp_path / "l.csv", ["granted", "drop", "", "x"], given=False)
        assert len(dp.read(self.data(), labels=str(tmp_path / "l.csv"))) == 4

    @pytest.mark.parametrize(
        ("decision", "message"),
        [
            (["keep", "drpo", "keep", "keep"], "must be keep, drop or relabel, got 'drpo' in row 1."),
            (["drop"] * 4, "`labels` must keep at least one example, got none"),
        ],
    )
    def test_refuses(self, tmp_path, decision, message):
        self.write(tmp_path / "l.csv", decision)
        with pytest.raises(InputError) as refused:
            dp.read(self.data(), labels=str(tmp_path / "l.csv"))
        assert message in str(refused.value)


class TestFolders:
    def data(self):
        x = np.random.default_rng(0).integers(0, 256, (5, 4, 4, 3), dtype=np.uint8)
        return Dataset(LABELS, np.array(IDS, np.dtypes.StringDType()), ("A", "../B", "C"), images=x)

    def decided(self, decision):
        return Decisions(self.data().ids, LABELS, np.array([1, 1, 2, 0, 1]), np.array(decision, dtype=object), CLASSES)

    def test_new_labels_decide_the_folder_and_no_name_leads_out(self, tmp_path):
        decided = Decisions(self.data().ids, LABELS, np.array([1, 1, 2, 0, 1]), self.keep(), ("A", "../B", "C"))
        write_cleaned(decided, Targets(folders={tmp_path / "out": "copy"}), self.data())
        assert [path.name for path in tmp_path.iterdir()] == ["out"]
        names = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.png")}
        assert names == {"_.._B/a.png", "_.._B/b_c.png", "_.._B/f.png", "A/_.._e.png"}

    def keep(self):
        return np.array(["relabel", "keep", "drop", "keep", "keep"], dtype=object)

    def test_refuses_to_drop_everything(self, tmp_path):
        with pytest.raises(InputError, match="every example would be dropped"):
            write_cleaned(self.decided(["drop"] * 5), Targets(folders={tmp_path / "out": "copy"}), self.data())


KILLED = """
from pathlib import Path
import numpy as np
import pyarrow.parquet
from PIL import Image
from dataprune.data import Dataset
from dataprune.noise.decide import Decisions
from dataprune.run.export import Targets, write_cleaned

x = np.random.default_rng(0).integers(0, 256, (3, 4, 4, 3), dtype=np.uint8)
ids, given = np.array(["a", "b", "c"], np.dtypes.StringDType()), np.array([0, 1, 0])
data = Dataset(given, ids, ("A", "B"), images=x, paths=np.array(pictures, np.dtypes.StringDType()))
decided = Decisions(ids, given, np.array([1, 1, 0]), np.array(["relabel", "keep", "drop"], dtype=object), ("A", "B"))
targets = Targets(Path(folder) / "new.csv", {Path(folder) / "copies": "copy", Path(folder) / "links": "link"})

def work():
    write_cleaned(decided, targets, data)
"""


class TestKills:
    @pytest.fixture
    def pictures(self, tmp_path):
        (tmp_path / "source").mkdir()
        for name in "abc":
            Image.new("RGB", (4, 4), (ord(name), 0, 0)).save(tmp_path / "source" / f"{name}.png")
        return [str(tmp_path / "source" / f"{name}.png") for name in "abc"]

    @pytest.mark.long
    def test_killed_at_any_moment_the_same_call_gives_the_same(self, pictures, tmp_path):
        """No target is ever half there; nothing is left over; the source stays as it was."""
        source, out = kill_everywhere.state(tmp_path / "source"), tmp_path / "out"
        done = kill_everywhere.rounds(KILLED, out, pictures=pictures, folder=str(out))
        assert len(done) > 30
        *killed, (ended, whole, _, _) = done
        assert ended == 0
        assert set(whole) == {
            "new.csv",
            *(f"{one}{name}" for one in ("copies", "links") for name in ("", "/B", "/B/a.png", "/B/b.png")),
        }
        assert whole["links/B/a.png"] == f"link to {pictures[0]}"
        assert {row[0] for row in killed} == {-signal.SIGKILL}
        for _, after, again, then in killed:
            shown = {name: content for name, content in after.items() if not name.startswith(".")}
            assert shown.items() <= whole.items()
            for target in ("copies", "links"):
                assert target not in shown or {name for name in whole if name.startswith(target)} <= set(shown)
            if again == 0:
                assert then == whole
            else:  # killed while it tidied up, after all was there
                assert shown == whole
        assert sum(row[2] != 0 for row in killed) <= 3
        assert kill_everywhere.state(tmp_path / "source") == source

    @pytest.mark.slow
    def test_the_command_too(self, run_folder, flowers, tmp_path):
        sheet = decisions_for(run_folder, tmp_path)
        source, out = kill_everywhere.state(flowers), tmp_path / "out"
        arguments = ["noise", "apply", run_folder, "--decisions", sheet, "--out", out / "c.csv", "--copy-to", out / "d"]
        code = (
            "import pyarrow.parquet, dataprune.run.decisions\nimport dataprune.cli\nwork = lambda: dataprune.cli.main(arguments)\n"
        )
        *killed, (ended, whole, _, _) = kill_everywhere.rounds(code, out, arguments=[str(one) for one in arguments])
        assert (ended, len([name for name in whole if name.endswith(".png")])) == (0, 23)
        for _, after, again, then in killed:
            assert (then == whole) if again == 0 else ({name for name in after if not name.startswith(".")} == set(whole))
        assert kill_everywhere.state(flowers) == source


def decisions_for(run_folder, tmp_path):
    """Write a person's file for the tiny folder of pictures: one is dropped, one relabelled."""
    ids = dp.open_run(run_folder).ids.tolist()
    path = tmp_path / "decisions.csv"
    newline = next(name for name in ids if name.startswith("grün") and "\n" in name)
    formula = next(name for name in ids if name.startswith("grün/="))
    write_table(path, {"id": [newline, formula], "decision": ["drop", "relabel"], "new_label": ["", "[red]rot"]})
    return path


class TestCommand:
    def test_a_persons_decisions(self, cli, run_folder, flowers, tmp_path):
        sheet, out, copies, links = (tmp_path / name for name in ("decisions.csv", "cleaned.parquet", "copies", "links"))
        decisions_for(run_folder, tmp_path)
        code, said, err = cli(
            "noise", "apply", run_folder, "--decisions", sheet, "--out", out, "--copy-to", copies, "--link-to", links
        )
        assert (code, err) == (0, "")
        assert said.splitlines()[0] == "of 24 examples: 1 dropped, 1 relabelled, 22 kept as they are"
        assert f"next: dataprune score {flowers} --labels {out} --out RUN2" in said
        assert "not among them" not in said
        table = read_table(out).columns
        assert list(table) == ["id", "label", "given_label", "decision"]
        assert (len(table["id"]), (table["decision"] == "drop").sum()) == (24, 1)
        assert table["label"][table["decision"] == "relabel"].tolist() == ["[red]rot"]
        for folder in (copies, links):
            assert len(list(folder.rglob("*.png"))) == 23
            assert len(list((folder / "grün").iterdir())) == 6
        assert all(path.is_symlink() and path.resolve().is_relative_to(flowers) for path in links.rglob("*.png"))
        assert len(list(flowers.rglob("*.png"))) == 24, "the source is not touched"
        cleaned = dp.read(str(flowers), labels=str(out))
        assert len(cleaned) == 23
        again = dp.read(str(copies))
        assert np.bincount(again.labels).tolist() == np.bincount(cleaned.labels).tolist()

    def test_splits_that_are_not_copied_are_named(self, cli, tmp_path):
        for split in ("train", "test"):
            make_pictures(tmp_path / "data" / split, per_class=2)
        settings = ["--folds", "2", "--epochs", "1", "--batch", "3", "--executor", "serial", "--quiet"]
        assert cli("score", tmp_path / "data", "--out", tmp_path / "run", *settings)[0] == 0
        said = cli("noise", "apply", tmp_path / "run", "--drop", "--copy-to", tmp_path / "copies")[1]
        assert "of train; not among them: test" in said

    def test_a_set_that_exists_is_refused_before_any_work(self, cli, run_folder, tmp_path):
        (tmp_path / "there").mkdir()
        (tmp_path / "there.csv").write_text("mine")
        for option, target in (("--copy-to", "there"), ("--out", "there.csv")):
            code, said, err = cli("noise", "apply", run_folder, "--drop", option, tmp_path / target)
            assert (code, said) == (2, "")
            assert "already" in err
        assert (tmp_path / "there.csv").read_text() == "mine"
        for more in (["--overwrite"], []):  # and the same again is no other
            assert cli("noise", "apply", run_folder, "--drop", "--out", tmp_path / "there.csv", *more)[0] == 0

    def test_drop_and_relabel_say_what_they_would_do(self, cli, run_folder):
        for option in ("--drop", "--relabel"):
            code, said, _ = cli("noise", "apply", run_folder, option)
            assert code == 0
            assert said.startswith("of 24 examples: ")
            command = f"dataprune noise apply {run_folder} {option}"
            assert said.splitlines()[-1] == f"nothing was written; add --out cleaned.csv, or --copy-to DIR, to: {command}"

    def test_a_full_disk_is_one_line_and_leaves_nothing(self, cli, run_folder, small_disk, tmp_path):
        sheet, place = decisions_for(run_folder, tmp_path), small_disk(3_000)
        fill(place, but=2**16)  # less than 23 pictures take
        command = ["noise", "apply", run_folder, "--decisions", sheet, "--out", place / "c.csv", "--copy-to", place / "d"]
        assert cli(*command) == (4, "", f"error: no space left in {place}, needs about 0.1 MB.\n")
        assert names(place) == ["filler"]
        (place / "filler").unlink()
        assert cli(*command)[0] == 0
        assert names(place) == ["c.csv", "d"]

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ([], "give one of --drop, --relabel and --decisions, got none. Or decide in dataprune review."),
            (
                ["--drop", "--relabel"],
                "give one of --drop, --relabel and --decisions, got --drop and --relabel. Or decide in dataprune review.",
            ),
            (["--drop", "--confidence", "0.8"], "`--confidence` must go with --relabel, got --drop."),
            (["--relabel", "--confidence", "90"], "`--confidence` must be in (0, 1], got 90.0."),
            (["--drop", "--out", "cleaned.txt"], "`--out` must end in .csv or .parquet, got 'cleaned.txt'."),
            (["--drop", "--out", "nowhere/cleaned.csv"], "`--out` must lie in a folder that exists, got nowhere."),
            (["--drop", "--copy-to", "x", "--link-to", "x"], "`--link-to` must be another folder than --copy-to, got x."),
            (["--drop", "--suspects", "none.csv"], "`none.csv` must be"),
            (["--decisions", "none.csv"], "`none.csv` must be an existing file, got no such file."),
        ],
    )
    def test_refuses(self, cli, run_folder, tmp_path, monkeypatch, arguments, message):
        monkeypatch.chdir(tmp_path)
        code, said, err = cli("noise", "apply", run_folder, *arguments)
        assert (code, said) == (2, "")
        assert err.startswith(f"error: {message}"), err
