"""Do scores keep the same examples, would another ensemble repeat them, and what did all of it cost?"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataprune.errors import InputError
from dataprune.scores import SCORES, Score, Scores
from dataprune.study.cost import Phase, scoring_cost, study_costs
from dataprune.study.reliability import Reliability, agreement, reliability, spearman_brown
from dataprune.training.settings import Cost
from study_tables import sweep_rows, trials_of
from toys import random_logits, toy_trace, trace_of

ENSEMBLE_NOISE = 1.5


def test_kept_sets_by_hand():
    scores = Scores([Score("a", np.array([4.0, 3, 2, 1])), Score("b", np.array([4.0, 1, 3, 2]))])
    found = agreement(scores, (0.25, 0.5, 1.0))
    # The hardest quarter is the same; of the hardest halves {0, 1} and {0, 2} one of three is in both.
    assert found.jaccard[:, 0, 1].tolist() == [1, pytest.approx(1 / 3), 1]
    assert found.by_chance.tolist() == pytest.approx([0.25 / 1.75, 1 / 3, 1])


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.floats(0.05, 1))
def test_agreement_is_that_of_sets(seed, keep):
    from dataprune.selection import select

    draw = np.random.default_rng(seed)
    scores = Scores([Score(name, draw.integers(0, 5, 40).astype(float)) for name in "abc"])
    found = agreement(scores, [keep]).jaccard[0]
    sets = [set(select(scores[name], keep).rows.tolist()) for name in "abc"]
    naive = [[len(one & other) / len(one | other) for other in sets] for one in sets]
    assert np.allclose(found, naive)


def test_agreement_of_nothing_is_refused():
    with pytest.raises(InputError, match=r"`keep` must hold at least one, got none\."):
        agreement(Scores([Score("a", np.arange(4.0))]), [])


def ensemble(members, seed):
    """Record members that share how hard an example is and differ in noise of their own."""
    labels, logits = random_logits(seed=7, members=1, epochs=2, examples=300)
    noise = np.random.default_rng(seed).normal(size=(members, *logits.shape[1:]))
    return trace_of(labels, logits + ENSEMBLE_NOISE * noise)


def test_members_of_a_trace():
    trace = toy_trace()
    second = trace.of_members([1])
    assert second.n_members == 1
    assert np.array_equal(second.channel("el2n")[0], trace.channel("el2n")[1])
    assert np.array_equal(trace[1:3].of_members([1, 0]).last("margin"), trace.last("margin")[::-1, 1:3])
    for bad in ([2], []):
        with pytest.raises(InputError, match=r"`members` must be places in 0 \.\.\. 1, got"):
            trace.of_members(bad)


def test_reliability_is_the_mean_correlation_of_the_three_pairs_of_halves():
    trace = ensemble(4, seed=1)
    (found,) = reliability(trace, ["el2n"])
    members = trace.last("el2n").astype(np.float64)
    naive = [
        np.corrcoef(members[list(one)].mean(axis=0), members[list(other)].mean(axis=0))[0, 1]
        for one, other in (((0, 1), (2, 3)), ((0, 2), (1, 3)), ((0, 3), (1, 2)))
    ]
    assert found.between_halves == pytest.approx(np.mean(naive))
    assert found.spread == pytest.approx(np.std(naive))
    assert found.whole == pytest.approx(2 * np.mean(naive) / (1 + np.mean(naive)))


def test_reliability_foretells_another_ensemble():
    one, other = ensemble(8, seed=2), ensemble(8, seed=3)
    for found in reliability(one, ["el2n", "aum", "confidence", "std"]):
        real = np.corrcoef(SCORES[found.name].function(one), SCORES[found.name].function(other))[0, 1]
        assert found.whole == pytest.approx(real, abs=0.06), found.name
        assert found.half == 4


def test_members_that_it_takes():
    found = Reliability("el2n", 2, 0.5, 0.0, 4, spearman_brown(0.5, 2))
    # From two members .5: four have 2/3, eighteen .9.
    assert found.members_for(0.9) == 18
    assert found.with_members(18) == pytest.approx(0.9)
    assert Reliability("x", 2, -0.1, 0.0, 4, 0.0).members_for(0.9) is None
    assert Reliability("x", 2, 1.0, 0.0, 4, 1.0).members_for(0.9) == 1
    with pytest.raises(InputError, match=r"`target` must be in \(0, 1\), got 1\."):
        found.members_for(1.0)


def test_halves_that_say_nothing_are_said_in_words():
    assert Reliability("el2n", 2, 0.5, 0.0, 4, spearman_brown(0.5, 2)).absent == ""
    same = Reliability("flip", 2, float("nan"), 0.0, 4, spearman_brown(float("nan"), 2))
    assert same.absent == "half of the members gave all examples the same flip, which correlates with nothing"
    assert same.members_for(0.9) is None
    assert "contradict each other" in Reliability("flip", 2, -1.0, 0.0, 4, spearman_brown(-1.0, 2)).absent


def test_too_few_members_are_refused():
    with pytest.raises(
        InputError, match=r"reliability needs 4 members, got 2\. Add some with `dataprune score --extend`: --members 4"
    ):
        reliability(toy_trace())


def test_odd_ensembles_leave_one_out_and_repeat():
    trace = ensemble(5, seed=4)
    found = reliability(trace, ["el2n"], splits=4)
    assert found == reliability(trace, ["el2n"], splits=4)
    assert (found[0].half, found[0].members) == (2, 5)


def test_price_by_hand():
    trials = trials_of(sweep_rows(scores=("el2n",), sizes=(0.5,)))
    found = study_costs(trials, Cost(seconds=12.0, examples_seen=25_000, flops=5e10))
    # 1,000 examples, 20 epochs: 10 s, 20,000 examples, 2e10 operations; half of it at keep .5.
    assert found.everything == Cost(10.0, 20_000, 2e10)
    random, el2n = found.cells
    assert el2n.training == el2n.saved == Cost(5.0, 10_000, 1e10)
    # 12 / 5: the third training; 25,000 / 10,000: the third; 5: exactly even at the fifth, ahead with the sixth.
    assert el2n.pays_after == {"seconds": 3, "examples_seen": 3, "flops": 6}
    assert random.pays_after == {"seconds": 1, "examples_seen": 1, "flops": 1}
    table = found.table()
    assert table["what"].tolist() == ["scoring", "all data", "random", "el2n"]
    assert table["pays_after_flops"].tolist() == [0, 0, 1, 6]
    assert {len(values) for values in table.values()} == {4}


def test_equal_steps_save_nothing_and_it_is_said():
    trials = trials_of(sweep_rows(scores=("el2n",), sizes=(0.5,)))
    for name in ("train_seconds", "examples_seen", "flops"):
        trials[name] = np.full(9, 7)
    found = study_costs(trials, Cost(1.0, 1.0, 1.0))
    assert found.cells[1].pays_after == {"seconds": None, "examples_seen": None, "flops": None}
    assert any(note.code == "cost: equal steps" for note in found.notes)
    assert found.table()["pays_after_seconds"].tolist() == [0, 0, -1, -1]


def test_without_all_data_nothing_is_saved():
    trials = trials_of([row for row in sweep_rows(scores=("el2n",), sizes=(0.5,)) if row[1] != "all"])
    found = study_costs(trials, Cost(1.0, 1.0, 1.0))
    assert np.isnan(found.everything.seconds)
    assert found.cells[1].pays_after["seconds"] is None
    assert any(note.code == "cost: no control" for note in found.notes)


def test_scoring_is_the_sum_of_its_phases():
    phases = [Phase("train", 5.0, 100, 30, member_seconds=8.0), Phase("score", 1.0, 10, 3)]
    assert scoring_cost(phases) == Cost(9.0, 110.0, 33.0)
