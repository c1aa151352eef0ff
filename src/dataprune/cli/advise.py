"""`dataprune advise`: what to keep of a set, at which size, and why."""

import shlex
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import dataprune as dp
from dataprune.cli.lines import say, warn
from dataprune.cli.results import plain
from dataprune.cli.score import say_eyes
from dataprune.errors import InputError
from dataprune.report.text import display_text, pluralise

if TYPE_CHECKING:
    from dataprune.study.advised import Advised


def advise(run_or_study: Path, /, *, keep: list[float] | None = None, run: Path | None = None) -> object:
    """Report which examples to keep, how many, and why.

    Takes a scored run, or a finished study, whose measurements overrule the rules. Each reason says what it rests on: measured
    here, counted here, measured elsewhere (where), or a rule of thumb. Trains nothing and writes nothing.

    For example:
        dataprune advise run --keep 0.5
        dataprune advise study --run run

    Args:
        run_or_study: A folder made by dataprune score or dataprune study.
        keep: Fraction to keep, above 0 and at most 1; may be given several times. Default: 0.9, 0.7, 0.5 and 0.3, or the sizes of
            the study.
        run: For a study: the run it was made from, which knows more of the set. Default: the one inside STUDY, if any.
    """
    from dataprune.study.advice import grouped

    advised = dp.advise(run_or_study, keep, run=run)
    study, opened, situation = advised.study, advised.run, advised.situation
    if opened is not None:
        say_eyes(opened)
    classes = "" if situation.n_classes is None else f" in {pluralise(situation.n_classes, 'class')}"
    say(f"{display_text(run_or_study)}: {pluralise(situation.n_examples, 'example')}{classes}{_each(advised)}")
    if study is not None and not study.is_finished:
        warn("the study is not finished: this is what has been trained so far")
    say(*(f"  - {reason}" for reason in advised.reasons))
    for same, why in grouped(advised.sizes):
        say(f"keep {', '.join(f'{one.keep:.4g}' for one in same)}: {same[0]}", *(f"  - {reason}" for reason in why))
    say(*(f"note: {note}" for note in advised.notes))
    _say_next(advised, is_asked=keep is not None)
    said = [plain(advice) | {"options": advice.options} for advice in advised.sizes]
    return {"n_examples": situation.n_examples, "reasons": advised.reasons, "sizes": said, "notes": advised.notes}


def _each(advised: "Advised") -> str:
    """Say how many examples a class has: the least and the most where they differ by more than a tenth."""
    if advised.run is None:
        return ""
    sizes = [size for size in advised.run.manifest.data.class_counts if size]
    low, high = min(sizes), max(sizes)
    return f", {low:,} to {high:,} a class" if high > 1.1 * low else f", {sum(sizes) / len(sizes):,.0f} a class"


def _say_next(advised: "Advised", *, is_asked: bool) -> None:
    """Say what to do: first look at wrong labels where there are many; then what the study has proven, else the best measured."""
    from dataprune.run.journal import reviewed
    from dataprune.study.proven import proven

    study, run, situation = advised.study, advised.run, advised.situation
    able = [one for one in advised.sizes if one.options]
    at, sign = "" if run is None else shlex.quote(str(run.path)), -1 if study and not study.summary.metric.higher else 1
    if run is not None and situation.is_noisy and reviewed(run) is None:
        say(f"next: dataprune noise find {at}")
        return
    if run is not None and study is not None and not is_asked:
        with suppress(InputError):  # nothing is proven, or not of scores of this run
            proven(study, run, None, None, None)
            say(f"next: dataprune prune {at} --proven {shlex.quote(str(study.path))} --out kept.csv")
            return
    if not able:
        return
    chosen = max(able, key=lambda one: (one.value is not None, sign * (one.value or 0.0)))
    hardly_pays = bool(situation.few) and chosen.value is None and chosen.strategy == "random" and not is_asked
    if run is not None and hardly_pays:
        say(f"next: dataprune noise find {at}")
    elif run is not None:
        say(f"next: dataprune prune {at} {shlex.join(chosen.options)} --out kept.csv")
    else:
        say(f"to do it: dataprune prune with {shlex.join(chosen.options)}, on the run that the study took its scores from")
