"""Which examples of a training set are hard, and which part of it is worth training on.

    import dataprune as dp

    run = dp.score(dp.read("flowers/train"), out="run")
    kept = dp.select(run.scores["el2n"], keep=0.7)

The public names, as a table of contents. Each is imported when it is first used, so `import dataprune` itself is quick.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataprune.data import (
        Dataset,
        FeatureFile,
        Splits,
        from_arrays,
        from_huggingface,
        from_torch,
        read,
        read_features,
        read_splits,
    )
    from dataprune.noise import Evaluation, Evidence, Suspects
    from dataprune.noise import evaluate as evaluate_suspects
    from dataprune.noise import inject as inject_noise
    from dataprune.noise.decide import Decisions, decide
    from dataprune.report.page.write import write_report
    from dataprune.report.plot import plot
    from dataprune.run import (
        Embedding,
        EmbedSettings,
        Run,
        add_features,
        open_run,
        verify,
        write_folder,
        write_kept,
        write_probabilities,
        write_suspects,
    )
    from dataprune.run.clusters import km
    from dataprune.run.duplicates import Duplicates, find_duplicates, write_duplicates
    from dataprune.run.embed import embed
    from dataprune.run.export import Targets, write_cleaned
    from dataprune.run.score import score
    from dataprune.run.suspects import find_suspects, read_suspects
    from dataprune.scores import SCORES, Score, Scores, correlations, score_trace
    from dataprune.selection import Selection, select
    from dataprune.study.conditions import StudyInputs
    from dataprune.study.presets import preset
    from dataprune.study.reliability import agreement, reliability
    from dataprune.study.runner import run_study
    from dataprune.study.spec import StudySpec, Sweep
    from dataprune.study.study import Study, open_study
    from dataprune.trace import Recorder, Trace
    from dataprune.training.recipes import Recipe
    from dataprune.training.settings import Hardware, Settings, SwavSettings
    from dataprune.training.swav.recipe import SWAV_RECIPES, SwavRecipe

    __version__: str

_ROOMS = {
    "dataprune.data": (
        "Dataset",
        "FeatureFile",
        "Splits",
        "from_arrays",
        "from_huggingface",
        "from_torch",
        "read",
        "read_features",
        "read_splits",
    ),
    "dataprune.noise": ("Evaluation", "Evidence", "Suspects", "evaluate_suspects", "inject_noise"),
    "dataprune.noise.decide": ("Decisions", "decide"),
    "dataprune.report.page.write": ("write_report",),
    "dataprune.report.plot": ("plot",),
    "dataprune.run": (
        "EmbedSettings",
        "Embedding",
        "Run",
        "add_features",
        "embed",
        "open_run",
        "score",
        "verify",
        "write_folder",
        "write_kept",
        "write_probabilities",
        "write_suspects",
    ),
    "dataprune.run.export": ("Targets", "write_cleaned"),
    "dataprune.run.duplicates": ("Duplicates", "find_duplicates", "write_duplicates"),
    "dataprune.run.clusters": ("km",),
    "dataprune.run.suspects": ("find_suspects", "read_suspects"),
    "dataprune.scores": ("SCORES", "Score", "Scores", "correlations", "score_trace"),
    "dataprune.selection": ("Selection", "select"),
    "dataprune.study.conditions": ("StudyInputs",),
    "dataprune.study.runner": ("run_study",),
    "dataprune.study.study": ("Study", "open_study"),
    "dataprune.study.presets": ("preset",),
    "dataprune.study.reliability": ("agreement", "reliability"),
    "dataprune.study.spec": ("StudySpec", "Sweep"),
    "dataprune.trace": ("Recorder", "Trace"),
    "dataprune.training.recipes": ("Recipe",),
    "dataprune.training.settings": ("Hardware", "Settings", "SwavSettings"),
    "dataprune.training.swav.recipe": ("SWAV_RECIPES", "SwavRecipe"),
}
_CALLED = {"evaluate_suspects": "evaluate", "inject_noise": "inject"}  # in their room, where it is clear of what
_ROOM_OF = {name: room for room, names in _ROOMS.items() for name in names}

__all__ = [
    "SCORES",
    "SWAV_RECIPES",
    "Dataset",
    "Decisions",
    "Duplicates",
    "EmbedSettings",
    "Embedding",
    "Evaluation",
    "Evidence",
    "FeatureFile",
    "Hardware",
    "Recipe",
    "Recorder",
    "Run",
    "Score",
    "Scores",
    "Selection",
    "Settings",
    "Splits",
    "Study",
    "StudyInputs",
    "StudySpec",
    "Suspects",
    "SwavRecipe",
    "SwavSettings",
    "Sweep",
    "Targets",
    "Trace",
    "__version__",
    "add_features",
    "agreement",
    "correlations",
    "decide",
    "embed",
    "evaluate_suspects",
    "find_duplicates",
    "find_suspects",
    "from_arrays",
    "from_huggingface",
    "from_torch",
    "inject_noise",
    "km",
    "open_run",
    "open_study",
    "plot",
    "preset",
    "read",
    "read_features",
    "read_splits",
    "read_suspects",
    "reliability",
    "run_study",
    "score",
    "score_trace",
    "select",
    "verify",
    "write_cleaned",
    "write_duplicates",
    "write_folder",
    "write_kept",
    "write_probabilities",
    "write_report",
    "write_suspects",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        found: Any = version("dataprune")
    elif name in _ROOM_OF:
        found = getattr(import_module(_ROOM_OF[name]), _CALLED.get(name, name))
    else:
        raise AttributeError(f"module 'dataprune' has no attribute {name!r}")
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
