"""What is found in a set: of each kind a value for every example, the limit, and which are beyond it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float64, Int64

from dataprune.errors import InputError, unknown_choice
from dataprune.notebook import Tabular
from dataprune.quality.kinds import KINDS, Limit, limit_of


@dataclass(frozen=True, eq=False)
class Flagged:
    """One kind of a finding: the limit, and the rows that are flagged, the furthest beyond it first."""

    kind: str
    limit: Limit
    rows: Int64[np.ndarray, " flagged"]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def words(self) -> str:
        """What the value is, and from where it is flagged."""
        return f"{KINDS[self.kind].value}, {'below' if self.limit.tail == 'low' else 'above'} {self.limit.threshold:.3g}"


@dataclass(frozen=True, eq=False, repr=False)
class Issues(Tabular):
    """What is wrong with the examples of a set beside their labels: the values of each kind, its limit; `absent` says why not.

    `mixed` are the pairs of classes that networks take for each other beyond the limit, with their rates, the largest first.
    As a table: a row for each example, in source order: id, then for each kind its value and `is_KIND`, whether it is flagged.
    """

    ids: np.ndarray
    values: Mapping[str, Float64[np.ndarray, " examples"]]
    limits: Mapping[str, Limit]
    absent: Mapping[str, str] = field(default_factory=dict)
    mixed: tuple[tuple[str, str, float], ...] = ()

    @classmethod
    def of(cls, ids: np.ndarray, values: Mapping[str, np.ndarray], absent: Mapping[str, str]) -> "Issues":
        """Judge the values of a set, each kind by its limit."""
        known = {name: np.asarray(values[name], np.float64) for name in KINDS if name in values}
        return cls(
            ids,
            known,
            {name: limit_of(name, one) for name, one in known.items()},
            {name: absent[name] for name in KINDS if name in absent},
        )

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[Flagged]:
        """Return each kind that was looked for, in the order of `KINDS`."""
        return map(self.__getitem__, self.limits)

    def __getitem__(self, kind: str) -> Flagged:
        """Return what is flagged of one kind.

        Raises:
            InputError: there is no such kind, with the nearest one; or it was not looked for, with the reason.
        """
        if kind not in self.limits:
            why = self.absent.get(kind)
            raise unknown_choice("kind", kind, KINDS) if why is None else InputError(f"{kind} was not looked for: {why}.")
        rows, limit = np.flatnonzero(self.is_flagged(kind)), self.limits[kind]
        sign = 1 if limit.tail == "low" else -1
        return Flagged(kind, limit, rows[np.argsort(sign * self.values[kind][rows], kind="stable")])

    def __repr__(self) -> str:
        said = ", ".join(f"{len(one):,} {one.kind}" for one in self)
        return f"Issues({len(self):,} examples: {said or 'nothing was looked for'})"

    def is_flagged(self, kind: str) -> np.ndarray:
        """Return which examples are beyond the limit of a kind."""
        return self.limits[kind].beyond(self.values[kind])

    def _columns(self) -> dict[str, np.ndarray]:
        kinds = ({name: values, f"is_{name}": self.is_flagged(name)} for name, values in self.values.items())
        return {"id": self.ids} | {name: column for kind in kinds for name, column in kind.items()}

    def _shown(self) -> dict[str, np.ndarray]:
        anything = np.any([self.is_flagged(name) for name in self.values], axis=0) if self.values else np.zeros(len(self), bool)
        return {name: column[anything] for name, column in self._columns().items()}
