"""What is advised of a run or a study as an object: opened, put together, a table in a notebook."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dataprune.errors import DatapruneError, InputError, check_type, invalid
from dataprune.noise.suspects import Suspects
from dataprune.notebook import Tabular
from dataprune.run.run import Run, open_run
from dataprune.study import advice
from dataprune.study.advice import SIZES, Advice, Situation
from dataprune.study.study import RUN, Study, is_made_of, is_study, open_study
from dataprune.study.summary import Summary
from dataprune.study.wording import Note


@dataclass(frozen=True, eq=False, repr=False)
class Advised(Tabular):
    """What to keep of a set at each size, and why.

    Attributes:
        situation: what is known of the set.
        sizes: an `Advice` for each size: strategy, score, options of `dataprune prune`, reasons.
        reasons: whether pruning pays at all, and what the advice rests on.
        run: the run that knows more of the set, or None.
        study: what was measured, or None.
    """

    situation: Situation
    sizes: tuple[Advice, ...]
    reasons: tuple[Note, ...]
    run: Run | None
    study: Study | None

    @property
    def notes(self) -> tuple[Note, ...]:
        """What is to be minded of the study's measurements."""
        return () if self.study is None else self.study.summary.notes

    def __repr__(self) -> str:
        lines = [f"keep {one.keep:.4g}: {one}" for one in self.sizes]
        return "\n".join([f"Advised({self.situation.n_examples:,} examples)", *lines, *(f"- {reason}" for reason in self.reasons)])

    def _columns(self) -> Mapping[str, Any]:
        return {
            "keep": [one.keep for one in self.sizes],
            "advice": [str(one) for one in self.sizes],
            "reasons": ["; ".join(map(str, one.reasons)) for one in self.sizes],
        }


def advise(
    run_or_study: Run | Study | str | Path, keep: Sequence[float] | None = None, *, run: Run | str | Path | None = None
) -> Advised:
    """Advise which examples to keep, how many, and why. What a study measured overrules the rules; each reason says its ground.

    Args:
        run_or_study: as an object or a folder.
        keep: fractions in (0, 1]; by default 0.9, 0.7, 0.5 and 0.3, or the sizes of the study.
        run: for a study, the run that it was made from, which knows more of the set; by default the one inside its folder.

    Raises:
        InputError: `run` is of other data than the study, or goes with no study; a fraction outside (0, 1].
    """
    check_type("run_or_study", run_or_study, Run | Study | str | Path, "Give a folder of dataprune score or dataprune study.")
    study, opened = _study_of(run_or_study), None
    if study is None and run is not None:
        raise invalid("run", "go with a study", f"{run_or_study}, which is none", "A run needs no other run.")
    if study is None:
        opened = run_or_study if isinstance(run_or_study, Run) else open_run(str(run_or_study))
    else:
        opened = _run_of(study, run)
    summary = None if study is None else study.summary
    if opened is not None:
        situation = advice.situation_of(opened.manifest, opened.scores, _judged(opened))
    else:
        situation = advice.situation_from({} if study is None else study.trials)
    sizes = advice.advise(situation, tuple(keep or _sizes(summary)), summary)
    return Advised(situation, sizes, advice.overall(situation, summary), opened, study)


def _judged(run: Run) -> Suspects | None:
    """Judge the labels of a run; those that cannot be judged leave the rest of the advice."""
    from dataprune.run.suspects import find_suspects

    try:
        return find_suspects(run)
    except InputError:
        return None


def _study_of(given: Run | Study | str | Path) -> Study | None:
    if isinstance(given, Run | Study):
        return given if isinstance(given, Study) else None
    return open_study(given) if is_study(Path(given)) else None


def _sizes(summary: Summary | None) -> tuple[float, ...]:
    if summary is None:
        return SIZES
    return tuple(sorted({round(float(one), 6) for one in summary.table["keep"] if one < 1}, reverse=True)) or (1.0,)


def _run_of(study: Study, given: Run | str | Path | None) -> Run | None:
    """Open the run that knows more of the set: the one that is given, or the one inside the study."""
    if given is None:
        with suppress(DatapruneError):  # a study of a run elsewhere, or of no run
            own = open_run(study.path / RUN)
            return own if own.manifest.spec.data == study.data else None
        return None
    run = given if isinstance(given, Run) else open_run(given)
    if run.manifest.spec.data == study.data or is_made_of(study, run):  # the second: scored in a folder below, say
        return run
    raise InputError(
        f"`--run` {run.path} is of other data than the study: {len(run.ids):,} examples with fingerprint "
        f"{run.manifest.spec.data[:12]} there, fingerprint {study.data[:12]} in the study. Give the run it was made from."
    )
