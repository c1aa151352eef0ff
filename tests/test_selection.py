"""Kept sets: exact sizes, nested, without regard to row order; each strategy by hand and by another route."""

import hashlib
import os
import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dataprune.errors import InputError
from dataprune.scores import Score
from dataprune.selection import STRATEGIES, Views, select
from dataprune.selection.ids import Ids, ids_sha256
from dataprune.selection.select import largest_remainders
from dataprune.selection.strategies import water_level

DIFFICULTY = np.array([0.3, 0.1, 0.9, 0.5, 0.7, 0.2])
STRING = np.dtypes.StringDType()
OF_ANY_TYPE = pytest.mark.skipif(os.environ.get("CHECK_TYPES") == "1", reason="the annotation refuses it first")


def names(n):
    return np.array([f"picture {i}.png" for i in range(n)], STRING)


# By hand


@pytest.mark.parametrize(
    ("options", "rows"),
    [
        ({}, [2, 3, 4]),
        ({"strategy": "easiest"}, [0, 1, 5]),
        ({"strategy": "window", "start": 1 / 3}, [0, 3, 4]),
        ({"strategy": "window", "start": 0.5}, [2, 3, 4]),
        ({"strategy": "window"}, [0, 1, 5]),
        ({"strategy": "moderate"}, [0, 3, 4]),
        ({"strategy": "stratified", "cut": 0.5}, [0, 1, 5]),
    ],
)
def test_by_hand(options, rows):
    assert select(DIFFICULTY, keep=0.5, **options).rows.tolist() == rows


def test_smaller_may_be_harder():
    assert select(Score("aum", DIFFICULTY, harder=-1), keep=0.5).rows.tolist() == [0, 1, 5]


def test_moderate_is_the_middle_band_of_ranks():
    # From easiest: 1, 5, 0, 3, 4, 2. Of two equally near the middle, the harder.
    expected = [[3], [0, 3], [0, 3, 4], [0, 3, 4, 5], [0, 2, 3, 4, 5], [0, 1, 2, 3, 4, 5]]
    assert [select(DIFFICULTY, count=n, strategy="moderate").rows.tolist() for n in range(1, 7)] == expected
    skewed = np.array([0.0, 0.01, 0.02, 10.0, 1000.0])
    assert select(skewed, count=3, strategy="moderate").rows.tolist() == [1, 2, 3]


def test_stratified_covers_the_range():
    # 50 strata between 0 and 49: each whole number in its own, but 48 and 49, which share none of the others'.
    difficulty = np.concatenate([np.zeros(100), np.arange(1, 50).astype(float)])
    kept = select(difficulty, count=60, strategy="stratified")
    assert set(range(100, 149)) <= set(kept.rows.tolist())
    assert (kept.rows < 100).sum() == 11


def test_within_a_stratum_the_hash_decides_and_not_the_difficulty():
    difficulty = np.append(np.arange(10) * 1e-6, 1.0)  # ten examples in the first stratum, one in the last
    drawn = {int(select(difficulty, count=2, strategy="stratified", seed=seed).rows[0]) for seed in range(60)}
    assert len(drawn) > 7  # of ten, each with chance 1/10 in 60 draws


