"""A kept set: which examples, how it came about, and how a training loop uses it."""

from collections.abc import Sized
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Int64

from dataprune.errors import invalid
from dataprune.notebook import Tabular
from dataprune.streams import torch_seed

if TYPE_CHECKING:
    from torch.utils.data import Dataset as TorchDataset
    from torch.utils.data import Subset, SubsetRandomSampler


@dataclass(frozen=True, eq=False)
class Selection(Tabular):
    """The examples that are kept, of `n_total`.

    Attributes:
        rows: (kept,) int64 row numbers in the scored set, ascending.
        ids, labels, scores: (kept,) their names, class indices and values of the score, in its own sign, if there are any.
        keep: the fraction asked for (the kept share, if a count was asked for).
        spec: everything that defines the set: strategy, keep, count, balanced, seed, options, score, ids_sha256.
        notes: what one should know about it, such as classes that keep no example.
        weights: (kept,) how much each counts in training, of strategies that say so (`craig`, `gradmatch`).
    """

    rows: Int64[np.ndarray, " kept"]
    ids: np.ndarray
    labels: np.ndarray | None
    scores: np.ndarray | None
    n_total: int
    strategy: str
    keep: float
    spec: dict[str, Any]
    notes: tuple[str, ...] = ()
    weights: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def mask(self) -> Bool[np.ndarray, " examples"]:
        """Whether each of all the examples is kept."""
        mask = np.zeros(self.n_total, bool)
        mask[self.rows] = True
        return mask

    @property
    def ids_hash(self) -> str:
        """The SHA-256 of the kept ids, whatever order the examples came in."""
        return str(self.spec["ids_sha256"])

    def subset(self, dataset: "TorchDataset[Any]") -> "Subset[Any]":
        """Return the kept part of a torch dataset whose items lie in the order of the scored set."""
        from torch.utils.data import Subset

        if not isinstance(dataset, Sized) or len(dataset) != self.n_total:
            length = len(dataset) if isinstance(dataset, Sized) else "a dataset without a length"
            raise invalid("dataset", f"have the {self.n_total} examples that were scored", length)
        return Subset(dataset, self.rows.tolist())

    def sampler(self, seed: int = 0) -> "SubsetRandomSampler":
        """Return a sampler for a DataLoader over the whole dataset: the kept rows, shuffled anew each epoch by its own stream."""
        import torch
        from torch.utils.data import SubsetRandomSampler

        generator = torch.Generator().manual_seed(torch_seed(seed, "sampler"))
        return SubsetRandomSampler(self.rows.tolist(), generator=generator)

    def __repr__(self) -> str:
        by = f" by {self.spec['score']}" if self.spec.get("score") else ""
        return f"Selection({len(self):,} of {self.n_total:,} kept, {self.strategy}{by})"

    def _columns(self) -> dict[str, np.ndarray]:
        columns = {"row": self.rows, "id": self.ids, "label": self.labels, "score": self.scores, "weight": self.weights}
        return {name: values for name, values in columns.items() if values is not None}
