"""What is known about a run when its page is written?

One frozen noun that every section reads. Knows which parts are absent and why; does not know where they came from nor
how they look.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from jaxtyping import Int64

from dataprune.noise import Suspects
from dataprune.report.page.answers import EnsemblePredictions
from dataprune.report.text import display_text
from dataprune.run.manifest import RunManifest
from dataprune.scores import Score, Scores

NAME_LETTERS = 40
NO_LABEL = "no label"


@dataclass(frozen=True, eq=False)
class Pairs:
    """Duplicates as the page needs them: rows of the training set, and beyond its size N row N + k for `Material.others[k]`.

    Attributes:
        id, other_id: (P,) names.
        row, other_row: (P,) rows, N + k for examples of other splits.
        kind: (P,) "exact" or "near".
        label, other_label: (P,) class indices, -1 for none.
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
        return np.asarray((self.label != self.other_label) & (self.label >= 0) & (self.other_label >= 0))

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
class ReportData:
    """A run, as its page tells of it.

    Attributes:
        name: what the run is called.
        manifest: of the run.
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
    manifest: RunManifest
    classes: tuple[str, ...]
    ids: np.ndarray
    labels: Int64[np.ndarray, " examples"]
    scores: Scores
    leading: str
    answers: EnsemblePredictions
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

    @cached_property
    def class_names(self) -> list[str]:
        """Class names as they are shown."""
        return [display_text(name, NAME_LETTERS) for name in self.classes]

    def name_of(self, label: int) -> str:
        """Name a label as it is shown; -1 is none."""
        return self.class_names[label] if label >= 0 else NO_LABEL

    @property
    def things(self) -> str:
        """What the examples are called."""
        return "pictures" if self.manifest.data.kind == "images" else "feature vectors"

    @property
    def suspect_rows(self) -> Int64[np.ndarray, " flagged"]:
        """Rows of the examples whose label is probably wrong, the most suspect first."""
        found = self.suspects
        if found is None:
            return np.zeros(0, np.int64)
        flagged = np.flatnonzero(np.asarray(found.is_suspect, bool))
        return flagged[np.argsort(np.asarray(found.rank)[flagged], kind="stable")].astype(np.int64)
