"""The studies that have a name, as data: the seven of the report, methods and dynamic arms."""

from dataclasses import replace

from dataprune.errors import invalid, unknown_choice
from dataprune.selection import STRATEGIES
from dataprune.study.spec import ORDERS, StudySpec, Sweep

SCORES = ("el2n", "std", "pred_sum", "flip", "forget", "km")
"""The report's scores. Of these a preset takes those that the run has."""

SEVEN = (0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3)
STARTS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.51, 0.52, 0.53, 0.54, 0.55, 0.56, 0.57, 0.58, 0.59, 0.6)
SMALL = (0.1, 0.2, 0.4)
METHODS = tuple(name for name in STRATEGIES if name not in ("window", "random"))
COMPARED = ("el2n", "dual", "aum", "forget_toneva", "tdds")
STAGES = ((10, 0.5), (5, 0.6), (5, 0.7), (5, 0.8), (5, 0.9), (40, 1.0))

PRESETS: dict[str, StudySpec] = {
    one.preset: one
    for one in (
        StudySpec("half", (Sweep("hardest", (0.75, 0.5)),)),
        StudySpec("sweep", (Sweep("hardest", SEVEN),)),
        StudySpec("window", (Sweep("window", (0.4,), STARTS),)),
        StudySpec("easy-vs-hard", (Sweep("hardest", SEVEN), Sweep("easiest", (*SEVEN, 0.2, 0.1)))),
        StudySpec("noise-window", (Sweep("window", (0.4,), STARTS),), noise=0.1),
        StudySpec("clusters", (Sweep("hardest", SEVEN),), ("km",), clusters=("classes", "auto", "5", "20", "50", "100", "200")),
        StudySpec("methods", tuple(Sweep(one, SMALL) for one in METHODS), COMPARED, noise=0.1, balanced=True),
        StudySpec("dynamic", dynamic=("infobatch", "rs2")),
        StudySpec("curriculum", (Sweep("easy-to-hard"), Sweep("hard-to-easy")), stages=STAGES),
    )
}

QUESTIONS = {
    "half": "is half of the set, or three quarters, as good as all of it?",
    "sweep": "how much can be dropped, from the easiest on, by which score?",
    "window": "which part of the set, from easy to hard, is worth training on?",
    "easy-vs-hard": "what does it cost to lose the hardest, and what the easiest?",
    "noise-window": "what changes when a tenth of the labels of each class is wrong?",
    "clusters": "how many clusters should km have?",
    "methods": "which score and which strategy keep most accuracy at small sizes, with and without wrong labels?",
    "dynamic": "what is saved, and what lost, by leaving out other examples in every epoch?",
    "curriculum": "does the order of training matter: easy first, or hard first?",
}


def preset(name: str) -> StudySpec:
    """Return a preset by name; InputError if there is none of that name."""
    if name not in PRESETS:
        raise unknown_choice("preset", name, PRESETS)
    return PRESETS[name]


def with_sweeps(
    spec: StudySpec,
    keep: tuple[float, ...] | None = None,
    start: tuple[float, ...] | None = None,
    strategy: tuple[str, ...] | None = None,
) -> StudySpec:
    """Return a study with other sizes, starts and strategies in the place of its own.

    Raises:
        InputError: the study keeps everything, or a start is given without the strategy `window`.
    """
    given = {"keep": keep, "start": start, "strategy": strategy}
    name = next((name for name, value in given.items() if value is not None), None)
    if name is not None and (not spec.parts or any(part.strategy in ORDERS for part in spec.parts)):
        raise invalid(name, "go with a study of kept sets", f"{given[name]}, and the study is {spec.preset}")
    parts = spec.parts if strategy is None else tuple(Sweep(one, spec.parts[0].keep) for one in strategy)
    if keep is not None:
        fitting = [tuple(one for one in part.start if max(keep) + one <= 1 + 1e-9) for part in parts]
        parts = tuple(replace(part, keep=keep, start=starts or (0.0,)) for part, starts in zip(parts, fitting, strict=True))
    if start is not None:
        if all(part.strategy != "window" for part in parts):
            raise invalid("start", "go with the strategy window", f"{start}, and the strategy is {parts[0].strategy}")
        parts = tuple(replace(part, start=start) if part.strategy == "window" else part for part in parts)
    return replace(spec, parts=parts)
