"""Exact and near duplicates among pictures and vectors, and what contradicting ones make of a finding."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from dataprune.data import from_arrays
from dataprune.errors import InputError
from dataprune.noise import Suspects
from dataprune.noise.duplicates import conflicts, find_pairs, identical, with_conflicts
from dataprune.noise.fingerprint import alike, coarse
from dataprune.noise.words import counts_in_words
from dataprune.run.suspects import with_identical

SIDE = 48
BICUBIC = Image.Resampling.BICUBIC
N_SCENES = 40
WIDTH = 32  # of features: so many that different ones are far apart


def scene(seed, side=SIDE):
    """Make a picture with structure at all sizes, as photos have."""
    draw = np.random.default_rng(seed)
    layers = [Image.fromarray(draw.integers(0, 256, (n, n, 3), np.uint8)).resize((side, side), BICUBIC) for n in (3, 6, 12, 24)]
    return np.average([np.asarray(layer) for layer in layers], axis=0, weights=(8, 4, 2, 1)).astype(np.uint8)


@pytest.fixture(scope="module")
def scenes():
    return np.stack([scene(seed) for seed in range(N_SCENES)])


def brighter(x):
    return np.clip(x * 0.8 + 50, 0, 255).astype(np.uint8)


def recompressed(x):
    small = Image.fromarray(x).resize((32, 32), BICUBIC)
    return np.asarray(small.resize(x.shape[:2], BICUBIC))


CHANGES = {
    "mirrored": lambda x: x[:, ::-1],
    "brighter": brighter,
    "noisier": lambda x: np.clip(x + np.random.default_rng(0).normal(size=x.shape) * 2, 0, 255).astype(np.uint8),
    "smaller and back": recompressed,
    "shifted": lambda x: np.roll(x, (2, -1), axis=(0, 1)),
    "tinted": lambda x: np.clip(x * np.array([1.15, 1, 0.85]), 0, 255).astype(np.uint8),
}


class TestIdentical:
    def test_over_several_arrays(self):
        x = np.arange(12, dtype=np.uint8).reshape(3, 2, 2, 1)
        assert identical([x, x[::-1]]).tolist() == [0, 1, 2, 2, 1, 0]

    def test_minus_zero_is_zero(self):
        assert identical([np.array([[0.0, 1.0], [-0.0, 1.0], [0.0, 1.5]], np.float32)]).tolist() == [0, 0, 2]

    def test_equals_a_naive_loop(self):
        x = np.random.default_rng(0).integers(0, 3, (60, 3)).astype(np.float32)
        naive = [next(other for other in range(60) if (x[other] == x[row]).all()) for row in range(60)]
        assert identical([x]).tolist() == naive


class TestNearPictures:
    @pytest.mark.parametrize("change", CHANGES)
    def test_a_changed_copy_is_found_and_nothing_else(self, scenes, change):
        copies = np.stack([CHANGES[change](x) for x in scenes[:5]])
        found = find_pairs([scenes, np.ascontiguousarray(copies)])
        assert sorted(zip(found.first.tolist(), found.second.tolist(), strict=True)) == [(row, N_SCENES + row) for row in range(5)]
        assert not found.is_exact.any()

    def test_scenes_without_copies_give_none(self, scenes):
        assert len(find_pairs([scenes])) == 0

    def test_a_group_gives_pairs_with_its_first(self, scenes):
        found = find_pairs([scenes[[0, 1, 0, 2, 0]], scenes[[1]]])
        assert (found.first.tolist(), found.second.tolist()) == ([0, 0, 1], [2, 4, 5])
        assert found.is_exact.all()
        assert found.distance.tolist() == [0, 0, 0]

    def test_a_near_copy_of_a_group_is_told_once(self, scenes):
        found = find_pairs([scenes[[0, 0]], brighter(scenes[:1])])
        assert (found.first.tolist(), found.second.tolist(), found.is_exact.tolist()) == ([0, 0], [1, 2], [True, False])

    def test_exact_only(self, scenes):
        assert len(find_pairs([scenes, brighter(scenes)], near=False)) == 0

    def test_flat_pictures_are_no_near_duplicates(self):
        flat = np.stack([np.full((32, 32, 3), value, np.uint8) for value in range(0, 200, 10)])
        assert len(find_pairs([flat])) == 0

    def test_small_pictures_are_said_to_be_too_small(self):
        found = find_pairs([np.random.default_rng(0).integers(0, 9, (9, 8, 8, 1), np.uint8)])
        assert len(found) == 0
        assert found.notes == (
            "pictures of 8 pixels show too little to tell copies from alike ones: only identical ones were looked for",
        )

    @pytest.mark.parametrize("shape", [(20, 48, 1), (33, 47, 3), (130, 70, 2)])
    def test_any_shape_and_channels(self, shape):
        draw = np.random.default_rng(0)
        cells = draw.integers(0, 256, (8, 7, 9, shape[2])).astype(np.uint8)
        x = cells[:, np.arange(shape[0]) * 7 // shape[0]][:, :, np.arange(shape[1]) * 9 // shape[1]]
        found = find_pairs([x, brighter(x[2:3])])
        assert (found.first.tolist(), found.second.tolist()) == ([2], [8])

    def test_order_of_rows_does_not_matter(self, scenes):
        x = np.concatenate([scenes, np.stack([brighter(scenes[3]), recompressed(scenes[4])])])
        order = np.random.default_rng(1).permutation(len(x))
        found, moved = find_pairs([x]), find_pairs([x[order]])
        there = {frozenset((int(order[a]), int(order[b]))) for a, b in zip(moved.first, moved.second, strict=True)}
        assert there == {frozenset((3, 40)), frozenset((4, 41))}
        assert {frozenset(pair) for pair in zip(found.first.tolist(), found.second.tolist(), strict=True)} == there

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (([np.zeros((2, 32, 32, 3), np.uint8)], 1.0), "`distance` must be in [0, 1), got 1.0."),
            (
                ([np.zeros((2, 4, 4, 3), np.uint8), np.zeros((2, 5, 5, 3), np.uint8)], None),
                "`inputs` must have examples of one shape, got (4, 4, 3), (5, 5, 3).",
            ),
        ],
    )
    def test_refuses(self, arguments, message):
        x, limit = arguments
        x[0][0] = 1
        with pytest.raises(InputError) as refused:
            find_pairs(x, limit=limit)
        assert str(refused.value).startswith(message)


class TestLooks:
    def test_alike_is_the_correlation_of_detail(self, scenes):
        """With no shift but the best one: a naive loop over shifts."""
        one, other = scenes[:1], np.roll(scenes[:1], (1, 2), axis=(1, 2))
        assert float(alike(one, other)[0]) == pytest.approx(_naive(one[0], other[0]), abs=1e-4)
        assert float(alike(scenes[:1], scenes[1:2])[0]) == pytest.approx(_naive(scenes[0], scenes[1]), abs=1e-4)

    def test_alike_is_blind_to_brightness(self, scenes):
        assert float(alike(scenes[:1], scenes[:1] // 2)[0]) > 0.98
        assert alike(scenes[:3], scenes[:3]) == pytest.approx(1, abs=1e-4)

    def test_coarse_rows_have_length_one_and_mirror(self, scenes):
        looked = coarse(scenes)
        assert np.linalg.norm(looked, axis=1) == pytest.approx(1, abs=1e-5)
        assert coarse(np.ascontiguousarray(scenes[:, :, ::-1])) == pytest.approx(coarse(scenes, mirrored=True), abs=1e-5)


def _naive(one, other):
    shift = SIDE // 10
    first, second = (_detail(x) for x in (one, other))
    best = -1.0
    middle = first[shift:-shift, shift:-shift].ravel()
    for down in range(-shift, shift + 1):
        for right in range(-shift, shift + 1):
            window = second[shift + down : SIDE - shift + down, shift + right : SIDE - shift + right].ravel()
            best = max(best, float(np.corrcoef(middle, window)[0, 1]))
    return best


def _detail(x):
    gray = x.astype(float).mean(axis=2)
    padded = np.pad(gray, 2, mode="edge")
    around = np.array([[padded[i : i + 5, j : j + 5].mean() for j in range(SIDE)] for i in range(SIDE)])
    return gray - around


class TestNearVectors:
    def test_jittered_rows(self):
        draw = np.random.default_rng(0)
        x = draw.normal(size=(300, 16)).astype(np.float32) * np.float32(1000)
        close = x[:4] + draw.normal(size=(4, 16)).astype(np.float32) * np.float32(10)
        found = find_pairs([np.concatenate([x, np.full((1, 16), 7, np.float32)]), close])
        assert sorted(zip(found.first.tolist(), found.second.tolist(), strict=True)) == [(row, 301 + row) for row in range(4)]

    def test_columns_without_spread_do_not_matter(self):
        x = np.zeros((50, 3), np.float32)
        x[:, 0] = np.arange(50)
        assert len(find_pairs([x])) == 0


def pairs(found):
    return dict(zip(zip(found.first.tolist(), found.second.tolist(), strict=True), found.distance.tolist(), strict=True))


def rows_of(count):
    """Return as many different pictures, of which nothing is near another."""
    return np.random.default_rng(5).integers(0, 256, (count, 6, 6, 1), np.uint8)


class TestNearFeatures:
    def test_by_hand(self):
        """Of four directions the third neighbour is the farthest: 180° from the first, 179° from the second."""
        x = np.array([[np.cos(a), np.sin(a)] for a in np.deg2rad([0, 1, 90, 180])]) * [[1], [3], [1], [0.1]]
        found = find_pairs([rows_of(4)], features=x)
        cosine = {angle: np.cos(np.deg2rad(angle)) for angle in (1, 179, 180)}
        assert pairs(found) == {(0, 1): pytest.approx((1 - cosine[1]) / np.sqrt((1 - cosine[180]) * (1 - cosine[179])), rel=1e-4)}
        assert (found.limit, found.notes) == (0.2, ())
        assert set(pairs(find_pairs([rows_of(4)], features=x, limit=0.75))) == {(0, 1), (0, 2), (1, 2), (2, 3)}

    @pytest.mark.parametrize("limit", [0.1, 0.45])
    def test_equals_a_naive_route(self, limit):
        draw = np.random.default_rng(3)
        x = draw.normal(size=(150, 5)).astype(np.float32)
        x[100:110] = x[:10] + 0.02 * draw.normal(size=(10, 5))
        away = np.array([[1 - a @ b / np.linalg.norm(a) / np.linalg.norm(b) for b in x.astype(float)] for a in x.astype(float)])
        usual = np.array([np.sort(np.delete(row, place))[4] for place, row in enumerate(away)])
        naive = {
            (i, j): away[i, j] / np.sqrt(usual[i] * usual[j])
            for i in range(150)
            for j in range(i + 1, 150)
            if away[i, j] <= limit * np.sqrt(usual[i] * usual[j])
        }
        found = pairs(find_pairs([rows_of(150)], features=x, limit=limit))
        assert len(naive) >= 10
        assert found == {pair: pytest.approx(distance, rel=1e-3, abs=1e-6) for pair, distance in naive.items()}

    def test_order_of_rows_length_and_kind_of_numbers_change_nothing(self, tmp_path):
        draw = np.random.default_rng(4)
        x = draw.normal(size=(80, WIDTH)).astype(np.float32)
        x[40:45] = x[:5] * 7
        pictures, order = rows_of(80), draw.permutation(80)
        wanted = {frozenset((row, 40 + row)) for row in range(5)}
        np.save(tmp_path / "x.npy", np.asfortranarray(x.astype(np.float64)))
        for features in (x, np.load(tmp_path / "x.npy", mmap_mode="r"), (x * 100).astype(np.float16)):
            found = find_pairs([pictures[:50], pictures[50:]], features=features)
            assert {frozenset(pair) for pair in pairs(found)} == wanted
        moved = find_pairs([pictures[order]], features=x[order])
        assert {frozenset(int(order[row]) for row in pair) for pair in pairs(moved)} == wanted

    def test_what_is_usual_depends_on_the_place(self):
        """Two pairs are as near as each other; the one in a crowd, where others are nearly as near, is none."""
        draw = np.random.default_rng(6)
        x = draw.normal(size=(200, WIDTH))
        x[:100] = np.eye(WIDTH)[0] + 0.1 * draw.normal(size=(100, WIDTH))
        for row in (0, 100):
            x[row + 1] = x[row] + 0.07 * np.linalg.norm(x[row]) * draw.normal(size=WIDTH)
        assert set(pairs(find_pairs([rows_of(200)], features=x))) == {(100, 101)}
        assert (0, 1) in pairs(find_pairs([rows_of(200)], features=x, limit=0.6))

    def test_more_copies_than_neighbours(self):
        draw = np.random.default_rng(7)
        x = draw.normal(size=(300, WIDTH))
        x[:40] = x[0] + 1e-3 * draw.normal(size=(40, WIDTH))
        found = pairs(find_pairs([rows_of(300)], features=x))
        assert {row for pair in found for row in pair} == set(range(40))

    def test_identical_ones_are_told_once_and_zeros_have_no_direction(self):
        pictures = rows_of(30)[[*range(28), 0, 1]]
        x = np.random.default_rng(8).normal(size=(30, WIDTH))
        x[28:] = x[:2]
        x[[5, 6]] = 0
        x[7] = x[0] * 2
        found = find_pairs([pictures], features=x)
        assert pairs(found) == {(0, 28): 0, (1, 29): 0, (0, 7): pytest.approx(0, abs=1e-6)}
        assert found.is_exact.tolist() == [True, True, False]
        assert found.notes == ("2 examples have features of zeros, which have no direction: compared exactly only",)

    def test_beyond_the_end_of_the_features_only_identical_ones_are_found(self):
        pictures = rows_of(30)[[*range(29), 3]]
        x = np.random.default_rng(9).normal(size=(20, WIDTH))
        x[19] = x[2]
        assert set(pairs(find_pairs([pictures], features=x))) == {(3, 29), (2, 19)}

    @pytest.mark.parametrize("count", [0, 1, 2])
    def test_few(self, count):
        x = np.eye(3)[:count]
        assert len(find_pairs([rows_of(3)], features=x)) == 0

    def test_refuses(self):
        x = np.random.default_rng(0).normal(size=(30, 4))
        with pytest.raises(InputError, match=r"`distance` must be at least 0, got -0\.1\."):
            find_pairs([rows_of(30)], features=x, limit=-0.1)
        x[[3, 9]] = np.nan
        with pytest.raises(InputError, match="`features` are NaN or infinite at rows 3, 9"):
            find_pairs([rows_of(30)], features=x)


class TestConflicts:
    def test_by_hand(self):
        first = np.array([0, 1, 0, 0, 4, 4, 6])
        found = conflicts(first, np.array([2, 1, 2, 5, 0, 3, 3]))
        assert found.rows.tolist() == [3, 4, 5]
        assert found.others.tolist() == [0, 5, 4]
        assert found.suggested_label.tolist() == [2, 3, 0]
        assert found.n_wrong == 2

    def test_none(self):
        assert len(conflicts(np.array([0, 0, 2]), np.array([1, 1, 0])).rows) == 0

    def test_join_a_finding(self):
        found = finding(probability=[0.9, 0.1, 0.2], labels=[0, 1, 2], suggested=[1, 0, 0])
        joined = with_conflicts(found, conflicts(np.array([0, 1, 1]), found.labels))
        a, b = 0.1 / 0.9, 0.2 / 0.8
        assert joined.probability == pytest.approx([0.9, a / (a + b), b / (a + b)])
        assert joined.suggested_label.tolist() == [1, 2, 1]
        assert joined.is_suspect.tolist() == [True, True, True]
        assert joined.reason.tolist() == ["", "identical to c, which is labelled C", "identical to b, which is labelled B"]
        assert joined.score == pytest.approx(np.log(joined.probability / (1 - joined.probability)))

    def test_what_is_wrong_for_sure_is_in_the_count_and_the_words(self):
        """Of two identical pictures under two classes one is wrong, whatever the networks hold for possible."""
        found = finding(probability=[0.9, 0.1, 0.2], labels=[0, 1, 2], suggested=[1, 0, 1])
        words = np.array(["", "", "all of 5 networks say B, none C; B is right with 6 %"], object)
        found = replace(found, n_wrong=0.4, n_wrong_low=0.0, reason=words, suggested_probability=np.array([0.9, 0.1, 0.06]))
        joined = with_conflicts(found, conflicts(np.array([0, 1, 1]), found.labels))
        assert (joined.n_wrong, joined.n_wrong_low, joined.n_wrong_high) == (1.0, 1.0, found.n_wrong_high)
        assert joined.reason[2] == "identical to b, which is labelled B; all of 5 networks say B, none C; B is right with 69 %"
        assert "a set without any" not in counts_in_words(joined)

    @pytest.mark.parametrize(("kind", "low"), [("images", 1.0), ("features", 0.0)])
    def test_cases_that_are_described_alike_may_differ(self, kind, low):
        found = finding(probability=[0.9, 0.1, 0.2], labels=[0, 1, 2], suggested=[1, 0, 1])
        shape = (3, 8, 8, 3) if kind == "images" else (3, 2)
        data = from_arrays(np.array([1, 2, 2]).repeat(int(np.prod(shape[1:]))).reshape(shape).astype(np.uint8), found.labels)
        assert data.kind == kind
        assert with_identical(found, data).n_wrong_low == low

    def test_no_conflict_changes_nothing(self):
        found = finding(probability=[0.9, 0.1, 0.2], labels=[0, 1, 2], suggested=[1, 0, 0])
        assert with_conflicts(found, conflicts(np.arange(3), found.labels)) is found


def finding(*, probability, labels, suggested, sure=None):
    """Return a finding about examples a, b, c, ... of classes A, B, C."""
    p = np.array(probability, np.float64)
    return Suspects(
        ids=np.array(list("abcdefgh")[: len(p)], np.dtypes.StringDType()),
        labels=np.array(labels, np.int64),
        suggested_label=np.array(suggested, np.int64),
        probability=p,
        suggested_probability=p if sure is None else np.array(sure, np.float64),
        score=np.log(p / (1 - p)),
        is_suspect=p >= 0.5,
        reason=np.full(len(p), "", dtype=object),
        n_wrong=float(p.sum()),
        n_wrong_low=0.0,
        n_wrong_high=float(len(p)),
        classes=("A", "B", "C"),
        sampling="out",
        method="by hand",
    )
