"""Difficulty scores: one number for each example, computed from a trace or from features."""

from dataprune.scores.geometry import median_distance
from dataprune.scores.score import Score, Scores, correlations
from dataprune.scores.table import SCORES, ScoreSpec, score_trace

__all__ = ["SCORES", "Score", "ScoreSpec", "Scores", "correlations", "median_distance", "score_trace"]
