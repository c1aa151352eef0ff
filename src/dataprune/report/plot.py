"""One call that draws any result: scores, suspects, a trace, a run, a study."""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from dataprune.errors import invalid
from dataprune.noise import Suspects
from dataprune.noise.words import counts_in_words
from dataprune.report.charts import Matrix
from dataprune.report.figures import Plot, draw
from dataprune.report.maps import map_of
from dataprune.report.predictions import predictions_of
from dataprune.report.run_figures import confusion_data, correlation_data, distribution_data, epochs_data
from dataprune.report.study_figures import study_plots
from dataprune.run.evidence import dealt_of
from dataprune.run.run import Run
from dataprune.scores import Score, Scores
from dataprune.streams import tie_break
from dataprune.study.study import Study
from dataprune.study.summary import Summary
from dataprune.trace import Trace

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Drawable = Score | Scores | Suspects | Trace | Run | Study | Summary


def plot(thing: Drawable) -> "Figure":
    """Draw a result as a matplotlib figure, as `Drawable.plot` says; anything else is an `InputError`."""
    return draw(plot_data(thing))


def plot_data(thing: Drawable) -> Plot:
    """Return what `plot` draws: a frozen record with a title, a description and the numbers."""
    match thing:
        case Score():
            names = [] if thing.labels is None else [str(label) for label in range(int(thing.labels.max()) + 1)]
            return distribution_data(thing, thing.labels, names)
        case Scores():
            return correlation_data(thing)
        case Suspects():
            return _suspects(thing)
        case Trace():
            return epochs_data(predictions_of(thing))
        case Run():
            ties = tie_break([str(one) for one in thing.ids.tolist()], 0)
            found = map_of(thing.scores, np.zeros(len(ties), bool), ties)
            return epochs_data(predictions_of(thing.trace, dealt_of(thing))) if found is None else found
        case Study():
            return plot_data(thing.summary)
        case Summary():
            return next(iter(study_plots(thing).values()))
    raise invalid("thing", "be a score, scores, suspects, a trace, a run or a study", type(thing).__name__)


def _suspects(found: Suspects) -> Matrix:
    rows = found.flagged
    counts = np.zeros((found.n_classes, found.n_classes), np.int64)
    np.add.at(counts, (found.labels[rows], found.suggested_label[rows]), 1)
    described = f"Given labels in rows, suggested ones in columns; {counts_in_words(found)}."
    return replace(confusion_data(found.classes, counts), title="Flagged labels", description=described)
