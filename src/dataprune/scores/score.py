"""A score: one number for each example, with its direction; scores by name; and their correlations."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float64

from dataprune.errors import InputError, invalid, join_some, unknown_choice
from dataprune.notebook import MOST_ROWS, Drawable, data_frame, html_table
from dataprune.scores.table import NETWORK_SCORES, SCORES, canonical


@dataclass(frozen=True, eq=False, repr=False)
class Score(Drawable):
    """One number for each example, in the literature's unit and sign, and which way is harder.

    Attributes:
        name: what it is called.
        values: (N,) finite numbers; integers and bools become float64.
        harder: +1 if larger values are harder, -1 if smaller ones are.
        ids: (N,) the examples' names; row numbers if not given.
        labels: (N,) class indices, if there are any.

    Raises:   InputError: values that are not finite (with rows), lengths that differ, a direction other than +1 or -1.

    Example:
        >>> Score("aum", np.array([2.0, -1.0]), harder=-1).difficulty.tolist()
        [-2.0, 1.0]
    """

    name: str
    values: np.ndarray
    harder: int = 1
    ids: np.ndarray | None = None
    labels: np.ndarray | None = None

    def __post_init__(self) -> None:
        values, title = np.asarray(self.values), f"score '{self.name}'"
        if values.ndim != 1 or values.dtype.kind not in "biuf":
            raise invalid(title, "be one number for each example", f"{values.dtype} of shape {values.shape}")
        if values.dtype not in (np.float32, np.float64):
            values = values.astype(np.float64)
        if len(bad := np.flatnonzero(~np.isfinite(values))):
            raise InputError(f"{title} is NaN or infinite for {len(bad)} examples (rows {join_some(bad)}). Leave these out.")
        if self.harder not in (1, -1):
            raise invalid("harder", "be 1 or -1", self.harder)
        for what, given in (("ids", self.ids), ("labels", self.labels)):
            if given is not None and len(given) != len(values):
                raise invalid(what, f"be as many as the values of {title}: {len(values)}", len(given))
        object.__setattr__(self, "values", values)

    @property
    def difficulty(self) -> Float64[np.ndarray, " examples"]:
        """`harder * values`: higher is harder, whatever the score."""
        return self.harder * self.values.astype(np.float64)

    def __len__(self) -> int:
        return len(self.values)

    def __repr__(self) -> str:
        way = "larger" if self.harder == 1 else "smaller"
        span = f", {self.values.min():.4g} to {self.values.max():.4g}" if len(self) else ""
        return f"Score({self.name!r}, {len(self):,} examples{span}, {way} is harder)"

    def _repr_html_(self) -> str:
        hardest = np.argsort(-self.difficulty, kind="stable")[:MOST_ROWS]
        columns = _columns(self.ids, {self.name: self.values})
        return html_table(f"{self!r}: the hardest", {name: values[hardest] for name, values in columns.items()})

    def to_pandas(self) -> Any:
        """Return a row for each example as a `pandas.DataFrame`: the id, if there are any, and the value."""
        return data_frame(_columns(self.ids, {self.name: self.values}))


class _NoScore(InputError, KeyError):
    """A score that is not there; also a KeyError, because scores are a mapping."""

    __str__ = Exception.__str__


class Scores(Mapping[str, Score], Drawable):
    """Scores of the same examples by name, and why others are absent.

    Args:
        scores: all with the same ids and labels.
        absent: the reason of each score that could not be computed.
    Raises:   InputError: names repeat, or lengths, ids or labels differ between scores.
    """

    def __init__(self, scores: Iterable[Score], absent: Mapping[str, str] | None = None) -> None:
        self._scores: dict[str, Score] = {}
        self.absent = dict(absent or {})
        for score in scores:
            if score.name in self._scores:
                raise invalid("scores", "have different names", f"'{score.name}' twice")
            first = next(iter(self.values()), score)
            self._scores[score.name] = score
            if len(score) != len(first):
                raise invalid("scores", "be of the same examples", f"{len(first)} and {len(score)} for {score.name!r}")
            for what in ("ids", "labels"):
                mine, theirs = getattr(score, what), getattr(first, what)
                if mine is not theirs and not np.array_equal(mine, theirs):
                    raise invalid("scores", "be of the same examples", f"other {what} for '{score.name}' than for '{first.name}'")

    def __getitem__(self, name: str) -> Score:
        if name in self._scores:
            return self._scores[name]
        if name in self.absent:
            raise _NoScore(f"score '{name}' is absent: {self.absent[name]}")
        ours = canonical(name)
        if ours != name and ours in self:
            raise _NoScore(f"there is no score '{name}' here. It is called '{ours}'.")
        if ours in SCORES:
            raise _NoScore(f"score '{ours}' was not computed. Ask for it: score_trace(trace, ['{ours}']).")
        if ours in NETWORK_SCORES:
            raise _NoScore(f"score '{ours}' is of networks and was not computed. dataprune prune RUN --by {ours} computes it.")
        raise _NoScore(str(unknown_choice("score", name, self._scores)))

    def __iter__(self) -> Iterator[str]:
        return iter(self._scores)

    def __len__(self) -> int:
        return len(self._scores)

    def __repr__(self) -> str:
        n_examples = len(next(iter(self.values()))) if self else 0
        lines = [f"  {score!r}" for score in self.values()] + [f"  {name!r} is absent: {why}" for name, why in self.absent.items()]
        return "\n".join([f"Scores of {n_examples:,} examples:", *lines])

    def _repr_html_(self) -> str:
        found = list(self.values())
        columns = {
            "score": [one.name for one in found],
            "lowest": [float(one.values.min()) for one in found],
            "median": [float(np.median(one.values)) for one in found],
            "highest": [float(one.values.max()) for one in found],
            "harder": ["larger" if one.harder == 1 else "smaller" for one in found],
        }
        return html_table(f"Scores of {len(found[0]) if found else 0:,} examples", columns, most=max(1, len(found)))

    def to_pandas(self) -> Any:
        """Return a row for each example as a `pandas.DataFrame`: the id, if there are any, and a column for each score."""
        return data_frame(_columns(self.ids, {name: score.values for name, score in self.items()}))

    @property
    def ids(self) -> np.ndarray | None:
        """The examples' names, if they have any."""
        return next((score.ids for score in self.values()), None)

    @property
    def labels(self) -> np.ndarray | None:
        """The examples' class indices, if they have any."""
        return next((score.labels for score in self.values()), None)


def correlations(
    scores: Scores, kind: Literal["pearson", "spearman"] = "pearson"
) -> tuple[tuple[str, ...], Float64[np.ndarray, "scores scores"]]:
    """Correlate the difficulties of all pairs of scores.

    Args:
        scores: of at least two examples.
        kind: "pearson" on the difficulties, "spearman" on their ranks (ties share the mean rank).
    Returns:  The names, and the symmetric matrix in [-1, 1]; NaN in the row of a score that is the same for all examples.
    """
    from scipy.stats import rankdata

    if kind not in ("pearson", "spearman"):
        raise unknown_choice("kind", kind, ("pearson", "spearman"))
    names = tuple(scores)
    if not names:
        return names, np.zeros((0, 0))
    rows = np.stack([score.difficulty for score in scores.values()])
    if kind == "spearman":
        rows = rankdata(rows, axis=1)
    varies = rows.min(axis=1) < rows.max(axis=1)
    found = np.full((len(names), len(names)), np.nan)
    if varies.any():
        found[np.ix_(varies, varies)] = np.clip(np.corrcoef(rows[varies]), -1.0, 1.0)
    return names, found


def _columns(ids: np.ndarray | None, values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return dict(values) if ids is None else {"id": ids, **values}
