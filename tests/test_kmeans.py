"""k-means over blocks, against answers by hand and scikit-learn; the curve and its elbow."""

import threading
import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans

from dataprune.errors import InputError
from dataprune.kmeans import assign, blocks, elbow, fit, geometric_grid, inertia_curve, lloyd, unit_rows

PAIRS = np.array([[0.0, 0.0], [0.0, 2.0], [10.0, 0.0], [10.0, 2.0]])


def mixture(n=3000, k=8, width=6, seed=0, apart=6.0):
    draw = np.random.default_rng(seed)
    return (draw.normal(size=(k, width)) * apart)[draw.integers(0, k, n)] + draw.normal(size=(n, width))


class TestFit:
    def test_by_hand(self):
        found = fit(PAIRS, 2)
        assert sorted(found.centres.tolist()) == [[0.0, 1.0], [10.0, 1.0]]
        assert (found.inertia, found.sizes.tolist(), found.rows, found.converged) == (4.0, [2, 2], 4, True)

    def test_one_iteration_by_hand(self):
        # From centres 0 and 1, the points 0 | 1, 4, 7: means 0 and 4; then 0, 1 | 4, 7 are nearest: 1 + 9 = 0² + 1² + 0² + 3².
        found = fit(np.array([[0.0], [1.0], [4.0], [7.0]]), 2, start=[[0.0], [1.0]], iterations=1)
        assert found.centres.tolist() == [[0.0], [4.0]]
        assert (found.inertia, found.sizes.tolist(), found.iterations, found.converged) == (10.0, [2, 2], 1, False)

    def test_one_cluster_is_the_mean(self):
        found = fit(PAIRS, 1)
        assert found.centres.tolist() == [[5.0, 1.0]]
        assert found.inertia == pytest.approx(4 * 26)

    @pytest.mark.parametrize("offset", [0.0, 1000.0])
    @pytest.mark.parametrize("scale", [1e-25, 1.0, 1e25])
    def test_agrees_with_scikit_learn_from_the_same_start(self, offset, scale):
        x = ((mixture() + offset) * scale).astype(np.float32)
        start = x[np.random.default_rng(1).choice(len(x), 12, replace=False)]
        ours = fit(x, 12, start=start, iterations=15, tolerance=0)
        unit = x.astype(np.float64) / scale
        theirs = KMeans(12, init=start.astype(np.float64) / scale, n_init=1, max_iter=15, tol=0, algorithm="lloyd").fit(unit)
        assert ours.inertia / scale**2 == pytest.approx(theirs.inertia_, rel=1e-4)
        assert np.allclose(ours.centres / scale, theirs.cluster_centers_, atol=1e-3)

    @pytest.mark.parametrize("seed", range(5))
    def test_its_own_start_is_as_good_as_scikit_learns(self, seed):
        x = mixture(seed=seed)
        theirs = KMeans(8, n_init=3, random_state=seed).fit(x).inertia_
        assert fit(x, 8, restarts=3, seed=seed).inertia <= theirs * 1.005

    def test_agrees_with_a_naive_loop(self):
        x, start = mixture(200, 4, 3), mixture(200, 4, 3)[:5]
        centres = start.copy()
        for _ in range(7):
            near = [min(range(5), key=lambda j: ((row - centres[j]) ** 2).sum()) for row in x]
            centres = np.array([x[np.array(near) == j].mean(axis=0) for j in range(5)])
        assert np.allclose(fit(x, 5, start=start, iterations=7, tolerance=0).centres, centres, atol=1e-5)

    def test_more_restarts_are_never_worse(self):
        x = mixture(apart=2.0)
        found = [fit(x, 20, restarts=r, iterations=5).inertia for r in (1, 2, 4)]
        assert found == sorted(found, reverse=True)
        assert found[0] > found[2]

    def test_same_seed_same_bits_other_seed_other_start(self):
        x = mixture(apart=1.0)
        one, same, other = (fit(x, 20, seed=s, iterations=2) for s in (3, 3, 4))
        assert np.array_equal(one.centres, same.centres)
        assert not np.array_equal(one.centres, other.centres)

    def test_threads_blocks_and_what_is_kept_change_no_bit(self, monkeypatch):
        x = mixture(9000, apart=1.0).astype(np.float32)
        whole = fit(x, 20, workers=1)
        for shards in ([x], [x[:1], x[1:5000], x[5000:]], list(np.array_split(x, 70))):
            assert np.array_equal(fit(shards, 20, workers=3).centres, whole.centres)
        monkeypatch.setattr(lloyd, "RESIDENT_BYTES", 0)
        streamed = fit(x, 20, workers=2)
        assert np.array_equal(streamed.centres, whole.centres)
        assert streamed.inertia == whole.inertia

    def test_threads_of_torch_are_put_back_and_ours_end(self):
        before, running = torch.get_num_threads(), threading.active_count()
        fit(mixture(9000), 3, workers=3)
        with pytest.raises(InputError):
            assign([PAIRS, np.full((1, 2), np.nan)], PAIRS, workers=2)
        assert (torch.get_num_threads(), threading.active_count()) == (before, running)

    def test_layout_and_type_do_not_matter(self, tmp_path):
        x = np.round(mixture(500) * 4)
        np.save(tmp_path / "x.npy", x.astype(np.float32))
        expected = fit(x, 5)
        frozen = x.copy()
        frozen.flags.writeable = False
        for same in (
            np.asfortranarray(x),
            np.repeat(x, 2, axis=0)[::2],
            x.astype(np.float16),
            x.astype(">f8"),
            x.astype(np.int8),
            frozen,
            np.load(tmp_path / "x.npy", mmap_mode="r"),
        ):
            assert np.array_equal(fit(same, 5).centres, expected.centres)

    @given(st.integers(0, 1000))
    @settings(max_examples=20, deadline=None)
    def test_permuting_rows_changes_the_sums_order_only(self, seed):
        draw = np.random.default_rng(seed)
        x, order = mixture(60, 3, 2, seed), draw.permutation(60)
        one, other = (fit(rows, 4, start=x[:4]) for rows in (x, x[order]))
        assert np.allclose(one.centres, other.centres, rtol=1e-5, atol=1e-5)
        assert np.array_equal(assign(x[order], one.centres)[0], assign(x, one.centres)[0][order])

    def test_empty_clusters_start_again_at_the_farthest_points(self):
        x = np.array([[0.0], [1.0], [100.0], [203.0]])
        found = fit(x, 3, start=[[0.5], [-500.0], [-600.0]], iterations=1)
        assert sorted(found.centres[:, 0].tolist()) == [0.5, 100.0, 203.0]
        assert fit(x, 3, start=[[0.5], [-500.0], [-600.0]]).sizes.min() == 1

    def test_the_farthest_is_the_one_farthest_from_its_own_centre(self):
        """And not from the others, nor from the middle of all: 25 lies 15 away from 10, and 0 lies 10 away from both."""
        x = np.array([[-10.0]] * 4 + [[10.0]] * 2 + [[0.0], [25.0]])
        assert 25.0 in fit(x, 3, start=[[-10.0], [10.0], [1000.0]], iterations=1).centres

    def test_many_equal_rows_and_few_others_are_found(self):
        x = np.zeros((20_000, 3))
        x[[7, 11_000, 19_999]] = np.eye(3)
        found = fit(x, 4)
        assert sorted(found.sizes.tolist()) == [1, 1, 1, 19_997]
        assert found.inertia == pytest.approx(0, abs=1e-9)

    def test_a_sample_is_fitted_and_drawn_by_the_seed(self):
        x = mixture(5000)
        found = fit(x, 8, sample=1000)
        assert (found.rows, found.sizes.sum()) == (1000, 1000)
        assert np.array_equal(found.centres, fit(x, 8, sample=1000).centres)
        assert not np.array_equal(found.centres, fit(x, 8, sample=1000, seed=1).centres)
        assert fit(x, 8, sample=9000).rows == 5000

    def test_a_stream_takes_bounded_memory(self, monkeypatch):
        monkeypatch.setattr(lloyd, "RESIDENT_BYTES", 2**20)
        monkeypatch.setattr(blocks, "BLOCK_ROWS", 256)
        part = mixture(2000, width=64).astype(np.float32)

        class Stream:
            def __iter__(self):
                return (part + i for i in range(40))

        tracemalloc.start()
        fit(Stream(), 4, iterations=2, workers=1)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 40 * part.nbytes / 4


