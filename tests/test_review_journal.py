"""Decisions on disk: what was said stands after a kill, damage is cut out, two windows do not overwrite each other."""

import json
import os
import shutil

import pytest

import dataprune as dp
from dataprune import store
from dataprune.errors import InputError, MachineError
from dataprune.run.journal import JOURNAL, TABLE, Journal, decisions_of, reviewed
from review_toys import recorded, vectors

A, B, C = ("train", "a"), ("train", "b"), ("test", "a")


def stands(journal):
    return {key: one[:2] for key, one in journal.state.items() if one.decision}


def filled(folder):
    journal = Journal(folder)
    journal.decide({A: ("drop", ""), B: ("keep", "")}, 0)
    journal.decide({A: ("relabel", "cat"), C: ("drop", "")}, journal.count)
    journal.decide({B: ("drop", "")}, journal.count)
    return journal


def test_what_is_decided_is_read_again(tmp_path):
    made = filled(tmp_path)
    again = Journal(tmp_path)
    assert again.state == made.state
    assert (again.count, again.undoable, again.notes) == (3, [1, 2, 3], ())
    assert stands(again) == {A: ("relabel", "cat"), B: ("drop", ""), C: ("drop", "")}


def test_undo_goes_back_step_by_step_also_after_a_restart(tmp_path):
    filled(tmp_path)
    for number, after in (
        (3, {A: ("relabel", "cat"), B: ("keep", ""), C: ("drop", "")}),
        (2, {A: ("drop", ""), B: ("keep", "")}),
        (1, {}),
    ):
        journal = Journal(tmp_path)
        assert journal.undoable[-1] == number
        assert journal.undo(number) == []
        assert stands(journal) == after
    with pytest.raises(InputError, match="entry"):
        Journal(tmp_path).undo(1)


def test_two_windows_do_not_overwrite_each_other(tmp_path):
    journal = filled(tmp_path)
    assert journal.decide({A: ("keep", ""), B: ("keep", "")}, known=2) == [B]
    assert stands(journal)[A] == ("keep", "")
    assert stands(journal)[B] == ("drop", "")
    assert journal.decide({B: ("drop", "")}, known=0) == []  # both say the same
    assert journal.undo(2) == [A]  # somebody decided anew since: only the other goes back
    assert A in stands(journal)
    assert C not in stands(journal)


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_a_line_that_was_cut_short_is_left_out_and_written_over(tmp_path, cut):
    filled(tmp_path)
    whole = (tmp_path / JOURNAL).read_bytes()
    (tmp_path / JOURNAL).write_bytes(whole[:-cut])
    journal = Journal(tmp_path)
    assert journal.count == (3 if cut == 1 else 2)  # only the end of the line is missing: all of it was said
    assert bool(journal.notes) == (cut > 1)
    journal.decide({B: ("relabel", "x")}, journal.count)
    assert stands(Journal(tmp_path))[B] == ("relabel", "x")
    assert Journal(tmp_path).notes == ()


def test_damage_in_the_middle_keeps_what_is_whole_and_is_said(tmp_path):
    filled(tmp_path)
    lines = (tmp_path / JOURNAL).read_bytes().splitlines(keepends=True)
    for bad in (lines[1].replace(b"cat", b"dog"), b"[]\n", b"\xff\x00\n"):
        (tmp_path / JOURNAL).write_bytes(lines[0] + bad + lines[2])
        journal = Journal(tmp_path)
        assert stands(journal) == {A: ("drop", ""), B: ("drop", "")}
        assert "1 of 3 lines" in journal.notes[0]


def test_lines_that_are_missing_twice_or_out_of_place_are_said_and_change_nothing(tmp_path):
    filled(tmp_path)
    first, second, third = (tmp_path / JOURNAL).read_bytes().splitlines(keepends=True)
    for lines, after in (
        ((first, third), {A: ("drop", ""), B: ("drop", "")}),
        ((first, second, second, third), {A: ("relabel", "cat"), B: ("drop", ""), C: ("drop", "")}),
        ((first, third, second), {A: ("drop", ""), B: ("drop", "")}),
    ):
        (tmp_path / JOURNAL).write_bytes(b"".join(lines))
        journal = Journal(tmp_path)
        assert stands(journal) == after
        assert "damaged or missing" in journal.notes[0]


@pytest.mark.parametrize("change", ["gone", "longer", "another"])
def test_a_journal_that_others_changed_is_not_written(tmp_path, change):
    journal, path = filled(tmp_path), tmp_path / JOURNAL
    if change == "gone":
        path.unlink()
    elif change == "another":
        (tmp_path / "other").write_bytes(path.read_bytes())
        (tmp_path / "other").replace(path)
    else:
        Journal(tmp_path).decide({C: ("keep", "")}, 3)
    left = path.read_bytes() if path.exists() else None
    with pytest.raises(MachineError, match="changed by others"):
        journal.decide({C: ("keep", "")}, journal.count)
    assert (path.read_bytes() if path.exists() else None) == left


@pytest.mark.parametrize("known", [-1, 4])
def test_an_entry_that_never_was_cannot_be_known(tmp_path, known):
    with pytest.raises(InputError, match="`known` must be the number of an entry"):
        filled(tmp_path).decide({C: ("keep", "")}, known)


