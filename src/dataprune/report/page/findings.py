"""What does a run say, in a few sentences that a person can act upon?

Three findings: which labels to check, what to drop, and what else stands out. Figures come from the run; what it cannot say (what
dropping costs) is said to be unmeasured.
"""

from dataclasses import dataclass

import numpy as np

from dataprune.report.page.classes import class_rows, confused_pairs
from dataprune.report.page.material import ReportData
from dataprune.report.text import display_text
from dataprune.run.manifest import Phase
from dataprune.study.advice import Advice, Situation, advise

MOST_DROPPED = 0.3  # up to here published results on CIFAR find nearly no loss with any score
STEP = 0.05
HARDEST = 0.05  # the share among which suspects are counted
SURE = 0.9


@dataclass(frozen=True)
class Finding:
    """One finding: a headline, what supports it, the command that acts on it, and where on the page to look."""

    title: str
    text: str
    command: str = ""
    link: str = ""


def leading_score(memorised: bool, names: list[str]) -> tuple[str, str]:
    """Choose the score that the page ranks by, and say why if it is not the usual one.

    Networks that know their labels by heart leave nothing to `el2n`, which looks at the last epoch only.
    """
    if memorised and "aum" in names:
        return "aum", "The networks know the labels they trained on by heart, so this page ranks by aum, which looks at all epochs."
    return ("el2n", "") if "el2n" in names else (names[0], "")


def findings(material: ReportData) -> list[Finding]:
    """Return the three findings of a run."""
    return [labels_finding(material), drop_finding(material), other_finding(material)]


def labels_finding(material: ReportData) -> Finding:
    """Return which labels to check."""
    found, n = material.suspects, len(material)
    if found is None:
        answers = material.answers
        doubtful = (answers.predicted != material.labels) & (answers.top_probabilities[:, 0] >= SURE)
        count = int(doubtful.sum())
        whose = "networks that did not train on them" if answers.which == "out" else "the networks"
        return Finding(
            f"{count:,} of {n:,} labels are contradicted" if count else "No label is clearly contradicted",
            f"For {count:,} examples {whose} are at least {percent(SURE)} sure of another class. "
            f"Suspects were not judged: {material.missing.get('suspects', 'no reason given')}",
            link="#confusion",
        )
    rows = material.suspect_rows
    low, wrong, high = (round(float(value)) for value in (found.n_wrong_low, found.n_wrong, found.n_wrong_high))
    about = f"About {wrong:,} labels are" if wrong else "No label is"
    estimate = f"{about} estimated to be wrong ({low:,} to {high:,}; {percent(wrong / n, 1)} of the set)."
    if found.looks_clean:
        estimate += " A set without wrong labels would show about as much."
    if not len(rows):
        return Finding("No label looks wrong", estimate, link="#suspects")
    suggested = np.asarray(found.suggested_label)[rows]
    codes, counts = np.unique(material.labels[rows] * len(material.classes) + suggested, return_counts=True)
    given, other = divmod(int(codes[counts.argmax()]), len(material.classes))
    names, most = material.class_names, int(counts.max())
    often = f" Most often “{names[given]}” looks like “{names[other]}” ({most:,})." if most > 1 else ""
    return Finding(
        f"Check {len(rows):,} {'label' if len(rows) == 1 else 'labels'}",
        f"{estimate} {len(rows):,} {'is' if len(rows) == 1 else 'are'} flagged, the surest first.{often}",
        link="#suspects",
    )


def drop_finding(material: ReportData) -> Finding:
    """Return what can be dropped first, as `dataprune advise` does, and what must be looked at before."""
    share, n_easy = easy_share(material)
    n = len(material)
    easy = f"Every network answers {n_easy:,} of {n:,} ({percent(n_easy / n)}) right"
    if share <= 0:
        return Finding("Little is so easy that it can go", f"{easy}. {_caution(material)}".strip(), link="#galleries")
    situation = _situation(material)
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
        return Finding(title, f"{text} {_caution(material)}".strip(), command, "#galleries")
    count = n - int(np.floor(found.keep * n + 0.5))
    text = (
        f"{easy}: they teach little that is new. Begin with the easiest {count:,} by {found.by}. {unmeasured} {_caution(material)}"
    )
    return Finding(f"Drop the easiest {percent(dropped)} first", text.strip(), command, "#galleries")


def _by_difficulty(situation: Situation, share: float) -> Advice | None:
    """Return the advice for the most of a share at which the rules go by difficulty; None where they never do."""
    for dropped in np.arange(share, STEP / 2, -STEP).tolist():
        (found,) = advise(situation, [round(1 - dropped, 2)])
        if found.strategy in ("hardest", "window", "easiest"):
            return found
    return None


def _situation(material: ReportData) -> Situation:
    counts = np.bincount(material.labels)
    return Situation(
        n_examples=len(material),
        n_classes=int((counts > 0).sum()),
        smallest_class=int(counts[counts > 0].min()),
        scores=tuple(material.scores),
        wrong=None if material.suspects is None else round(float(material.suspects.n_wrong)),
        memorised=material.manifest.memorised,
    )


