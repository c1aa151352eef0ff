"""The protocol of long work: one claim, one writer, and after a kill at any moment the same output."""

import os
import signal

import pytest

from dataprune import store
from dataprune.errors import InputError, StoreError, WorkError
from dataprune.store import WorkFolder

STEPS = ("claimed", "half", "result", "manifest")


def in_folder(place):
    return WorkFolder.in_folder(place / "out", "a run", claim="spec.json", manifest="run.json")


def beside_file(place):
    return WorkFolder.beside_file(place / "x.npy", "features")


@pytest.fixture(params=[in_folder, beside_file])
def work(request, tmp_path):
    return request.param(tmp_path)


def make(work, identity, stop=lambda step: None, **options):
    """Make an output in steps: half of it in the scratch folder, the result, the manifest; return the steps that were taken."""
    taken = []
    with work.work(identity, **options) as finished:
        if finished:
            return taken
        result = work.output / "result" if work.is_folder else work.output
        half = work.scratch / "half.npy"
        for step in STEPS:
            stop(step)
            if step == "half" and not half.exists():
                with store.writing(half) as temporary:
                    temporary.write_text(f"half of {identity['seed']}, ")
                taken.append(step)
            elif step == "result":
                with store.writing(result) as temporary:
                    temporary.write_text(half.read_text() + "whole")
                taken.append(step)
            elif step == "manifest":
                store.write_manifest(result.parent, work.manifest.name, {work.key: identity}, [result.name])
    return taken


def content(work):
    return ((work.output / "result") if work.is_folder else work.output).read_text()


def test_made_once_and_recognised(work):
    assert make(work, {"seed": 1}) == ["half", "result"]
    assert make(work, {"seed": 1}) == []
    assert content(work) == "half of 1, whole"
    assert not work.scratch.exists()


@pytest.mark.parametrize("at", [*STEPS, "end"])
def test_killed_at_any_moment_it_ends_the_same(work, at):
    child = os.fork()
    if child == 0:
        try:
            make(work, {"seed": 1}, lambda step: step == at and os.kill(os.getpid(), signal.SIGKILL))
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    with pytest.raises(InputError, match=r"of other settings: seed 1 there, 2 asked\. Choose another"):
        make(work, {"seed": 2})
    taken = make(work, {"seed": 1})
    assert ("half" in taken) == (at in ("claimed", "half"))
    assert content(work) == "half of 1, whole"
    assert not work.scratch.exists()


def test_one_writer(work):
    def stop(step):
        with pytest.raises(InputError, match="is in use by process"):
            make(work, {"seed": 1})

    make(work, {"seed": 1}, stop)


@pytest.mark.parametrize("damage", ["", "{}", "[", None])
def test_a_damaged_manifest_is_made_anew_where_the_claim_is_there(tmp_path, damage):
    work = in_folder(tmp_path)
    make(work, {"seed": 1})
    work.manifest.unlink() if damage is None else work.manifest.write_text(damage)
    assert make(work, {"seed": 1}) == ["half", "result"]
    assert store.is_whole(work.output, "run.json")


def test_neither_claim_nor_manifest_can_be_believed(work):
    make(work, {"seed": 1})
    work.manifest.write_text("{}")
    if work.is_folder:
        work.claimed.write_text('{"seed": 1, "seal": "0"}')
    with pytest.raises(StoreError, match="Choose another"):
        make(work, {"seed": 1})


def test_damaged_results_are_made_again(work):
    make(work, {"seed": 1})
    (work.output / "result" if work.is_folder else work.output).write_text("other")
    assert make(work, {"seed": 1})
    assert content(work) == "half of 1, whole"


def test_a_failure_before_anything_is_done_binds_nobody(tmp_path):
    work = beside_file(tmp_path)

    def fail(at):
        def stop(step):
            if step == at:
                raise WorkError("no")

        return stop

    with pytest.raises(WorkError):
        make(work, {"seed": 1}, fail("half"))
    with pytest.raises(WorkError):
        make(work, {"seed": 2}, fail("result"))
    with pytest.raises(InputError, match=r"seed 2 there, 1 asked.*or remove .*scratch"):
        make(work, {"seed": 1})
    assert make(work, {"seed": 2}) == ["result"]


def test_a_number_may_grow(tmp_path):
    work = in_folder(tmp_path)
    make(work, {"seed": 1, "members": 2})
    with pytest.raises(InputError, match="members 2 there, 1 asked"):
        make(work, {"seed": 1, "members": 1}, grows=("members",))
    with pytest.raises(InputError, match="seed 1 there, 2 asked"):
        make(work, {"seed": 2, "members": 3}, grows=("members",))
    assert make(work, {"seed": 1, "members": 3}, grows=("members",))


def test_what_else_a_claim_says_may_differ(tmp_path):
    work = in_folder(tmp_path)
    with pytest.raises(KeyboardInterrupt), work.work({"seed": 1}, also={"question": "a"}):
        raise KeyboardInterrupt
    assert store.read_sealed(work.claimed) == {"seed": 1, "question": "a"}
    with work.work({"seed": 1}, also={"question": "b"}) as finished:
        assert not finished
    with pytest.raises(InputError, match="seed 1 there, 2 asked"), work.work({"seed": 2}, also={"question": "a"}):
        pass


def test_places_that_are_taken(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").touch()
    (tmp_path / "x.npy").touch()
    for work in (in_folder(tmp_path), beside_file(tmp_path)):
        with pytest.raises(InputError, match="Choose another"):
            work.check()
        with pytest.raises(InputError, match="Choose another"):
            make(work, {"seed": 1})
    assert sorted(one.name for one in (tmp_path / "out").iterdir()) == ["mine.txt"]