def test_a_disk_that_refuses_leaves_the_journal_as_it_was(tmp_path, monkeypatch):
    journal = filled(tmp_path)
    before = (tmp_path / JOURNAL).read_bytes()

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(MachineError, match="space"):
        journal.decide({A: ("keep", "")}, journal.count)
    assert (tmp_path / JOURNAL).read_bytes() == before
    assert stands(journal)[A] == ("relabel", "cat")


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Return a run of twelve vectors."""
    return recorded(vectors(), tmp_path_factory.mktemp("review") / "run").path


@pytest.fixture
def run(small, tmp_path):
    shutil.copytree(small, tmp_path / "run")
    return tmp_path / "run"


def decided(run):
    journal = Journal(run)
    one, two, three = (("train", f"x/{row}.png") for row in (1, 4, 7))
    journal.decide({one: ("drop", ""), two: ("relabel", "ship"), three: ("keep", ""), ("test", "y"): ("drop", "")}, 0)
    journal.decide({("train", "nobody"): ("drop", "")}, 1)
    return journal


def test_the_table_follows_the_journal(run):
    opened = dp.open_run(run)
    assert reviewed(opened) is None
    journal = decided(run)
    found = decisions_of(opened)
    assert [str(one) for one in found.decision] == ["keep", "drop", *["keep"] * 2, "relabel", *["keep"] * 7]
    assert found.labels.tolist() == [0, 1, 2, 0, 2, 2, 0, 1, 2, 0, 1, 2]
    written = (run / TABLE).stat().st_mtime_ns
    assert reviewed(opened) == run / TABLE
    assert (run / TABLE).stat().st_mtime_ns == written, "it was up to date"
    journal.undo(1)
    assert decisions_of(opened) is None
    assert not (run / TABLE).exists()


def test_commands_read_what_was_decided(run, cli, tmp_path):
    assert cli("noise", "apply", run)[0] == 2
    decided(run)
    code, out, _ = cli("noise", "apply", run, "--out", tmp_path / "clean.csv")
    assert code == 0
    assert "1 dropped, 1 relabelled" in out
    code, out, _ = cli("prune", run, "--keep", "0.5", "--strategy", "random", "--out", tmp_path / "kept.csv")
    assert code == 0
    assert "1 example dropped" in out
    kept = (tmp_path / "kept.csv").read_text().splitlines()[1:]
    assert len(kept) == 6  # of eleven
    assert not any("x/1.png" in line for line in kept)
    assert all(int(line.split(",")[2]) == int(line.split("/")[1].split(".")[0]) for line in kept), "rows are those of the source"
    assert json.loads((tmp_path / "kept.csv.json").read_text())["dropped"] == 1
    assert cli("export", run, "--fiftyone", tmp_path / "labels.json")[0] == 0
    labels = json.loads((tmp_path / "labels.json").read_text())["labels"]
    assert "x/1" not in labels
    assert labels["x/4"] == 2
    assert dp.verify(run) == []


def test_of_a_run_that_may_not_be_written_the_journal_itself_is_read(run, cli, tmp_path, monkeypatch):
    journal = decided(run)
    assert reviewed(dp.open_run(run)) == run / TABLE
    journal.decide({("train", "x/2.png"): ("drop", "")}, journal.count)
    stale, writing = (run / TABLE).read_bytes(), store.writing

    def refuse(path, **options):
        if path.parent == run:
            raise MachineError(f"{run} may not be written.")
        return writing(path, **options)

    monkeypatch.setattr(store, "writing", refuse)
    code, out, err = cli("noise", "apply", run, "--out", tmp_path / "clean.csv")
    assert (code, "2 dropped, 1 relabelled" in out, "may not be written" in err) == (0, True, True)
    assert cli("prune", run, "--keep", "0.5", "--strategy", "random", "--out", tmp_path / "kept.csv")[0] == 0
    assert len((tmp_path / "kept.csv").read_text().splitlines()) == 1 + 5  # half of ten
    assert (run / TABLE).read_bytes() == stale


def test_labels_of_other_tools_are_decisions(run, cli, tmp_path):
    tasks = [
        {"data": {"image": f"/data/local-files/?d=x%2F{row}.png"}, "annotations": [{"result": [choice]}]}
        for row, choice in enumerate(
            {"type": "choices", "from_name": "label", "value": {"choices": [name]}} for name in ("cat", "dog", "dog")
        )
    ]
    (tmp_path / "tasks.json").write_text(json.dumps(tasks))
    code, out, _ = cli("noise", "apply", run, "--decisions", tmp_path / "tasks.json", "--out", tmp_path / "clean.csv")
    assert code == 0
    assert "0 dropped, 1 relabelled" in out
    assert '"x/2.png","dog","ship","relabel"' in (tmp_path / "clean.csv").read_text()


def test_an_audit_in_review_is_what_the_command_counts(run, cli, tmp_path):
    rows = dp.audit(dp.find_suspects(dp.open_run(run)), 12).rows.tolist()
    journal = Journal(run)
    journal.decide({("train", f"x/{row}.png"): ("drop" if row == 5 else "keep", "") for row in rows[:11]}, 0)
    code, out, _ = cli("noise", "audit", run, "--size", "12", "--out", tmp_path / "a.csv")
    assert code == 0
    assert "left: 1 of 12" in out
    journal.decide({("train", f"x/{rows[11]}.png"): ("keep", "")}, journal.count)
    code, out, err = cli("noise", "audit", run, "--size", "12", "--out", tmp_path / "a.csv")
    assert code == 0
    assert "looked at: 12 of 12 labels, 1 of them wrong" in out
    assert "more, which" not in err
