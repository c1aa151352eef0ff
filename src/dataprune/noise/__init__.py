"""Which labels are wrong, how many, and what should be done about it? Injects, finds, and judges label errors.

Knows arrays of labels, probabilities and scores. Opens no file and trains nothing.
"""

from dataprune.noise.check import Checked, check, check_classes
from dataprune.noise.evidence import Evidence, checked_probabilities
from dataprune.noise.find import find
from dataprune.noise.inject import KINDS, inject
from dataprune.noise.suspects import Suspects

__all__ = ["KINDS", "Checked", "Evidence", "Suspects", "check", "check_classes", "checked_probabilities", "find", "inject"]