def easy_share(material: ReportData) -> tuple[float, int]:
    """Return the share that may be dropped, in steps of 5 % and at most 30 %, and how many examples are easy altogether."""
    easy = material.answers.predicted == material.labels
    if "pred_sum" in material.scores:
        easy &= material.scores["pred_sum"].values >= len(material.manifest.learned)
    n_easy = int(easy.sum())
    return float(min(MOST_DROPPED, np.floor(n_easy / len(material) / STEP + 1e-9) * STEP)), n_easy


def other_finding(material: ReportData) -> Finding:
    """Return what else stands out: conflicting duplicates, a leak into other splits, or else the hardest class."""
    pairs = material.duplicates
    if pairs is not None and len(pairs):
        conflicts, leaks = int(pairs.is_conflict.sum()), int(pairs.is_leak.sum())
        if conflicts or leaks:
            title = _conflicts(conflicts) if conflicts else f"{_counted(leaks, 'pair')} of duplicates in two splits"
            text = (
                f"{len(pairs):,} pairs are the same or nearly the same; in {conflicts:,} of them the labels differ, so at least "
                f"one is wrong, and {leaks:,} lie in two splits, which makes test results too good."
            )
            return Finding(title, text, link="#duplicates")
    rows = [row for row in class_rows(material) if row["count"]]
    worst = min(rows, key=lambda row: row["accuracy"])
    overall = float((material.answers.predicted == material.labels).mean())
    taken = f", most often taken for “{worst['taken_for']}” ({worst['taken_count']:,})" if worst["taken_for"] else ""
    whose = "did not train on them" if material.answers.which == "out" else "also trained on them"
    text = (
        f"Networks that {whose} are right on {percent(worst['accuracy'], 1)} of its {worst['count']:,} examples{taken}; "
        f"on all examples it is {percent(overall, 1)}."
    )
    pairs_said = confused_pairs(material)
    if pairs_said:
        names, first = material.class_names, pairs_said[0]
        text += f" The commonest mistake: “{names[first.given]}” answered as “{names[first.predicted]}”, {_times(first.count)}."
    return Finding(f"“{worst['name']}” is the hardest class", text, link="#classes")


def _caution(material: ReportData) -> str:
    """Warn of keeping wrong labels, which are hard too."""
    rows = material.suspect_rows
    if not len(rows):
        return ""
    n_hardest = max(1, round(HARDEST * len(material)))
    hardest = np.zeros(len(material), bool)
    hardest[np.argsort(-material.score.difficulty, kind="stable")[:n_hardest]] = True
    inside = int(hardest[rows].sum())
    return (
        f"Check the labels before: of the {n_hardest:,} hardest, {inside:,} ({percent(inside / n_hardest)}) are suspects."
        if inside
        else ""
    )


def summary(material: ReportData) -> str:
    """Return in one paragraph what the set is, what was done and what it cost."""
    manifest, spec = material.manifest, material.manifest.spec
    shape = manifest.data.shape
    size = f" of {shape[0]} × {shape[1]} pixels" if manifest.data.kind == "images" else f" of {shape[0]:,} numbers"
    n_classes = int((np.bincount(material.labels) > 0).sum())
    members, train = manifest.learned, manifest.phase("train")
    folds = f", each on {spec.folds - 1} of {spec.folds} folds" if spec.folds else ""
    cost = f" in {took(train)} on {manifest.machine.device}" if train else ""
    return (
        f"{len(material):,} {material.things}{size} in {n_classes:,} classes. {_counted(len(members), 'network')} "
        f"({display_text(spec.model, 40)}, recipe {display_text(spec.recipe.name, 40)}, {_counted(spec.epochs, 'epoch')}) "
        f"{'was' if len(members) == 1 else 'were'} trained{cost}{folds}, "
        "and what they said of every example after every epoch was written down."
    )


def took(phase: Phase) -> str:
    """Return how long a phase took: of networks their own times added up, since the clock knows only the last session of a run."""
    return spent(phase.seconds) + ("" if phase.member_seconds is None else " (their times added up)")


def percent(share: float, places: int = 0) -> str:
    """Write a share in percent, which does not break at the end of a line.

    Example:
        >>> percent(0.25).split(), percent(0.0123, 1).split()
        (['25', '%'], ['1.2', '%'])
    """
    return f"{share * 100:.{places}f}\u00a0%"


def spent(seconds: float) -> str:
    """Write a duration.

    Example:
        >>> spent(0.4), spent(75.0), spent(9000.0)
        ('0.4 seconds', '1.2 minutes', '2.5 hours')
    """
    if seconds < 60:
        return f"{seconds:.2g} seconds"
    return f"{seconds / 60:.2g} minutes" if seconds < 3600 else f"{seconds / 3600:.2g} hours"


def _conflicts(count: int) -> str:
    return f"{count:,} duplicate pairs disagree on the label" if count > 1 else "1 duplicate pair disagrees on the label"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count:,} times"


def _counted(count: int, thing: str) -> str:
    return f"{count:,} {thing}{'' if count == 1 else 's'}"
