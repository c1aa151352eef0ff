"""Whether a difference between trainings is more than chance.

The model is the two-way one: an accuracy is its cell's mean, plus its seed's effect, plus noise. Cells of low accuracy scatter more
than cells of high accuracy, so both the seed's effect and the noise are taken as proportional to error^(b/2), with b found from the
table where it is large enough, else 0. What is pooled over all cells is the noise in these units: three seeds give one cell two
degrees of freedom, but forty cells eighty. Random cells draw another set with every seed and may scatter more: their noise is their
own, drawn towards that of all. Sizes of one curve share most of their examples, so neighbours err together, which the residuals
show: sums along a curve are less sure for it, the seed's effect takes more of the noise than it should, and the noise is known less
well. A training far from its cell and seed, as one that diverged, is left out and named.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64
from numpy.typing import ArrayLike

from dataprune.errors import invalid

Contrasts = Float64[np.ndarray, " contrasts"]

CONFIDENCE = 0.95
ALPHA = 0.05
POWER = 0.8
TREND_FROM = 8  # degrees of freedom from which the growth of the spread with the error is estimated, for one of them
TREND_GRID = np.linspace(-1.0, 3.0, 17)  # 0: equal spread; 1: as counts of errors; 2: in proportion to the error
LEAST_ERROR = 1e-3  # below, an error says little about the spread
OWN_PRIOR = 1.0  # degrees of freedom with which the noise of all cells speaks for that of random ones
LEAST_STEPS = 5  # of accuracies, which are counts: where nearly all are equal, one example more is no divergence
FAR = 0.01  # the chance that anything is left out of a table of normal noise
MOST_FAR = 0.05  # of all trainings


@dataclass(frozen=True, eq=False)
class Estimate:
    """Sums or differences of cells, each with its standard error and degrees of freedom; NaN where no spread is known."""

    value: Contrasts
    standard_error: Contrasts
    degrees_of_freedom: Contrasts

    def interval(self) -> tuple[Contrasts, Contrasts]:
        """Return the two-sided t interval of each; NaN where there is none."""
        half = t_quantile((1 + CONFIDENCE) / 2, self.degrees_of_freedom) * self.standard_error
        return self.value - half, self.value + half

    def p_values(self) -> Contrasts:
        """Return the two-sided p-value of each being 0; NaN where it cannot be told."""
        return 2 * self.p_greater(0.0, absolute=True)

    def p_greater(self, than: float, *, absolute: bool = False) -> Contrasts:
        """Return the one-sided p-value of each being at most `than`: small where it is greater."""
        from scipy.special import stdtr

        away = np.abs(self.value - than) if absolute else self.value - than
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(stdtr(self.degrees_of_freedom, -away / self.standard_error), np.float64)

    def smallest_difference(self, comparisons: int) -> Contrasts:
        """Return the smallest true difference that a test at 5 % over so many comparisons (Holm's first step) would have seen."""
        first = t_quantile(1 - ALPHA / (2 * max(1, comparisons)), self.degrees_of_freedom)
        return np.asarray((first + t_quantile(POWER, self.degrees_of_freedom)) * self.standard_error)


@dataclass(frozen=True, eq=False)
class TwoWay:
    """A table of accuracies, fitted; NaN for a cell without any training, and for spreads where nothing says.

    Attributes:
        means: of each cell at the average seed.
        variance_power: b, how the variance of a training grows with the error of its cell: error^b.
        standard_deviations: of one training of each cell around its mean and its seed's effect.
        degrees_of_freedom: of the noise, fewer where neighbours of a curve err together.
        by_seed: whether the seed's effect could be taken out: seeds must connect the cells.
        far: (cell, seed) of the trainings that were left out.
    """

    means: Float64[np.ndarray, " cells"]
    variance_power: float
    standard_deviations: Float64[np.ndarray, " cells"]
    degrees_of_freedom: float
    n_seeds: int
    by_seed: bool
    far: tuple[tuple[int, int], ...]
    _fitting: "_Fitting"

    @property
    def standard_deviation(self) -> float:
        """Of one training, pooled over the cells (the root of the mean variance); NaN where nothing says."""
        known = self.standard_deviations[np.isfinite(self.standard_deviations)]
        return float(np.sqrt(np.mean(known**2))) if len(known) else float("nan")

    def contrast(self, weights: ArrayLike) -> Estimate:
        """Estimate weighted sums of the cells: (contrasts, cells) weights, such as +1 and −1 for a difference.

        The standard error is over new trainings with new seeds. In a difference of two cells of equal spread the seed's effect
        cancels, which is what pairing by seed brings; in a single cell's mean it does not, and is counted. Degrees of freedom of
        such sums of two variances by Satterthwaite; fewer for cells of unusual error, whose spread hangs on how well its growth
        is known.
        """
        fitting, given = self._fitting, np.atleast_2d(np.asarray(weights, np.float64))
        used = given != 0
        value = np.where(used, given * self.means, 0.0).sum(axis=1)
        scaled, tiny = given * fitting.units, np.finfo(float).tiny
        own = (scaled @ fitting.covariance * scaled).sum(axis=2)
        total = own.sum(axis=0)
        shared = scaled.sum(axis=1) ** 2 / fitting.n_seeds if fitting.per_seed > 0 else np.zeros(len(given))
        shared[shared < 1e-12 * total] = 0.0  # rounding, in a difference of two equal spreads
        # The variance is own · noise + shared · seed effect, and the seeds' mean square is noise + per_seed · seed effect.
        of_seeds = shared / fitting.per_seed if fitting.per_seed > 0 else shared
        left = np.where(total - of_seeds > 1e-12 * total, 1 - of_seeds / np.maximum(total, tiny), 0.0)
        of_group = np.where(own * left > 0, own * left * fitting.noises[:, None], 0.0)
        parts = np.stack([of_group.sum(axis=0), np.where(of_seeds > 0, of_seeds * fitting.seeds, 0.0)])
        # The groups' noises lean on each other, so their errors add up. The noise has the degrees of freedom of the variance of its
        # logarithm, to which the growth adds its own.
        root = (of_group / np.sqrt(np.maximum(fitting.freedoms, 1))[:, None]).sum(axis=0)
        shares = scaled**2 * np.einsum("gcc->c", fitting.covariance)
        slopes = shares @ fitting.log_errors / np.maximum(shares.sum(axis=1), tiny)
        with np.errstate(divide="ignore", invalid="ignore"):
            freedom_of_noise = 2 / (2 * np.where(root > 0, root / parts[0], 1.0) ** 2 + slopes**2 * fitting.growth_variance)
            freedoms = np.stack([freedom_of_noise, np.full(len(given), max(fitting.n_seeds - 1.0, 1.0))])
            variance = parts.sum(axis=0)
            freedom = variance**2 / (parts**2 / freedoms).sum(axis=0)
        bad = ~(variance > 0) | np.isnan(value)
        variance[bad], freedom[bad] = np.nan, np.nan
        return Estimate(value, np.sqrt(variance), freedom)


def fit(
    accuracies: Float64[np.ndarray, "cells seeds"],
    apart: Bool[np.ndarray, " cells"] | None = None,
    curves: Sequence[Sequence[int]] = (),
) -> TwoWay:
    """Fit cells and seeds to a table of accuracies in [0, 1], NaN where there is no training.

    Args:
        apart: the cells whose noise is their own, as random ones.
        curves: the cells of each curve, in the order of their sizes.

    Source: two-way analysis of variance; Satterthwaite 1946; the growth of the spread by the marginal likelihood with flat means;
        noise drawn towards a common one as Smyth 2004; the farthest by its residual, deleted and studentised, with Bonferroni;
        correlations along a curve as Geyer 1992, section 3.3 (they do not grow with the distance).
    """
    observed = accuracies[np.isfinite(accuracies)]
    if (observed < 0).any() or (observed > 1).any():
        raise invalid("accuracies", "lie in [0, 1]", f"{observed.min()} ... {observed.max()}")
    left = accuracies.copy()
    far: list[tuple[int, int]] = []
    apart = np.zeros(len(left), bool) if apart is None else apart
    while True:
        fitting = _Fitting(left, apart, curves)
        farthest = fitting.farthest() if len(far) < MOST_FAR * len(observed) else None
        if farthest is None:
            return fitting.result(tuple(far))
        far.append(farthest)
        left[farthest] = np.nan


class _Fitting:
    """One fit of a table: residuals in units of each cell's spread, and what they say of the noise."""

    def __init__(self, table: Float64[np.ndarray, "cells seeds"], apart: np.ndarray, curves: Sequence[Sequence[int]]) -> None:
        self.present = np.isfinite(table)
        (self.cell, self.seed), self.observed = np.nonzero(self.present), table[self.present]
        self.counts, self.n_seeds = self.present.sum(axis=1), max(1, int(self.present.any(axis=0).sum()))
        self.design, self.by_seed = _design(self.present)
        self.inverse = np.linalg.pinv(self.design)
        self.freedom = len(self.design) - self.design.shape[1]
        n_cells = len(table)
        self.power, self.units, self.log_errors = 0.0, np.ones(n_cells), np.zeros(n_cells)
        self.own = np.maximum(self.counts - 1, 0)  # degrees of freedom of each cell
        self.grows = self.freedom >= TREND_FROM
        if self.grows:
            self.freedom -= 1
            self._let_grow(table)
        self.scaled = self.observed / self.units[self.cell]
        self.coefficients = self.inverse @ self.scaled
        self.left = self.scaled - self.design @ self.coefficients
        self.free = 1 - np.einsum("tc,ct->t", self.design, self.inverse)
        square = float(self.left @ self.left) / self.freedom if self.freedom > 0 else 0.0
        self.noise = square if square > 1e-26 else float("nan")  # else all trainings of a cell are equal: no spread to judge by
        self.together = np.eye(len(self.cell))  # the correlations of trainings
        self.fewer = self._along(curves) if np.isfinite(self.noise) and curves else 1.0
        self._split(apart, square)
        self._sum_up()

    def _let_grow(self, table: Float64[np.ndarray, "cells seeds"]) -> None:
        """Find b in variance = error^b: in units scaled to a geometric mean of 1, the one with the least residuals left."""
        middle = np.array([np.median(row[np.isfinite(row)]) if np.isfinite(row).any() else 0.0 for row in table])
        errors = np.log(np.maximum(LEAST_ERROR, 1 - middle))
        self.log_errors = np.where(self.counts > 0, errors - (self.own @ errors) / max(1, self.own.sum()), 0.0)
        units = np.exp(TREND_GRID[:, None] / 2 * self.log_errors)
        scaled = self.observed / units[:, self.cell]
        off = np.abs(scaled - scaled @ (self.design @ self.inverse)).sum(axis=1)  # absolute: one far off counts once
        self.power, self.units = float(TREND_GRID[np.argmin(off)]), units[np.argmin(off)]

    def _along(self, curves: Sequence[Sequence[int]]) -> float:
        """Correct the noise for neighbours that err together; return by how much its degrees of freedom shrink."""
        grid, n_cells = np.full(self.present.shape, np.nan), len(self.present)
        grid[self.present] = self.left
        lags = range(1, max(map(len, curves)))
        pairs = np.array([2 * sum(max(0, len(curve) - lag) for curve in curves) for lag in lags])
        products = [
            np.concatenate([(grid[list(c[lag:])] * grid[list(c[:-lag])]).ravel() for c in curves if len(c) > lag]) for lag in lags
        ]
        seen = np.array([np.nanmean(one) if np.isfinite(one).any() else 0.0 for one in products]) / np.nanmean(grid**2)
        # What all cells of a seed have in common is taken for the seed's effect, and so is missing in residuals and in `seen`.
        common = 1 / n_cells if self.by_seed else 0.0
        for _ in range(20 if self.by_seed else 1):
            correlation = np.minimum.accumulate(np.clip(seen * (1 - common) + common, 0, 1))
            common = min(0.5, (n_cells + float(pairs @ correlation)) / n_cells**2) if self.by_seed else 0.0
        if self.by_seed:
            self.noise *= (1 - 1 / n_cells) / (1 - common)
        place, curve = np.zeros(n_cells, np.int64), np.full(n_cells, -1)
        for number, cells in enumerate(curves):
            place[list(cells)], curve[list(cells)] = np.arange(len(cells)), number
        at, of = place[self.cell], curve[self.cell]
        same = (of[:, None] == of) & (of >= 0) & (self.seed[:, None] == self.seed)
        by_lag = np.concatenate([[1.0], correlation])
        self.together = np.where(same, by_lag[np.abs(at[:, None] - at) * same], self.together)
        return 1 + float(pairs @ correlation**2) / n_cells

    def _split(self, apart: np.ndarray, square: float) -> None:
        """Give the cells that stand apart a noise of their own, and the rest theirs."""
        self.groups = [~apart, apart] if apart.any() and not apart.all() else [np.ones(len(apart), bool)]
        self.group = np.argmax([group[self.cell] for group in self.groups], axis=0)
        freedom = self.freedom / self.fewer
        self.noises, self.freedoms = (np.full(len(self.groups), of_all) for of_all in (self.noise, freedom))
        if len(self.groups) > 1 and np.isfinite(self.noise):
            free, squares = (np.bincount(self.group, of, 2) for of in (self.free, self.left**2))
            own = free * self.freedom / free.sum() / self.fewer
            seen = squares / np.maximum(free, 1e-12) * self.noise / square
            self.noises = (OWN_PRIOR * self.noise + own * seen) / (OWN_PRIOR + own)
            self.freedoms = np.minimum(OWN_PRIOR + own, freedom)

    def farthest(self) -> tuple[int, int] | None:
        """Return cell and seed of the training that lies too far from the others for chance, if one does."""
        from scipy.special import stdtr

        if not np.isfinite(self.noise) or self.freedom < 2:
            return None
        free = np.maximum(self.free, 1e-9)
        others = np.maximum(self.left @ self.left - self.left**2 / free, 1e-18) / (self.freedom - 1)
        wider = np.maximum(1, self.noises / self.noise)[self.group]
        step = np.diff(np.unique(self.observed)).min(initial=np.inf)
        may = np.abs(self.left) * self.units[self.cell] > LEAST_STEPS * step
        may &= (self.counts[self.cell] > 2) & (self.free > 1e-6)  # of two nobody knows which is off
        away = np.where(may, np.abs(self.left) / np.sqrt(others * free * wider), 0.0)
        at = int(np.argmax(away))
        p = 2 * len(away) * float(stdtr(max(1.0, (self.freedom - 1) / self.fewer), -away[at]))
        return (int(self.cell[at]), int(self.seed[at])) if p < FAR else None

    def result(self, far: tuple[tuple[int, int], ...]) -> TwoWay:
        """Return the fit."""
        means, with_cells = np.full(len(self.present), np.nan), np.flatnonzero(self.counts)
        means[with_cells] = self.coefficients[: len(with_cells)] * self.units[with_cells]
        of_cell = self.noises[np.argmax(self.groups, axis=0)]
        return TwoWay(
            means=means,
            variance_power=self.power,
            standard_deviations=np.where(self.counts > 0, self.units * np.sqrt(of_cell), np.nan),
            degrees_of_freedom=self.freedom / self.fewer,
            n_seeds=self.n_seeds,
            by_seed=self.by_seed,
            far=far,
            _fitting=self,
        )

    def _sum_up(self) -> None:
        """Find what sums of cells need: how cells err together, the seeds' mean square, and how well the growth is known."""
        n_cells, with_cells = len(self.present), np.flatnonzero(self.counts)
        self.covariance = np.zeros((len(self.groups), n_cells, n_cells))  # of the cells, by group of noise
        for number, group in enumerate(self.groups):
            part = self.inverse[: len(with_cells)] * group[self.cell]
            self.covariance[number][np.ix_(with_cells, with_cells)] = part @ self.together @ part.T
        centres = np.bincount(self.cell, self.scaled, len(self.counts)) / np.maximum(self.counts, 1)  # 0 without trainings
        around = self.scaled - centres[self.cell]
        explained = max(0.0, float(around @ around) - float(self.left @ self.left))  # by the seeds, beyond the cells
        information = self.freedom / self.fewer * float(self.own @ self.log_errors**2) / max(1, int(self.own.sum())) / 2
        self.growth_variance = 1 / information if self.grows and information > 0 else 0.0
        self.seeds = explained / (self.n_seeds - 1) if self.n_seeds > 1 else float("nan")
        self.per_seed = (len(self.design) - len(with_cells)) / (self.n_seeds - 1) if self.by_seed and self.n_seeds > 1 else 0.0


def with_test_error(found: Estimate, n_test: int) -> tuple[Contrasts, Contrasts]:
    """Return the interval of each accuracy over new trainings and, if their number is given, test examples.

    Source: Wilson 1927, with the trainings' variance beside the binomial one; Satterthwaite 1946 for the degrees of freedom.
    """
    low, high = found.interval()
    if n_test:
        shrunk, trainings = (found.value * n_test + 2) / (n_test + 4), found.standard_error**2
        with np.errstate(divide="ignore", invalid="ignore"):
            freedom = (trainings + shrunk * (1 - shrunk) / n_test) ** 2 / (trainings**2 / found.degrees_of_freedom)
        t = t_quantile((1 + CONFIDENCE) / 2, np.minimum(freedom, 1e9))
        # The ends are where |value − p| = t · sqrt(trainings + p (1 − p) / n).
        a, b = 1 + t**2 / n_test, 2 * found.value + t**2 / n_test
        root = np.sqrt(np.maximum(b**2 - 4 * a * (found.value**2 - t**2 * trainings), 0))
        low, high = (b - root) / (2 * a), (b + root) / (2 * a)
    return np.clip(low, 0, 1), np.clip(high, 0, 1)


def holm(p_values: Float64[np.ndarray, " tests"]) -> Float64[np.ndarray, " tests"]:
    """Correct p-values for their number: the chance of any false finding is below the level. A NaN counts for nothing.

    Source: Holm 1979, "A simple sequentially rejective multiple test procedure".

    Example:
        >>> holm(np.array([0.01, 0.04, 0.03])).round(2).tolist()
        [0.03, 0.06, 0.06]
    """
    corrected = np.full(len(p_values), np.nan)
    made = np.flatnonzero(np.isfinite(p_values))
    order = made[np.argsort(p_values[made], kind="stable")]
    steps = p_values[order] * np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(steps)) if len(order) else steps
    return corrected


def t_quantile(probability: float, degrees_of_freedom: Contrasts) -> Contrasts:
    """Return Student's t quantile; NaN where the degrees of freedom are."""
    from scipy.special import stdtrit

    return np.asarray(stdtrit(degrees_of_freedom, probability), np.float64)


def _design(present: Bool[np.ndarray, "cells seeds"]) -> tuple[Float64[np.ndarray, "trials columns"], bool]:
    """Return a column for each cell with trainings and, where seeds connect cells, for all seeds but one, summing to 0."""
    cell, seed = np.nonzero(present)
    cells = (cell[:, None] == np.flatnonzero(present.any(axis=1))).astype(np.float64)
    seeds = (seed[:, None] == np.flatnonzero(present.any(axis=0))).astype(np.float64)
    both = np.hstack([cells, seeds[:, :-1] - seeds[:, -1:]])
    is_connected = seeds.shape[1] > 1 and len(cells) > 0 and np.linalg.matrix_rank(both) == both.shape[1]
    return (both, True) if is_connected else (cells, False)
