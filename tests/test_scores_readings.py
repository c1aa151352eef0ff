"""A trace read in other ways: up to an epoch, in windows, by members that did not see an example; names by other words."""

import jaxtyping
import numpy as np
import pytest

from dataprune.errors import InputError
from dataprune.scores import ALIASES, FEATURE_SCORES, NETWORK_SCORES, SCORES, Scores, canonical, score_trace
from dataprune.scores.dynamics import dual, dyn_unc, loss_mean
from dataprune.trace import MemberTrace, Trace
from toys import LABELS, PROBABILITIES, TRAINED_ON, random_logits, record, toy_member, toy_trace, trace_of

OF_THE_LAST_EPOCH = {"std", "least_confidence", "top_two_margin"}


def folded(members=4, epochs=5, examples=24, absent=()):
    """Record members of which each has not seen a fourth, but for what is `absent` from that."""
    labels, logits = random_logits(members=members, epochs=epochs, examples=examples)
    fold = np.arange(examples) % members
    seen = [(fold != member) | np.isin(np.arange(examples), absent) for member in range(members)]
    return labels, logits, Trace([record(logits[m], labels, trained_on=seen[m]) for m in range(members)], labels)


class TestUntil:
    def test_is_the_trace_of_a_shorter_training(self):
        labels, logits = random_logits(epochs=6)
        cut, short = trace_of(labels, logits).until(4), trace_of(labels, logits[:, :4])
        assert cut.n_epochs == cut.until(4).n_epochs == 4
        there, expected = score_trace(cut, "all"), score_trace(short, "all")
        assert set(expected) - set(there) == OF_THE_LAST_EPOCH
        for name in there:
            np.testing.assert_array_equal(there[name].values, expected[name].values)
        assert "after epoch 4" in there.absent["std"]

    def test_all_epochs_are_the_trace_itself(self):
        trace = toy_trace()
        assert set(score_trace(trace.until(3), "all")) == set(score_trace(trace, "all"))
        assert score_trace(trace.until(1)[1:3], ["el2n"])["el2n"].values.shape == (2,)

    @pytest.mark.parametrize("epoch", [0, 4])
    def test_beyond_the_trace(self, epoch):
        with pytest.raises(InputError, match=f"`until` must be from 1 to 3, the epochs of the trace, got {epoch}"):
            toy_trace().until(epoch)


class TestWindow:
    def test_averages_over_windows(self):
        p = PROBABILITIES[:, :, np.arange(4), LABELS].astype(np.float64)
        parts = [p[:, start : start + 2] for start in (0, 1)]
        spread = [part.std(axis=1, ddof=1) for part in parts]
        found = score_trace(toy_trace(), ["dyn_unc", "dual", "el2n_sum", "aum"], window=2)
        np.testing.assert_allclose(found["dyn_unc"].values, np.mean(spread, axis=(0, 1)), rtol=1e-6, atol=1e-9)
        weighted = [(1 - part.mean(axis=1)) * std for part, std in zip(parts, spread, strict=True)]
        np.testing.assert_allclose(found["dual"].values, np.mean(weighted, axis=(0, 1)), rtol=1e-6, atol=1e-9)
        summed = toy_trace().channel("el2n")[:, :2].sum(axis=1).mean(axis=0)
        np.testing.assert_allclose(found["el2n_sum"].values, summed, rtol=1e-6)

    def test_is_ten_epochs_or_all_of_fewer(self):
        long = trace_of(*random_logits(epochs=12))
        assert np.array_equal(dual(long), dual(long, 10))
        assert not np.allclose(dual(long), dual(long, 12))
        assert np.array_equal(dyn_unc(long.until(7)), dyn_unc(long.until(7), 7))

    @pytest.mark.parametrize(("name", "window", "least"), [("dual", 4, 2), ("dual", 1, 2), ("tdds", 2, 3), ("el2n_sum", 0, 1)])
    def test_that_does_not_fit_is_refused(self, name, window, least):
        with pytest.raises(InputError, match=f"`window` must be from {least} to 3 epochs.*{name}, got {window}.*--epochs"):
            score_trace(toy_trace(), [name], window=window)

    def test_of_scores_without_one_is_refused(self):
        with pytest.raises(InputError, match=r"`window` must go with one of .*tdds.*, got aum, std"):
            score_trace(toy_trace(), ["aum", "std"], window=2)

    def test_wider_than_a_usual_trace_is_said_too(self):
        with pytest.raises(InputError, match="`window` must be from 2 to 3 epochs"):
            score_trace(toy_trace(), window=5)


