"""Choose the kept set for a score, a budget and a strategy."""

from dataclasses import replace
from numbers import Integral, Real

import numpy as np
from jaxtyping import Int64, UInt64
from numpy.typing import ArrayLike

from dataprune.blocks import as_array
from dataprune.errors import InputError, invalid, join_some, unknown_choice
from dataprune.plugins import call
from dataprune.scores import Score
from dataprune.selection.group import Chosen, Group, Strategy, Views, check_needs
from dataprune.selection.ids import Ids, ids_sha256
from dataprune.selection.selection import Selection
from dataprune.selection.strategies import STRATEGIES, share
from dataprune.streams import generator
from dataprune.trace.member import are_names, checked_labels

Rows = Int64[np.ndarray, " rows"]
Counts = Int64[np.ndarray, " classes"]

# 0.7 + 0.3 may exceed 1 by a rounding error.
_SLACK = 1e-9
FRACTIONS = ("start", "cut")  # options that are fractions of all examples; with `keep` they are at most 1


def select(
    score: Score | ArrayLike | None,
    keep: float | None = None,
    *,
    count: int | None = None,
    strategy: str = "hardest",
    balanced: bool = False,
    labels: ArrayLike | None = None,
    ids: ArrayLike | Ids | None = None,
    views: Views | None = None,
    seed: int = 0,
    **options: float,
) -> Selection:
    """Choose the examples to keep.

    Ties are broken by a hash of `seed` and the id. So the kept set does not depend on the order of rows, and as `keep` grows the
    sets are nested (balanced ones within each class's quota; not those of "beta" and "metriq").

    Args:
        score: of the examples; a bare array is a difficulty (higher is harder). None for strategies that need none, with `ids`,
            `labels` or `views`.
        keep: the fraction kept, in (0, 1]: floor(keep · N + 0.5) examples, at least 1.
        count: how many are kept, in place of `keep`.
        strategy: of `STRATEGIES`, whose entries say what each needs and which options it takes; or `"module:function"`, a function
            of a `Group`, a count and a NumPy generator that gives row numbers of the group.
        balanced: give each class its share of the budget (largest remainders; at least one each where the budget allows) and
            use the strategy inside each class.
        labels: (N,) class indices or names, if the score does not carry them.
        ids: (N,) different strings, if the score does not carry them; row numbers if there are none. `Ids` remember their hashes.
        views: features, probabilities and more, for strategies that look at them.
        seed: of the tie-breaking hash, and of "random".
        options: of the strategy: `start` of "window", `cut` of "stratified", `neighbours` and `gamma` of "d2", and so on.
    Raises:   InputError: what does not fit, also integers that are a permutation and so look like a ranking, not a score.

    Example:
        >>> select([0.1, 0.9, 0.5, 0.7], keep=0.5).rows.tolist()
        [1, 3]
    """
    if ":" not in strategy and strategy not in STRATEGIES:
        raise unknown_choice("strategy", strategy, STRATEGIES)
    rule = STRATEGIES.get(strategy) or Strategy(lambda group, count: (), ())  # one's own is called by its name, with a generator
    asked = _options(strategy, rule, options)
    whole, names, values = _examples(score, labels, ids, views or Views(), seed)
    whole, n_total = replace(whole, options=asked), len(whole)
    check_needs(strategy, rule.needs, whole, score is not None)
    if balanced and whole.labels is None:
        raise invalid("labels", "be given to balance by class", "none")
    if balanced and strategy == "metriq":
        raise invalid("balanced", "be left out for strategy 'metriq'", True, "It shares the budget over the classes itself.")
    if keep is None and count is None and rule.size is not None:
        count = rule.size(whole)
    n_kept = _count(keep, count, n_total)
    _check_fractions(asked, n_kept / n_total if keep is None else keep)
    parts = []
    for members, quota in _budget(whole, n_kept, balanced):
        group = whole if len(members) == len(whole) else whole.take(members)
        found = _chosen(strategy, rule, group, quota, seed)
        parts.append(Chosen(members[found.rows], found.weights))
    kept = np.concatenate([part.rows for part in parts])
    order = np.argsort(kept)
    rows = kept[order]
    weights = [part.weights for part in parts if part.weights is not None]
    fraction = n_kept / n_total if keep is None else float(keep)
    spec = {"strategy": strategy, "keep": fraction, "count": n_kept, "balanced": balanced, "seed": seed, "options": asked}
    looks_at_score = ":" in strategy or strategy == "random" or "score" in rule.needs
    spec |= {
        "score": score.name if isinstance(score, Score) and looks_at_score else None,
        "ids_sha256": names.sha256(rows) if names is ids else ids_sha256(names.names[rows].tolist()),
    }
    return Selection(
        rows=rows,
        ids=names.names[rows],
        labels=None if whole.labels is None else whole.labels[rows],
        scores=None if values is None else values[rows],
        n_total=n_total,
        strategy=strategy,
        keep=fraction,
        spec=spec,
        notes=_notes(whole, rows, "score" in rule.needs),
        weights=np.concatenate(weights)[order] if weights else None,
    )


