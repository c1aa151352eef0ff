"""Keep the easy examples of few, the hard ones of many: the teacher and student perceptrons of Sorscher et al. 2022.

    python benchmarks/perceptron.py [--seeds 10] [--dimensions 200]

Gaussian examples, labelled by a teacher; difficulty is minus the distance to the teacher's plane; half are kept; the student is the
perceptron of the largest margin, its error that on new examples, arccos(cosine to the teacher) / π. Source: arXiv:2206.14486.
"""

import argparse

import numpy as np
from record import record
from sklearn.svm import LinearSVC

from dataprune.selection import select
from dataprune.streams import generator

ALPHAS = (1.0, 2.0, 3.0, 4.0, 6.0, 8.0)
KEPT = ("random", "hardest", "easiest")


def error(alpha: float, strategy: str, seed: int, dimensions: int = 200, keep: float = 0.5) -> float:
    """Return the error of a student that learns from what a strategy keeps of alpha · dimensions examples."""
    draw = generator(seed, "perceptron", dimensions)
    teacher = draw.normal(size=dimensions)
    teacher /= np.linalg.norm(teacher)
    x = draw.normal(size=(int(alpha * dimensions), dimensions))
    rows = select(-np.abs(x @ teacher), keep, strategy=strategy, seed=seed).rows
    student = LinearSVC(C=1e4, loss="hinge", fit_intercept=False, tol=1e-4, max_iter=200_000, random_state=0)
    weights = student.fit(x[rows], x[rows] @ teacher > 0).coef_[0]
    return float(np.arccos(weights @ teacher / np.linalg.norm(weights)) / np.pi)


def table(alphas: tuple[float, ...], seeds: int, dimensions: int = 200) -> dict[str, dict[str, list[float]]]:
    """Return for each alpha and strategy the mean error and its standard error, in percent."""
    found: dict[str, dict[str, list[float]]] = {}
    for alpha in alphas:
        for kept in KEPT:
            errors = 100 * np.array([error(alpha, kept, seed, dimensions) for seed in range(seeds)])
            figures = [float(errors.mean()), float(errors.std(ddof=1) / seeds**0.5)]
            found.setdefault(f"{alpha:g}", {})[kept] = [round(one, 2) for one in figures]
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--dimensions", type=int, default=200)
    asked = parser.parse_args()
    record("perceptron", {"kept": 0.5, **vars(asked), "error": table(ALPHAS, asked.seeds, asked.dimensions)})
