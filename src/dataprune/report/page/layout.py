"""How do feature vectors lie in two dimensions, in the page's manner?"""

import numpy as np

from dataprune.report.maps import FEWEST, map_data
from dataprune.report.page.material import ReportData
from dataprune.report.page.scene import N_COLOURS, Axes, Dot, Mark, Scene, Words, limits
from dataprune.streams import generator

MOST_POINTS = 1500
WIDTH, HEIGHT = 760.0, 520.0
MOST_IN_LEGEND = 2 * N_COLOURS


def feature_map(material: ReportData) -> Scene | None:
    """Lay a sample of the vectors out by t-SNE and colour it by label; None where there are too few."""
    features, n = material.features, len(material)
    if features is None or n < FEWEST:
        return None
    rows = np.arange(n)
    if n > MOST_POINTS:
        rows = np.sort(generator(0, "page", "map").choice(n, MOST_POINTS, replace=False))
    data = map_data(np.asarray(features[rows]), "label", material.labels[rows], tuple(material.class_names))
    (x_low, y_low), (x_high, y_high) = data.points.min(axis=0).tolist(), data.points.max(axis=0).tolist()
    axes = Axes(10, 10, WIDTH - 190, HEIGHT - 20, *limits(x_low, x_high), *limits(y_low, y_high))
    marks: list[Mark] = []
    for (x, y), label in zip(data.points.tolist(), material.labels[rows].tolist(), strict=True):
        colour, is_square = f"c{label % N_COLOURS}", label // N_COLOURS % 2 == 1
        marks.append(Dot(axes.x(x), axes.y(y), 3.0, colour, 0.75, is_square=is_square))
    present = np.unique(material.labels[rows]).tolist()
    for line, label in enumerate(present[:MOST_IN_LEGEND]):
        y = 24.0 + 20 * line
        marks.append(Dot(WIDTH - 165, y - 4, 4.5, f"c{label % N_COLOURS}", is_square=label // N_COLOURS % 2 == 1))
        marks.append(Words(WIDTH - 154, y, material.class_names[label][:22], "ink"))
    if len(present) > MOST_IN_LEGEND:
        excluded = f"and {len(present) - MOST_IN_LEGEND} more classes in repeated colours"
        marks.append(Words(WIDTH - 165, 24.0 + 20 * MOST_IN_LEGEND, excluded, "muted", size=10.0))
    described = f"{len(rows):,} of {n:,} examples by t-SNE, coloured by label. Neighbours are alike; "
    described += "distances between far groups mean little."
    return Scene("features", WIDTH, HEIGHT, tuple(marks), "Map of the features", described)