def _examples(
    score: Score | ArrayLike | None, labels: ArrayLike | None, ids: ArrayLike | Ids | None, views: Views, seed: int
) -> tuple[Group, Ids, np.ndarray | None]:
    """Return what is chosen from, checked and of equal lengths; the ids, and the values of the score, if there is one."""
    if score is None:
        known = next((one for one in (ids, labels, views.features, views.probabilities) if one is not None), None)
        if known is None:
            raise InputError("without a score, give `ids` or `labels`: they say how many examples there are.")
        values, difficulty = None, np.zeros(len(known if isinstance(known, Ids) else np.asarray(known)))
    else:
        if not isinstance(score, Score):
            score = Score("given", _difficulty(score))
        values, difficulty = score.values, score.difficulty
        labels = score.labels if labels is None else labels
        ids = score.ids if ids is None else ids
    n_total = len(difficulty)
    if n_total == 0:
        raise invalid("score", "be of at least one example", "none")
    given = None if labels is None else as_array(labels, "labels")
    if given is not None and are_names(given):
        given = np.unique(given, return_inverse=True)[1]
    classes = None if given is None else checked_labels(given)
    names = ids if isinstance(ids, Ids) else Ids(np.arange(n_total) if ids is None else ids)
    for what, given in (("labels", classes), ("ids", names.names)):
        if given is not None and given.shape != (n_total,):
            raise invalid(what, f"be one for each of {n_total} examples", f"shape {given.shape}")
    views.check(n_total)
    return Group(difficulty, names.ties(seed), classes, views), names, values


def _difficulty(array: ArrayLike) -> np.ndarray:
    values = as_array(array, "score")
    ranking = values.ndim == 1 and len(values) > 2 and np.issubdtype(values.dtype, np.integer)
    if ranking and np.array_equal(np.sort(values), np.arange(len(values))):
        raise InputError(f"`score` looks like a ranking: integers 0 ... {len(values) - 1}. Pass the score, or ranks as floats.")
    return values


def _count(keep: float | None, count: int | None, n_total: int) -> int:
    if (keep is None) == (count is None):
        raise InputError(f"give one of `keep` and `count`, got {'neither' if keep is None else 'both'}.")
    if count is not None:
        if not isinstance(count, Integral):
            raise invalid("count", "be a whole number", repr(count))
        if not 1 <= count <= n_total:
            raise invalid("count", f"be in 1 ... {n_total}, the number of examples", count)
        return int(count)
    if not isinstance(keep, Real):
        raise invalid("keep", "be a number", repr(keep))
    if not 0 < keep <= 1:  # also refuses NaN
        raise invalid("keep", "be in (0, 1]", f"{keep:g}", "It is the fraction kept: write 0.3 to keep 30 %.")
    return max(1, share(keep, n_total))


def _options(strategy: str, rule: Strategy, given: dict[str, float]) -> dict[str, float]:
    """Return the options of a strategy with their defaults; refuse what is another's, or no number at least 0."""
    owners = {option: name for name, one in STRATEGIES.items() for option in one.options}
    for name, value in given.items():
        if name not in owners:
            raise unknown_choice("option", name, owners)
        if name in FRACTIONS and not 0 <= value < 1:  # also refuses NaN
            raise invalid(name, "be in [0, 1)", value, "It is a fraction of all examples.")
        if not 0 <= value < np.inf:
            raise invalid(name, "be 0 or more", value)
        if value and name not in rule.options and ":" not in strategy:
            raise invalid(name, f"be 0 for strategy '{strategy}'", value, f"It belongs to '{owners[name]}'.")
    known = dict(given) if ":" in strategy else {name: given.get(name, default) for name, default in rule.options.items()}
    return {name: float(value) for name, value in known.items()}


