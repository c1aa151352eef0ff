"""What is known about a run when its page is written?

One frozen noun that every section reads. Knows which parts are absent and why; does not know where they came from nor
how they look.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int64

from dataprune.report.page.answers import Answers
from dataprune.report.text import shown
from dataprune.scores import Score, Scores

NAME_LETTERS = 40


@runtime_checkable
class Suspects(Protocol):
    """What the page needs of the suspects of a run; arrays have an entry for each judged example."""

    ids: np.ndarray
    labels: np.ndarray
    suggested_label: np.ndarray
    probability: np.ndarray
    score: np.ndarray
    is_suspect: np.ndarray
    reason: Any
    rank: np.ndarray
    n_wrong: Any
    n_wrong_low: Any
    n_wrong_high: Any
    notes: Any


@dataclass(frozen=True, eq=False)
class Pairs:
    """Duplicates as the page needs them: rows of the training set, and beyond its size N row N + k for `Material.others[k]`.

    Attributes:
        id, other_id: (P,) names.
        row, other_row: (P,) rows, N + k for examples of other splits.
        kind: (P,) "exact" or "near".
        label, other_label: (P,) class indices.
        split, other_split: (P,) names of splits.
        distance: (P,) numbers, 0 for exact ones.
    """

    id: list[str]
    other_id: list[str]
    row: np.ndarray
    other_row: np.ndarray
    kind: list[str]
    label: np.ndarray
    other_label: np.ndarray
    split: list[str]
    other_split: list[str]
    distance: np.ndarray

    def __len__(self) -> int:
        return len(self.id)

    @property
    def is_conflict(self) -> np.ndarray:
        """Which pairs carry different labels."""
        return np.asarray(self.label != self.other_label)

    @property
    def is_leak(self) -> np.ndarray:
        """Which pairs lie in two splits."""
        return np.array([a != b for a, b in zip(self.split, self.other_split, strict=True)], bool)


@dataclass(frozen=True, eq=False)
class Other:
    """An example of another split, which a duplicate names."""

    id: str
    label: int
    split: str
    pixels: np.ndarray | None


@dataclass(frozen=True, eq=False)
class Material:
    """A run, as its page tells of it.

    Attributes:
        name: what the run is called.
        info: the run's manifest.
        classes: names by index.
        ids, labels: of all examples, in the order of the source.
        scores: all of them.
        leading: the score that the page ranks by where one must be chosen.
        answers: of the ensemble.
        images: the pictures, or None.
        features: vectors for the map and for the nearest examples, or None.
        features_are: what these vectors are, in words.
        suspects, duplicates: where they could be found.
        others: examples of other splits.
        missing: for each absent part ("pictures", "suspects", "duplicates", "features") the reason, in words.
    """

    name: str
    info: Mapping[str, Any]
    classes: tuple[str, ...]
    ids: np.ndarray
    labels: Int64[np.ndarray, " examples"]
    scores: Scores
    leading: str
    answers: Answers
    images: np.ndarray | None = None
    features: np.ndarray | None = None
    features_are: str = ""
    suspects: Suspects | None = None
    duplicates: Pairs | None = None
    others: tuple[Other, ...] = ()
    missing: Mapping[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def score(self) -> Score:
        """The leading score."""
        return self.scores[self.leading]

    @property
    def class_names(self) -> list[str]:
        """Class names as they are shown."""
        return [shown(name, NAME_LETTERS) for name in self.classes]

    @property
    def things(self) -> str:
        """What the examples are called."""
        return "pictures" if self.info["data"]["kind"] == "images" else "feature vectors"

    @property
    def suspect_rows(self) -> Int64[np.ndarray, " flagged"]:
        """Rows of the examples whose label is probably wrong, the most suspect first."""
        found = self.suspects
        if found is None:
            return np.zeros(0, np.int64)
        flagged = np.flatnonzero(np.asarray(found.is_suspect, bool))
        return flagged[np.argsort(np.asarray(found.rank)[flagged], kind="stable")].astype(np.int64)
