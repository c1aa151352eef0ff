"""The kinds of issues, and what each is measured by beside the picture itself: vectors, pairs, predictions, names."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Float64, Int64, Shaped

from dataprune.scores.neighbours import nearest

NEIGHBOURS = 20
REFERENCE_ROWS = 20_000  # of larger sets, the neighbours are looked for among so many
LEAST_CONFUSED = 10  # examples of a pair of classes, before a rate is told
LEAST_NAMED = 5  # examples that are named for a class, before the name counts
BY_CHANCE = 0.5  # of the near pairs that make bursts, at most; chosen on digits and flowers, see docs/log.md
FENCE = 1.5
"""Interquartile ranges beyond the quartile where a value is unusual in its set (Tukey 1977)."""


@dataclass(frozen=True)
class Kind:
    """A kind of issue: what its value is, which tail is flagged, the limit that holds in every set, whether the set moves it.

    The absolute limits were set by eye on photographs of flowers and tried on other sets: see docs/log.md.
    """

    value: str
    tail: Literal["low", "high"]
    absolute: float
    fence: Literal["", "linear", "log"] = "linear"


KINDS: dict[str, Kind] = {
    "dark": Kind("lightness of its lightest 1 %", "low", 0.5),
    "bright": Kind("lightness of its darkest 5 %", "high", 0.6),
    "low_contrast": Kind("lightness from its darkest to its lightest 1 %", "low", 0.3),
    "blurred": Kind("sharpness of its steepest edges", "low", 0.65),
    "odd_shape": Kind("long side over short side", "high", 2.5, "log"),
    "odd_size": Kind("its side over the usual one, or that over its", "high", 3.0, "log"),
    "off_topic": Kind("distance to its 20 nearest over the usual one", "high", 1.5),
    "burst": Kind("examples that are nearly the same", "high", 2.0, ""),
    "mixed_classes": Kind("rate at which its class and the predicted one are confused", "high", 0.1, ""),
    "other_name": Kind("share of the examples of that name with that label", "high", 0.5, ""),
}


@dataclass(frozen=True)
class Limit:
    """From where a kind is flagged: the stricter of what holds in every set and of what is unusual in this one."""

    tail: Literal["low", "high"]
    threshold: float
    absolute: float
    relative: float | None = None

    def beyond(self, values: Float64[np.ndarray, " examples"]) -> np.ndarray:
        """Return which values are flagged; NaN never is."""
        return np.asarray(values < self.threshold if self.tail == "low" else values > self.threshold)


def limit_of(name: str, values: Float64[np.ndarray, " examples"]) -> Limit:
    """Return the limit of a kind in a set whose values are these.

    Example:
        >>> limit_of("dark", np.array([0.9, 0.95, 1.0, 1.0, 0.2])).threshold, limit_of("dark", np.array([0.3, 0.31, 0.3])).threshold
        (0.5, 0.2925)
    """
    kind, known = KINDS[name], values[np.isfinite(values)]
    if not kind.fence or not len(known):
        return Limit(kind.tail, kind.absolute, kind.absolute)
    low, high = np.quantile(np.log(known) if kind.fence == "log" else known, [0.25, 0.75])
    edge = low - FENCE * (high - low) if kind.tail == "low" else high + FENCE * (high - low)
    relative = round(float(np.exp(edge) if kind.fence == "log" else edge), 6)
    return Limit(kind.tail, (min if kind.tail == "low" else max)(kind.absolute, relative), kind.absolute, relative)


def of_pictures(measured: Mapping[str, Float64[np.ndarray, " examples"]]) -> dict[str, Float64[np.ndarray, " examples"]]:
    """Return the values of the kinds that are seen in a picture alone, from the measures of all, by name."""
    known = measured["side"][np.isfinite(measured["side"])]
    away = measured["side"] / (np.median(known) if len(known) else 1.0)
    names = {"dark": "lightest", "bright": "darkest", "low_contrast": "contrast", "blurred": "sharpness", "odd_shape": "shape"}
    return {kind: measured[name] for kind, name in names.items()} | {"odd_size": np.maximum(away, 1 / away)}


def off_topic(features: Shaped[np.ndarray, "examples columns"]) -> Float64[np.ndarray, " examples"]:
    """Return how far, by cosine, the nearest neighbours of each example are, over the median; of large sets, among some rows.

    Raises:
        InputError: what `nearest` refuses.
    """
    n = len(features)
    among = np.unique(np.linspace(0, n - 1, min(n, REFERENCE_ROWS)).astype(np.int64))
    k = min(NEIGHBOURS, len(among) - 1)
    away, _ = nearest(features[among], features, k + 1)
    is_own = np.isin(np.arange(n), among)[:, None]  # the nearest is the example itself
    mean = np.where(is_own, away[:, 1:], away[:, :-1]).mean(axis=1, dtype=np.float64)
    return np.asarray(mean / (np.median(mean) or 1.0))


def telling(distance: Float[np.ndarray, " pairs"], limit: float) -> float:
    """Return up to which distance near pairs tell a burst: where at most half of them are expected by chance.

    Where examples are alike anyway, as drawn digits are, most near pairs are no copies. Such pairs become fewer with the square of
    the distance, or faster; how many there are is estimated from all pairs beyond half of the limit, copies among them too.

    Example:
        >>> telling(np.array([0.05, 0.01, 0.02]), 0.2), telling(np.array([0.16, 0.12, 0.18, 0.1, 0.2]), 0.2)
        (0.05, 0.0)
    """
    nearest_first = np.sort(distance)
    chance = (distance > limit / 2).sum() / (1 - 0.5**2) * (nearest_first / limit) ** 2
    return float(nearest_first[chance <= BY_CHANCE * np.arange(1, len(distance) + 1)].max(initial=0.0))


def burst(first: Int64[np.ndarray, " pairs"], second: Int64[np.ndarray, " pairs"], n: int) -> Float64[np.ndarray, " examples"]:
    """Return how many examples hang together with each by pairs of duplicates, itself included.

    Example:
        >>> burst(np.array([0, 1]), np.array([1, 3]), 4).tolist()
        [3.0, 3.0, 1.0, 3.0]
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    _, group = connected_components(coo_array((np.ones(len(first), bool), (first, second)), shape=(n, n)), directed=False)
    return np.asarray(np.bincount(group)[group], np.float64)


