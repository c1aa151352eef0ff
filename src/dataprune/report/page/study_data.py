"""What is known about a study when its page is written; statistics, costs and advice are the study's."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dataprune.errors import InputError, StoreError
from dataprune.report.study_figures import Curves, epoch_curves
from dataprune.report.text import display_text, percent
from dataprune.study.advice import Advice, advise, overall, situation_from
from dataprune.study.cost import StudyCosts, scoring_cost, study_costs
from dataprune.study.spec import StudySpec
from dataprune.study.study import OK, Study
from dataprune.study.summary import Summary
from dataprune.study.wording import Note

NOTHING = "no training has ended yet"
UNFINISHED = "what is saved is said once the study is finished"
SEVERAL = "what is saved is left out: each arm was scored apart, so scoring has no one cost"

Columns = Mapping[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class StudyReportData:
    """A study as its page needs it.

    Attributes:
        trials: the columns of `trials.parquet`; `measure` is that of the accuracy that is judged.
        summary: None where no training has ended.
        costs: None where scoring has no cost, or several.
        epochs: for each cell of the summary the validation accuracies of its seeds by epoch; empty where files are damaged.
        made, cautions: how it was made, in terms and words, and what it says of its data.
    """

    name: str
    spec: StudySpec
    trials: Columns
    summary: Summary | None
    measure: str = "test_accuracy"
    overall: tuple[Note, ...] = ()
    advice: tuple[Advice, ...] = ()
    costs: StudyCosts | None = None
    epochs: tuple[Curves | None, ...] = ()
    made: tuple[tuple[str, str], ...] = ()
    cautions: tuple[str, ...] = ()
    is_finished: bool = True

    @property
    def ended(self) -> np.ndarray:
        """Which trials have ended with an accuracy."""
        return np.asarray(np.isfinite(np.asarray(self.trials[self.measure], np.float64)) & (self.trials["status"] == OK))

    @property
    def cost_notes(self) -> tuple[Note | str, ...]:
        """What the costs leave out, or why there are none."""
        return self.costs.notes if self.costs is not None else (SEVERAL if self.is_finished else UNFINISHED,)


@dataclass(frozen=True)
class SizeCost:
    """What a training on so much took on average over `count` trainings; None where it was not recorded.

    `share` is of the work on the largest size, by operations where known: seconds also depend on what else the machine did.
    """

    keep: float
    count: int
    train_seconds: float | None
    examples_seen: float | None
    flops: float | None
    share: float | None = None


def gather_study(study: Study) -> StudyReportData:
    """Collect what the page of a study is made of, finished or not."""
    name, made, cautions = study.path.resolve().name, _made(study), () if study.manifest is None else study.manifest.notes
    about: dict[str, Any] = {"measure": study.measure, "made": made, "cautions": cautions, "is_finished": study.is_finished}
    try:
        summary = study.summary
    except InputError:  # no training has ended
        return StudyReportData(name, study.spec, study.trials, None, **about)
    try:
        epochs = tuple(epoch_curves(study))
    except StoreError:  # a trial's file is damaged: `dataprune verify` names it
        epochs = ()
    scoring = () if study.manifest is None else study.manifest.scoring
    situation = situation_from(study.trials)
    sizes = sorted({round(float(keep), 6) for keep in study.trials["keep"] if keep < 1}, reverse=True)
    costs = None if len(scoring) != 1 else study_costs(study.trials, scoring_cost(scoring[0]), study.measure)
    about |= {"overall": overall(situation, summary), "advice": advise(situation, sizes or (1.0,), summary)}
    return StudyReportData(name, study.spec, study.trials, summary, costs=costs, epochs=epochs, **about)


def size_costs(study: StudyReportData) -> list[SizeCost]:
    """Return for each size what a training took, the largest first."""
    ended, keeps = study.ended, np.asarray(study.trials["keep"], np.float64).round(9)
    rows = []
    for keep in sorted(set(keeps[ended].tolist()), reverse=True):
        inside = ended & (keeps == keep)
        columns = (study.trials.get(name) for name in ("train_seconds", "examples_seen", "flops"))
        means = [None if one is None else plain(np.asarray(one, np.float64)[inside].mean()) for one in columns]
        rows.append(SizeCost(keep, int(inside.sum()), *means))
    work = [row.flops or 0.0 for row in rows]
    work = work if all(work) else [row.train_seconds or 0.0 for row in rows]
    return [replace(row, share=one / work[0]) for row, one in zip(rows, work, strict=True)] if all(work) else rows


def plain(value: Any) -> Any:
    """Make a table's cell plain JSON: NaN and missing become None, texts harmless.

    Example:
        >>> plain(np.float64("nan")), plain(np.int64(3)), plain("a\\nb")
        (None, 3, 'a\\\\nb')
    """
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    return display_text(value, 300) if isinstance(value, str) else value


def plain_rows(columns: Columns) -> list[dict[str, Any]]:
    """Return the rows of a table as plain JSON."""
    names = list(columns)
    return [dict(zip(names, map(plain, row), strict=True)) for row in zip(*columns.values(), strict=True)]


def _made(study: Study) -> tuple[tuple[str, str], ...]:
    """Return how a study was made: data, recipe, seeds, versions; no path and no host."""
    spec, settings, manifest = study.spec, study.settings, study.manifest
    given = {key: one for key, one in sorted(vars(settings.recipe).items()) if key != "name" and one not in ((), None)}
    yes = {key: ("no", "yes")[one] if isinstance(one, bool) else one for key, one in given.items()}
    recipe = ", ".join(f"{key.replace('_', ' ')} {one}" for key, one in yes.items())
    rows = [
        ("data", f"fingerprint {study.data[:16]}"),
        ("model", settings.model),
        ("recipe", f"{settings.recipe.name}: {recipe}"),
        ("epochs", f"{settings.epochs}, the same for every training" if settings.budget == "epochs" else ""),
        ("steps", f"as many as {settings.epochs} epochs on all data" if settings.budget == "steps" else ""),
        ("seeds", ", ".join(map(str, spec.training_seeds))),
        ("judged on", "test, read once a training" if spec.judge == "test" else "validation, since a choice is made"),
        ("device", settings.made_with.get("device", "")),
    ]
    if manifest is not None:
        data = manifest.data
        sizes = f"{data.n_train:,} for train, {data.n_validation:,} for validation, {data.n_test:,} for test"
        cut = f"{percent(data.cut_test)} for test, before scoring" if data.cut_test else ""
        versions = ", ".join(f"{name} {version}" for name, version in manifest.versions.items())
        rows = [("examples", sizes), ("cut from train", cut), *rows, ("versions", versions), ("finished", manifest.finished)]
    return tuple((term, display_text(words, 400)) for term, words in rows if words)