class TestEvidence:
    def test_out_is_the_score_by_the_members_that_did_not_see_it(self):
        labels, logits, trace = folded()
        found = score_trace(trace, "all", evidence="out")
        assert "std needs two members" in found.absent["std"]
        for row in range(len(labels)):
            alone = Trace([record(logits[row % 4, :, row : row + 1], labels[row : row + 1])], labels[row : row + 1])
            expected = score_trace(alone, "all")
            for name in found:
                np.testing.assert_allclose(found[name].values[row], expected[name].values[0], rtol=1e-5, atol=1e-6, err_msg=name)

    def test_members_may_be_of_different_numbers(self):
        _, logits, trace = folded()
        seen = trace.trained_on
        seen[0, :3] = False  # two members did not see rows 1 and 2
        members = [record(logits[m], trace.labels, trained_on=seen[m]) for m in range(4)]
        mixed = Trace(members, trace.labels)
        values = mixed.last("el2n").astype(np.float64)
        for evidence, speaks in (("out", ~seen), ("in", seen)):
            expected = (values * speaks).sum(axis=0) / speaks.sum(axis=0)
            found = score_trace(mixed, ["el2n", "forget"], evidence=evidence)
            np.testing.assert_allclose(found["el2n"].values, expected, rtol=1e-6)

    def test_with_chunks_and_until(self, monkeypatch):
        _, _, trace = folded()
        whole = score_trace(trace.until(3), ["aum", "dual"], evidence="out")
        monkeypatch.setattr("dataprune.trace.trace.CHUNK_VALUES", 4 * 5 * 7)
        for name, one in score_trace(trace.until(3), ["aum", "dual"], evidence="out").items():
            np.testing.assert_allclose(one.values, whole[name].values, rtol=1e-12)

    def test_that_is_not_there(self):
        with pytest.raises(InputError, match=r"evidence 'out' is not there for 1 of 4 examples \(rows 0\).*--folds"):
            score_trace(toy_trace(), ["el2n"], evidence="out")
        with pytest.raises((InputError, jaxtyping.TypeCheckError), match="unseen"):
            score_trace(toy_trace(), ["el2n"], evidence="unseen")


def test_memorization_by_hand():
    # Examples 1 and 3 were seen by the first member only, example 2 by the second.
    found = score_trace(toy_trace()[1:], ["memorization"])["memorization"]
    np.testing.assert_allclose(found.values, [0.8 - 0.3, 0.7 - 0.2, 0.9 - 0.9], atol=1e-6)
    assert found.harder == 1
    with pytest.raises(InputError, match=r"1 lack one. Score with --folds"):
        score_trace(toy_trace(), ["memorization"])
    assert TRAINED_ON[:, 0].all()


def test_mean_loss_where_the_probability_is_beyond_single_precision():
    """A label whose probability is 0 in single precision has a finite loss; one whose probability is 1 still has an order."""
    logits = np.array([[[[0.0, 150.0, -5.0], [40.0, 0.0, -90.0], [50.0, 0.0, -90.0]]]])
    found = loss_mean(trace_of(np.array([0, 0, 0]), logits))
    assert found[0] == pytest.approx(150.0, rel=1e-6)
    assert found[1] == pytest.approx(np.exp(-40.0), rel=1e-6)
    assert found[2] == pytest.approx(np.exp(-50.0), rel=1e-6)


