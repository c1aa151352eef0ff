"""A trace of one's own becomes a run that every command takes, and says nothing that nobody knows."""

import numpy as np
import pytest

import dataprune as dp
from dataprune import store
from dataprune.errors import InputError
from dataprune.run import manifest, recorded
from dataprune.tables import read_table
from kill_everywhere import state
from toys import random_logits, record

N, CLASSES = 60, ("lily", "aster", "rose")  # not in the order of the alphabet


@pytest.fixture(scope="module")
def trained():
    """Return the labels of 60 examples and two members, of which each has seen two thirds."""
    labels, logits = random_logits(members=2, epochs=3, examples=N, classes=3)
    seen = [np.arange(N) % 3 != fold for fold in (0, 1)]
    return labels, [record(one, labels, trained_on=by, seed=seed) for seed, (one, by) in enumerate(zip(logits, seen, strict=True))]


def images(labels):
    draw = np.random.default_rng(0).integers(0, 90, (N, 8, 8, 3), dtype=np.uint8)
    draw[np.arange(N), :, :, labels] += 100
    return draw


def data_of(kind, labels, folder):
    """Write data of a kind as a person has them, in the order of the rows; only texts and rows need a file."""
    names = np.array(CLASSES, object)[labels]
    if kind == "pictures":
        return dp.from_arrays(images(labels), labels, ids=[f"p{row}" for row in range(N)], classes=CLASSES)
    if kind == "vectors":
        return dp.from_arrays(images(labels).reshape(N, -1).astype(np.float32), names.tolist(), ids=[f"p{row}" for row in range(N)])
    if kind == "texts":
        lines = [f"p{row},this is the story of plant number {row},{name}" for row, name in enumerate(names)]
        path, head = folder / "texts.csv", "id,text,label"
    else:
        lines = [f"p{row},{row % 7}.5,{row % 5}.25,{name}" for row, name in enumerate(names)]
        path, head = folder / "rows.csv", "id,length,width,label"
    path.write_text("\n".join([head, *lines]))
    return path


@pytest.mark.parametrize("kind", ["pictures", "vectors", "texts", "rows"])
def test_a_trace_of_any_data_is_a_run(kind, trained, tmp_path):
    labels, members = trained
    order = np.random.default_rng(1).permutation(N)[:50]  # the training had fewer examples, in another order
    ids = np.array([f"p{row}" for row in range(N)])
    whole = dp.Trace(members, labels, ids)
    trace = dp.Trace(list(whole.members_at(order)), labels[order], ids[order])
    data = data_of(kind, labels, tmp_path)
    run = dp.write_run(trace, data, tmp_path / "run", model="ours", classes=CLASSES)
    kept = np.sort(order)
    assert run.ids.tolist() == ids[kept].tolist()
    assert [run.classes[label] for label in run.labels] == [CLASSES[label] for label in labels[kept]]
    expected = dp.score_trace(whole)
    for name in expected:
        np.testing.assert_allclose(run.scores[name].values, expected[name].values[kept], rtol=1e-6)
    assert run.dataset(data).kind == {"pictures": "images", "vectors": "features"}.get(kind, kind)
    assert run.manifest.spec.model == "ours"
    assert (run.manifest.cost, run.manifest.spec.recipe) == ((), None)
    assert "weights" in run.scores.absent["median_distance"]


def test_the_same_call_returns_at_once_and_another_is_refused(trained, tmp_path):
    labels, members = trained
    trace, data = dp.Trace(members, labels), data_of("pictures", labels, tmp_path)
    dp.write_run(trace, data, tmp_path / "run")
    before = state(tmp_path / "run")
    dp.write_run(trace, data, tmp_path / "run")
    assert state(tmp_path / "run") == before
    others = [
        (dp.Trace(members[:1], labels), data, "members 2 there, 1 asked"),
        (trace.of_members([1, 0]), data, "seed 0 there, 1"),
    ]
    others += [(trace, dp.from_arrays(255 - images(labels), labels, ids=data.ids.tolist(), classes=CLASSES), "data .* there")]
    for other, its_data, said in others:
        with pytest.raises(InputError, match=f"(?s)holds a run of other settings.*{said}"):
            dp.write_run(other, its_data, tmp_path / "run")
    with pytest.raises(InputError, match="holds a run of other settings"):
        dp.score(data, tmp_path / "run", dp.Settings(model="linear", epochs=1, folds=0, members=1))


@pytest.mark.parametrize("dies_at", ["save_member", "write_scores", "doubts", "score_trace"])
def test_killed_the_same_call_gives_the_same_bytes(dies_at, trained, tmp_path, monkeypatch):
    labels, members = trained
    trace, data = dp.Trace(members, labels), data_of("pictures", labels, tmp_path)
    monkeypatch.setattr("dataprune.run.manifest.made_now", lambda: {"versions": {}, "finished": "now"})
    dp.write_run(trace, data, tmp_path / "whole")
    with monkeypatch.context() as patched:
        room = recorded if hasattr(recorded, dies_at) else manifest
        whole = getattr(room, dies_at)

        def die(*arguments, calls=[]):  # noqa: B006 counts
            calls.append(1)
            if len(calls) > (dies_at == "save_member"):
                raise KeyboardInterrupt
            return whole(*arguments)

        patched.setattr(room, dies_at, die)
        with pytest.raises(KeyboardInterrupt):
            dp.write_run(trace, data, tmp_path / "killed")
    with pytest.raises(InputError, match="not finished"):
        dp.open_run(tmp_path / "killed")
    dp.write_run(trace, data, tmp_path / "killed")
    assert state(tmp_path / "killed") == state(tmp_path / "whole")


