"""Do a study's intervals hold what they promise where trainings diverge, err together, or the control scatters more?

    python benchmarks/intervals.py [--studies 1000]
    python benchmarks/intervals.py --study STUDY        (of many seeds: three and five of them are drawn, again and again)

For each situation: the share of intervals that hold the truth (of cells, to random, to all data, of areas to random's), and of null
studies with a false verdict. The marks: .93 to .97, and at most .06. "One far below" is of the area of a curve, one of whose two
cells is far below all others, by the growth of the spread. "Racing" drops cells after two seeds; of those that went on: the same
shares, the lowest of a single cell, false verdicts (of a wrong sign, or of what is equal), and the trainings made of those planned.
"Collapsing" is such a study whose worst cells scatter more than the statistics can follow, once raced and once whole.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import record as records

import dataprune as dp
from dataprune.study.auc import areas_of
from dataprune.study.results_table import Cell, CellTable, cell_table
from dataprune.study.spec import RACED
from dataprune.study.statistics import Estimate, TwoWay, fit, holm, with_test_error
from dataprune.study.summary import Summary, Verdict, summarise

SIZES = np.round(np.linspace(0.9, 0.3, 7), 9)
CURVES = ("random", "a", "b", "c")
SPREAD = 0.005
SITUATIONS: dict[str, dict[str, float]] = {
    "the model": {},
    "growing with the error": {"growth": 1},
    "seeds matter": {"seed": 1},
    "neighbours err together": {"along": 0.75},
    "together and growing": {"along": 0.75, "growth": 1},
    "a control 1.5 times as noisy": {"control": 1.5},
    "a control twice as noisy": {"control": 2},
    "together, growing, 1.5 times": {"along": 0.75, "growth": 1, "control": 1.5},
    "one diverged": {"off": 0.2},
}
Drawn = Callable[[np.random.Generator, int], np.ndarray]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--study", type=Path)
    parser.add_argument("--studies", type=int, default=1000)
    asked = parser.parse_args()
    if asked.study is not None:
        table = cell_table(dp.open_study(asked.study).trials)
        real = table.accuracies[:, np.isfinite(table.accuracies).all(axis=0)]
        made = {"trainings": lambda draw, seeds: real[:, draw.choice(real.shape[1], seeds, replace=False)]}
        figures = judged(table.cells, real.mean(axis=1), made, asked.studies) | {"seeds": real.shape[1]}
        records.record("intervals of real trainings", figures)
        return
    cells = (Cell("all", "all", 1.0), *(Cell(name, "hardest", keep) for name in CURVES for keep in SIZES))
    truth = np.array([0.94 if cell.is_all else 0.94 - 0.35 * cell.dropped**3 for cell in cells])
    made = {name: simulated(cells, truth, **how) for name, how in SITUATIONS.items()}
    figures = judged(cells, truth, made, asked.studies) | {"few errors": few_errors(asked.studies)}
    figures |= one_far_below(asked.studies)
    edge = np.array([0, 0, -0.005, -0.01, -0.015, -0.02, -0.03])  # of curve b, to random
    mixed = truth + [0.005 * (cell.score == "c") + (edge[cell.keep == SIZES].sum() if cell.score == "b" else 0) for cell in cells]
    for name, values, tolerance in (("all equal", truth, 0.0), ("mixed", mixed, 0.01), ("mixed, tolerance 0", mixed, 0.0)):
        for how in ("the model", "together and growing"):
            draws = simulated(cells, values, **SITUATIONS[how])
            figures |= {
                f"racing, {name}, {how}, {n} seeds": raced(cells, values, draws, tolerance, n, asked.studies) for n in (3, 5)
            }
    figures |= collapsing(cells, truth, asked.studies)
    records.record("intervals of simulated studies", figures)


def simulated(
    cells: tuple[Cell, ...],
    truth: np.ndarray,
    growth: float = 0,
    seed: float = 0,
    along: float = 0,
    control: float = 1,
    off: float = 0,
) -> Drawn:
    """Return what draws a table of accuracies, cells by seeds."""
    lag = np.abs(np.subtract.outer(np.arange(len(SIZES)), np.arange(len(SIZES))))
    root = np.linalg.cholesky(along**lag if along else np.eye(len(SIZES)))
    spreads = SPREAD * ((1 - truth) / (1 - truth).mean()) ** growth
    spreads[[cell.is_random for cell in cells]] *= control

    def drawn(draw: np.random.Generator, seeds: int) -> np.ndarray:
        noise = draw.normal(size=(len(cells), seeds))
        for curve in range(len(CURVES)):
            own = slice(1 + curve * len(SIZES), 1 + (curve + 1) * len(SIZES))
            noise[own] = root @ noise[own]
        table = truth[:, None] + spreads[:, None] * (noise + seed * draw.normal(size=seeds))
        table[1 + draw.integers(len(SIZES)), draw.integers(seeds)] -= off  # of the control
        return np.asarray(np.clip(table, 0, 1))

    return drawn


def judged(cells: tuple[Cell, ...], truth: np.ndarray, situations: dict[str, Drawn], studies: int) -> dict[str, dict[str, float]]:
    """Return coverage and false verdicts for three and five seeds of each situation."""
    n = len(cells)
    random = np.array([cell.is_random for cell in cells])
    empty = CellTable(cells, (), np.empty((n, 0), np.int64), np.empty((n, 0)), (), ("",))
    curves = list(empty.curves().values())
    to = [(empty.random_of(cell), empty.all_of(cell)) for cell in cells]
    to_random, to_all = (
        np.array([np.eye(n)[cell] - np.eye(n)[pair[which]] for cell, pair in enumerate(to) if pair[which] is not None])
        for which in (0, 1)
    )
    level = np.array([0 if pair[0] is None else truth[pair[0]] - truth[cell] for cell, pair in enumerate(to)])
    exact = areas_of(*_fitted(cells, np.repeat(truth[:, None], 2, axis=1), random, curves))
    found = {}
    for name, drawn in situations.items():
        for seeds in (3, 5):
            draw, false, far = np.random.default_rng(seeds), 0, 0
            hits: list[list[Any]] = []
            for _ in range(studies):
                accuracies = drawn(draw, seeds)
                table, fitted = _fitted(cells, accuracies, random, curves)
                far += len(fitted.far)
                areas = [one for one in areas_of(table, fitted) if np.isfinite(one.minus_random)]
                true_areas = {one.name: one.minus_random for one in exact}
                held = [one.minus_random_low <= true_areas[one.name] <= one.minus_random_high for one in areas]
                hits.append(
                    [*(_held(fitted.contrast(one), one @ truth) for one in (np.eye(n), to_random, to_all)), np.mean(held or np.nan)]
                )
                null = fit(np.clip(accuracies + level[:, None], 0, 1), random, curves).contrast(to_random)
                false += bool((holm(null.p_values()) < 0.05).any())
            names = ("cells", "to random", "to all", "areas to random")
            shares = dict(zip(names, np.nanmean(hits, axis=0).round(3).tolist(), strict=True))
            found[f"{name}, {seeds} seeds"] = shares | {
                "false verdicts": round(false / studies, 3),
                "left out": round(far / studies, 3),
            }
    return found


def _fitted(
    cells: tuple[Cell, ...], accuracies: np.ndarray, random: np.ndarray, curves: list[list[int]]
) -> tuple[CellTable, TwoWay]:
    seeds = tuple(range(accuracies.shape[1]))
    table = CellTable(cells, seeds, np.zeros(accuracies.shape, np.int64), accuracies, (), ("",))
    return table, fit(accuracies, random, curves)


def _held(found: Estimate, truth: np.ndarray) -> float:
    low, high = found.interval()
    return float(np.mean((low <= truth) & (truth <= high)))


def one_far_below(studies: int) -> dict[str, dict[str, float]]:
    """Return how often the area of a curve, and of the others, to random's holds the truth, for growths of the spread of 0 to 3."""
    names = ("random", "a", "b", "c", "d", "e")
    cells = (Cell("all", "all", 1.0), *(Cell(name, "hardest", keep) for name in names for keep in (0.75, 0.5)))
    truth = np.where([cell.score == "a" and cell.keep == 0.5 for cell in cells], 0.49, 0.86)
    random = np.array([cell.is_random for cell in cells])
    curves = [[1 + 2 * number, 2 + 2 * number] for number in range(len(names))]
    exact = {one.name: one.minus_random for one in areas_of(*_fitted(cells, np.repeat(truth[:, None], 2, axis=1), random, curves))}
    found = {}
    for seeds in (2, 3, 5):
        for growth in range(4):
            draw, held = np.random.default_rng(seeds), []
            spreads = 0.009 * ((1 - truth) / 0.14)[:, None] ** (growth / 2)
            for _ in range(studies):
                table = np.clip(truth[:, None] + spreads * draw.normal(size=(len(cells), seeds)), 0, 1)
                areas = areas_of(*_fitted(cells, table, random, curves))
                held.append(
                    [one.minus_random_low <= exact[one.name] <= one.minus_random_high for one in areas if one.name != "random"]
                )
            shares = np.mean(held, axis=0)
            found[f"one far below, growth {growth}, {seeds} seeds"] = {
                "its curve": round(float(shares[0]), 3),
                "others": round(float(shares[1:].mean()), 3),
            }
    return found


