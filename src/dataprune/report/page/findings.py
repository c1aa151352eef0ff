"""What a run says in a few sentences that a person can act upon: labels to check, what to drop, and what else stands out."""

from dataclasses import dataclass

import numpy as np

from dataprune.report.page.classes import class_rows, confusions
from dataprune.report.page.data import ReportData
from dataprune.report.text import display_text, percent, pluralise, spent
from dataprune.run.manifest import Phase
from dataprune.study.advice import Advice, Situation, advise

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
    return [labels_finding(data), drop_finding(data), other_finding(data)]


def labels_finding(data: ReportData) -> Finding:
    """Return which labels to check."""
    found, n = data.suspects, len(data)
    if found is None:
        answers = data.predictions
        doubtful = (answers.predicted != data.labels) & (answers.top_probabilities[:, 0] >= SURE)
        count = int(doubtful.sum())
        whose = "networks that did not train on them" if answers.which == "out" else "the networks"
        return Finding(
            f"{count:,} of {n:,} labels are contradicted" if count else "No label is clearly contradicted",
            f"For {count:,} examples {whose} are at least {percent(SURE)} sure of another class. "
            f"Suspects were not judged: {data.missing.get('suspects', 'no reason given')}",
            link="#confusion",
        )
    rows = data.suspect_rows
    low, wrong, high = (round(float(value)) for value in (found.n_wrong_low, found.n_wrong, found.n_wrong_high))
    about = f"About {wrong:,} labels are" if wrong else "No label is"
    estimate = f"{about} estimated to be wrong ({low:,} to {high:,}; {percent(wrong / n, 1)} of the set)."
    if found.looks_clean:
        estimate += " A set without wrong labels would show about as much."
    if not len(rows):
        return Finding("No label looks wrong", estimate, link="#suspects")
    suggested = np.asarray(found.suggested_label)[rows]
    codes, counts = np.unique(data.labels[rows] * len(data.classes) + suggested, return_counts=True)
    given, other = divmod(int(codes[counts.argmax()]), len(data.classes))
    names, most = data.class_names, int(counts.max())
    often = f" Most often “{names[given]}” looks like “{names[other]}” ({most:,})." if most > 1 else ""
    return Finding(
        f"Check {pluralise(len(rows), 'label')}",
        f"{estimate} {len(rows):,} {'is' if len(rows) == 1 else 'are'} flagged, the surest first.{often}",
        link="#suspects",
        look="Look at the labels",
    )


def drop_finding(data: ReportData) -> Finding:
    """Return what can be dropped first, as `dataprune advise` does, and what must be looked at before."""
    share, n_easy = easy_share(data)
    n = len(data)
    easy = f"{n_easy:,} of {n:,} ({percent(n_easy / n)}) are classified correctly by every network"
    if share <= 0:
        return Finding("Little is so easy that it can go", f"{easy}. {_caution(data)}".strip(), link="#galleries")
    situation = _situation(data)
    found = _by_difficulty(situation, share)
    if found is None:
        (instead,) = advise(situation, [round(1 - share, 2)])
        text = f"{easy}, but {instead.reasons[0].text}. If the set must be smaller, draw it at random."
        return Finding("Pruning hardly pays here", text, f"dataprune prune RUN {' '.join(instead.options)} --out kept.csv")
    dropped = 1 - found.keep
    command = f"dataprune prune RUN {' '.join(found.options)} --out kept.csv"
    unmeasured = f"What that costs is not measured here ({found.reasons[0].text}); a study measures it."
    if found.strategy != "hardest":
        hard = dropped - found.start
        title = f"Drop the hardest {percent(hard)}" + (f" and the easiest {percent(found.start)}" if found.start else "")
        text = f"{easy}, and wrong labels gather among the hardest: correct the labels first, or leave these out. {unmeasured}"
        return Finding(title, f"{text} {_caution(data)}".strip(), command, "#galleries")
    count = n - int(np.floor(found.keep * n + 0.5))
    text = f"{easy}: they teach little that is new. Begin with the easiest {count:,} by {found.by}. {unmeasured} {_caution(data)}"
    return Finding(f"Drop the easiest {percent(dropped)} first", text.strip(), command, "#galleries")


def _by_difficulty(situation: Situation, share: float) -> Advice | None:
    """Return the advice for the most of a share at which the rules go by difficulty; None where they never do."""
    for dropped in np.arange(share, STEP / 2, -STEP).tolist():
        (found,) = advise(situation, [round(1 - dropped, 2)])
        if found.strategy in ("hardest", "window", "easiest"):
            return found
    return None


