"""What is done about each suspect: keep it, drop it, or give it another label."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from dataprune.errors import invalid, unknown_choice
from dataprune.noise.suspects import Suspects

DECISIONS = ("keep", "drop", "relabel")
CONFIDENCE = 0.9


@dataclass(frozen=True, eq=False)
class Decisions:
    """What is done about every example: arrays (N,) in source order.

    `labels` are those after it, of dropped examples the given ones; `decision` is "keep", "drop" or "relabel"; `n_left` suspects
    stay because the suggested label is not sure enough.
    """

    ids: np.ndarray
    given: Int64[np.ndarray, " examples"]
    labels: Int64[np.ndarray, " examples"]
    decision: np.ndarray
    classes: tuple[str, ...]
    n_left: int = 0

    def __len__(self) -> int:
        return len(self.labels)

    def _columns(self) -> dict[str, np.ndarray]:
        names = np.array(self.classes, dtype=object)
        return {"id": self.ids, "label": names[self.labels], "given_label": names[self.given], "decision": self.decision}

    @property
    def rows(self) -> Int64[np.ndarray, " kept"]:
        """Rows of the examples that stay, ascending."""
        return np.flatnonzero(self.decision != "drop")

    def count(self, decision: str) -> int:
        """Return how many examples were decided so."""
        return int((self.decision == decision).sum())


def decide(found: Suspects, action: str, *, confidence: float = CONFIDENCE) -> Decisions:
    """Drop every suspect, or relabel those whose suggested label is right with at least the confidence, in (0, 1]."""
    if action not in ("drop", "relabel"):
        raise unknown_choice("action", action, ("drop", "relabel"))
    check_confidence(confidence)
    chosen = found.is_suspect
    if action == "relabel":
        if found.suggested_probability is None:
            raise invalid("found", "have a suggested_probability", "none, as in a table without that column", "Find again.")
        chosen = chosen & (found.suggested_label != found.labels) & (found.suggested_probability >= confidence)
    decision = np.where(chosen, action, "keep").astype(object)
    labels = np.where(chosen & (action == "relabel"), found.suggested_label, found.labels)
    return Decisions(found.ids, found.labels, labels, decision, found.classes, int((found.is_suspect & ~chosen).sum()))


def check_confidence(confidence: float) -> None:
    if not 0 < confidence <= 1:
        raise invalid("confidence", "be in (0, 1]", confidence, "0.9 relabels where the new label is right nine times in ten.")