class TestAssign:
    def test_by_hand(self):
        near, distance = assign(np.array([[3.0, 4.0], [9.0, 0.0], [5.0, 0.0]]), [[0.0, 0.0], [10.0, 0.0]])
        assert near.tolist() == [0, 1, 0]
        assert distance.tolist() == [5.0, 1.0, 5.0]

    def test_equals_brute_force_far_from_zero(self):
        x = mixture(500) + 1000
        centres = x[:9]
        away = np.linalg.norm(x.astype(np.float32).astype(float)[:, None] - centres[None], axis=2)
        near, distance = assign(x, centres)
        assert np.allclose(distance, away.min(axis=1), rtol=1e-6, atol=1e-6)
        assert (near == away.argmin(axis=1)).mean() > 0.99

    def test_a_stream_equals_an_array(self):
        x = mixture(9001).astype(np.float32)
        whole, stream = assign(x, x[:7], workers=1), assign(list(np.array_split(x, 13)), x[:7], workers=2)
        assert np.array_equal(whole[0], stream[0])
        assert np.array_equal(whole[1], stream[1])

    def test_unit_rows(self):
        (block,) = unit_rows(np.array([[3.0, 4.0], [0.0, 1e-30]]))
        assert np.allclose(block, [[0.6, 0.8], [0.0, 1.0]])