def filled_from_the_smallest(sizes, budget):
    """Zheng et al. 2023, algorithm 1: each stratum, the smallest first, gets its share of what is left."""
    quotas, left = np.zeros(len(sizes), int), budget
    order = np.argsort(sizes, kind="stable")
    for place, stratum in enumerate(order):
        quotas[stratum] = min(sizes[stratum], left // (len(sizes) - place))
        left -= quotas[stratum]
    return quotas


@given(st.lists(st.integers(0, 30), min_size=1, max_size=12).filter(any), st.data())
@settings(max_examples=50, deadline=None)
def test_water_level_is_filling_from_the_smallest_and_never_shrinks(sizes, data):
    sizes = np.array(sizes)
    count = data.draw(st.integers(1, int(sizes.sum())))
    quotas = water_level(sizes, count)
    assert quotas.sum() == count
    assert (quotas <= sizes).all()
    assert sorted(quotas) == sorted(filled_from_the_smallest(sizes, count))
    if count > 1:
        assert (water_level(sizes, count - 1) <= quotas).all()


def test_random_needs_no_score():
    kept = select(None, keep=0.5, strategy="random", ids=names(100), seed=1)
    assert len(kept) == 50
    assert kept.scores is None
    assert not np.array_equal(kept.rows, select(None, keep=0.5, strategy="random", ids=names(100), seed=2).rows)
    # It is not ruled by the difficulty, and each example is kept as often as any other.
    assert np.array_equal(select(np.arange(100.0), keep=0.5, strategy="random", ids=names(100), seed=1).rows, kept.rows)
    often = sum(select(None, count=30, strategy="random", ids=names(100), seed=seed).mask for seed in range(200))
    assert 30 < often.min() < often.max() < 90  # binomial(200, .3): mean 60, deviation 6.5, so 4.6 deviations
    assert len(select(None, count=3, strategy="random", labels=[0, 1, 0, 1])) == 3


# Properties


def views_of(difficulty, labels):
    """Return views with equal rows among them, that follow the examples wherever they lie."""
    features = np.stack([1.0 + difficulty, labels - 1.5, difficulty * labels], axis=1)
    answers = np.exp(-np.abs(np.arange(4) - labels[:, None] - difficulty[:, None] / 2))
    answers /= answers.sum(axis=1, keepdims=True)
    return Views(features, answers, np.stack([answers[:, 0], answers[:, 1]]))


@st.composite
def problems(draw):
    n = draw(st.integers(1, 40))
    difficulty = np.array(draw(st.lists(st.sampled_from([0.25, 0.5, 1.0, 2.0, 7.0]), min_size=n, max_size=n)))
    labels = np.array(draw(st.lists(st.integers(0, 3), min_size=n, max_size=n)))
    return difficulty, labels, draw(st.integers(0, 3))


@pytest.mark.parametrize("strategy", sorted(STRATEGIES))
@given(problem=problems(), data=st.data())
@settings(max_examples=10, deadline=None)
def test_sets_are_exact_nested_and_ignore_the_order_of_rows(strategy, problem, data):
    difficulty, labels, seed = problem
    n = len(difficulty)
    order = np.array(data.draw(st.permutations(range(n))))
    before: set[str] = set()
    for keep in (0.05, 0.5, 0.71):
        options = {"strategy": strategy, "keep": keep, "seed": seed}
        kept = select(difficulty, ids=names(n), labels=labels, views=views_of(difficulty, labels), **options)
        assert len(kept) == max(1, int(np.floor(keep * n + 0.5)))
        assert (np.diff(kept.rows) > 0).all()
        assert kept.mask.sum() == len(kept)
        views = views_of(difficulty[order], labels[order])
        other = select(difficulty[order], ids=names(n)[order], labels=labels[order], views=views, **options)
        assert set(other.ids) == set(kept.ids)
        assert other.ids_hash == kept.ids_hash
        assert before <= set(kept.ids) or not STRATEGIES[strategy].nested
        before = set(kept.ids)


@pytest.mark.parametrize("strategy", sorted(set(STRATEGIES) - {"metriq"}))
@given(problem=problems(), keep=st.floats(0.01, 1.0), data=st.data())
@settings(max_examples=10, deadline=None)
def test_balanced_sets_are_exact_proportional_and_ignore_order_and_names_of_classes(strategy, problem, keep, data):
    difficulty, labels, seed = problem
    n = len(labels)
    options = {"keep": keep, "strategy": strategy, "balanced": True, "seed": seed}
    views = views_of(difficulty, labels)
    kept = select(difficulty, ids=names(n), labels=labels, views=views, **options)
    count = max(1, int(np.floor(keep * n + 0.5)))
    assert len(kept) == count
    classes, sizes = np.unique(labels, return_counts=True)
    got = np.array([(kept.labels == one).sum() for one in classes])
    assert (got <= sizes).all()
    if count >= len(classes):
        assert (got >= 1).all()
    if (sizes * count >= n).all():  # no class had to be held at one
        assert (np.abs(got - sizes * count / n) < 1).all()
    order = np.array(data.draw(st.permutations(range(n))))
    moved = views_of(difficulty[order], labels[order])
    again = select(difficulty[order], ids=names(n)[order], labels=labels[order], views=moved, **options)
    assert set(again.ids) == set(kept.ids)
    renamed = np.array([5, 1, 9, 0])[labels]
    if "probabilities" in STRATEGIES[strategy].needs:  # whose columns are the classes
        return
    assert set(select(difficulty, ids=names(n), labels=renamed, views=views, **options).ids) == set(kept.ids)


@given(problem=problems(), start=st.floats(0, 0.99), share=st.floats(0, 1))
@settings(max_examples=50, deadline=None)
def test_a_window_and_a_cut_have_the_asked_size(problem, start, share):
    difficulty, labels, seed = problem
    keep = max(1e-3, (1 - start) * share)
    for options in ({"strategy": "window", "start": start}, {"strategy": "stratified", "cut": start}):
        for balanced in (False, True):
            kept = select(difficulty, keep=keep, labels=labels, balanced=balanced, seed=seed, **options)
            assert len(kept) == max(1, int(np.floor(keep * len(difficulty) + 0.5)))


def test_hardest_and_easiest_share_nothing_even_with_ties():
    difficulty = np.zeros(20)
    hard, easy = select(difficulty, count=8), select(difficulty, count=12, strategy="easiest")
    assert sorted([*hard.rows, *easy.rows]) == list(range(20))


def test_ties_go_by_hash_not_by_position():
    assert select(np.zeros(100), count=10).rows.tolist() not in (list(range(10)), list(range(90, 100)))
    assert not np.array_equal(select(np.zeros(100), count=10).rows, select(np.zeros(100), count=10, seed=1).rows)


# Mistakes in published code


def test_every_class_has_its_own_budget():
    """Published: the last class's count is used for every class."""
    labels = np.repeat([0, 1, 2], [60, 30, 10])
    kept = select(np.random.default_rng(0).normal(size=100), keep=0.5, labels=labels, balanced=True)
    assert np.bincount(kept.labels).tolist() == [30, 15, 5]


def test_balanced_budgets_add_up():
    """Published: per-class rounding that misses the asked size."""
    labels = np.repeat(np.arange(7), 9)
    kept = select(np.zeros(63), count=31, labels=labels, balanced=True)
    assert len(kept) == 31
    assert sorted(np.bincount(kept.labels)) == [4, 4, 4, 4, 5, 5, 5]


def test_ties_and_short_strata_do_not_lose_items():
    """Published: too few items on ties or short strata."""
    difficulty, labels = np.concatenate([np.zeros(97), [1.0, 1.0, 50.0]]), np.arange(100) % 4
    for strategy in STRATEGIES:
        for count in (1, 2, 50, 98, 99, 100):
            assert (
                len(select(difficulty, count=count, strategy=strategy, labels=labels, views=views_of(difficulty, labels))) == count
            )


def test_a_permutation_is_no_score():
    """Published: a permutation passed where a score is expected, and accepted."""
    with pytest.raises(InputError) as caught:
        select(np.array([2, 0, 3, 1]), keep=0.5)
    assert str(caught.value) == ("`score` looks like a ranking: integers 0 ... 3. Pass the score, or ranks as floats.")
    assert select(np.array([2.0, 0.0, 3.0, 1.0]), keep=0.5).rows.tolist() == [0, 2]
    assert select(np.array([2, 0, 3, 0]), keep=0.5).rows.tolist() == [0, 2]
    assert select(np.array([1, 0]), keep=0.5).rows.tolist() == [0]


@pytest.mark.parametrize("strategy", sorted(STRATEGIES))
def test_no_matrix_of_examples_by_examples(strategy):
    """Published: 20 GB at 50,000 examples."""
    import scipy.stats  # noqa: F401  beta's; not to be counted

    looks = set(STRATEGIES[strategy].needs) & {"features", "probabilities"}
    n = 8_000 if looks else 20_000
    difficulty, labels = np.random.default_rng(0).normal(size=n), np.arange(n) % 10
    tracemalloc.start()
    options = {"keep": 0.02, "views": views_of(np.abs(difficulty), labels % 4)} if looks else {"keep": 0.5}
    options |= {"views": Views(p_label=np.abs(difficulty)[None] % 1)} if strategy == "beta" else {}
    select(np.abs(difficulty), strategy=strategy, labels=labels % 4, balanced=strategy != "metriq", **options)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < (8_000 * 8_000 * 2 if "features" in looks else 20_000 * 1000)  # half of what a matrix in single precision takes


def test_global_random_state_is_neither_read_nor_set():
    """Published: a global seed set or re-seeded, or a seed from the clock."""
    before = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002  the state is only looked at
    first = select(np.zeros(50), keep=0.5, strategy="random")
    list(first.sampler())
    assert np.array_equal(before[0], np.random.get_state()[1])  # noqa: NPY002
    assert torch.equal(before[1], torch.get_rng_state())
    assert np.array_equal(first.rows, select(np.zeros(50), keep=0.5, strategy="random").rows)


# Balanced budgets


@pytest.mark.parametrize(
    ("sizes", "count", "quotas"),
    [
        ([6, 3, 1], 5, [3, 1, 1]),
        ([98, 1, 1], 3, [1, 1, 1]),
        ([96, 2, 2], 10, [8, 1, 1]),
        ([10, 10, 10], 4, [2, 1, 1]),
        ([10, 10, 10], 2, [1, 1, 0]),
        ([5, 5], 10, [5, 5]),
    ],
)
def test_largest_remainders_by_hand(sizes, count, quotas):
    tie_breaks = np.arange(len(sizes)).astype(np.uint64)
    assert largest_remainders(np.array(sizes), count, tie_breaks).tolist() == quotas


def test_empty_classes_are_noted():
    labels = np.array([0, 0, 0, 3, 3, 3])
    difficulty = np.array([9.0, 8.0, 7.0, 3.0, 2.0, 1.0])
    kept = select(difficulty, keep=0.5, labels=labels)
    assert kept.notes == ("classes that keep no example: 3 (--balanced keeps one of each)",)
    assert select(difficulty, keep=0.5, labels=labels, balanced=True).notes == ()
    (note,) = select(difficulty, count=1, labels=labels, balanced=True).notes
    assert note.endswith("(the budget has not one for each)")


# The kept set


def test_what_a_kept_set_says():
    score = Score("aum", DIFFICULTY, harder=-1, ids=np.array(list("abcdef"), STRING), labels=np.array([0, 1, 0, 1, 0, 1]))
    kept = select(score, count=2, seed=5)
    assert kept.rows.dtype == np.int64
    assert (kept.ids.tolist(), kept.labels.tolist(), kept.scores.tolist()) == (["b", "f"], [1, 1], [0.1, 0.2])
    digest = hashlib.sha256(b"".join(len(i).to_bytes(8, "little") + i for i in (b"b", b"f"))).hexdigest()
    assert kept.ids_hash == digest
    assert kept.spec == {
        "strategy": "hardest",
        "keep": 2 / 6,
        "count": 2,
        "balanced": False,
        "seed": 5,
        "options": {},
        "score": "aum",
        "ids_sha256": digest,
    }
    assert (kept.n_total, kept.strategy, kept.keep) == (6, "hardest", 2 / 6)
    assert kept.mask.tolist() == [False, True, False, False, False, True]
    # What is given goes before what the score carries.
    assert select(score, count=2, ids=list("uvwxyz")).ids.tolist() == ["v", "z"]
    assert select(score, count=2, balanced=True, labels=[0, 0, 0, 1, 1, 1]).rows.tolist() == [1, 5]


def test_rows_are_the_ids_where_there_are_none():
    kept = select(DIFFICULTY, count=2)
    assert kept.ids.tolist() == ["2", "4"]
    assert select(DIFFICULTY, count=2, ids=np.arange(6)).ids_hash == kept.ids_hash


def test_a_score_that_tells_nothing_is_said():
    assert "same for all" in select(np.ones(9), count=3).notes[0]
    assert select(np.ones(9), count=3, strategy="random").notes == ()
    assert select(np.arange(9.0), count=3).notes == ()


def test_torch_subset_and_sampler():
    dataset = torch.utils.data.TensorDataset(torch.arange(6))
    kept = select(DIFFICULTY, keep=0.5)
    assert [int(item[0]) for item in kept.subset(dataset)] == [2, 3, 4]
    loader = torch.utils.data.DataLoader(dataset, batch_size=3, sampler=kept.sampler(seed=1))
    assert sorted(torch.cat([batch[0] for batch in loader]).tolist()) == [2, 3, 4]
    big = select(np.arange(50.0), keep=1)
    assert list(big.sampler(1)) == list(big.sampler(1)) != list(big.sampler(2))
    again = big.sampler(1)
    assert list(again) != list(again)  # another order each epoch
    with pytest.raises(InputError, match=r"`dataset` must have the 6 examples that were scored, got 3."):
        kept.subset(torch.utils.data.TensorDataset(torch.arange(3)))


# Strategies of your own


@pytest.fixture
def mine(tmp_path, monkeypatch):
    (tmp_path / "my_strategies.py").write_text(
        "import numpy as np\n"
        "def near_one(group, count, generator):\n    return np.argsort(abs(group.difficulty - 1))[:count]\n"
        "def drawn(group, count, generator):\n    return generator.permutation(len(group))[:count]\n"
        "def short(group, count, generator):\n    return np.arange(count - 1)\n"
        "def doubled(group, count, generator):\n    return np.zeros(count, int)\n"
        "def outside(group, count, generator):\n    return np.arange(count) + 5\n"
        "def floats(group, count, generator):\n    return np.arange(float(count))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.usefixtures("mine")
def test_a_strategy_of_your_own():
    assert select(DIFFICULTY, count=2, strategy="my_strategies:near_one").rows.tolist() == [2, 4]
    labels = [0, 1, 0, 1, 0, 1]
    assert select(DIFFICULTY, count=2, strategy="my_strategies:near_one", balanced=True, labels=labels).rows.tolist() == [2, 3]
    one, same, other = (select(np.zeros(50), count=9, strategy="my_strategies:drawn", seed=seed).rows for seed in (0, 0, 1))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


@pytest.mark.usefixtures("mine")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("short", r"must give exactly 3 row numbers, got int64 of shape \(2,\)."),
        ("floats", r"must give exactly 3 row numbers, got float64 of shape \(3,\)."),
        ("doubled", "must give each row once, got repeats of 0."),
        ("outside", r"must give rows in 0 ... 5, got 6, 7."),
    ],
)
def test_what_a_strategy_of_your_own_gives_is_checked(name, message):
    with pytest.raises(InputError, match=f"`strategy 'my_strategies:{name}'` {message}"):
        select(DIFFICULTY, count=3, strategy=f"my_strategies:{name}")


