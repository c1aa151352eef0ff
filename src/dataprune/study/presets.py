"""The studies that have a name, as data: the seven of the report, and the comparison of recipes that comes before them."""

from dataprune.errors import unknown_choice
from dataprune.study.spec import StudySpec, Sweep, Variant

SCORES = ("el2n", "std", "pred_sum", "flip", "forget", "km")
"""The report's scores. Of these a preset takes those that the run has."""

SEVEN = (0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3)
STARTS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.51, 0.52, 0.53, 0.54, 0.55, 0.56, 0.57, 0.58, 0.59, 0.6)
STAGES = ((10, 0.5), (5, 0.6), (5, 0.7), (5, 0.8), (5, 0.9), (40, 1.0))

PRESETS: dict[str, StudySpec] = {
    one.preset: one
    for one in (
        StudySpec("half", (Sweep("hardest", (0.5,)),)),
        StudySpec("sweep", (Sweep("hardest", SEVEN),)),
        StudySpec("window", (Sweep("window", (0.4,), STARTS),)),
        StudySpec("easy-vs-hard", (Sweep("hardest", SEVEN), Sweep("easiest", (*SEVEN, 0.2, 0.1)))),
        StudySpec("noise-window", (Sweep("window", (0.4,), (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6)),), noise=0.1),
        StudySpec("clusters", (Sweep("hardest", SEVEN),), ("km",), clusters=("classes", "auto", "5", "20", "50", "100", "200")),
        StudySpec("curriculum", (Sweep("easy-to-hard"), Sweep("hard-to-easy")), stages=STAGES),
        StudySpec(
            "recipes",
            variants=(
                Variant("as it is"),
                Variant("rate / 3", {"rate_factor": 1 / 3}),
                Variant("rate x 3", {"rate_factor": 3.0}),
                Variant("cosine", {"schedule": "cosine"}),
                Variant("constant rate", {"schedule": "constant", "rate_factor": 1 / 3}),
                Variant("adamw", {"optimiser": "adamw", "learning_rate": 2e-3, "weight_decay": 1e-2}),
                Variant("no augmentation", {"crop": 0.0, "flip": False, "rotation": 0.0}),
                Variant("label smoothing", {"label_smoothing": 0.1}),
            ),
            controls=("all",),
            judge="validation",
        ),
    )
}

QUESTIONS = {
    "half": "is half of the set as good as all of it?",
    "sweep": "how much can be dropped, from the easiest on, by which score?",
    "window": "which part of the set, from easy to hard, is worth training on?",
    "easy-vs-hard": "what does it cost to lose the hardest, and what the easiest?",
    "noise-window": "what changes when a tenth of the labels of each class is wrong?",
    "clusters": "how many clusters should km have?",
    "curriculum": "does the order of training matter: easy first, or hard first?",
    "recipes": "which recipe trains best on all data, by validation?",
}


def preset(name: str) -> StudySpec:
    """Return a preset by name; InputError if there is none of that name."""
    if name not in PRESETS:
        raise unknown_choice("preset", name, PRESETS)
    return PRESETS[name]
