"""A run on disk: made, opened, verified, and what leaves it."""

from dataprune.run.clusters import ClusterSettings, add_features, cluster
from dataprune.run.embed import Embedding, check_features_out, embed
from dataprune.run.encoders import EmbedProgress, EmbedSettings
from dataprune.run.export import write_folder, write_kept, write_probabilities
from dataprune.run.features import match
from dataprune.run.run import FEATURES, Run, feature_manifests, open_run, verify
from dataprune.run.score import Progress, check_out, eyes_for, score
from dataprune.run.suspects import find_suspects, write_suspects

__all__ = [
    "FEATURES",
    "ClusterSettings",
    "EmbedProgress",
    "EmbedSettings",
    "Embedding",
    "Progress",
    "Run",
    "add_features",
    "check_features_out",
    "check_out",
    "cluster",
    "embed",
    "eyes_for",
    "feature_manifests",
    "find_suspects",
    "match",
    "open_run",
    "score",
    "verify",
    "write_folder",
    "write_kept",
    "write_probabilities",
    "write_suspects",
]