def test_what_does_not_fit_is_refused_before_anything_is_written(trained, tmp_path):
    labels, members = trained
    trace, data = dp.Trace(members, labels), data_of("pictures", labels, tmp_path)
    named = dp.Trace(members, labels, np.array([f"q{row}" for row in range(N)]))
    twice = dp.Trace(members, labels, np.array(["p0", "p0", *(f"p{row}" for row in range(2, N))]))
    calls = {
        "until epoch 1": (trace.until(1), data),
        "'q0', 'q1'.*60 of 60": (named, data),
        "'p0' more than once": (twice, data),
        "have 50 examples.*got 60": (trace, data.take(np.arange(50))),
        r"3 outputs of the network, got lily, aster": (trace, data.with_labels(labels % 2, CLASSES[:2])),
        r"60 of 60 differ. Say the order.*classes=\['aster', 'rose', 'lily'\]": (
            trace,
            data.with_labels((labels + 1) % 3, CLASSES),
        ),
        "differ. Record against": (trace, data.with_labels(np.roll(labels, 1), CLASSES)),
        "of type Trace, got MemberTrace": (members[0], data),
        "outputs of the network, got none": (trace, dp.from_arrays(images(labels))),
    }
    for said, (wrong, its_data) in calls.items():
        with pytest.raises(InputError, match=said):
            dp.write_run(wrong, its_data, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_members_that_learned_nothing_or_not_all_are_noted(trained, tmp_path):
    labels, _ = trained
    recorder = dp.Recorder(labels, CLASSES)
    recorder.update(np.arange(N), np.tile(np.eye(3)[2] * 5, (N, 1)), 0)
    member = recorder.finish()
    member.info["incomplete"] = "the pass after epoch 2 failed"
    run = dp.write_run(dp.Trace([member], labels), dp.from_arrays(images(labels)), tmp_path / "run")
    assert run.classes == CLASSES
    said = " ".join(run.manifest.notes)
    assert "incomplete: the pass after epoch 2 failed" in said
    assert "member 0 names no more labels than the largest class" in said


def test_suspects_of_a_trace(trained, tmp_path):
    labels, members = trained
    data = data_of("pictures", labels, tmp_path)
    alone, named = dp.find_suspects(dp.Trace(members, labels)), dp.find_suspects(dp.Trace(members, labels), data=data)
    run = dp.write_run(dp.Trace(members, labels), data, tmp_path / "run")
    np.testing.assert_array_equal(alone.score, dp.find_suspects(run).score)
    np.testing.assert_array_equal(named.score, alone.score)
    assert (alone.classes, named.classes, named.ids[3]) == (("0", "1", "2"), CLASSES, "p3")
    with pytest.raises(InputError, match="`data` goes with a trace"):
        dp.find_suspects(run, data=data)


def commands(run, data, folder):
    """Return what a person may ask of a run, by name."""
    return {
        "prune": ("prune", run, "--by", "el2n", "--keep", "0.5", "--out", folder / "kept.csv"),
        "moderate": ("prune", run, "--by", "median_distance", "--keep", "0.5", "--out", folder / "no.csv"),
        "find": ("noise", "find", run, "--out", folder / "suspects.csv"),
        "apply": ("noise", "apply", run, "--suspects", folder / "suspects.csv", "--drop", "--out", folder / "cleaned.csv"),
        "report": ("report", run, "--out", folder / "page.html"),
        "advise": ("advise", run),
        "verify": ("verify", run),
        "export": ("export", run, "--probabilities", folder / "p.npy"),
        "column": ("prune", run, "--by", f"{run}/scores.parquet:aum", "--keep", "0.5", "--out", folder / "aum.csv"),
        "trace": ("embed", data, "--encoder", "trace", "--run", run, "--out", folder / "trace.npy"),
        "vectors": ("embed", data, "--encoder", "pixels", "--out", folder / "pixels.npy"),
        "map": ("map", folder / "pixels.npy", "--run", run, "--out", folder / "map.png"),
        "features": ("report", run, "--features", folder / "pixels.npy", "--out", folder / "more.html"),
        "study": ("study", data, "--preset", "half", "--run", run, "--seeds", "2", "--epochs", "1", "--out", folder / "study"),
    }


@pytest.mark.long
def test_every_command_takes_it(cli, tmp_path):
    digits = dp.read("digits").take(np.arange(400))
    labels, data = digits.labels, tmp_path / "digits.npz"
    np.savez(data, x_train=digits.images, y_train=labels, x_test=digits.images[:50], y_test=labels[:50])
    _, logits = random_logits(members=1, epochs=3, examples=len(labels), classes=10)
    member = record(logits[0] + np.eye(10)[labels] * 3, labels)
    dp.write_run(dp.Trace([member], labels), data, run := tmp_path / "run", model="my own")
    done = {name: cli(*asked) for name, asked in commands(run, data, tmp_path).items()}
    refused = {"moderate": "recorded in another training", "trace": "recorded in another training"}
    for name, (code, _, err) in done.items():
        assert (code, refused.get(name, "") in err) == (2 if name in refused else 0, True), (name, err)
    said = done["advise"][1]
    assert "my own" in said
    assert "cost" not in said.split("next:")[0].replace("costs no scoring", "").replace("recipe and cost", "")
    page = (tmp_path / "page.html").read_text("utf-8")
    assert "recipe and cost are not known" in page
    assert "bit-exact" not in page
    assert len(read_table(tmp_path / "kept.csv").columns["id"]) == 200
    assert store.read_json(tmp_path / "study" / "study.json")["scoring"] == [[]]
