"""Whether a difference between trainings is more than chance.

The model is the two-way one: an accuracy is its cell's mean, plus its seed's effect, plus noise. Cells of low accuracy scatter more
than cells of high accuracy, so both the seed's effect and the noise are taken as proportional to error^(b/2), with b found from the
table where it is large enough, else 0. What is pooled over all cells is the noise in these units: three seeds give one cell two
degrees of freedom, but forty cells eighty.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64
from numpy.typing import ArrayLike

from dataprune.errors import invalid
from dataprune.streams import generator

Contrasts = Float64[np.ndarray, " contrasts"]

CONFIDENCE = 0.95
ALPHA = 0.05
POWER = 0.8
TREND_FROM = 8  # degrees of freedom from which the growth of the spread with the error is estimated, for one of them
TREND_GRID = np.linspace(-1.0, 3.0, 17)  # 0: equal spread; 1: as counts of errors; 2: in proportion to the error
LEAST_ERROR = 1e-3  # below, an error says little about the spread
RESAMPLES = 2000
DRAWS_AT_ONCE = 2**22


@dataclass(frozen=True, eq=False)
class Estimate:
    """Sums or differences of cells, each with its standard error and degrees of freedom; NaN where no spread is known."""

    value: Contrasts
    standard_error: Contrasts
    degrees_of_freedom: Contrasts

    def interval(self, confidence: float = CONFIDENCE) -> tuple[Contrasts, Contrasts]:
        """Return the two-sided t interval of each; NaN where there is none."""
        half = t_quantile((1 + confidence) / 2, self.degrees_of_freedom) * self.standard_error
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

    def smallest_difference(self, comparisons: int, power: float = POWER) -> Contrasts:
        """Return the smallest true difference that a test at 5 % over so many comparisons (Holm's first step) would have seen."""
        first = t_quantile(1 - ALPHA / (2 * max(1, comparisons)), self.degrees_of_freedom)
        return np.asarray((first + t_quantile(power, self.degrees_of_freedom)) * self.standard_error)


@dataclass(frozen=True, eq=False)
class TwoWay:
    """A table of accuracies, fitted; NaN for a cell without any training, and for spreads where nothing says.

    Attributes:
        means: of each cell at the average seed.
        variance_power: b, how the variance of a training grows with the error of its cell: error^b.
        standard_deviations: of one training of each cell around its mean and its seed's effect.
        degrees_of_freedom: of the noise.
        by_seed: whether the seed's effect could be taken out: seeds must connect the cells.
    """

    means: Float64[np.ndarray, " cells"]
    variance_power: float
    standard_deviations: Float64[np.ndarray, " cells"]
    degrees_of_freedom: int
    n_seeds: int
    by_seed: bool
    _units: Float64[np.ndarray, " cells"]
    _log_errors: Float64[np.ndarray, " cells"]
    _growth_variance: float
    _covariance: Float64[np.ndarray, "cells cells"]
    _noise: float
    _seeds: float
    _per_seed: float

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
        given = np.atleast_2d(np.asarray(weights, np.float64))
        used = given != 0
        value = np.where(used, given * self.means, 0.0).sum(axis=1)
        scaled = given * self._units
        own = np.einsum("kc,cd,kd->k", scaled, self._covariance, scaled)
        shared = scaled.sum(axis=1) ** 2 / self.n_seeds if self.by_seed and self._per_seed > 0 else np.zeros(len(given))
        shared[shared < 1e-12 * own] = 0.0  # rounding, in a difference of two equal spreads
        # The variance is own · noise + shared · seed effect, and the seeds' mean square is noise + per_seed · seed effect.
        of_seeds = shared / self._per_seed if self._per_seed > 0 else shared
        of_noise = np.where(own - of_seeds > 1e-12 * own, own - of_seeds, 0.0)
        parts = np.stack([np.where(of > 0, of * scale, 0.0) for of, scale in ((of_noise, self._noise), (of_seeds, self._seeds))])
        # The noise has the degrees of freedom of the variance of its logarithm, to which the growth adds its own.
        shares = scaled**2 * np.diag(self._covariance)
        slopes = shares @ self._log_errors / np.maximum(shares.sum(axis=1), np.finfo(float).tiny)
        freedom_of_noise = 2 / (2 / max(self.degrees_of_freedom, 1) + slopes**2 * self._growth_variance)
        freedoms = np.stack([freedom_of_noise, np.full(len(given), max(self.n_seeds - 1.0, 1.0))])
        variance = parts.sum(axis=0)
        with np.errstate(divide="ignore", invalid="ignore"):
            freedom = variance**2 / (parts**2 / freedoms).sum(axis=0)
        bad = ~(variance > 0) | np.isnan(value)
        variance[bad], freedom[bad] = np.nan, np.nan
        return Estimate(value, np.sqrt(variance), freedom)


def fit(accuracies: Float64[np.ndarray, "cells seeds"]) -> TwoWay:
    """Fit cells and seeds to a table of accuracies in [0, 1], NaN where there is no training.

    Source: two-way analysis of variance; Satterthwaite 1946; the growth of the spread by the marginal likelihood with flat means.
    """
    present = np.isfinite(accuracies)
    observed, cell, counts = accuracies[present], np.nonzero(present)[0], present.sum(axis=1)
    if (observed < 0).any() or (observed > 1).any():
        raise invalid("accuracies", "lie in [0, 1]", f"{observed.min()} ... {observed.max()}")
    n_cells, n_seeds, with_cells = len(accuracies), int(present.any(axis=0).sum()), np.flatnonzero(counts)
    design, by_seed = _design(present)
    inverse = np.linalg.pinv(design)
    freedom = len(design) - design.shape[1]
    noise = float("nan")
    variance_power, units, log_errors, growth_variance = 0.0, np.ones(n_cells), np.zeros(n_cells), 0.0
    if freedom >= TREND_FROM:
        freedom -= 1
        own = np.maximum(counts - 1, 0)  # degrees of freedom of each cell
        errors = np.log(np.maximum(LEAST_ERROR, 1 - _means(observed, cell, counts)))
        log_errors = np.where(counts > 0, errors - (own @ errors) / max(1, own.sum()), 0.0)
        # b in variance = error^b: in units scaled to a geometric mean of 1, the one with the least squares left.
        all_units = np.exp(TREND_GRID[:, None] / 2 * log_errors)
        all_scaled = observed / all_units[:, cell]
        best = int(np.argmin(((all_scaled - all_scaled @ (design @ inverse)) ** 2).sum(axis=1)))
        variance_power, units = float(TREND_GRID[best]), all_units[best]
        information = freedom * float(own @ log_errors**2) / max(1, int(own.sum())) / 2
        growth_variance = 1 / information if information > 0 else 0.0
    scaled = observed / units[cell]
    coefficients = inverse @ scaled
    left = scaled - design @ coefficients
    if freedom > 0 and float(left @ left) / freedom > 1e-18:  # else all trainings of a cell are equal: no spread to judge by
        noise = float(left @ left) / freedom
    means, covariance = np.full(n_cells, np.nan), np.zeros((n_cells, n_cells))
    means[with_cells] = coefficients[: len(with_cells)] * units[with_cells]
    covariance[np.ix_(with_cells, with_cells)] = (inverse @ inverse.T)[: len(with_cells), : len(with_cells)]
    around = scaled - _means(scaled, cell, counts)[cell]
    explained = max(0.0, float(around @ around) - float(left @ left))  # by the seeds, beyond the cells
    return TwoWay(
        means=means,
        variance_power=variance_power,
        standard_deviations=np.where(counts > 0, units * np.sqrt(noise), np.nan),
        degrees_of_freedom=freedom,
        n_seeds=max(1, n_seeds),
        by_seed=by_seed,
        _units=units,
        _log_errors=log_errors,
        _growth_variance=growth_variance,
        _covariance=covariance,
        _noise=noise,
        _seeds=explained / (n_seeds - 1) if n_seeds > 1 else float("nan"),
        _per_seed=(len(design) - len(with_cells)) / (n_seeds - 1) if by_seed and n_seeds > 1 else 0.0,
    )


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


def bootstrap(
    differences: Float64[np.ndarray, "contrasts examples"],
    resamples: int = RESAMPLES,
    confidence: float = CONFIDENCE,
    seed: int = 0,
) -> tuple[Contrasts, Contrasts]:
    """Return the interval of each mean over at least two test examples, between two percentiles of means over examples drawn anew.

    Paired: all contrasts see the same draws.

    Source: Efron 1979.
    """
    from scipy import stats

    n_contrasts, n_examples = differences.shape
    if n_examples < 2:
        raise invalid("differences", "be of at least two test examples", n_examples)
    found = stats.bootstrap(
        (differences,),
        np.mean,
        axis=1,
        n_resamples=resamples,
        batch=max(1, DRAWS_AT_ONCE // (n_contrasts * n_examples)),
        confidence_level=confidence,
        method="percentile",
        rng=generator(seed, "bootstrap"),
    ).confidence_interval
    return np.asarray(found.low, np.float64), np.asarray(found.high, np.float64)


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


def _means(values: Float64[np.ndarray, " trials"], cell: np.ndarray, counts: np.ndarray) -> Float64[np.ndarray, " cells"]:
    """Return the mean of each cell; 0 without trainings."""
    return np.asarray(np.bincount(cell, values, len(counts)) / np.maximum(counts, 1))