def collapsing(cells: tuple[Cell, ...], truth: np.ndarray, studies: int) -> dict[str, dict[str, float]]:
    """Race, and do not race, studies in which two curves fall far below random; the spread grows with the error to the power of 1.5
    (the steepest that is fitted) and beyond."""
    fall = np.array([0, -0.005, -0.02, -0.06, -0.12, -0.2, -0.3])
    values = truth + [fall[cell.keep == SIZES].sum() * (0.7 if cell.score == "c" else cell.score == "b") for cell in cells]
    found = {}
    for growth in (1.5, 2.5):
        draws = simulated(cells, values, growth=growth)
        for seeds in (3, 5):
            for name, least in (("raced", RACED), ("whole", seeds)):
                one = raced(cells, values, draws, 0.01, seeds, studies, least)
                found[f"collapsing, growth {growth}, {seeds} seeds, {name}"] = one
    return found


def raced(
    cells: tuple[Cell, ...], truth: np.ndarray, drawn: Drawn, tolerance: float, seeds: int, studies: int, least: int = RACED
) -> dict[str, float]:
    """Return coverage of the cells that went on, and false verdicts, in studies that drop cells after `least` seeds."""
    columns = {name: np.array([getattr(cell, name) for cell in cells]) for name in ("score", "strategy", "keep")}
    controls = [next(at for at, one in enumerate(cells) if one.keep == cell.keep) for cell in cells]  # random is the first curve
    gains = np.where([cell.is_scored for cell in cells], truth - truth[controls], np.nan)
    hits = {name: np.full((studies, len(cells)), np.nan) for name in ("cells", "to random", "to all")}
    true = {"cells": truth, "to random": gains, "to all": np.where(np.arange(len(cells)) > 0, truth - truth[0], np.nan)}
    ends = {
        "cells": ("low", "high"),
        "to random": ("minus_random_low", "minus_random_high"),
        "to all": ("minus_all_low", "minus_all_high"),
    }
    draw, false, made = np.random.default_rng(seeds), 0, 0

    def summary(table: np.ndarray) -> Summary:
        at, seed = np.nonzero(np.isfinite(table))
        return summarise(
            {name: of[at] for name, of in columns.items()} | {"seed": seed, "test_accuracy": table[at, seed]}, tolerance
        )

    for study in range(studies):
        table = drawn(draw, seeds)
        beaten = summary(table[:, :least]).beaten
        table[[cell in beaten for cell in cells], least:] = np.nan
        found, made = summary(table), made + int(np.isfinite(table).sum())
        place = [found.cells.index(cell) for cell in cells]
        went_on = np.isfinite(table).all(axis=1)
        for name, (low, high) in ends.items():
            held = (found.table[low][place] <= true[name]) & (true[name] <= found.table[high][place])
            known = went_on & np.isfinite(true[name] + found.table[low][place])
            hits[name][study, known] = held[known]
        verdicts = found.table["verdict"][place]
        false += bool((((verdicts == Verdict.BETTER) & (gains <= 0)) | ((verdicts == Verdict.WORSE) & (gains >= 0))).any())
    often = np.isfinite(hits["to random"]).mean(axis=0) > 0.05
    return {name: round(float(np.nanmean(one)), 3) for name, one in hits.items()} | {
        "lowest to random": round(float(np.nanmean(hits["to random"][:, often], axis=0).min()), 3),
        "false verdicts": round(false / studies, 3),
        "trained": round(made / (studies * len(cells) * seeds), 3),
    }


def few_errors(studies: int, n_test: int = 100) -> dict[str, float]:
    """Return the share of intervals of accuracies that hold what new test examples would give, on a small test set."""
    truth, draw, hits = np.array([1.0, 0.998, 0.99, 0.95, 0.8, 0.5]), np.random.default_rng(0), []
    for _ in range(studies):
        test = draw.uniform(size=(6, n_test)) < truth[:, None]  # one test set for all seeds
        flipped = draw.uniform(size=(6, 3, n_test)) < 0.02 * (truth < 1)[:, None, None]
        table = np.where(flipped, draw.uniform(size=(6, 3, n_test)) < truth[:, None, None], test[:, None]).mean(axis=2)
        low, high = with_test_error(fit(table).contrast(np.eye(6)), n_test)
        hits.append(np.where(np.isfinite(low), (low <= truth + 1e-9) & (truth <= high + 1e-9), np.nan))
    return dict(zip(map(str, truth.tolist()), np.nanmean(hits, axis=0).round(3).tolist(), strict=True))


if __name__ == "__main__":
    main()
