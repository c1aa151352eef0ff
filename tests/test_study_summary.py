"""Cells, verdicts, areas, and what can be dropped."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataprune.errors import InputError
from dataprune.study.auc import simpson_weights, trapezoid_weights
from dataprune.study.metric import Metric
from dataprune.study.results_table import cell_table
from dataprune.study.summary import Verdict, summarise
from dataprune.study.wording import note
from study_tables import SEVEN, sweep_rows, trials_of, window_rows

COLUMNS = [
    *("score", "strategy", "keep", "start", "n_seeds", "test_accuracy", "low", "high"),
    *("minus_random", "minus_random_low", "minus_random_high", "minus_all", "minus_all_low", "minus_all_high", "verdict"),
]


def row_of(summary, score, keep):
    (row,) = np.flatnonzero((summary.table["score"] == score) & np.isclose(summary.table["keep"], keep))
    return {name: values[row] for name, values in summary.table.items()}


@pytest.fixture(scope="module")
def sweep():
    return summarise(trials_of(sweep_rows()))


def test_table_has_the_columns_of_the_file(sweep):
    assert list(sweep.table) == COLUMNS
    assert {len(values) for values in sweep.table.values()} == {1 + 4 * 7}
    assert sweep.table["score"][:2].tolist() == ["all", "random"]


def test_differences_are_the_means_of_paired_differences():
    rows = sweep_rows()
    summary = summarise(trials_of(rows))
    by = {(row[0], row[2], row[4]): row[5] for row in rows}
    for score, keep in (("el2n", 0.9), ("std", 0.3)):
        found = row_of(summary, score, keep)
        assert found["n_seeds"] == 3
        assert found["test_accuracy"] == pytest.approx(np.mean([by[score, keep, s] for s in range(3)]))
        assert found["minus_random"] == pytest.approx(np.mean([by[score, keep, s] - by["random", keep, s] for s in range(3)]))
        assert found["minus_all"] == pytest.approx(np.mean([by[score, keep, s] - by["all", 1.0, s] for s in range(3)]))
        assert found["low"] < found["test_accuracy"] < found["high"]
        assert found["minus_random_low"] < found["minus_random"] < found["minus_random_high"]


def test_verdicts_in_words(sweep):
    assert row_of(sweep, "el2n", 0.6)["verdict"] == Verdict.BETTER
    assert row_of(sweep, "el2n", 0.3)["verdict"] == Verdict.WORSE
    assert row_of(sweep, "random", 0.5)["verdict"] == "the random control"
    assert row_of(sweep, "all", 1.0)["verdict"] == "all data"
    equal = summarise(trials_of([row if row[1] != "hardest" else (*row[:5], 0.93) for row in sweep_rows(sizes=(0.99,))]))
    assert row_of(equal, "std", 0.99)["verdict"] == Verdict.SAME
    without = summarise(trials_of([row for row in sweep_rows() if row[1] != "random"]))
    assert row_of(without, "std", 0.9)["verdict"] == Verdict.NO_RANDOM
    single = summarise(trials_of(sweep_rows(seeds=1)))
    assert row_of(single, "std", 0.9)["verdict"] == Verdict.NO_SPREAD
    assert np.isnan(row_of(single, "std", 0.9)["low"])


def test_notes_say_what_the_numbers_mean(sweep):
    text = " ".join(map(str, sweep.notes))
    assert "equal epochs: every training took 20 epochs" in text
    assert "over new trainings with other seeds, for this run's scores and this test set" in text
    assert "21 comparisons over 3 seeds would have seen with a power of 80 %" in text
    assert np.isfinite(sweep.smallest_differences).sum() == 21


def lone_rows():
    """Return two seeds of a study in which one training, of a seed of its own, is far from all."""
    draw = np.random.default_rng(2)
    rows = [("all", "all", 1.0, 0.0, s, 0.9) for s in (0, 1)]
    for name in ("random", *"abcde"):
        rows += [(name, "random" if name == "random" else "hardest", keep, 0.0, s, 0.9) for keep in (0.75, 0.5) for s in (0, 1)]
    return [(*row[:5], row[5] + 0.01 * draw.normal()) for row in rows if row[:3] != ("e", "hardest", 0.5)] + [
        ("e", "hardest", 0.5, 0.0, 0, 0.3)
    ]


def test_no_difference_beyond_the_range_is_told():
    found = summarise(trials_of(lone_rows()))
    row = row_of(found, "e", 0.5)
    assert (row["minus_random_low"], row["minus_random_high"]) == (-1, 1)
    smallest = dict(zip(found.cells, found.smallest_differences, strict=True))
    lone = next(cell for cell in found.cells if (cell.score, cell.keep) == ("e", 0.5))
    assert np.isnan(smallest.pop(lone))
    assert 0 < np.nanmax(list(smallest.values())) < 1
    assert any(one.code == "smallest difference: none" and "at keep 0.5" in one.text for one in found.notes)


def test_failed_and_missing_trainings_are_said_and_left_out():
    trials = trials_of(sweep_rows())
    trials["test_accuracy"][[4, 9]] = np.nan
    summary = summarise(trials)
    assert any("2 of 87 trainings have no accuracy and are left out (rows 4, 9)" in str(note) for note in summary.notes)
    assert any(note.code == "seeds missing" for note in summary.notes)
    assert np.isfinite(summary.table["minus_all"][1:]).all()


@settings(max_examples=10, deadline=None)
@given(st.permutations(range(87)))
def test_order_of_trials_does_not_matter(order):
    trials = trials_of(sweep_rows())
    one, other = summarise(trials), summarise({name: values[list(order)] for name, values in trials.items()})
    for name, values in one.table.items():
        same = (
            (values == other.table[name]).all()
            if values.dtype == object
            else np.allclose(values, other.table[name], equal_nan=True)
        )
        assert same, name


def test_the_most_that_can_be_dropped(sweep):
    kept = {one.name: one for one in sweep.droppable}
    assert kept["el2n"].keep == 0.6  # true losses: .006 at .4 dropped, .020 at .5
    strict = {one.name: one.keep for one in summarise(trials_of(sweep_rows(noise=0.0002)), tolerance=0.015).droppable}
    # True losses of el2n at .5 and .6 dropped: .020 and .046; of random at .3 and .4: .009 and .016.
    assert strict == {"random": 0.7, "el2n": 0.6, "forget": 0.6, "std": 0.6}
    assert kept["random"].at_most < 0.01
    assert kept["random"].loss < kept["random"].at_most
    assert kept["el2n"].stopped == 0.5
    assert np.isnan(summarise(trials_of(sweep_rows(sizes=(0.9,), noise=0.0002))).droppable[0].stopped)


def test_no_loss_is_rarely_claimed_wrongly_of_new_test_examples():
    # Of all examples the smaller set loses just the tolerance; 300 are drawn, and trainings differ in one of 100.
    draw, wrong = np.random.default_rng(4), {"with": 0, "without": 0}
    for _ in range(100):
        base = draw.uniform(size=300) < 0.9
        turned = draw.uniform(size=300)
        worse = np.where(base, turned >= 0.05 / 0.9, turned < 0.04 / 0.1)
        rows, correct = [], []
        for seed in range(3):
            for score, strategy, keep, right in (
                ("all", "all", 1.0, base),
                ("a", "hardest", 0.8, worse),
                ("a", "hardest", 0.6, worse),
            ):
                correct.append(right ^ (draw.uniform(size=300) < 0.01))
                rows.append((score, strategy, keep, 0.0, seed, correct[-1].mean()))
        trials = trials_of(rows, n_test=[300] * len(rows))
        wrong["with"] += summarise(trials, correct=correct).droppable[0].keep < 1
        wrong["without"] += summarise(trials).droppable[0].keep < 1
    assert wrong["with"] / 100 < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 100)
    assert wrong["without"] / 100 > 0.12  # which is why
    notes = [str(summarise(trials, correct=some).notes[-1]) for some in (correct, ())]
    assert "and what can be dropped, are over new test examples too" in notes[0]
    assert "and what can be dropped, are over new trainings" in notes[1]


def test_no_loss_is_rarely_claimed_wrongly():
    # At every size the true loss is just the tolerance: at most one study in twenty may claim a size for any of its curves.
    draw, wrong = np.random.default_rng(3), 0
    for _ in range(100):
        rows = [("all", "all", 1.0, 0.0, s, 0.9) for s in range(3)]
        rows += [(score, "hardest", keep, 0.0, s, 0.89) for s in range(3) for score in "abc" for keep in (0.8, 0.6)]
        summary = summarise(trials_of([(*row[:5], row[5] + 0.004 * draw.normal()) for row in rows]))
        wrong += any(one.keep < 1 for one in summary.droppable)
    assert wrong / 100 < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 100)


def test_weights_of_the_areas_are_those_of_the_libraries():
    from scipy.integrate import simpson

    dropped = 1 - np.array(SEVEN)
    y = 0.9 - dropped**3
    weights, absent = simpson_weights(dropped)
    assert absent is None
    assert weights @ y == pytest.approx(simpson(y, x=dropped) / 0.6)
    at, values = np.array([0.0, 0.2, 0.5]), np.array([0.9, 0.8, 0.5])
    assert trapezoid_weights(at[1:]) @ values == pytest.approx(np.trapezoid(values, at) / 0.5)


def test_area_by_hand_and_why_there_is_none(sweep):
    area = next(one for one in sweep.areas if one.name == "el2n")
    rows = [row_of(sweep, "el2n", keep)["test_accuracy"] for keep in SEVEN]
    hand = np.dot([1, 4, 2, 4, 2, 4, 1], rows) * 0.1 / 3 / (0.6 * row_of(sweep, "all", 1.0)["test_accuracy"])
    assert area.simpson == pytest.approx(hand)
    assert area.simpson_low < area.simpson < area.simpson_high
    assert area.minus_random_low < area.minus_random < area.minus_random_high
    small = summarise(trials_of(sweep_rows(sizes=(0.9, 0.7, 0.5, 0.3)))).areas[0]
    assert np.isnan(small.simpson)
    assert small.absent == note("area: steps", n=4)
    assert np.isfinite(small.trapezoid)
    other = summarise(trials_of(sweep_rows(sizes=(0.8, 0.5)))).areas[0]
    assert other.absent == note("area: span")


def test_interval_of_the_area_holds_what_it_promises():
    truth = summarise(trials_of(sweep_rows(noise=1e-9))).areas
    hits = np.zeros(2)
    for study in range(100):
        areas = summarise(trials_of(sweep_rows(scores=("el2n",), noise=0.01, seed=study))).areas
        for place, area in enumerate(areas):
            real = next(one.simpson for one in truth if one.name == area.name)
            hits[place] += area.simpson_low <= real <= area.simpson_high
    assert np.abs(hits / 100 - 0.95).max() < 3 * np.sqrt(0.05 * 0.95 / 100)


def test_arms_have_controls_of_their_own_and_their_difference():
    one, other = window_rows(), window_rows(drop=0.1, seed=5)
    summary = summarise(trials_of(one + other, arm=["given"] * len(one) + ["noise"] * len(other)))
    assert list(summary.table)[-1] == "arm"
    random = np.flatnonzero(summary.table["strategy"] == "random")
    assert summary.table["arm"][random].tolist() == ["given", "noise"]
    windows = summary.arms["strategy"] == "window"
    late = windows & (summary.arms["start"] > 0.45)
    assert np.allclose(summary.arms["difference"][late], -0.1, atol=0.02)
    assert (summary.arms["p"][late] < 0.05).all()
    assert (summary.arms["p"][windows & ~late] > 0.05).all()
    assert set(summary.arms["minus_arm"]) == {"given"}
    assert summary.droppable == ()
    assert summary.areas == ()


def test_curricula_are_compared_with_random_order_and_all_data():
    rows, orders = [], []
    for s in range(3):
        for score, strategy, order, accuracy in (
            ("all", "all", "", 0.9),
            ("random", "random", "random order", 0.91),
            ("el2n", "curriculum", "easy-to-hard", 0.93),
            ("el2n", "curriculum", "hard-to-easy", 0.89),
        ):
            rows.append((score, strategy, 1.0, 0.0, s, accuracy + 0.001 * s))
            orders.append(order)
    draw = np.random.default_rng(0)
    summary = summarise(trials_of([(*row[:5], row[5] + 1e-3 * draw.normal()) for row in rows], order=orders))
    found = dict(zip([cell.name for cell in summary.cells], summary.table["minus_random"], strict=True))
    assert found["el2n easy-to-hard"] == pytest.approx(0.02, abs=0.004)
    assert found["el2n hard-to-easy"] == pytest.approx(-0.02, abs=0.004)
    assert np.isnan(found["all data"])
    assert "random order" in found


def test_what_is_no_study_is_refused():
    trials = trials_of(sweep_rows())
    with pytest.raises(InputError, match=r"`tolerance` must be in \[0, 1\), got 1\. 0\.01 is one percentage point of accuracy\."):
        summarise(trials, tolerance=1.0)
    with pytest.raises(
        InputError, match=r"`trials` must hold the columns score, strategy, keep, seed, test_accuracy, got none called keep\."
    ):
        summarise({name: values for name, values in trials.items() if name != "keep"})
    with pytest.raises(InputError, match="no training of this study has ended with a value of test_accuracy"):
        summarise({**trials, "test_accuracy": np.full(87, np.nan)})
    with pytest.raises(InputError, match=r"one training for each cell and seed, got two for std, keep 0\.9, seed 0 \(rows 3, 32\)"):
        summarise({**trials, "seed": np.where(np.arange(87) == 32, 0, trials["seed"])})
    with pytest.raises(InputError, match=r"hold the columns score, strategy, keep, seed, loss, got none called loss\."):
        cell_table(trials, "loss")


def test_a_summary_shows_itself(sweep):
    assert "29 cells" in repr(sweep)
    assert len(repr(sweep).splitlines()) < 8
    assert sweep._repr_html_().count("<tr>") == 30
    assert list(sweep.to_pandas().columns) == COLUMNS


def test_a_difference_of_nothing_is_nothing_in_any_unit():
    losses = {"all": (0.3, 0.4, 0.5), "random": (0.31, 0.39, 0.5), "el2n": (0.35, 0.42, 0.5)}
    strategies = {"all": "all", "random": "random", "el2n": "hardest"}
    rows = [(n, strategies[n], 1.0 if n == "all" else 0.5, 0.0, seed, 0.5) for n in losses for seed in range(3)]
    table = trials_of(rows, loss=[one for values in losses.values() for one in values])
    found = summarise(table, 0.1, Metric.of("loss:lower")).table["minus_all"]
    assert found[1] == 0, "not 1e-17"
    assert found[2] == pytest.approx(0.07 / 3)
