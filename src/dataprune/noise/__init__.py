"""Wrong labels: inject, find, evaluate and decide; and duplicates."""

from dataprune.noise.evaluate import Evaluation, evaluate_classes, evaluate_suspects
from dataprune.noise.evidence import Evidence, better_order, checked_probabilities
from dataprune.noise.find import find
from dataprune.noise.inject import KINDS, inject_noise
from dataprune.noise.suspects import Suspects
