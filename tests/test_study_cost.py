"""What did trainings and their scores cost, and when has that paid?"""

import numpy as np

from dataprune.study.cost import Phase, scoring_cost, study_costs
from dataprune.training.settings import Cost
from study_tables import sweep_rows, trials_of


def test_price_by_hand():
    trials = trials_of(sweep_rows(scores=("el2n",), sizes=(0.5,)))
    found = study_costs(trials, Cost(seconds=12.0, examples_seen=25_000, flops=5e10))
    # 1,000 examples, 20 epochs: 10 s, 20,000 examples, 2e10 operations; half of it at keep .5.
    assert found.everything == Cost(10.0, 20_000, 2e10)
    random, el2n = found.cells
    assert el2n.training == el2n.saved == Cost(5.0, 10_000, 1e10)
    # 5e10 / 1e10: exactly even at the fifth, ahead with the sixth; 12 / 5: the third training.
    assert (random.pays_after, el2n.pays_after) == (1, 6), "in operations, where they are known"
    no_flops = study_costs({**trials, "flops": np.zeros(9)}, Cost(seconds=12.0, examples_seen=25_000, flops=5e10))
    assert no_flops.cells[1].pays_after == 3


def test_equal_steps_save_nothing_and_it_is_said():
    trials = trials_of(sweep_rows(scores=("el2n",), sizes=(0.5,)))
    for name in ("train_seconds", "examples_seen", "flops"):
        trials[name] = np.full(9, 7)
    found = study_costs(trials, Cost(1.0, 1.0, 1.0))
    assert found.cells[1].pays_after is None
    assert any(note.code == "cost: equal steps" for note in found.notes)


def test_without_all_data_nothing_is_saved():
    trials = trials_of([row for row in sweep_rows(scores=("el2n",), sizes=(0.5,)) if row[1] != "all"])
    found = study_costs(trials, Cost(1.0, 1.0, 1.0))
    assert np.isnan(found.everything.seconds)
    assert found.cells[1].pays_after is None
    assert any(note.code == "cost: no control" for note in found.notes)


def test_scoring_is_the_sum_of_its_phases():
    phases = [Phase("train", 5.0, 100, 30, member_seconds=8.0), Phase("score", 1.0, 10, 3)]
    assert scoring_cost(phases) == Cost(9.0, 110.0, 33.0)
