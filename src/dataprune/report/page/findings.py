"""What a run says in a few sentences that a person can act upon; which classes are hard, and which are taken for which."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int, Int64

from dataprune.errors import percent
from dataprune.noise.words import accuracy_in_words, counts_in_words
from dataprune.report.page.data import ReportData
from dataprune.report.text import capitalise, display_text, duration, pluralise
from dataprune.run.manifest import Phase
from dataprune.study.advice import advise, situation_of
from dataprune.study.wording import note

MOST_DROPPED = 0.3  # up to here published results on CIFAR find nearly no loss with any score
STEP = 0.05
HARDEST = 0.05  # the share among which suspects are counted
SURE = 0.9


@dataclass(frozen=True)
class Finding:
    """One finding: a headline, what supports it, the command that acts on it, where on the page to look, and what for."""

    title: str
    text: str
    command: str = ""
    link: str = ""
    look: str = "Look"


def findings(data: ReportData) -> list[Finding]:
    """Return the three findings of a run."""
    return [_labels(data), drop_finding(data), _other(data)]


def _labels(data: ReportData) -> Finding:
    found, n = data.suspects, len(data)
    if found is None:
        answers = data.predictions
        count = int(((answers.predicted != data.labels) & (answers.top_probabilities[:, 0] >= SURE)).sum())
        whose = "networks that did not train on them" if answers.which == "out" else "the networks"
        return Finding(
            f"{count:,} of {n:,} labels are contradicted" if count else "No label is clearly contradicted",
            f"For {count:,} examples {whose} are at least {percent(SURE)} sure of another class. "
            f"Suspects were not judged: {data.missing.get('suspects', 'no reason given')}",
            link="#confusion",
        )
    text = f"{accuracy_in_words(found)} {capitalise(counts_in_words(found))}."
    rows, names = found.probable, data.class_names
    if not len(found.flagged):
        title = "No label is flagged" if found.n_wrong is not None else "Wrong labels cannot be counted here"
        return Finding(title, text, link="#suspects")
    for given, other, count in frequent_pairs(data.labels[rows], found.suggested_label[rows], len(names))[:1]:
        text += f" Most often “{names[given]}” looks like “{names[other]}” ({count:,})." if count > 1 else ""
    return Finding(f"Check {pluralise(len(found.flagged), 'label')}", text, link="#suspects", look="Look at the labels")


def drop_finding(data: ReportData) -> Finding:
    """Return what can be dropped first: the most of an easy share for which `dataprune advise` goes by difficulty."""
    n, is_easy = len(data), data.predictions.predicted == data.labels
    if "pred_sum" in data.scores:
        is_easy &= data.scores["pred_sum"].values >= len(data.manifest.learned)
    n_easy = int(is_easy.sum())
    share = float(min(MOST_DROPPED, np.floor(n_easy / n / STEP + 1e-9) * STEP))
    easy = f"{n_easy:,} of {n:,} ({percent(n_easy / n)}) are classified correctly by every network"
    if share <= 0:
        return Finding("Little is so easy that it can go", f"{easy}. {_caution(data)}".strip(), link="#galleries")
    situation = situation_of(data.manifest, data.scores, data.suspects)
    advised = [advise(situation, [round(1 - dropped, 2)])[0] for dropped in np.arange(share, STEP / 2, -STEP).tolist()]
    found = next((one for one in advised if one.strategy in ("hardest", "window", "easiest")), advised[0])
    command = f"dataprune prune RUN {' '.join(found.options)} --out kept.csv"
    if found.strategy not in ("hardest", "window", "easiest"):
        text = f"{easy}, but {note('few: cheap', few=situation.few).text}. If the set must be smaller, draw it at random."
        return Finding("Pruning hardly pays here", text, command)
    dropped = 1 - found.keep
    after = f"What that costs is not measured here ({found.reasons[0].text}); a study measures it. {_caution(data)}".strip()
    if found.strategy == "hardest":
        count = n - int(np.floor(found.keep * n + 0.5))
        text = f"{easy}: they teach little that is new. Begin with the easiest {count:,} by {found.by}. {after}"
        return Finding(f"Drop the easiest {percent(dropped)} first", text, command, "#galleries")
    also = f" and the easiest {percent(found.start)}" if found.start else ""
    text = f"{easy}, and wrong labels gather among the hardest: correct the labels first, or leave these out. {after}"
    return Finding(f"Drop the hardest {percent(dropped - found.start)}{also}", text, command, "#galleries")


def _other(data: ReportData) -> Finding:
    """Return what else stands out: conflicting duplicates, pairs across splits, or else the hardest class."""
    pairs = data.duplicates
    conflicts, leaks = (0, 0) if pairs is None else (int(pairs.is_conflict.sum()), int(pairs.is_leak.sum()))
    if pairs is not None and (conflicts or leaks):
        title = f"{pluralise(leaks, 'pair')} of duplicates across splits"
        if conflicts:
            title = f"{pluralise(conflicts, 'duplicate pair')} {'disagrees' if conflicts == 1 else 'disagree'} on the label"
        nearly = "" if pairs.limit is None else " or nearly the same"
        text = f"{pluralise(len(pairs), 'pair')} {'is' if len(pairs) == 1 else 'are'} the same{nearly}."
        wrong = "so one may be wrong, or they differ where it counts"
        if pairs.is_exact[pairs.is_conflict].all() and data.manifest.data.kind in ("images", "texts"):
            wrong = f"so at least one label {'' if conflicts == 1 else 'of each '}is wrong"
        text += f" In {conflicts:,} of them the labels differ, {wrong}." if conflicts else ""
        text += f" {leaks:,} {'lies' if leaks == 1 else 'lie'} in two splits, which makes test results too good." if leaks else ""
        return Finding(title, text, link="#duplicates")
    worst = min((row for row in class_rows(data) if row.count), key=lambda row: row.accuracy or 0.0)
    taken = f", most often taken for “{worst.taken_for}” ({worst.taken_count:,})" if worst.taken_for else ""
    whose = "did not train on them" if data.predictions.which == "out" else "also trained on them"
    text = f"Networks that {whose} are right on {percent(worst.accuracy or 0.0, 1)} of its {worst.count:,} examples{taken}."
    predicted = data.predictions.predicted
    wrong = predicted != data.labels
    for given, other, count in frequent_pairs(data.labels[wrong], predicted[wrong], len(data.classes))[:1]:
        if (data.class_names[given], data.class_names[other]) == (worst.name, worst.taken_for):
            break
        times = "once" if count == 1 else f"{count:,} times"
        text += f" The most frequent confusion: “{data.class_names[given]}” predicted as “{data.class_names[other]}”, {times}."
    return Finding(f"“{worst.name}” is the hardest class", text, link="#classes")


def summary(data: ReportData) -> str:
    """Return in one paragraph what the set is, what was done and what it cost."""
    manifest, spec, shape = data.manifest, data.manifest.spec, data.manifest.data.shape
    vectors = f" of {shape[0]:,} numbers" if manifest.data.kind == "features" else f", as vectors of {shape[0]:,} numbers,"
    seen = (
        ""
        if spec.encoder is None
        else f", which {display_text(spec.encoder.name, 60)} saw at {spec.encoder.size} × {spec.encoder.size},"
    )
    size = (seen or f" of {shape[0]} × {shape[1]} pixels") if manifest.data.kind == "images" else vectors
    n_classes = int((np.bincount(data.labels) > 0).sum())
    folds = f", each on {spec.folds - 1} of {spec.folds} folds" if spec.folds else ""
    learned = len(manifest.learned)
    cost = "" if spec.recipe is None else f" in {took(manifest.training)} on {manifest.machine.device}"
    recipe = "" if spec.recipe is None else f", recipe {display_text(spec.recipe.name, 40)}"
    names = f"{display_text(spec.model, 40)}{recipe}, {pluralise(spec.epochs, 'epoch')}"
    accuracy, as_they_are = "", percent(float((data.predictions.predicted == data.labels).mean()), 1)
    if data.accuracy is not None:
        named = percent(data.accuracy, 1)
        tables = f"; {as_they_are} without mirror images, as in the tables below" if as_they_are != named else ""
        accuracy = f" They name {named} of the given labels that they did not see{tables}."
    return (
        f"{len(data):,} {data.things}{size} in {n_classes:,} classes. {pluralise(learned, 'network')} ({names}) "
        f"{'was' if learned == 1 else 'were'} trained{cost}{folds}, and their predictions for every example were recorded "
        f"after every epoch.{accuracy}"
    )


def took(phase: Phase) -> str:
    """Return how long a phase took: of networks their own times added up, since the clock knows only the last session of a run."""
    return duration(phase.seconds) + ("" if phase.member_seconds is None else " (their times added up)")


def _caution(data: ReportData) -> str:
    """Warn of keeping wrong labels, which are hard too."""
    n_hardest = max(1, round(HARDEST * len(data)))
    hardest = np.argsort(-data.score.difficulty, kind="stable")[:n_hardest]
    inside = int(np.isin(hardest, data.probable).sum())
    return f"Check the labels first: of the {n_hardest:,} hardest, {inside:,} are flagged as probably wrong." if inside else ""


MOST_IN_MATRIX = 30
WHOSE = {
    "out": "predictions of networks that did not train on the example",
    "in": "predictions of the networks that trained on these examples: optimistic (in-sample), score with --folds for others",
    "all": "predictions of all networks, most of which trained on the example: optimistic (in-sample), score with --folds",
}


@dataclass(frozen=True)
class ClassRow:
    """A class; `difficulty` is the mean leading score, `suspects` are labels that are probably wrong. None was not measured."""

    name: str
    count: int
    accuracy: float | None
    difficulty: float | None
    suspects: int | None
    suspect_share: float | None
    taken_for: str
    taken_count: int


def frequent_pairs(given: Int[np.ndarray, " n"], other: Int[np.ndarray, " n"], n_classes: int) -> list[tuple[int, int, int]]:
    """Count pairs of classes as (given, other, count), the most frequent first; of equals the lower classes."""
    codes, counts = np.unique(given * n_classes + other, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return [(*divmod(code, n_classes), n) for code, n in zip(codes[order].tolist(), counts[order].tolist(), strict=True)]


def class_rows(data: ReportData) -> list[ClassRow]:
    """Return a row for each class, those without examples too."""
    labels, predicted, n_classes = data.labels, data.predictions.predicted, len(data.classes)
    counts = np.bincount(labels, minlength=n_classes)
    right = np.bincount(labels, weights=predicted == labels, minlength=n_classes)
    hard = np.bincount(labels, weights=data.score.values, minlength=n_classes)
    flagged = np.bincount(labels[data.probable], minlength=n_classes)
    wrong = predicted != labels
    taken_for: dict[int, tuple[str, int]] = {}
    for given, other, times in frequent_pairs(labels[wrong], predicted[wrong], n_classes):
        taken_for.setdefault(given, (data.class_names[other], times))
    rows = []
    for index, (name, n) in enumerate(zip(data.class_names, counts.tolist(), strict=True)):
        accuracy = round(float(right[index]) / n, 4) if n else None
        difficulty = float(f"{hard[index] / n:.4g}") if n else None
        suspects = None if data.suspects is None else int(flagged[index])
        share = round(suspects / n, 4) if n and suspects is not None else None
        rows.append(ClassRow(name, n, accuracy, difficulty, suspects, share, *taken_for.get(index, ("", 0))))
    return rows


def matrix_of(data: ReportData) -> tuple[list[int], Int64[np.ndarray, "given predicted"]]:
    """Return classes, and given labels counted against predictions among these: all, or the thirty that are missed most often."""
    labels, predicted, n_classes = data.labels, data.predictions.predicted, len(data.classes)
    chosen = np.arange(n_classes)
    if n_classes > MOST_IN_MATRIX:
        missed = np.bincount(labels[predicted != labels], minlength=n_classes)
        chosen = np.sort(np.argsort(-missed, kind="stable")[:MOST_IN_MATRIX])
    place = np.full(n_classes, -1)
    place[chosen] = np.arange(len(chosen))
    inside = (place[labels] >= 0) & (place[predicted] >= 0)
    code = place[labels[inside]] * len(chosen) + place[predicted[inside]]
    return chosen.tolist(), np.bincount(code, minlength=len(chosen) ** 2).reshape(len(chosen), len(chosen)).astype(np.int64)
