"""Which labels are wrong, how many, and what should be done about it? Injects, finds, and judges label errors.

Knows arrays of labels, probabilities and scores. Opens no file and trains nothing.
"""

from dataprune.noise.inject import KINDS, inject

__all__ = ["KINDS", "inject"]
