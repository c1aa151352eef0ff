"""`dataprune advise`: what to keep of a set, at which size, and why."""

import shlex
from pathlib import Path

import dataprune as dp
from dataprune.cli.lines import say, warn
from dataprune.cli.results import plain
from dataprune.cli.score import say_eyes
from dataprune.report.text import display_text, pluralise


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
    each = "" if situation.per_class is None else f", {situation.per_class:,.0f} a class"
    say(f"{display_text(run_or_study)}: {pluralise(situation.n_examples, 'example')}{classes}{each}")
    if study is not None and not study.is_finished:
        warn("the study is not finished: this is what has been trained so far")
    say(*(f"  - {reason}" for reason in advised.reasons))
    for same, why in grouped(advised.sizes):
        say(f"keep {', '.join(f'{one.keep:.4g}' for one in same)}: {same[0]}", *(f"  - {reason}" for reason in why))
    say(*(f"note: {note}" for note in advised.notes))
    chosen = next((advice for advice in advised.sizes if advice.options), None)
    if chosen is not None and opened is not None:
        say(f"next: dataprune prune {shlex.quote(str(opened.path))} {shlex.join(chosen.options)} --out kept.csv")
    elif chosen is not None:
        say(f"to do it: dataprune prune with {shlex.join(chosen.options)}, on the run that the study took its scores from")
    said = [plain(advice) | {"options": advice.options} for advice in advised.sizes]
    return {"n_examples": situation.n_examples, "reasons": advised.reasons, "sizes": said, "notes": advised.notes}
