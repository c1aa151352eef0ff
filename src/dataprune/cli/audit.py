"""`dataprune noise audit`: look at some labels, then know how many are wrong."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import dataprune as dp
from dataprune.cli.lines import say, warn
from dataprune.cli.noise import FoundBefore, Own, OwnNetworks, RunOrNone, say_accuracy
from dataprune.cli.options import Output, Quiet, Seed, at_least
from dataprune.report.text import pluralise

if TYPE_CHECKING:
    from dataprune.noise.audit import Range


def audit(
    run: RunOrNone = None,
    /,
    *,
    size: Annotated[int, at_least(1)] = 100,
    out: Output = Path("audit.csv"),
    decisions: Path | None = None,
    suspects: FoundBefore = None,
    own: Own = OwnNetworks(),
    seed: Seed = 0,
    quiet: Quiet = False,
) -> None:
    """Draw labels of RUN for a person to look at, and tell from the decisions how many are wrong in all.

    Takes a run, or what dataprune noise check takes. Writes FILE with the labels to look at, some from the top of the ranking,
    some at random. Once its column decision is filled in (keep, drop or relabel), the same command says how many labels are wrong,
    with an interval that holds whatever the networks are worth, how many flags are right, and how many wrong labels have none. A
    larger size adds rows.

    For example:
        dataprune noise audit run --size 100 --out audit.csv
        dataprune report run --audit audit.csv
        dataprune noise audit run --size 100 --out audit.csv --decisions decisions.csv

    Args:
        size: How many labels to look at.
        out: The table, .csv or .parquet; one that is there is gone on with.
        decisions: What the page saved, or another table with id and decision: goes into the table.
    """
    from dataprune.run.decisions import update_table

    found = own.finding(run, seed, suspects)
    sample = dp.audit(found, size, seed=seed)
    said = update_table(sample, out, decisions)
    decided = [said.pop(row) for row in sample.rows.tolist()]
    say_accuracy(found)
    if beyond := sum(map(bool, said.values())):
        what = f"{out} has {pluralise(beyond, 'decision')} more, which --size {size} does not look at"
        warn(f"{what}: --size {len(sample) + len(said)} does")
    if not all(decided):
        _say_left(sample, decided, out, run)
        return
    _say_result(sample.estimate([word in ("drop", "relabel") for word in decided]), found)
    place = "" if run is None else f" {shlex.quote(str(run))}"
    say(f"next: dataprune noise apply{place} --decisions {shlex.quote(str(out))} --out cleaned.csv")


def _say_left(sample: "dp.Audit", decided: list[str], out: Path, run: Path | None) -> None:
    """Say how many labels are left to look at, how to go on, and what is known already."""
    left, first = sum(not word for word in decided), decided.index("")
    n_top = int((sample.chance[sample.rows] > len(sample) / len(sample.found)).sum())
    say(f"{pluralise(len(sample), 'label')} to look at in {out}: {n_top} from the top of the ranking, {len(sample) - n_top} below")
    say(f"left: {left} of {len(sample)}")
    if first >= 20:
        say(f"the first {first} are decided: --size {first} tells what these say")
    if run is not None:
        page = shlex.join(["dataprune", "report", str(run), "--audit", str(out)])
        say(f"next: {page}, mark them on the page, save, and give the file with --decisions")
    say("or: fill in the column decision (keep, drop or relabel), then the same command again")


def _say_result(result: "dp.AuditResult", found: "dp.Suspects") -> None:
    """Say what the decisions tell of all labels."""
    n = len(found)
    say(f"looked at: {result.n_looked:,} of {pluralise(n, 'label')}, {result.n_found:,} of them wrong")
    say(f"wrong labels: {_count(result.n_wrong, n)}: by what was looked at alone, so right whatever the networks are worth")
    if result.precision is not None:
        shares = (f"{end:.0%}" for end in (result.precision.value, result.precision.low, result.precision.high))
        flagged = pluralise(len(found.flagged), "flagged label")
        say("of {}: {} are wrong, 95 % interval {} to {}".format(flagged, *shares))
        say(f"wrong and not flagged: {_count(result.n_unfound, n)}")
    if result.n_together is not None:
        together = f"both together: {_count(result.n_together, n)}, each weighed by its precision"
        say(f"the networks' count: {found.count_in_words}; {together}")
    elif result.fits is False:
        warn(f"the networks' count, {found.count_in_words}, does not fit what was looked at: believe the latter")


def _count(found: "Range", n: int) -> str:
    return f"{found.value:,.0f} ({found.value / n:.1%}), 95 % interval {found.low:,.0f} to {found.high:,.0f}"
