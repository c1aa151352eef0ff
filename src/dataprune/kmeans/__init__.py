"""Groups of like examples: k-means over blocks, the curve of its inertia, and its elbow.

Takes arrays or blocks of arrays and gives arrays; opens no file.
"""

from dataprune.kmeans.blocks import Features, block_rows, unit_rows
from dataprune.kmeans.curve import Curve, elbow, geometric_grid, inertia_curve
from dataprune.kmeans.fit import Clusters, Keeper, Progress, assign, fit
from dataprune.kmeans.lloyd import Stage
from dataprune.kmeans.passes import Map

__all__ = [
    "Clusters",
    "Curve",
    "Features",
    "Keeper",
    "Map",
    "Progress",
    "Stage",
    "assign",
    "block_rows",
    "elbow",
    "fit",
    "geometric_grid",
    "inertia_curve",
    "unit_rows",
]