def confusion_rates(
    labels: Int64[np.ndarray, " examples"], predicted: Int64[np.ndarray, " examples"], n_classes: int
) -> Float64[np.ndarray, "classes classes"]:
    """Return how often networks that did not see them take examples of two classes for each other, of all examples of both.

    That is 0 within a class, and where fewer than ten examples are confused.

    Example:
        >>> confusion_rates(np.repeat([0, 1], 20), np.array([0] * 10 + [1] * 30), 2).tolist()
        [[0.0, 0.25], [0.25, 0.0]]
    """
    confused = np.zeros((n_classes, n_classes))
    np.add.at(confused, (labels, predicted), 1)
    size = confused.sum(axis=1)
    both = (confused + confused.T) * (1 - np.eye(n_classes))
    return np.asarray(np.where(both < LEAST_CONFUSED, 0.0, both / np.maximum(size[:, None] + size, 1)))


def other_name(
    ids: Sequence[str], labels: Int64[np.ndarray, " examples"], classes: Sequence[str]
) -> Float64[np.ndarray, " examples"]:
    """Return of each example that is named for another class and not for its own, how reliable such a name is; else 0.

    A name counts word by word, whatever the case and a last s. It is as reliable as the examples that have it are of that class.

    Example:
        >>> ids = [f"{name}{number}.jpg" for name in ("cat", "dog") for number in range(5)] + ["my_dogs.jpg"]
        >>> other_name(ids, np.array([0] * 5 + [1] * 5 + [0]), ("cat", "dog")).round(2).tolist()[-2:]
        [0.0, 0.83]
    """
    spelled = {index: words for index, name in enumerate(classes) if (words := _words(name))}
    by_first: dict[str, list[int]] = defaultdict(list)
    for index, words in spelled.items():
        by_first[words[0]].append(index)
    found = [_named(_words(name), spelled, by_first) for name in ids]
    counts = np.zeros((2, len(classes)))
    for row, named in enumerate(found):
        for index in named:
            counts[:, index] += (1, labels[row] == index)
    reliable = np.where(counts[0] < LEAST_NAMED, 0.0, counts[1] / np.maximum(counts[0], 1))
    made = np.zeros(len(found))
    for row, named in enumerate(found):
        if named and labels[row] not in named:
            made[row] = max(reliable[one] for one in named)
    return made


def _words(text: str) -> tuple[str, ...]:
    found = re.findall(r"[^\W\d_]+|\d+", text.casefold())
    return tuple(word.removesuffix("s") if len(word) > 3 else word for word in found)


def _named(words: tuple[str, ...], spelled: Mapping[int, tuple[str, ...]], by_first: Mapping[str, list[int]]) -> set[int]:
    """Return the classes whose words stand in some words; of those within one another the longest."""
    at = [(start, start + len(spelled[one]), one) for start, word in enumerate(words) for one in by_first.get(word, ())]
    spans = [(start, end, one) for start, end, one in at if words[start:end] == spelled[one]]
    return {one for a, b, one in spans if not any(c <= a and b <= d and d - c > b - a for c, d, _ in spans)}
