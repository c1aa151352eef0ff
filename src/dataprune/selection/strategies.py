"""The strategies: which examples of a group are kept, given their difficulty and how many.

Each is an order or a quota and, within equal difficulty, the order of a seeded hash: never a position.
"""

import numpy as np
from jaxtyping import Float64, Int64, UInt64

from dataprune.errors import InputError
from dataprune.selection.graph import d2, semdedup, semdedup_size
from dataprune.selection.greedy import craig, facility_location, gradmatch, graph_cut, herding, k_center
from dataprune.selection.group import Group, Rows, Strategy, Values

STRATA = 50  # equal-width strata of `stratified` (Zheng et al. 2023, section 4)
BETA = 15.0  # the concentration of `beta` (Cho et al. 2025, section 4)
SUREST = 10  # of so many examples of the highest score `beta` takes the mean confidence


def share(fraction: float, n_examples: int) -> int:
    """Return the number of examples that a fraction stands for, halves rounded up."""
    return int(np.floor(fraction * n_examples + 0.5))


def window(group: Group, count: int) -> Rows:
    """Keep a window of the order from easiest to hardest, beginning at `start`."""
    # Rounding start and count both up may pass the end by one.
    first = min(share(group.options["start"], len(group)), len(group) - count)
    return group.order[first : first + count]


def moderate(group: Group, count: int) -> Rows:
    """Keep the middle band: the ranks nearest to the median's, of two equally near the harder. Meant for `median_distance`.

    Source: Xia et al. 2023, "Moderate Coreset", ICLR, by rank as in the authors' code.
    """
    from_middle = 2 * np.arange(len(group)) - (len(group) - 1)
    return np.asarray(group.order[np.lexsort((-from_middle, np.abs(from_middle)))[:count]])


def stratified(group: Group, count: int) -> Rows:
    """Cover the range of difficulty: equal-width strata share the budget, after the hardest `cut` (by `cut_by`, if given) goes.

    Quotas are a water level and grow with the budget, so kept sets are nested. Within a stratum the hash decides.

    Source: Zheng et al. 2023, arXiv:2210.15809, algorithm 1. Departs: draws are by hash.
    """
    cut_by = group.difficulty if group.views.cut_by is None else group.views.cut_by
    # Rounding the cut and the budget both up may pass the end by one.
    left = np.lexsort((group.hashes, cut_by))[: max(count, len(group) - share(group.options["cut"], len(group)))]
    difficulty = group.difficulty[left]
    low, high = difficulty.min(), difficulty.max()
    scaled = (difficulty - low) / (high - low) if high > low else np.zeros(len(left))
    stratum = np.minimum((scaled * STRATA).astype(np.int64), STRATA - 1)
    quotas = water_level(np.bincount(stratum, minlength=STRATA), count)
    by_hash = np.lexsort((group.hashes[left], stratum))
    starts = np.searchsorted(stratum[by_hash], np.arange(STRATA))
    place = np.arange(len(left)) - starts[stratum[by_hash]]
    return np.asarray(left[by_hash[place < quotas[stratum[by_hash]]]])


def water_level(sizes: Int64[np.ndarray, " strata"], count: int) -> Int64[np.ndarray, " strata"]:
    """Share a budget as evenly as sizes allow; the quotas add up to `count` and never shrink when it grows."""
    low, high = 0, int(sizes.max())
    while low < high:  # the highest level whose quotas fit the budget
        middle = (low + high + 1) // 2
        low, high = (middle, high) if np.minimum(sizes, middle).sum() <= count else (low, middle - 1)
    quotas = np.asarray(np.minimum(sizes, low), np.int64)
    # From the largest, as filling from the smallest does; of equal ones the hardest.
    largest_first = np.lexsort((-np.arange(len(sizes)), -sizes))
    quotas[largest_first[: count - int(quotas.sum())]] += 1
    return quotas


def beta(group: Group, count: int) -> Rows:
    """Draw with a chance that follows the score, and how sure networks were of the label: the fewer are kept, the surer.

    The chance is the score times the density of a beta distribution at the label's mean probability over epochs. Its parameters
    follow from the share r that is left out and the mean confidence M of the ten highest scores: b = 15 (1 − M)(1 − r^exponent),
    a = 16 − b. Meant for `dual`; the draws are by hash, without replacement. Kept sets are not nested.

    Args:     group: option `exponent`, larger for simpler data.
    Source: Cho et al. 2025, arXiv:2502.06905, section 4. Departs: probabilities of exactly 0 or 1 are moved by 1e-6.
    """
    chances = beta_chances(group, count)
    with np.errstate(divide="ignore"):
        drawn = ((group.hashes >> np.uint64(11)).astype(np.float64) + 0.5) / 2**53
        keys = np.log(drawn) / chances  # Efraimidis & Spirakis 2006; -inf without a chance
    return np.lexsort((group.hashes, -keys))[:count].astype(np.int64)


