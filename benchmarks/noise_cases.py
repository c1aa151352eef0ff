"""How well are wrong labels found from the probabilities of scikit-learn's classifiers, by kind of noise and by size of the set?

    python benchmarks/noise_cases.py --cases FILE [--seeds 5]
    python benchmarks/noise_cases.py --label-errors FOLDER

FILE holds for each case, `set-noise-classifier-seed`, out-of-sample probabilities `p`, `given` and `true` labels and the flags of
cleanlab's default. FOLDER holds files of cleanlab/label-errors: published probabilities of the test sets of MNIST and IMDB, votes
of people on what cleanlab suspected, and `imdb_test_set_index_to_filename.json`, without which IMDB is left out. An error is
verified where at most two of five confirm the label; rankings are compared within what was judged.
"""

import argparse
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import label_errors
import numpy as np
from record import record
from sklearn.metrics import average_precision_score, f1_score

from dataprune import noise

SIZES = (300, 1_000)
FIRST = (10, 20, 50)


@dataclass(frozen=True)
class Case:
    """One case, and what a finding by each seed is worth; NaN where there is no number, or nothing is wrong."""

    n: int
    wrong: int
    theirs: float
    plain: float
    f1: np.ndarray
    precision: np.ndarray
    estimate: np.ndarray
    covers: np.ndarray
    width: np.ndarray
    flagged: np.ndarray
    first: np.ndarray

    @property
    def moves(self) -> bool:
        """Whether the seed moves the estimate by more than a tenth of the set, or decides whether there is one."""
        known = np.isfinite(self.estimate)
        return known.any() and (not known.all() or float(np.ptp(self.estimate)) > 0.1 * self.n)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--cases", type=Path)
    parser.add_argument("--label-errors", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    asked = parser.parse_args()
    if asked.cases is not None:
        by_class(asked.cases, asked.seeds)
    for name in ("mnist", "imdb") if asked.label_errors is not None else ():
        if (found := label_errors.read(asked.label_errors, name)) is not None:
            record(f"wrong labels of {name.upper()}'s test set", judged(found, asked.seeds))


def by_class(path: Path, seeds: int) -> None:
    """Print a row for each kind of noise, size of the set, and classifier, and record them."""
    arrays = np.load(path)
    groups: dict[str, list[Case]] = defaultdict(list)
    names = sorted({name.rsplit("/", 1)[0] for name in arrays.files})
    for name in names:
        p, given, true, theirs = (arrays[f"{name}/{part}"] for part in ("p", "given", "true", "cleanlab"))
        one = case(p, given, true, theirs, seeds)
        _, kind, classifier, _ = name.split("-")
        below = next((f"below {size:,}" for size in SIZES if one.n < size), f"{SIZES[-1]:,} and more")
        for group in ("all", kind, f"{below} labels", classifier):
            groups[group].append(one)
        if one.n < SIZES[-1]:
            groups["all below 1,000"].append(one)
    print("| cases | F1 ours, cleanlab | AP ours, 1 − p | interval holds | width | moved | no number | flagged, clean |")
    print("|---|---|---|---|---|---|---|---|")
    figures = {group: summary(cases) for group, cases in sorted(groups.items())}
    for group, row in figures.items():
        print(f"| {group} | " + " | ".join(row.values()) + " |")
    record("wrong labels in cases", {"seeds": seeds} | figures)


def case(p: np.ndarray, given: np.ndarray, true: np.ndarray, theirs: np.ndarray, seeds: int) -> Case:
    """Judge the labels of a case by each seed."""
    given, rows = given.astype(np.int64), np.arange(len(given))
    wrong = given != true
    found = [noise.find(noise.Evidence(given, out_of_sample=p), seed=seed) for seed in range(seeds)]
    lows = np.array([[np.nan if one.n_wrong is None else one.n_wrong_low, one.n_wrong_high] for one in found], float)
    some = wrong.any()
    return Case(
        n=len(given),
        wrong=int(wrong.sum()),
        theirs=float(f1_score(wrong, theirs)) if some else np.nan,
        plain=float(average_precision_score(wrong, 1 - p[rows, given].astype(float))) if some else np.nan,
        f1=np.array([f1_score(wrong, one.is_suspect) if some else np.nan for one in found]),
        precision=np.array([average_precision_score(wrong, one.score) if some else np.nan for one in found]),
        estimate=np.array([np.nan if one.n_wrong is None else one.n_wrong for one in found]),
        covers=(lows[:, 0] <= wrong.sum()) & (wrong.sum() <= lows[:, 1]),
        width=lows[:, 1] - lows[:, 0],
        flagged=np.array([one.is_suspect.mean() for one in found]),
        first=np.array([holds(one, wrong) for one in found]),
    )


def holds(found: noise.Suspects, wrong: np.ndarray) -> list[float]:
    """Return whether what is expected among the first of the list holds what is there."""
    said = [found.expected_wrong(count) for count in FIRST]
    there = [int(wrong[found.order[:count]].sum()) for count in FIRST]
    return [np.nan if one is None else float(one[1] <= n <= one[2]) for one, n in zip(said, there, strict=True)]


def summary(cases: list[Case]) -> dict[str, str]:
    """Return the means over cases and seeds, in the columns of the table."""
    noisy, clean = [one for one in cases if one.wrong], [one for one in cases if not one.wrong]

    def mean(values: list[np.ndarray] | list[float]) -> str:
        joined = np.array([np.nanmean(one) for one in values if np.isfinite(one).any()])
        return f"{joined.mean():.3f}" if len(joined) else "–"

    counted = np.concatenate([one.covers[np.isfinite(one.estimate)] for one in cases])
    return {
        "f1": f"{mean([one.f1 for one in noisy])}, {mean([one.theirs for one in noisy])}",
        "average_precision": f"{mean([one.precision for one in noisy])}, {mean([one.plain for one in noisy])}",
        "covered": f"{counted.mean():.3f}, first {'/'.join(map(str, FIRST))} {mean([one.first for one in cases])}",
        "width": mean([one.width / one.n for one in cases]),
        "moved": str(sum(one.moves for one in cases)),
        "no_number": f"{sum(int(np.isnan(one.estimate).any()) for one in cases)} of {len(cases)}",
        "flagged_clean": mean([one.flagged for one in clean]),
    }


def judged(by: label_errors.Judged, seeds: int) -> dict[str, object]:
    """Compare rankings of given labels within what people judged."""
    from cleanlab.rank import get_label_quality_scores

    found = [noise.find(noise.Evidence(by.labels, out_of_sample=by.p), seed=seed) for seed in range(seeds)]
    scores = {f"ours, seed {seed}": one.score for seed, one in enumerate(found)}
    for method in ("self_confidence", "normalized_margin", "confidence_weighted_entropy"):
        scores[method] = -get_label_quality_scores(by.labels, by.p, method=method)
    return {
        "judged": len(by.rows),
        "errors": int(by.is_error.sum()),
        "found": [one.count_in_words for one in found],
        "are_few": found[0].are_few,
        "first": {count: found[0].expected_wrong(count) for count in FIRST},
        "average_precision": {name: round(average_precision_score(by.is_error, one[by.rows]), 4) for name, one in scores.items()},
    }


if __name__ == "__main__":
    main()