class TestNames:
    def test_aliases_lead_to_scores_and_hide_none(self):
        known = {*SCORES, *NETWORK_SCORES, *FEATURE_SCORES, "median_distance"}
        assert set(ALIASES.values()) <= known
        assert not set(ALIASES) & known

    @pytest.mark.parametrize(
        ("name", "ours"),
        [("forgetting", "forget_toneva"), ("Dyn-Unc", "dyn_unc"), ("EL2N", "el2n"), ("mine.py:f", "mine.py:f"), ("km", "km")],
    )
    def test_canonical(self, name, ours):
        assert canonical(name) == ours

    def test_scores_go_by_our_name(self):
        found = score_trace(toy_trace(), ["true_prediction_sum", "Data-IQ"])
        assert list(found) == ["pred_sum", "aleatoric"]
        with pytest.raises(InputError, match=r"no score 'true_prediction_sum' here. It is called 'pred_sum'"):
            found["true_prediction_sum"]
        with pytest.raises(InputError, match=r"'tdds' was not computed. Ask for it"):
            found["tdds"]
        with pytest.raises(InputError, match=r"'vog' is of networks.*--by vog"):
            found["variance_of_gradients"]

    def test_an_unknown_one_gets_the_nearest_also_of_the_other_words(self):
        with pytest.raises(InputError, match="Did you mean 'forgetting'"):
            score_trace(toy_trace(), ["forgeting"])

    def test_usual_ones_if_none_is_named(self):
        usual = {name for name, spec in SCORES.items() if spec.usual}
        found = score_trace(toy_trace())
        assert set(found) == usual
        assert len(set(SCORES) - usual) >= 9


def test_what_is_named_must_be_there(tmp_path, monkeypatch):
    (tmp_path / "raising_scores.py").write_text(
        "def raises(trace):\n    raise KeyError('x')\ndef words(trace):\n    return ['a'] * 4\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InputError, match="'raising_scores:raises' failed with KeyError"):
        score_trace(toy_trace(), ["raising_scores:raises"])
    with pytest.raises(InputError, match="4 numbers for as many examples, got <U1"):
        score_trace(toy_trace(), ["raising_scores:words"])
    alone = Trace([toy_member(0)], LABELS)
    with pytest.raises(InputError, match="std needs two members"):
        score_trace(alone, ["el2n", "std"])
    found = score_trace(alone, "all")
    assert isinstance(found, Scores)
    assert "std" in found.absent


def test_el2n_hears_the_mirror_image_where_every_member_answered_it():
    labels, logits, plain = folded(members=3, epochs=2, examples=9)
    mirrored = np.random.default_rng(5).dirichlet(np.ones(k := logits.shape[-1]), (3, 9))
    without = [record(logits[m], labels, trained_on=plain.trained_on[m]) for m in range(3)]
    members = [MemberTrace(one.arrays | {"mirrored": p}, one.info) for one, p in zip(without, mirrored, strict=True)]
    trace, alone = Trace(members, labels), plain.last("el2n")
    both = (alone + np.linalg.norm(mirrored - np.eye(k)[labels], axis=2)) / 2
    np.testing.assert_allclose(score_trace(trace, ["el2n"])["el2n"].values, both.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(score_trace(trace[4:], ["el2n"])["el2n"].values, both.mean(axis=0)[4:], rtol=1e-5)
    of_new = np.where(trace.trained_on, 0, both).sum(axis=0) / (~trace.trained_on).sum(axis=0)
    np.testing.assert_allclose(score_trace(trace, ["el2n"], evidence="out")["el2n"].values, of_new, rtol=1e-5)
    some = Trace([members[0], *without[1:]], labels)
    for one in (some, trace.until(1)):
        np.testing.assert_allclose(score_trace(one, ["el2n"])["el2n"].values, one.last("el2n").mean(axis=0), rtol=1e-5)