def _situation(data: ReportData) -> Situation:
    counts = np.bincount(data.labels)
    return Situation(
        n_examples=len(data),
        n_classes=int((counts > 0).sum()),
        smallest_class=int(counts[counts > 0].min()),
        scores=tuple(data.scores),
        wrong=None if data.suspects is None else round(float(data.suspects.n_wrong)),
        memorised=data.manifest.memorised,
    )


def easy_share(data: ReportData) -> tuple[float, int]:
    """Return the share that may be dropped, in steps of 5 % and at most 30 %, and how many examples are easy altogether."""
    easy = data.predictions.predicted == data.labels
    if "pred_sum" in data.scores:
        easy &= data.scores["pred_sum"].values >= len(data.manifest.learned)
    n_easy = int(easy.sum())
    return float(min(MOST_DROPPED, np.floor(n_easy / len(data) / STEP + 1e-9) * STEP)), n_easy


def other_finding(data: ReportData) -> Finding:
    """Return what else stands out: conflicting duplicates, pairs across splits, or else the hardest class."""
    pairs = data.duplicates
    conflicts, leaks = (0, 0) if pairs is None else (int(pairs.is_conflict.sum()), int(pairs.is_leak.sum()))
    if pairs is not None and (conflicts or leaks):
        title = _conflicts(conflicts) if conflicts else f"{pluralise(leaks, 'pair')} of duplicates across splits"
        differ = f" In {conflicts:,} of them the labels differ, so at least one is wrong." if conflicts else ""
        across = f" {leaks:,} {'lies' if leaks == 1 else 'lie'} in two splits, which makes test results too good." if leaks else ""
        same = f"{pluralise(len(pairs), 'pair')} {'is' if len(pairs) == 1 else 'are'} the same or nearly the same."
        return Finding(title, same + differ + across, link="#duplicates")
    worst = min((row for row in class_rows(data) if row.count), key=lambda row: row.accuracy or 0.0)
    overall = float((data.predictions.predicted == data.labels).mean())
    taken = f", most often taken for “{worst.taken_for}” ({worst.taken_count:,})" if worst.taken_for else ""
    whose = "did not train on them" if data.predictions.which == "out" else "also trained on them"
    text = (
        f"Networks that {whose} are right on {percent(worst.accuracy or 0.0, 1)} of its {worst.count:,} examples{taken}; "
        f"on all examples it is {percent(overall, 1)}."
    )
    for first in confusions(data)[:1]:
        given, predicted = data.class_names[first.given], data.class_names[first.predicted]
        times = "once" if first.count == 1 else f"{first.count:,} times"
        text += f" The most frequent confusion: “{given}” predicted as “{predicted}”, {times}."
    return Finding(f"“{worst.name}” is the hardest class", text, link="#classes")


def summary(data: ReportData) -> str:
    """Return in one paragraph what the set is, what was done and what it cost."""
    manifest, spec, shape = data.manifest, data.manifest.spec, data.manifest.data.shape
    size = f" of {shape[0]} × {shape[1]} pixels" if manifest.data.kind == "images" else f" of {shape[0]:,} numbers"
    n_classes = int((np.bincount(data.labels) > 0).sum())
    folds = f", each on {spec.folds - 1} of {spec.folds} folds" if spec.folds else ""
    train, learned = manifest.phase("train"), len(manifest.learned)
    cost = "" if train is None else f" in {took(train)} on {manifest.machine.device}"
    names = f"{display_text(spec.model, 40)}, recipe {display_text(spec.recipe.name, 40)}, {pluralise(spec.epochs, 'epoch')}"
    return (
        f"{len(data):,} {data.things}{size} in {n_classes:,} classes. {pluralise(learned, 'network')} ({names}) "
        f"{'was' if learned == 1 else 'were'} trained{cost}{folds}, and their predictions for every example were recorded "
        "after every epoch."
    )


def took(phase: Phase) -> str:
    """Return how long a phase took: of networks their own times added up, since the clock knows only the last session of a run."""
    return spent(phase.seconds) + ("" if phase.member_seconds is None else " (their times added up)")


def _caution(data: ReportData) -> str:
    """Warn of keeping wrong labels, which are hard too."""
    n_hardest = max(1, round(HARDEST * len(data)))
    hardest = np.argsort(-data.score.difficulty, kind="stable")[:n_hardest]
    inside = int(np.isin(hardest, data.suspect_rows).sum())
    share = f"{inside:,} ({percent(inside / n_hardest)})"
    return f"Check the labels first: of the {n_hardest:,} hardest, {share} are suspects." if inside else ""


def _conflicts(count: int) -> str:
    return f"{count:,} duplicate pairs disagree on the label" if count > 1 else "1 duplicate pair disagrees on the label"
