"""Rounds: networks trained again without the labels that the first ones call wrong, and what is read from both."""

from dataclasses import replace

import numpy as np
import pytest

from dataprune import noise
from dataprune.data import from_arrays, read
from dataprune.errors import InputError
from dataprune.noise import Suspects
from dataprune.report.page.data import gather
from dataprune.run.evidence import evidence_of, evidence_of_rounds, evidence_of_trace, excluded
from dataprune.run.score import score
from dataprune.run.suspects import find_suspects
from dataprune.trace import Recorder, Trace
from dataprune.training.settings import Hardware, Settings

TWICE = Settings(folds=3, rounds=2, epochs=3, model="linear", recipe="fast-gray")
SERIAL = Hardware(executor="serial")
FILES = ["scores.parquet", "spec.json", *(f"trace/member-00{m}.safetensors" for m in range(6))]


@pytest.fixture(scope="module")
def truth():
    return read("digits").take(np.arange(600))


@pytest.fixture(scope="module")
def digits(truth):
    return truth.with_labels(noise.inject_noise(truth.labels, 0.15, "uniform", n_classes=10, ids=truth.ids.tolist()))


@pytest.fixture(scope="module")
def run(digits, tmp_path_factory):
    return score(digits, tmp_path_factory.mktemp("runs") / "run", TWICE, SERIAL)


def test_the_second_round_has_the_same_folds_without_the_find_suspects_the_first(run, digits, truth):
    first, again = run.trace.trained_on[:3], run.trace.trained_on[3:]
    found = noise.find(evidence_of_trace(run.trace.of_members(range(3)), run.classes))
    missing = excluded(found)
    assert (again == first & ~missing).all()
    assert 30 < missing.sum() < 120
    assert (digits.labels != truth.labels)[missing].mean() > 0.8


def test_the_first_round_is_that_of_a_run_with_one(run, digits, tmp_path):
    alone = score(digits, tmp_path / "one", replace(TWICE, rounds=1), SERIAL)
    for name in FILES[2:5]:
        assert (alone.path / name).read_bytes() == (run.path / name).read_bytes(), name


@pytest.mark.parametrize("hardware", [SERIAL, pytest.param(Hardware(executor="processes", workers=2), marks=pytest.mark.long)])
def test_an_interruption_and_processes_change_no_bit(run, digits, tmp_path, hardware, monkeypatch):
    monkeypatch.setattr("dataprune.training.ensemble.CHECKPOINT_SECONDS", 0.0)

    class StopError(Exception):
        pass

    def listen(heard):
        if heard.epoch is not None and (heard.epoch.member, heard.epoch.epoch) == (4, 2):
            raise StopError

    with pytest.raises(StopError):
        score(digits, tmp_path / "run", TWICE, SERIAL, listener=listen)
    score(digits, tmp_path / "run", TWICE, hardware)
    for name in FILES:
        assert (tmp_path / "run" / name).read_bytes() == (run.path / name).read_bytes(), name


def test_each_example_is_asked_of_as_many_networks_suspect_or_not(run):
    evidence = evidence_of(run)
    assert evidence.retrained
    assert (evidence.out_of_sample_votes.sum(axis=1) == 2).all()
    assert (evidence.votes.sum(axis=1) == 6).all()
    fold = ~run.trace.trained_on[:3]
    logs = sum(
        np.log(np.maximum(run.trace.member_probabilities(m), 1e-4)) * fold[m % 3][:, None] for m in range(6)
    )  # by a naive route: the mean of the logarithms of the two whose fold it is in
    p = np.exp(logs / 2)
    np.testing.assert_allclose(evidence.out_of_sample, p / p.sum(axis=1, keepdims=True), atol=1e-5)


def test_what_a_round_left_out_does_not_count_as_held_out(run):
    right, first = run.trace.channel("predicted") == run.labels, ~run.trace.trained_on[:3]
    by_hand = [np.mean([right[m, epoch][first[m % 3]].mean() for m in range(6)]) for epoch in range(3)]  # folds of the same size
    found = gather(run).predictions
    assert found.held_out == pytest.approx(by_hand, abs=1e-6)
    assert run.plot() is not None


def toy(p, labels):
    recorder = Recorder(labels, p.shape[1], 1)
    recorder.update(range(len(p)), np.log(p), 0)
    return Trace([recorder.finish()], labels)


def test_mirror_images_are_heard_too():
    labels, p = [0, 1, 0, 1], np.array([[0.8, 0.2], [0.4, 0.6], [0.5, 0.5], [0.1, 0.9]])
    members = []
    for seen in ([1, 1, 0, 0], [0, 0, 1, 1]):
        recorder = Recorder(labels, 2, 1, trained_on=np.array(seen, bool))
        recorder.update(range(4), np.log(p), 0)
        members.append(recorder.finish(mirrored=p[::-1].copy()))
    evidence = evidence_of_rounds(Trace(members, labels), range(2), 2)
    for view in (evidence.out_of_sample, evidence.in_sample):
        np.testing.assert_allclose(view, (p + p[::-1]) / 2, atol=1e-3)
    for view in (
        evidence.count_from.out_of_sample,
        evidence.count_from.in_sample,
    ):  # how much noise there is was calibrated on these
        np.testing.assert_allclose(view, p, atol=1e-3)
    assert not evidence.retrained
    assert evidence_of_rounds(toy(p, labels), [0], 1).count_from is None, "nothing was asked of mirror images"


def test_the_finding_is_of_both_rounds_and_its_count_of_the_first(run, truth):
    first = evidence_of(run).count_from
    before, after = noise.find(first), find_suspects(run)
    assert noise.evaluate_suspects(after, truth.labels).average_precision > 0.93
    assert not np.array_equal(after.score, before.score)
    assert after.n_wrong == pytest.approx(before.n_wrong)
    assert after.probability.sum() == pytest.approx(after.n_wrong, rel=0.01)
    assert "trained again" in after.method


def test_a_probe_is_counted_by_what_it_did_not_see(tmp_path):
    labels = np.arange(60) % 2
    vectors = np.random.default_rng(0).normal(size=(60, 4)) + 3 * labels[:, None]
    evidence = evidence_of(score(from_arrays(vectors, labels), tmp_path, Settings(folds=2, epochs=2), SERIAL))
    assert evidence.sampling == "both"
    assert (evidence.count_from.sampling, evidence.count_from.ours) == ("out", True)


def test_of_each_label_at_most_half_is_left_out_and_the_surest_are():
    labels = np.array([0, 0, 0, 0, 1, 1, 1])
    probability = np.array([0.6, 0.9, 0.7, 0.8, 0.9, 0.2, 0.1])
    found = Suspects(
        ids=np.array([str(i) for i in range(7)], dtype=np.dtypes.StringDType()),
        labels=labels,
        suggested_label=1 - labels,
        probability=probability,
        score=probability,
        is_suspect=probability > 0.5,
        reason=np.full(7, "", object),
        n_wrong=4.2,
        n_wrong_low=0.0,
        n_wrong_high=7.0,
        classes=("a", "b"),
        sampling="both",
        method="",
    )
    assert excluded(found).tolist() == [False, True, False, True, True, False, False]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (replace(TWICE, folds=0), "`rounds` must be 1 without folds, got 2. Give --folds too"),
        (replace(TWICE, members=3), "folds × repeats × rounds = 6, got 3"),
    ],
)
def test_rounds_that_cannot_be(settings, message, digits, tmp_path):
    with pytest.raises(InputError) as error:
        score(digits, tmp_path / "run", settings, SERIAL)
    assert message in str(error.value)
