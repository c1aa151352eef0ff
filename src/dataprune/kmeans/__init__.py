"""Groups of like examples: k-means over blocks, the curve of its inertia, and its elbow.

Takes arrays or blocks of arrays and gives arrays; opens no file.
"""

from dataprune.kmeans.blocks import Features, unit_rows
from dataprune.kmeans.curve import Curve, elbow, geometric_grid, inertia_curve
from dataprune.kmeans.fit import Clusters, assign, fit

__all__ = ["Clusters", "Curve", "Features", "assign", "elbow", "fit", "geometric_grid", "inertia_curve", "unit_rows"]