def _check_fractions(options: dict[str, float], keep: float) -> None:
    for name in FRACTIONS:
        if options.get(name, 0.0) + keep > 1 + _SLACK:
            value, cure = options[name], f"Lower `{name}` to {max(0.0, 1 - keep):.6g} or keep less."
            raise invalid(name, "leave enough to keep (with `keep` at most 1 together)", f"{value:g} + {keep:g}", cure)


def _budget(whole: Group, count: int, balanced: bool) -> list[tuple[Rows, int]]:
    """Return the groups to choose from, each by its rows, and how many of each."""
    if not balanced:
        return [(np.arange(len(whole)), count)]
    assert whole.labels is not None
    order = np.argsort(whole.labels, kind="stable")
    classes = np.split(order, np.flatnonzero(np.diff(whole.labels[order])) + 1)
    sizes = np.array([len(rows) for rows in classes])
    # Ties of remainders go by the smallest hash in the class: neither its number nor its place decides.
    quotas = largest_remainders(sizes, count, np.array([whole.hashes[rows].min() for rows in classes]))
    return [(rows, int(quota)) for rows, quota in zip(classes, quotas, strict=True) if quota]


def largest_remainders(sizes: Counts, count: int, tie_breaks: UInt64[np.ndarray, " classes"]) -> Counts:
    """Share a budget over classes in proportion to their sizes (at least 1); the quotas add up to `count` exactly. Each class gets
    at least one if the budget has one for each: those that would get none get one, and the others share the rest. Of equal
    remainders, the class with the smaller tie-break goes first."""
    quotas = np.ones(len(sizes), np.int64)
    shares = np.ones(len(sizes), bool)  # classes that are not held at one
    while True:
        rest = count - int((~shares).sum())
        exact = rest * sizes[shares]
        part = exact // sizes[shares].sum()
        remainders = exact % sizes[shares].sum()
        part[np.lexsort((tie_breaks[shares], -remainders))[: rest - int(part.sum())]] += 1
        quotas[shares] = part
        if count < len(sizes) or part.all():
            return quotas
        held = np.flatnonzero(shares)[part == 0]
        quotas[held], shares[held] = 1, False


def _chosen(strategy: str, rule: Strategy, group: Group, count: int, seed: int) -> Chosen:
    if ":" not in strategy:
        found = rule.choose(group, count)
        return found if isinstance(found, Chosen) else Chosen(found)
    stream = generator(seed, "strategy", strategy, int(group.hashes.min()))
    rows, who = np.asarray(call(strategy, group, count, stream)), f"strategy '{strategy}'"
    if rows.shape != (count,) or not np.issubdtype(rows.dtype, np.integer):
        raise invalid(who, f"give exactly {count} row numbers", f"{rows.dtype} of shape {rows.shape}")
    bad = rows[(rows < 0) | (rows >= len(group.hashes))]
    if len(bad):
        raise invalid(who, f"give rows in 0 ... {len(group.hashes) - 1}", join_some(bad))
    unique, counts = np.unique(rows, return_counts=True)
    if len(unique) != count:
        raise invalid(who, "give each row once", f"repeats of {join_some(unique[counts > 1])}")
    return Chosen(rows.astype(np.int64))


def _notes(whole: Group, rows: Rows, looks_at_score: bool) -> tuple[str, ...]:
    tells = not looks_at_score or np.ptp(whole.difficulty) > 0
    notes = [] if tells else ["the score is the same for all examples: it chooses nothing"]
    if whole.labels is not None and len(empty := np.setdiff1d(whole.labels, whole.labels[rows])):
        fits = len(rows) >= len(np.unique(whole.labels))
        cure = "--balanced keeps one of each" if fits else "the budget has not one for each"
        notes.append(f"classes that keep no example: {join_some(empty)} ({cure})")
    return tuple(notes)