# What is refused


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"keep": 30}, "`keep` must be in (0, 1], got 30. It is the fraction kept: write 0.3 to keep 30 %."),
        ({"keep": 0}, "`keep` must be in (0, 1], got 0. It is the fraction kept: write 0.3 to keep 30 %."),
        ({"keep": -0.5}, "`keep` must be in (0, 1], got -0.5. It is the fraction kept: write 0.3 to keep 30 %."),
        ({"keep": float("nan")}, "`keep` must be in (0, 1], got nan. It is the fraction kept: write 0.3 to keep 30 %."),
        ({}, "give one of `keep` and `count`, got neither."),
        ({"keep": 0.5, "count": 3}, "give one of `keep` and `count`, got both."),
        ({"count": 0}, "`count` must be in 1 ... 6, the number of examples, got 0."),
        ({"count": 7}, "`count` must be in 1 ... 6, the number of examples, got 7."),
        (
            {"keep": 0.5, "strategy": "hard"},
            f"`strategy` must be one of {', '.join(sorted(STRATEGIES))}, got 'hard'. Did you mean 'hardest'?",
        ),
        ({"keep": 0.5, "start": 0.1}, "`start` must be 0 for strategy 'hardest', got 0.1. It belongs to 'window'."),
        (
            {"keep": 0.5, "strategy": "window", "cut": 0.1},
            "`cut` must be 0 for strategy 'window', got 0.1. It belongs to 'stratified'.",
        ),
        (
            {"keep": 0.5, "strategy": "window", "start": -0.1},
            "`start` must be in [0, 1), got -0.1. It is a fraction of all examples.",
        ),
        (
            {"keep": 0.5, "strategy": "window", "start": 0.6},
            "`start` must leave enough to keep (with `keep` at most 1 together), got 0.6 + 0.5. Lower `start` to 0.5 or keep less.",
        ),
        (
            {"count": 3, "strategy": "stratified", "cut": 0.6},
            "`cut` must leave enough to keep (with `keep` at most 1 together), got 0.6 + 0.5. Lower `cut` to 0.5 or keep less.",
        ),
        ({"keep": 0.5, "balanced": True}, "`labels` must be given to balance by class, got none."),
        ({"keep": 0.5, "labels": [0, 1]}, "`labels` must be one for each of 6 examples, got shape (2,)."),
        ({"keep": 0.5, "ids": ["a", "b"]}, "`ids` must be one for each of 6 examples, got shape (2,)."),
        ({"keep": 0.5, "ids": list("abcdea")}, "`ids` must all be different, got repeats of 'a'."),
        ({"keep": 0.5, "labels": [0, 1, 0, -1, 0, 0]}, "`labels` must be 0 or more, got -1 (rows 3)."),
    ],
)
def test_names_what_is_wrong(options, message):
    with pytest.raises(InputError) as caught:
        select(DIFFICULTY, **options)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("score", "options", "message"),
    [
        (np.ma.array([0.1, 9.0, 0.3], mask=[False, True, False]), {"keep": 0.5}, "`score` must .* masked"),
        ([0.1, 0.2, 0.3], {"keep": 0.5, "labels": np.ma.array([0, 1, 0], mask=[False, True, False])}, "`labels` must .* masked"),
        ([0.1 + 1j, 0.2, 0.3], {"keep": 0.5}, "complex"),
        pytest.param([0.1, 0.2, 0.3], {"keep": "0.5"}, "`keep` must be a number", marks=OF_ANY_TYPE),
        pytest.param([0.1, 0.2, 0.3], {"count": "1"}, "`count` must be a whole number", marks=OF_ANY_TYPE),
        ([0.1, 0.2, 0.3], {"keep": 0.5, "ids": [None] * 3}, "`ids` must name every example"),
    ],
)
def test_what_numpy_would_take_for_something_else(score, options, message):
    with pytest.raises(InputError, match=message):
        select(score, **options)


