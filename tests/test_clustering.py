"""k-means, against answers by hand and scikit-learn; features in blocks; the curve and its elbow."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_info

from dataprune import clustering
from dataprune.clustering import UnitRows, assign, elbow, fit, geometric_grid, inertia_curve, take
from dataprune.errors import InputError

PAIRS = np.array([[0.0, 0.0], [0.0, 2.0], [10.0, 0.0], [10.0, 2.0]])


def mixture(n=3000, k=8, width=6, seed=0, apart=6.0):
    draw = np.random.default_rng(seed)
    return (draw.normal(size=(k, width)) * apart)[draw.integers(0, k, n)] + draw.normal(size=(n, width))


class Stream:
    """Blocks of any height, read one after the other."""

    def __init__(self, parts):
        self.parts, self.rows, self.width = parts, sum(map(len, parts)), parts[0].shape[1]

    def __iter__(self):
        return iter(self.parts)


class TestFit:
    def test_by_hand(self):
        found = fit(PAIRS, 2)
        assert sorted(found.centres.tolist()) == [[0.0, 1.0], [10.0, 1.0]]
        assert (found.inertia, found.sizes.tolist(), found.rows, found.converged) == (4.0, [2, 2], 4, True)

    def test_one_cluster_is_the_mean(self):
        found = fit(PAIRS, 1)
        assert found.centres.tolist() == [[5.0, 1.0]]
        assert found.inertia == pytest.approx(4 * 26)

    def test_of_one_column_and_of_one_row(self):
        assert sorted(fit(PAIRS[:, :1], 2).centres[:, 0].tolist()) == [0.0, 10.0]
        assert fit(PAIRS[1:2], 1).centres.tolist() == [[0.0, 2.0]]

    @pytest.mark.parametrize("offset", [0.0, 1000.0])
    @pytest.mark.parametrize("scale", [1e-25, 1.0, 1e25])
    def test_is_as_good_as_scikit_learn_at_any_place_and_size(self, offset, scale):
        x = mixture()
        theirs = KMeans(8, n_init=3, random_state=0).fit(x).inertia_
        found = fit((x + offset) * scale, 8, restarts=3)
        assert found.inertia / scale**2 == pytest.approx(theirs, rel=5e-3)
        assert found.inertia == pytest.approx((assign((x + offset) * scale, found.centres)[1] ** 2).sum(), rel=1e-4)

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
        assert not one.converged

    def test_blocks_change_nothing_and_threads_are_put_back(self):
        x = mixture(9000, apart=1.0).astype(np.float32)
        before = threadpool_info()
        whole = fit(x, 20)
        for parts in ([x], [x[:1], x[1:5000], x[5000:]], np.array_split(x, 70)):
            assert np.array_equal(fit(Stream(parts), 20).centres, whole.centres)
        assert threadpool_info() == before

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
            assert np.array_equal(assign(same, expected.centres)[1], assign(x, expected.centres)[1])

    def test_what_is_given_is_not_written_to(self):
        x = mixture(100).astype(np.float32)
        before = x.copy()
        fit(x, 3)
        assert np.array_equal(x, before)

    def test_many_equal_rows_and_few_others_are_found(self):
        x = np.zeros((20_000, 3))
        x[[7, 11_000, 19_999]] = np.eye(3)
        found = fit(x, 4)
        assert sorted(found.sizes.tolist()) == [1, 1, 1, 19_997]
        assert found.inertia == pytest.approx(0, abs=1e-9)

    def test_a_sample_is_fitted_and_drawn_by_the_seed(self, monkeypatch):
        x = mixture(5000)
        found = fit(x, 8, sample=1000)
        assert (found.rows, found.sizes.sum()) == (1000, 1000)
        assert np.array_equal(found.centres, fit(x, 8, sample=1000).centres)
        assert not np.array_equal(found.centres, fit(x, 8, sample=1000, seed=1).centres)
        assert fit(x, 8, sample=9000).rows == 5000
        monkeypatch.setattr(clustering, "FIT_ROWS", 1000)
        assert np.array_equal(found.centres, fit(x, 8).centres)
        monkeypatch.setattr(clustering, "FIT_BYTES", 500 * 6 * 4)
        assert fit(x, 8).rows == 500
        assert fit(x, 8, sample=2000).rows == 2000

    def test_what_does_not_fit_memory_is_read_in_blocks(self, monkeypatch):
        monkeypatch.setattr(clustering, "FIT_ROWS", 2000)
        part = mixture(2000, width=64).astype(np.float32)
        stream = Stream([part] * 40)
        fit(stream, 4)  # what is imported late is there now
        tracemalloc.start()
        found = fit(stream, 4, iterations=2)
        assign(stream, found.centres)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 40 * part.nbytes / 2


class TestBlocks:
    @given(st.lists(st.integers(0, 8), max_size=12))
    @settings(max_examples=30, deadline=None)
    def test_rows_are_taken_in_the_order_that_is_given(self, rows):
        x = mixture(9, width=2).astype(np.float32)
        assert np.array_equal(take(Stream([x[:2], x[2:3], x[3:]]), np.array(rows, np.int64)), x[rows])

    def test_unit_rows(self):
        (block,) = UnitRows(np.array([[3.0, 4.0], [0.0, 1e-30]]))
        assert np.allclose(block, [[0.6, 0.8], [0.0, 1.0]])

    def test_from_the_middle_by_hand(self):
        (block,) = UnitRows.from_middle(np.array([[1.0, 20.0, 7.0], [5.0, 20.0, 7.0], [3.0, 0.0, 7.0], [3.0, 40.0, 7.0]]))
        assert np.allclose(block, [[-1, 0, 0], [1, 0, 0], [0, -1, 0], [0, 1, 0]])


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
        whole, stream = assign(x, x[:7]), assign(Stream(np.array_split(x, 13)), x[:7])
        assert np.array_equal(whole[0], stream[0])
        assert np.array_equal(whole[1], stream[1])

    def test_a_row_that_is_a_centre_has_distance_0(self):
        x = mixture(200) + 1e4
        assert assign(x, x.astype(np.float32)[:50])[1][:50].max() == 0


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
        curve = inertia_curve(mixture(2000, 8, 10, apart=20.0), [2, 4, 6, 8, 11, 16, 23, 32])
        assert curve.clusters.tolist() == [2, 4, 6, 8, 11, 16, 23, 32]
        assert (np.diff(curve.inertia) < 0).all()
        assert curve.elbow == 8


BAD = PAIRS.copy()
BAD[2, 1] = np.inf


@pytest.mark.parametrize(
    ("call", "name", "said"),
    [
        (lambda: fit(BAD, 2), "features", r"NaN or infinite at rows 2\. Leave these examples out"),
        (lambda: fit(Stream([PAIRS, BAD]), 2), "features", r"at rows 6\."),
        (lambda: fit(PAIRS * 1e300, 2), "features", r"at rows 1, 2, 3\."),
        (lambda: fit(PAIRS, 5), "clusters", "number of rows, 4, got 5"),
        (lambda: fit(np.ones((4, 2)), 2), "features", "the same in all 4 rows"),
        (lambda: fit(np.repeat(PAIRS, 5, axis=0), 5), "clusters", "number of different rows, 4, got 5"),
        (lambda: fit(PAIRS, 0), "clusters", "at least 1, got 0"),
        (lambda: fit(PAIRS, 2, restarts=0), "restarts", "at least 1, got 0"),
        (lambda: fit(PAIRS, 2, iterations=0), "iterations", "at least 1, got 0"),
        (lambda: fit(PAIRS, 3, sample=2), "sample", "as many rows as clusters: 3, got 2"),
        (lambda: fit(np.zeros((0, 2)), 2), "features", "at least one row"),
        (lambda: fit(PAIRS[:, 0], 2), "features", r"got float64 of shape \(4,\)"),
        (lambda: fit(PAIRS.astype(str), 2), "features", "got <U32 of shape"),
        (lambda: assign(PAIRS, PAIRS[:, :1]), "features", "as wide as the centres: 1 columns, got 2"),
        (lambda: assign(PAIRS, BAD), "centres", "finite"),
        (lambda: list(UnitRows(np.eye(3)[:, :2])), "features", "all zero at rows 2, which have no direction"),
        (lambda: inertia_curve(PAIRS, []), "ks", "at least one number of clusters"),
    ],
)
def test_names_what_is_wrong(call, name, said):
    with pytest.raises(InputError, match=rf"^`{name}` .*{said}"):
        call()


def test_features_that_shrink_between_passes_are_refused():
    stream = Stream([PAIRS] * 4)
    stream.rows = 20
    with pytest.raises(InputError, match="`features` must give the same 20 rows each time they are read, got 16"):
        fit(stream, 2)
