"""Find examples that are there twice, exactly or nearly, and identical ones whose labels contradict each other."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Int64

from dataprune.blocks import slices
from dataprune.errors import invalid
from dataprune.noise.fingerprint import SMALLEST, alike, coarse, rows_at
from dataprune.noise.suspects import Suspects
from dataprune.noise.words import right_with
from dataprune.scores.neighbours import close_pairs, nearest

# The largest distances of near duplicates; of pictures and by features looked at by eye: see docs/log.md.
NEAR_PICTURES = 0.25  # 1 − agreement of detail
NEAR_VECTORS = 0.1  # of feature vectors, in units of the median distance to the nearest neighbour
NEAR_FEATURES = 0.2  # 1 − cosine, in units of the geometric mean of what it is from each of the two to its 20th neighbour

COARSE_LIMIT = 0.15  # 1 − agreement of colours at which a pair is worth comparing in detail
MOST_PARTNERS = 10  # compared with each picture
USUAL = 20  # the neighbour whose distance is the usual one around an example
FEWEST, ROWS_EACH = 5, 50  # an earlier neighbour where there are few examples, of which the 20th would be far
FLOOR = 0.1  # of its median: nearer than that, the 20th neighbour is a copy too
TYPICAL_ROWS = 2000  # over which the median distance to the nearest neighbour is taken
PAIR_VALUES = 2**23
ID_LETTERS = 40  # of an id in a reason; of a longer one the middle is cut
BLOCK_ROWS = 2**14


@dataclass(frozen=True, eq=False)
class Pairs:
    """Pairs of examples that are the same or nearly so, each once, by their rows; identical ones each with the first of them all.
    The distance of identical ones is 0; `limit` is the largest of near ones, None where they were not looked for."""

    first: Int64[np.ndarray, " pairs"]
    second: Int64[np.ndarray, " pairs"]
    distance: Float32[np.ndarray, " pairs"]
    is_exact: Bool[np.ndarray, " pairs"]
    notes: tuple[str, ...] = ()
    limit: float | None = None

    def __len__(self) -> int:
        return len(self.first)


def identical(inputs: Sequence[np.ndarray]) -> Int64[np.ndarray, " examples"]:
    """Return for each example of some arrays, numbered through, the row of the first that is identical to it, perhaps its own."""
    seen: dict[bytes, int] = {}
    first = np.empty(sum(map(len, inputs)), np.int64)
    for row, example in enumerate(chain.from_iterable(inputs)):
        values = example + 0.0 if example.dtype.kind == "f" else example  # −0 is 0
        first[row] = seen.setdefault(hashlib.blake2b(values.tobytes(), digest_size=16).digest(), row)
    return first


def find_pairs(
    inputs: Sequence[np.ndarray],
    *,
    near: bool = True,
    limit: float | None = None,
    features: np.ndarray | None = None,
    whole: Sequence[np.ndarray] | None = None,
) -> Pairs:
    """Find identical and nearly identical examples: exact pairs by row (of n identical ones n − 1, each with the first), then near
    ones among the different, by distance.

    Pictures are near duplicates when their colours agree coarsely and their detail closely, as they are or mirrored, also
    recompressed, brighter, of another tint, or shifted by 3 % of the side; docs/log.md says how many copies are missed. Feature
    vectors are near within a fraction of the usual distance between neighbours, columns scaled to unit spread. With features of a
    network in place of pixels, those are near whose features have nearly one direction, compared with how near others are around
    the two.

    Args:     inputs: arrays (n, H, W, Ch) uint8 or (n, D) float32, of one row shape, numbered through. limit: the largest distance
              of near ones, 0 … 1 for pictures, for features in units of what is usual around the two; None is the measured default.
              features: (n, D) numbers, also a memory map; examples beyond their end are compared exactly only. whole: rows that are
              equal where examples are identical, in place of `inputs`: digests of pictures before they were cut.
    """
    shapes = {part.shape[1:] for part in inputs}
    if len(shapes) > 1:
        raise invalid("inputs", "have examples of one shape", ", ".join(map(str, sorted(shapes))))
    first = identical(inputs if whole is None else whole)
    again = np.flatnonzero(first != np.arange(len(first)))
    exact = Pairs(first[again], again, np.zeros(len(again), np.float32), np.ones(len(again), bool))
    if not near:
        return exact
    distinct = np.flatnonzero(first == np.arange(len(first)))
    if features is not None:
        found = _near_features(features, distinct[distinct < len(features)], limit)
    elif len(distinct) < 2:
        return exact
    else:
        found = _near_pictures(inputs, distinct, limit) if inputs[0].ndim == 4 else _near_vectors(inputs, distinct, limit)
    order = np.lexsort((found.second, found.first, found.distance))
    columns = ("first", "second", "distance", "is_exact")
    both: dict[str, Any] = {name: np.concatenate([getattr(exact, name), getattr(found, name)[order]]) for name in columns}
    return replace(found, **both)


def _near_pictures(inputs: Sequence[np.ndarray], rows: Int64[np.ndarray, " rows"], limit: float | None) -> Pairs:
    most = NEAR_PICTURES if limit is None else limit
    if not 0 <= most < 1:
        raise invalid("distance", "be in [0, 1)", most, f"{NEAR_PICTURES} is the default; 0.1 gives fewer and surer pairs.")
    side = min(inputs[0].shape[1:3])
    if side < SMALLEST:
        note = f"pictures of {side} pixels show too little to tell copies from alike ones: only identical ones were looked for"
        return Pairs(*_no_pairs(), (note,))
    plain = np.concatenate([coarse(part) for part in inputs])[rows]
    both_ways = []
    for mirrored in (False, True):
        queries = np.concatenate([coarse(part, mirrored=True) for part in inputs])[rows] if mirrored else None
        _, one, other = close_pairs(plain, queries, COARSE_LIMIT, most=MOST_PARTNERS)
        distance = _compared(inputs, rows[one], rows[other], mirrored)
        close = distance <= most
        both_ways.append((rows[one[close]], rows[other[close]], distance[close]))
    first, second, distance = map(np.concatenate, zip(*both_ways, strict=True))
    order = np.argsort(distance, kind="stable")  # of a pair that agrees both ways, the closer one
    _, closer = np.unique((first * (rows[-1] + 1) + second)[order], return_index=True)
    once = order[closer]
    return Pairs(first[once], second[once], distance[once], np.zeros(len(once), bool), limit=most)


def _compared(
    inputs: Sequence[np.ndarray], one: Int64[np.ndarray, " pairs"], other: Int64[np.ndarray, " pairs"], mirrored: bool
) -> Float32[np.ndarray, " pairs"]:
    """Measure pairs of pictures in detail, a few at a time."""
    distance = np.empty(len(one), np.float32)
    for some in slices(len(one), inputs[0][0].size, PAIR_VALUES):
        left = rows_at(inputs, one[some])
        distance[some] = 1 - alike(left[:, :, ::-1] if mirrored else left, rows_at(inputs, other[some]))
    return distance.clip(0, 2)


def _near_vectors(inputs: Sequence[np.ndarray], rows: Int64[np.ndarray, " rows"], limit: float | None) -> Pairs:
    most = NEAR_VECTORS if limit is None else limit
    if not 0 <= most < np.inf:
        raise invalid("distance", "be at least 0", most)
    x = np.concatenate([np.asarray(part, np.float32) for part in inputs])[rows]
    spread = x.std(axis=0, dtype=np.float64)
    x = (x[:, spread > 0] / spread[spread > 0]).astype(np.float32)
    step = -(-len(x) // TYPICAL_ROWS)
    distances, _ = nearest(x, x[::step], 2, metric="euclidean")
    typical = float(np.median(distances[:, 1]))  # the first is the row itself
    distance, one, other = close_pairs(x, None, most * typical, metric="euclidean", most=MOST_PARTNERS)
    return Pairs(rows[one], rows[other], (distance / np.float32(typical or 1)), np.zeros(len(one), bool), limit=most)


def _near_features(features: np.ndarray, rows: Int64[np.ndarray, " rows"], limit: float | None) -> Pairs:
    most = NEAR_FEATURES if limit is None else limit
    if not 0 <= most < np.inf:
        raise invalid("distance", "be at least 0", most)
    is_zero = np.zeros(len(rows), bool)
    for some in slices(len(rows), 1, BLOCK_ROWS):
        is_zero[some] = (features[rows[some]] == 0).all(axis=1)
    n_zero = int(is_zero.sum())
    noun = "example has" if n_zero == 1 else "examples have"
    notes = (f"{n_zero} {noun} features of zeros, which have no direction: compared exactly only",) if n_zero else ()
    rows = rows[~is_zero]
    if len(rows) < 2:
        return Pairs(*_no_pairs(), notes, most)
    k = min(USUAL, max(FEWEST, len(rows) // ROWS_EACH), len(rows) - 1)
    away, near = nearest(features[rows], None, k)
    usual = np.maximum(away[:, -1], FLOOR * float(np.median(away[:, -1]))).astype(np.float64)
    scale = np.sqrt(usual[:, None] * usual[near])
    close = np.flatnonzero(away <= most * scale)
    distance = np.divide(away, scale, out=np.zeros(away.shape), where=scale > 0).ravel()[close]
    one, other = rows[close // k], rows[near.ravel()[close]]
    first, second = np.minimum(one, other), np.maximum(one, other)
    _, once = np.unique(first * len(features) + second, return_index=True)
    return Pairs(first[once], second[once], distance[once].astype(np.float32), np.zeros(len(once), bool), notes, most)


def _no_pairs() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32), np.empty(0, bool)


@dataclass(frozen=True, eq=False)
class Conflicts:
    """Examples whose exact doubles are labelled otherwise, except where most doubles agree with their own label."""

    rows: Int64[np.ndarray, " conflicts"]
    others: Int64[np.ndarray, " conflicts"]  # row of a double with another label: the first with the suggested one
    suggested_label: Int64[np.ndarray, " conflicts"]  # the commonest among the doubles, other than its own; the smallest of several
    n_wrong: int  # labels that are wrong at the least: identical examples have one true label


def conflicts(first: Int64[np.ndarray, " examples"], labels: Int64[np.ndarray, " examples"]) -> Conflicts:
    """Find the examples that contradict identical ones, whose `first` is as `identical` gives it."""
    order = np.argsort(first, kind="stable")
    rows, others, suggested, n_wrong = [], [], [], 0
    for group in np.split(order, np.flatnonzero(np.diff(first[order])) + 1):
        own = labels[group]
        if len(group) == 1 or (own == own[0]).all():
            continue
        names, counts = np.unique(own, return_counts=True)
        n_wrong += len(group) - int(counts.max())
        for row, label in zip(group.tolist(), own.tolist(), strict=True):
            agreeing = int(counts[names == label][0])
            if 2 * agreeing > len(group):
                continue
            other = int(names[np.where(names == label, 0, counts).argmax()])
            rows.append(row)
            others.append(int(group[own == other][0]))
            suggested.append(other)
    place = np.argsort(np.array(rows, np.int64), kind="stable")
    at, twins, names = (np.array(values, np.int64)[place] for values in (rows, others, suggested))
    return Conflicts(at, twins, names, n_wrong)


def with_conflicts(found: Suspects, against: Conflicts) -> Suspects:
    """Make suspects of the examples that contradict identical ones, with the reason in words. Of the two labels one at most is
    right. What the finding says of each is weighed against the other: with odds a and b of being wrong, a / (a + b). An example
    that the finding holds for worse than that stays as it is, but for the reason. No count lies below what is wrong for sure."""
    if not len(against.rows):
        return found
    odds = np.exp(found.score.clip(-30, 30))
    pairs = against.rows, against.others, against.suggested_label
    own, other = odds[against.rows], odds[against.others]
    shared = np.maximum(own / (own + other), found.probability[against.rows]).clip(1e-9, 1 - 1e-9)
    said, known = [], found.suggested_probability
    for row, twin, label, share in zip(*(one.tolist() for one in pairs), shared.tolist(), strict=True):
        reason = f"identical to {_short(str(found.ids[twin]))}, which is labelled {found.classes[label]}"
        networks = str(found.reason[row])
        if networks and known is not None:  # how surely the suggested label is right has changed
            before = right_with(found.classes[found.suggested_label[row]], float(known[row]))
            networks = networks.removesuffix(before) + right_with(found.classes[label], share)
        said.append(f"{reason}; {networks}" if networks else reason)
    changes = {
        "probability": shared,
        "score": np.log(shared / (1 - shared)),
        "suggested_label": against.suggested_label,
        "suggested_probability": shared,
        "is_suspect": True,
        "reason": said,
        "contradicted_by": against.others,
    }
    counts = {name: getattr(found, name) for name in ("n_wrong", "n_wrong_low", "n_wrong_high")}
    at_least = {name: max(one, float(against.n_wrong)) for name, one in counts.items() if one is not None}
    found = replace(found, contradicted_by=np.full(len(found), -1, np.int64), **at_least)
    for name, values in changes.items():
        if getattr(found, name) is not None:
            column = getattr(found, name).copy()
            column[against.rows] = values
            found = replace(found, **{name: column})
    return found


def _short(name: str) -> str:
    half = ID_LETTERS // 2
    return name if len(name) <= ID_LETTERS else f"{name[: half - 1]}...{name[-half + 2 :]}"