def test_a_tensor_that_is_trained_is_a_score():
    assert select(torch.tensor([0.1, 0.9, 0.5], requires_grad=True), count=1).rows.tolist() == [1]


def test_scores_that_cannot_be_selected_by():
    with pytest.raises(InputError, match=r"score 'given' is NaN or infinite for 1 examples \(rows 1\)"):
        select([0.1, float("nan")], keep=0.5)
    with pytest.raises(InputError, match="strategy 'hardest' needs `score`, and there is none"):
        select(None, keep=0.5, ids=["a"])
    with pytest.raises(InputError, match="without a score, give `ids` or `labels`: they say how many examples there are"):
        select(None, keep=0.5, strategy="random")
    with pytest.raises(InputError, match=r"`score` must be of at least one example, got none."):
        select([], keep=0.5)


@given(st.lists(st.text(max_size=4), min_size=1, max_size=20, unique=True), st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_ids_that_remember_give_the_hashes_of_those_that_do_not(given_ids, seed):
    remembering = Ids(np.array(given_ids, object))
    score = np.random.default_rng(seed).random(len(given_ids))
    for keep in (0.3, 1.0, 0.7):
        one = select(score, keep=keep, ids=remembering, seed=seed)
        other = select(score, keep=keep, ids=np.array(given_ids, object), seed=seed)
        assert one.rows.tolist() == other.rows.tolist()
        assert one.ids_hash == other.ids_hash == ids_sha256([given_ids[row] for row in one.rows])


def test_a_kept_set_shows_itself_in_a_notebook():
    kept = select([0.1, 0.9, 0.5], count=2, ids=["a", "<b>", "c"])
    assert repr(kept) == "Selection(2 of 3 kept, hardest)"
    assert "&lt;b&gt;" in kept._repr_html_()
    assert kept.to_pandas()["id"].tolist() == ["<b>", "c"]
