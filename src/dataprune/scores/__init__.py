"""Difficulty scores: one number for each example, computed from a trace or from features."""

from dataprune.scores.features import FEATURE_SCORES, km, km_cosine, median_distance, prototype_distance
from dataprune.scores.score import Score, Scores, correlations
from dataprune.scores.table import SCORES, ScoreSpec, score_trace

__all__ = [
    "FEATURE_SCORES",
    "SCORES",
    "Score",
    "ScoreSpec",
    "Scores",
    "correlations",
    "km",
    "km_cosine",
    "median_distance",
    "prototype_distance",
    "score_trace",
]
