"""Files and folders that appear together or not at all."""

import contextlib
import errno
import os
from pathlib import Path

import pytest

from dataprune import store
from dataprune.errors import InputError, MachineError
from machine_kit import fill, names


def built(targets, identity="one"):
    """Write each target's name into it; the first is a file, the others are folders with a file."""
    with store.publish_together(targets, identity) as places:
        for target, place in places.items():
            if target != targets[0]:
                place.mkdir()
            (place if target == targets[0] else place / "inside").write_text(target.name)
        return sorted(target.name for target in places)


@pytest.fixture
def targets(tmp_path):
    return [tmp_path / "a.csv", tmp_path / "b", tmp_path / "c"]


def interrupted(targets, monkeypatch, after):
    """Fail as by a kill: so many targets have taken their places."""
    done, replace = [], Path.replace

    def failing(self, to):
        if Path(to) in targets:
            if len(done) == after:
                raise OSError(errno.EBUSY, "stopped")
            done.append(to)
        return replace(self, to)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", failing)
        with pytest.raises(OSError, match="stopped"):
            built(targets)


def test_all_appear_and_nothing_else(targets, tmp_path):
    assert built(targets) == ["a.csv", "b", "c"]
    assert names(tmp_path) == ["a.csv", "b", "c"]
    assert (targets[0].read_text(), (targets[1] / "inside").read_text()) == ("a.csv", "b")


def test_none_appears_when_the_work_fails(targets, tmp_path):
    with contextlib.suppress(KeyError), store.publish_together(targets, "one") as places:
        places[targets[0]].write_text("x")
        raise KeyError
    assert names(tmp_path) == []


def test_interrupted_before_the_first_appears_nothing_is_left(targets, tmp_path, monkeypatch):
    interrupted(targets, monkeypatch, 0)
    assert names(tmp_path) == []


@pytest.mark.parametrize("after", [1, 2])
def test_interrupted_among_the_last_steps_the_same_call_goes_on(targets, tmp_path, monkeypatch, after):
    interrupted(targets, monkeypatch, after)
    assert [target.exists() for target in targets] == [number < after for number in range(3)]
    assert built(targets) == ["b", "c"][after - 1 :]
    assert names(tmp_path) == ["a.csv", "b", "c"]
    assert [(target / "inside").read_text() for target in targets[1:]] == ["b", "c"]


def test_another_call_does_not_go_on_with_it(targets, tmp_path, monkeypatch):
    interrupted(targets, monkeypatch, 1)
    with pytest.raises(InputError, match=r"a\.csv` is of an interrupted command that wrote other things\. Remove it first\."):
        built(targets, "two")
    for others in (targets[:2], targets[:1]):
        with pytest.raises(InputError, match="already exists"):
            built(others)
    assert built(targets) == ["b", "c"]


@pytest.mark.parametrize("kind", ["file", "folder", "dangling link"])
def test_what_is_there_is_refused_and_left_alone(targets, tmp_path, kind):
    {
        "file": lambda: targets[1].write_text("mine"),
        "folder": targets[1].mkdir,
        "dangling link": lambda: targets[1].symlink_to("no"),
    }[kind]()
    for ask in (store.check_new, built):
        with pytest.raises(InputError, match=f"`{targets[1]}` already exists"):
            ask(targets)
    assert names(tmp_path) == ["b"]


def test_two_of_one_name_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"`targets` must be different, got .*/x twice"):
        built([Path("x"), tmp_path / "x"])


def test_one_that_is_at_work_is_named(targets):
    with store.publish_together(targets[:1], "one") as places:
        with pytest.raises(InputError, match=rf"is in use by process {os.getpid()} .*; wait for it, or choose another name\."):
            built(targets)
        places[targets[0]].write_text("x")
    assert targets[0].read_text() == "x"


def large(target):
    """Write 5 MB."""
    with store.publish_together([target], "one", 5_000_000) as places:
        places[target].mkdir()
        for number in range(5):
            (places[target] / str(number)).write_bytes(bytes(1_000_000))


@pytest.mark.parametrize("filled", [False, True])
def test_a_full_disk_is_said_and_leaves_nothing(small_disk, filled):
    place = small_disk(3_000)
    if filled:
        fill(place)
    with pytest.raises(MachineError, match=rf"^no space left in {place}, needs about \d\.\d MB\.$"):
        large(place / "new")
    assert names(place) == (["filler"] if filled else [])
