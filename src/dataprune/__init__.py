"""Which examples of a training set are hard, and which part of it is worth training on.

    import dataprune as dp

    run = dp.score(dp.read("flowers/train"), out="run")
    kept = dp.select(run.scores["el2n"], keep=0.7)

The public names, as a table of contents. Each is imported when it is first used, so `import dataprune` itself is quick.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataprune.data import Dataset, Splits, from_arrays, from_huggingface, from_torch, read, read_splits
    from dataprune.run import Embedding, EmbedSettings, Run, open_run, verify, write_folder, write_kept
    from dataprune.run.embed import embed
    from dataprune.run.score import score
    from dataprune.scores import SCORES, Score, Scores, correlations, score_trace
    from dataprune.selection import Kept, select
    from dataprune.study.agreement import agreement
    from dataprune.study.arms import Sources
    from dataprune.study.conduct import run_study
    from dataprune.study.opened import Study, open_study
    from dataprune.study.presets import preset
    from dataprune.study.reliability import reliability
    from dataprune.study.spec import Part, StudySpec
    from dataprune.trace import Recorder, Trace
    from dataprune.training.plan import Machine, Settings
    from dataprune.training.recipes import Recipe
    from dataprune.training.swav.recipes import SWAV_RECIPES, SwavRecipe, SwavSettings

    __version__: str

_ROOMS = {
    "dataprune.data": ("Dataset", "Splits", "from_arrays", "from_huggingface", "from_torch", "read", "read_splits"),
    "dataprune.run": ("EmbedSettings", "Embedding", "Run", "embed", "open_run", "score", "verify", "write_folder", "write_kept"),
    "dataprune.scores": ("SCORES", "Score", "Scores", "correlations", "score_trace"),
    "dataprune.selection": ("Kept", "select"),
    "dataprune.study.agreement": ("agreement",),
    "dataprune.study.arms": ("Sources",),
    "dataprune.study.conduct": ("run_study",),
    "dataprune.study.opened": ("Study", "open_study"),
    "dataprune.study.presets": ("preset",),
    "dataprune.study.reliability": ("reliability",),
    "dataprune.study.spec": ("Part", "StudySpec"),
    "dataprune.trace": ("Recorder", "Trace"),
    "dataprune.training.plan": ("Machine", "Settings"),
    "dataprune.training.recipes": ("Recipe",),
    "dataprune.training.swav.recipes": ("SWAV_RECIPES", "SwavRecipe", "SwavSettings"),
}
_ROOM_OF = {name: room for room, names in _ROOMS.items() for name in names}

__all__ = [
    "SCORES",
    "SWAV_RECIPES",
    "Dataset",
    "EmbedSettings",
    "Embedding",
    "Kept",
    "Machine",
    "Part",
    "Recipe",
    "Recorder",
    "Run",
    "Score",
    "Scores",
    "Settings",
    "Sources",
    "Splits",
    "Study",
    "StudySpec",
    "SwavRecipe",
    "SwavSettings",
    "Trace",
    "__version__",
    "agreement",
    "correlations",
    "embed",
    "from_arrays",
    "from_huggingface",
    "from_torch",
    "open_run",
    "open_study",
    "preset",
    "read",
    "read_splits",
    "reliability",
    "run_study",
    "score",
    "score_trace",
    "select",
    "verify",
    "write_folder",
    "write_kept",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        found: Any = version("dataprune")
    elif name in _ROOM_OF:
        found = getattr(import_module(_ROOM_OF[name]), name)
    else:
        raise AttributeError(f"module 'dataprune' has no attribute {name!r}")
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