class TestCurve:
    def test_grid(self):
        assert geometric_grid(50_000).tolist() == [2, 3, 4, 6, 8, 11, 16, 23, 32, 45, 64, 91, 128, 200]
        assert geometric_grid(12).tolist() == [2]
        assert all(geometric_grid(n)[-1] <= max(2, n // 5) for n in range(2, 400))

    def test_elbow_by_hand(self):
        # On 0 … 1: k is 0, .25, .5, .75, 1 and the turned curve 0, .8421, .8947, .9474, 1: above the diagonal 0, .5921, .39, .2, 0.
        assert elbow([1, 2, 3, 4, 5], [100, 20, 15, 10, 5]) == 2
        # It falls from .36 at 20 to .28 at 30: less than a mean step (.25) but .22 more to the end confirms.
        assert elbow([10, 20, 30, 40, 50], [100, 39, 22, 11, 0]) == 20

    def test_published_example(self):
        # Figure 2 of the paper: y = −1 / (x + 0.1) + 5 on 0 … 1, concave; the knee lies at 0.22. Here turned upside down.
        x = np.linspace(0, 1, 10)
        ks = np.arange(1, 11)
        assert elbow(ks, 1 / (x + 0.1)) == ks[np.argmin(abs(x - 0.22))]

    @pytest.mark.parametrize("inertias", [[50, 40, 30, 20, 10], [7, 7, 7, 7, 7], [10, 9.9, 9.5, 8, 0]])
    def test_no_elbow_is_none(self, inertias):
        assert elbow([1, 2, 3, 4, 5], inertias) is None

    def test_two_points_have_no_elbow(self):
        assert elbow([2, 4], [3, 1]) is None

    def test_curve_of_clear_groups_has_its_elbow_there(self):
        curve = inertia_curve(mixture(2000, 8, 10, apart=20.0), [2, 4, 6, 8, 11, 16, 23, 32], restarts=3)
        assert curve.clusters.tolist() == [2, 4, 6, 8, 11, 16, 23, 32]
        assert (np.diff(curve.inertia) < 0).all()
        assert curve.elbow == 8


BAD = PAIRS.copy()
BAD[2, 1] = np.inf


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fit(BAD, 2), r"`features` are NaN or infinite at rows 2\. Leave these examples out\."),
        (lambda: fit([PAIRS, BAD], 2), r"at rows 6\."),
        (lambda: fit(PAIRS * 1e300, 2), r"at rows 0, 1, 2, 3\.|at rows 1, 2, 3\."),
        (lambda: fit(PAIRS, 5), r"`clusters` must be at most the number of rows, 4, got 5\."),
        (lambda: fit(np.ones((4, 2)), 2), r"`features` are the same in all 4 rows: there are no 2 clusters to find\."),
        (lambda: fit(np.repeat(PAIRS, 5, axis=0), 5), r"`clusters` must be at most the number of different rows, 4, got 5\."),
        (lambda: fit(PAIRS, 0), r"`clusters` must be at least 1, got 0\."),
        (lambda: fit(PAIRS, 2, restarts=0), r"`restarts` must be at least 1, got 0\."),
        (lambda: fit(PAIRS, 2, iterations=0), r"`iterations` must be at least 1, got 0\."),
        (lambda: fit(PAIRS, 2, tolerance=float("nan")), r"`tolerance` must be 0 or more, got nan\."),
        (lambda: fit(PAIRS, 2, workers=0), r"`workers` must be at least 1, got 0\."),
        (lambda: fit(PAIRS, 3, sample=2), r"`sample` must be at least as many rows as clusters: 3, got 2\."),
        (lambda: fit([PAIRS, PAIRS[:, :1]], 2), r"`features` must have 2 columns in every block, got 1 in block 1\."),
        (lambda: fit(iter([PAIRS]), 2), r"must be an array or blocks that can be read again, got an iterator"),
        (lambda: fit(np.zeros((0, 2)), 2), r"`features` must hold at least one row, got none\."),
        (
            lambda: fit(PAIRS[:, 0], 2),
            r"`features` must be numbers of shape \(examples, dimensions\), got float64 of shape \(4,\)\.",
        ),
        (lambda: fit(PAIRS.astype(str), 2), r"got <U32 of shape"),
        (lambda: fit(PAIRS, 2, start=PAIRS[:1]), r"`start` must hold 2 centres of 2 columns, got shape \(1, 2\)\."),
        (lambda: fit(PAIRS, 4, start=BAD), r"`start` must be finite, got NaN or infinity\."),
        (lambda: assign(PAIRS, PAIRS[:, :1]), r"`features` must be as wide as the centres: 1 columns, got 2\."),
        (lambda: list(unit_rows(np.eye(3)[:, :2])), r"`features` are all zero at rows 2, which have no direction\."),
        (lambda: inertia_curve(PAIRS, []), r"`ks` must hold at least one number of clusters, got none\."),
        (lambda: elbow([2, 1, 3], [1, 2, 3]), r"`ks` must be finite, ascending and as many as the inertias"),
    ],
)
def test_names_what_is_wrong(call, message):
    with pytest.raises(InputError, match=message):
        call()


@pytest.mark.parametrize(
    ("start", "got"), [(None, "rows each time they are read, got fewer"), (PAIRS[:2], "8 rows each time they are read, got 4")]
)
def test_features_that_shrink_between_passes_are_refused(monkeypatch, start, got):
    class Shrinking:
        left = 4

        def __iter__(self):
            Shrinking.left -= 1
            return iter([PAIRS] * max(1, Shrinking.left))

    monkeypatch.setattr(lloyd, "RESIDENT_BYTES", 0)
    with pytest.raises(InputError, match=rf"`features` must give the same {got}\."):
        fit(Shrinking(), 2, start=start)
