"""`dataprune advise`: what to keep of a set, at which size, and why."""

import shlex
from contextlib import suppress
from pathlib import Path

import dataprune as dp
from dataprune.cli.lines import say, warn
from dataprune.cli.results import plain
from dataprune.cli.score import say_eyes
from dataprune.errors import DatapruneError, InputError, invalid
from dataprune.report.text import display_text, pluralise


def advise(run_or_study: Path, /, *, keep: list[float] | None = None, run: Path | None = None) -> object:
    """Report which examples to keep, how many, and why.

    Takes a scored run, or a finished study, whose measurements overrule the rules. Each reason says what it rests on: measured
    here, counted here, measured elsewhere (where), or a rule of thumb. Trains nothing and writes nothing.

    For example:
        dataprune advise run --keep 0.5
        dataprune advise study --run run

    Args:
        run_or_study: A folder of dataprune score or dataprune study.
        keep: Fraction to keep, above 0 and at most 1; may be given several times. Default: 0.9, 0.7, 0.5 and 0.3, or the sizes of
            the study.
        run: For a study: the run it was made from, which knows more of the set. Default: the one inside STUDY, if any.
    """
    from dataprune.study.advice import SIZES, grouped, overall, situation_from, situation_of
    from dataprune.study.advice import advise as advice_for
    from dataprune.study.study import is_study

    study = dp.open_study(run_or_study) if is_study(run_or_study) else None
    if study is None and run is not None:
        raise invalid("run", "go with a study", f"{run_or_study}, which is none", "A run needs no other run.")
    opened = _run_of(run_or_study, study, run)
    summary = None if study is None else study.summary
    sizes: tuple[float, ...] = SIZES
    if summary is not None:
        sizes = tuple(sorted({round(float(one), 6) for one in summary.table["keep"] if one < 1}, reverse=True)) or (1.0,)
    if opened is not None:
        say_eyes(opened)
        situation = situation_of(opened)
    else:
        assert study is not None
        situation = situation_from(study.trials)
    advices = advice_for(situation, tuple(keep) if keep else sizes, summary)
    classes = "" if situation.n_classes is None else f" in {pluralise(situation.n_classes, 'class')}"
    each = "" if situation.per_class is None else f", {situation.per_class:,.0f} a class"
    say(f"{display_text(run_or_study)}: {pluralise(situation.n_examples, 'example')}{classes}{each}")
    if study is not None and not study.is_finished:
        warn("the study is not finished: this is what has been trained so far")
    reasons = overall(situation, summary)
    say(*(f"  - {reason}" for reason in reasons))
    for same, why in grouped(advices):
        say(f"keep {', '.join(f'{one.keep:.4g}' for one in same)}: {same[0]}", *(f"  - {reason}" for reason in why))
    say(*(f"note: {note}" for note in (summary.notes if summary else ())))
    chosen = next((advice for advice in advices if advice.options), None)
    if chosen is not None and opened is not None:
        say(f"next: dataprune prune {shlex.quote(str(opened.path))} {shlex.join(chosen.options)} --out kept.csv")
    elif chosen is not None:
        say(f"to do it: dataprune prune with {shlex.join(chosen.options)}, on the run that the study took its scores from")
    said = [plain(advice) | {"options": advice.options} for advice in advices]
    return {"n_examples": situation.n_examples, "reasons": reasons, "sizes": said, "notes": summary.notes if summary else ()}


def _run_of(folder: Path, study: "dp.Study | None", given: Path | None) -> "dp.Run | None":
    """Open the run that knows more of the set: the folder itself, the one that is given, or the one inside the study."""
    from dataprune.study.study import RUN, is_made_of

    if study is None:
        return dp.open_run(folder)
    if given is None:
        with suppress(DatapruneError):  # a study of a run elsewhere, or of no run
            own = dp.open_run(folder / RUN)
            return own if own.manifest.spec.data == study.data else None
        return None
    run = dp.open_run(given)
    if run.manifest.spec.data == study.data or is_made_of(study, run):  # the second: scored in a folder below, say
        return run
    raise InputError(
        f"`--run` {given} is of other data than the study: {pluralise(len(run.ids), 'example')} with fingerprint "
        f"{run.manifest.spec.data[:12]} there, fingerprint {study.data[:12]} in the study. Give the run it was made from."
    )
