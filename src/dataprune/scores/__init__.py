"""Difficulty scores: one number for each example, computed from a trace or from features."""

from dataprune.scores.features import km, km_cosine, median_distance, prototype_distance, zcore
from dataprune.scores.neighbours import knn_scores, knn_shapley
from dataprune.scores.of_trace import score_trace
from dataprune.scores.score import Score, Scores, correlations
from dataprune.scores.table import ALIASES, FEATURE_SCORES, NETWORK_SCORES, SCORES, ScoreSpec, canonical