def beta_chances(group: Group, count: int) -> Values:
    from scipy.stats import beta as beta_distribution

    score = group.difficulty
    if score.min() < 0 or score.max() == 0:
        found = "values below 0" if score.min() < 0 else "only 0"
        raise InputError(f"strategy 'beta' needs a score of 0 or more that is harder where larger, got {found}. Take `dual`.")
    assert group.views.p_label is not None
    confidence = np.clip(np.asarray(group.views.p_label, np.float64).mean(axis=0), 1e-6, 1 - 1e-6)
    surest = float(confidence[group.order[-SUREST:]].mean())
    b = BETA * (1 - surest) * (1 - (1 - count / len(group)) ** group.options["exponent"])
    chances = beta_distribution.pdf(confidence, BETA + 1 - b, max(b, 1e-6)) * score
    return np.asarray(chances / chances.sum())


def metriq(group: Group, count: int) -> Rows:
    """Keep most of the classes that networks get wrong most: a class's kept share follows its error, up to all of it.

    Within a class the hash decides. What full classes cannot take goes to the others in proportion; sizes are exact.

    Source: Vysogorets et al. 2024, arXiv:2404.05579 ("MetriQ").
    """
    assert group.labels is not None
    _, place = np.unique(group.labels, return_inverse=True)
    right = np.asarray(group.views.probabilities).argmax(axis=1) == group.labels
    sizes = np.bincount(place)
    by_hash = np.lexsort((group.hashes, place))
    first = group.hashes[by_hash[np.cumsum(sizes) - sizes]]
    quotas = error_quotas(sizes, 1.0 - np.bincount(place, right) / sizes, count, first)
    ranks = np.arange(len(place)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return np.asarray(by_hash[ranks < quotas[place[by_hash]]])


def error_quotas(
    sizes: Int64[np.ndarray, " classes"],
    errors: Float64[np.ndarray, " classes"],
    count: int,
    tie_breaks: UInt64[np.ndarray, " classes"],
) -> Int64[np.ndarray, " classes"]:
    """Share a budget so that kept shares are in proportion to errors, none above 1; the quotas add up to `count` exactly. Where
    classes without an error are all that is left, they share the rest by size."""
    free = np.ones(len(sizes), bool)
    while True:
        weights = np.where(free, sizes * errors, 0.0)
        weights = weights if weights.sum() > 0 else np.where(free, sizes, 0.0)
        exact = np.where(free, (count - sizes[~free].sum()) * weights / max(1e-300, weights.sum()), sizes)
        if not (full := free & (exact > sizes)).any():
            break
        free &= ~full
    quotas = np.floor(exact + 1e-9).astype(np.int64)
    most = np.lexsort((tie_breaks, quotas - exact))
    most = most[quotas[most] < sizes[most]]
    quotas[most[: count - int(quotas.sum())]] += 1
    return quotas


_SCORE_AND_FEATURES, _FEATURES = ("score", "features"), ("features",)
_GRADIENTS = ("labels", "features", "probabilities")

STRATEGIES: dict[str, Strategy] = {
    "hardest": Strategy(lambda group, count: group.order[len(group) - count :], source="Paul et al. 2021, arXiv:2107.07075"),
    "easiest": Strategy(lambda group, count: group.order[:count], source="Sorscher et al. 2022, arXiv:2206.14486"),
    "window": Strategy(window, options={"start": 0.0}),
    "random": Strategy(lambda group, count: group.by_hash[:count], ()),
    "moderate": Strategy(moderate, source="Xia et al. 2023, ICLR"),
    "stratified": Strategy(stratified, options={"cut": 0.0}, source="Zheng et al. 2023, arXiv:2210.15809"),
    "beta": Strategy(beta, ("score", "p_label"), {"exponent": 4.0}, False, "Cho et al. 2025, arXiv:2502.06905"),
    "metriq": Strategy(metriq, ("labels", "probabilities"), nested=False, source="Vysogorets et al. 2024, arXiv:2404.05579"),
    "k-center": Strategy(k_center, _FEATURES, source="Sener & Savarese 2018, arXiv:1708.00489"),
    "herding": Strategy(herding, _FEATURES, source="Welling 2009, ICML"),
    "graph-cut": Strategy(graph_cut, _FEATURES, {"alpha": 1.0}, source="Iyer et al. 2021, arXiv:2006.15412"),
    "facility-location": Strategy(facility_location, _FEATURES, source="Wei et al. 2015, ICML"),
    "craig": Strategy(craig, _GRADIENTS, source="Mirzasoleiman et al. 2020, arXiv:1906.01827"),
    "gradmatch": Strategy(gradmatch, _GRADIENTS, {"ridge": 1.0}, source="Killamsetty et al. 2021, arXiv:2103.00123"),
    "d2": Strategy(d2, _SCORE_AND_FEATURES, {"neighbours": 10, "gamma": 1.0}, source="Maharana et al. 2024, arXiv:2310.07931"),
    "semdedup": Strategy(
        semdedup,
        _FEATURES,
        {"clusters": 0, "easy": 0, "epsilon": 0.0},
        source="Abbas et al. 2023, arXiv:2303.09540",
        size=semdedup_size,
    ),
}
"""The strategies by name, with what each looks at."""
