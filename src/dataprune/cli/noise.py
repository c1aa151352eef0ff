"""`dataprune noise`: labels made wrong on purpose, found, judged, looked at and corrected."""

import csv
import shlex
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

import dataprune as dp
from dataprune.cli import options
from dataprune.cli.lines import say, say_columns, say_file, say_unwritten, say_written, warn
from dataprune.cli.noise_said import say_by_class, say_checked, say_estimate, say_most_suspect
from dataprune.cli.options import FLAT, Data, Folders, Output, Overwrite, Quiet, Reading, Seed, at_least
from dataprune.cli.results import rows_of
from dataprune.errors import DatapruneError, InputError, invalid, join_some, percent
from dataprune.report.text import display_text, pluralise

if TYPE_CHECKING:
    from dataprune.noise.audit import Range


MOST_PAIRS = 5

RunOrNone = Annotated[Path | None, Parameter(help="A folder made by dataprune score.")]
FoundBefore = Annotated[Path | None, Parameter(help="Instead of RUN: what dataprune noise find wrote.")]


@dataclass(frozen=True)
class OwnNetworks:
    """What a model of one's own says of every label.

    Attributes:
        probabilities: Instead of RUN: class probabilities of a model of your own that did not see the examples: .npy (N, classes),
            or .csv or .parquet with a column named after each class and one that names the examples.
        labels: With --probabilities: the labels they judge, FILE or FILE:COLUMN, a row for each, CSV or Parquet.
        classes: With --probabilities FILE.npy: which class each column is, a,b,c. Default: names in alphabetical order, numbers as
            numbers of columns; refused where far more labels agree with another order, which is named.
    """

    probabilities: Path | None = None
    labels: str | None = None
    classes: str | None = None

    @property
    def words(self) -> str:
        """These options as a shell takes them."""
        given = {f"--{one.name}": getattr(self, one.name) for one in fields(self)}
        return shlex.join(str(word) for option, value in given.items() if value is not None for word in (option, value))

    def finding(self, run: Path | None, seed: int, suspects: Path | None = None) -> "dp.Suspects":
        """Judge the labels of a run, or of probabilities made elsewhere; or read what was found before."""
        from dataprune.run.suspects import evidence_of_file

        file, labels, classes = self.probabilities, self.labels, self.classes
        if suspects is not None:
            options.only_one({"RUN": run, "--suspects": suspects, "--probabilities": file})
            return dp.read_suspects(suspects)
        if (run is None) == (file is None):
            raise InputError("give either a RUN, or --probabilities FILE with --labels FILE.")
        if classes is not None and (file is None or file.suffix.lower() != ".npy"):
            raise invalid("classes", "go with --probabilities FILE.npy, whose columns have no names", classes)
        if run is not None:
            if labels is not None:
                raise InputError("`--labels` goes with --probabilities; a run has its labels in it. Score again to judge others.")
            return dp.find_suspects(dp.open_run(run), seed=seed)
        assert file is not None
        if labels is None:
            raise InputError("`--probabilities` needs the labels to judge. Give --labels FILE.")
        return dp.find_suspects(evidence_of_file(file, labels, next(csv.reader([classes or ""]), [])), seed=seed)


Own = Annotated[OwnNetworks, FLAT]


def inject(
    data: Data,
    /,
    *,
    out: Output,
    rate: float | None = None,
    kind: Literal["uniform", "per-class", "pairwise", "look-alike", "matrix"] = "uniform",
    matrix: Path | None = None,
    reading: Annotated[Reading, FLAT] = Reading(),
    seed: Seed = 0,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> object:
    """Make an exact number of labels of DATA wrong, and keep the truth.

    Takes a labelled set, which stays as it is. Writes FILE with the wrong labels among right ones in the column label and the true
    ones in clean_label, a row for each example. Commands take it with --labels FILE:label.

    For example:
        dataprune noise inject flowers/train --rate 0.1 --out noisy.csv
        dataprune score flowers/train --labels noisy.csv:label --out run

    Args:
        out: Write id, label, clean_label: .csv or .parquet.
        rate: Fraction made wrong, above 0 and below 1. Not with matrix.
        kind: uniform: into any other class; per-class: the same, as many of each class; pairwise: each class into the next;
            look-alike: pairs of CIFAR-10 that people confuse; matrix: as --matrix says.
        matrix: For matrix: a .csv without a header, or .npy: row i, column j is the share of class i that is labelled j.
    """
    import numpy as np

    from dataprune.run.export import read_matrix
    from dataprune.store import writing
    from dataprune.tables import TABLES, check_output, write_table

    check_output(out, TABLES)
    shares = None if matrix is None else read_matrix(matrix)
    dataset = options.read_data(data, reading)
    if dataset.labels is None:
        raise InputError("the data have no labels that could be made wrong. Give --labels FILE.")
    ids = dataset.ids.tolist()
    given = dp.inject_noise(dataset.labels, rate, kind, n_classes=dataset.n_classes, ids=ids, matrix=shares, seed=seed)
    names = dataset.classes
    with writing(out, overwrite=overwrite) as temporary:
        named = np.array(names, object)
        write_table(temporary, {"id": dataset.ids, "label": named[given], "clean_label": named[dataset.labels]})
    changed = given != dataset.labels
    made = f"{pluralise(int(changed.sum()), 'label')} of {len(given):,} ({percent(changed.mean(), 1)})"
    say(f"made wrong: {made}, {kind}, seed {seed}")
    pairs = Counter(zip(dataset.labels[changed].tolist(), given[changed].tolist(), strict=True)).most_common()
    say_columns([(f"{count:,}", f"{names[old]} labelled {names[new]}") for (old, new), count in pairs[:MOST_PAIRS]], right=(0,))
    if len(pairs) > MOST_PAIRS:
        say(f"  and {pluralise(len(pairs) - MOST_PAIRS, 'other pair')}")
    say_file(out, "with the true labels in the column clean_label")
    words = shlex.join(["dataprune", "score", data, "--labels", f"{out}:label", "--rounds", "2", "--out", "run"])
    say(f"next: {display_text(words, 500)}")
    return {"n_examples": len(given), "n_wrong": int(changed.sum()), "kind": kind, "seed": seed}


def find(
    run: RunOrNone = None,
    /,
    *,
    out: Output | None = None,
    own: Own = OwnNetworks(),
    seed: Seed = 0,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> object:
    """Judge every label of RUN: which are suspect, what they should be, and how many are wrong in all.

    Takes a run, whose networks speak of examples they did not see; or probabilities of your own. Writes FILE, the most suspect
    first, with id, label, suggested_label, probability (that the label is wrong), score, rank, is_suspect, reason,
    suggested_probability, an empty decision to fill in and, for texts and rows, text; and FILE.json with the estimate. Where what
    the networks say carries no number, there is an order to look in, and no label is flagged by it. Without --out it only says
    what it finds.

    For example:
        dataprune score flowers/train --rounds 2 --out run
        dataprune noise find run --out suspects.csv

    Args:
        out: Write a row for each example, .csv or .parquet.
    """
    from dataprune.run import journal
    from dataprune.run.run import write_local
    from dataprune.run.suspects import FindingRecord, finding_columns
    from dataprune.tables import TABLES, check_output

    if out is not None:
        check_output(out, TABLES)
    found = own.finding(run, seed)
    n_carried = 0 if out is None else dp.write_suspects(found, out, overwrite=overwrite)
    warn(*found.notes)
    say_estimate(found)
    say_most_suspect(found)
    if out is not None:
        carried = f"; {pluralise(n_carried, 'decision')} carried over" if n_carried else ""
        say_file(out, f"a row for each example, and {out.name}.json with the estimate{carried}")
        place, file, first = "", shlex.quote(str(out)), "next"
        if run is not None:
            place, first = f" {shlex.quote(str(run))}", "or"
            with suppress(DatapruneError):  # of a run that may not be written, `prune` does not warn of what it keeps
                write_local(run, suspects=str(out.absolute()))
            decided = journal.reviewed(dp.open_run(run)) is not None
            say(f"next: dataprune {f'noise apply{place} --out cleaned.csv (as decided)' if decided else f'review{place}'}")
        say(f"{first}: fill in the column decision (keep, drop or relabel), then dataprune noise apply{place} --decisions {file}")
        if len(found.flagged):
            say(f"or, without a look: dataprune noise apply{place} --relabel --suspects {file} --out cleaned.csv")
    else:
        say_unwritten("--out suspects.csv")
    return {one.name: getattr(found, one.name) for one in fields(FindingRecord)} | {"rows": rows_of(finding_columns(found))}


def check(
    run: RunOrNone = None, /, *, truth: str, suspects: FoundBefore = None, own: Own = OwnNetworks(), seed: Seed = 0
) -> object:
    """Measure how well the wrong labels of RUN are found, where the true ones are known.

    Takes a run, a table of dataprune noise find, or probabilities of your own, and the true labels. Prints how well the score
    ranks, how good the flags are, how far off the estimate is, whether probabilities mean what they say, and all of it by class.

    For example:
        dataprune noise check run --truth noisy.csv:clean_label

    Args:
        truth: The true labels, FILE or FILE:COLUMN, by the column that names the examples, else by row;
            clean_label if no column is named.
    """
    from dataprune.noise import evaluate_classes
    from dataprune.run.suspects import read_truth

    found = own.finding(run, seed, suspects)
    true, notes = read_truth(truth, found, suspects)
    warn(*notes)
    whole, parts = dp.evaluate_suspects(found, true), evaluate_classes(found, true)
    say_checked(whole)
    say_by_class(parts, found)
    return {"all": whole, "by_label": dict(zip(found.classes, parts, strict=True))}


def apply(
    run: RunOrNone = None,
    /,
    *,
    drop: bool = False,
    relabel: bool = False,
    decisions: Path | None = None,
    confidence: float | None = None,
    suspects: Path | None = None,
    out: Output | None = None,
    folders: Annotated[Folders, FLAT] = Folders(),
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> object:
    """Write a cleaned set: without the suspects, or with better labels.

    Takes a scored run and one of --drop, --relabel and --decisions; by default what was decided in dataprune review. Writes a file
    of labels, or a folder of pictures under their new labels; never touches the source. Without --out, --copy-to or --link-to it
    only says what would be done. Without RUN, --suspects is enough for a file of labels.

    For example:
        dataprune noise apply run --out cleaned.csv
        dataprune noise apply run --relabel --out cleaned.csv
        dataprune noise apply run --decisions suspects.csv --copy-to flowers-clean

    Args:
        drop: Leave out every suspect.
        relabel: Give suspects the suggested label, where that is right with at least --confidence; keep the others.
        decisions: Do what this .csv or .parquet file says: columns id and decision (keep, drop or relabel; empty keeps), and
            new_label if a new label is not to be the suggested one. Or .json of FiftyOne or Label Studio with the labels to have.
        confidence: For --relabel: the least probability that the suggested label is right. Default: 0.9.
        suspects: What dataprune noise find wrote. Default: find again.
        out: Write id, label, given_label, decision: .csv or .parquet, which --labels takes.
    """
    from dataprune.data.reading import other_splits
    from dataprune.noise.decide import CONFIDENCE, check_confidence
    from dataprune.run.journal import reviewed

    opened = None if run is None else dp.open_run(run)
    table = None if opened is None or decisions is not None else reviewed(opened)
    if table is not None and (drop or relabel):
        warn(f"--{'drop' if drop else 'relabel'} does not look at what was decided in review ({table}); without it that is done")
    elif table is not None:
        decisions = table
        say(f"decisions: {table}, made in review")
    asked = options.only_one({"--drop": drop, "--relabel": relabel, "--decisions": decisions}, "Or decide in dataprune review.")
    if confidence is not None and not relabel:
        raise invalid("confidence", "go with --relabel", asked)
    sure = CONFIDENCE if confidence is None else confidence
    check_confidence(sure)
    targets = dp.Targets(out, folders.asked)
    targets.check()
    if run is None and (suspects or decisions) is None:
        raise InputError("give a RUN; or, for a file of labels, --suspects FILE that dataprune noise find wrote.")
    if run is None and targets.folders:
        raise InputError("--copy-to and --link-to need the RUN, which knows where the pictures lie.")
    decided = _decided(opened, decisions, suspects, asked, sure)
    pictures = None if opened is None else folders.pictures_of(opened)
    dp.write_cleaned(decided, targets, pictures, overwrite=overwrite)
    _say_decided(decided, sure)
    if decisions is not None and decided.count("keep") == len(decided):
        warn(f"{decisions} changes nothing: its column decision is empty or says keep in every row")
    say_written("--out cleaned.csv", out, targets.folders, how_many=f"{len(decided.rows):,} ")
    if pictures is not None and (others := other_splits(pictures)):
        say(f"they are of train; not among them: {join_some(others)}")
    if targets.paths:
        data = "" if out is None else f"{_place(opened, folders.data)} --labels "
        say(f"next: dataprune score {data}{shlex.quote(str(targets.paths[0]))} --out RUN2")
    return decided


def _place(run: "dp.Run | None", data: str | None) -> str:
    """Say where the data lie, as a shell takes it; DATA where that is not known."""
    with suppress(InputError):  # of a run made from arrays, or whose data were moved
        return shlex.quote(data or ("DATA" if run is None else run.place))
    return "DATA"


def _decided(run: "dp.Run | None", decisions: Path | None, suspects: Path | None, asked: str, sure: float) -> "dp.Decisions":
    """Decide about every label: as a person did, or by what was found before or is found now."""
    from dataprune.run.decisions import read_decisions
    from dataprune.run.suspects import read_suspects_of
    from dataprune.tables import column_names, read_table

    found, table = None, decisions if suspects is None and run is None else suspects
    if table is not None:
        found = dp.read_suspects(table) if run is None else read_suspects_of(run, table)
    if decisions is not None:
        judged = run or found
        assert judged is not None
        return read_decisions(decisions, judged.ids.tolist(), judged.labels, judged.classes, found)
    if suspects is not None and "decision" in column_names(suspects):
        cells = read_table(suspects, ["decision"]).columns["decision"].tolist()
        if filled := sum(bool(str(cell).strip()) for cell in cells):
            which = f"the column decision of {suspects}, filled in {pluralise(filled, 'row')}"
            warn(f"{asked} does not look at {which}; --decisions does")
    found = dp.find_suspects(run) if found is None else found
    return dp.decide(found, asked.removeprefix("--"), confidence=sure)


def _say_decided(decided: "dp.Decisions", confidence: float) -> None:
    counts = {"drop": "dropped", "relabel": "relabelled", "keep": "kept as they are"}
    done = ", ".join(f"{decided.count(one):,} {words}" for one, words in counts.items())
    say(f"of {pluralise(len(decided), 'example')}: {done}")
    if decided.n_left:
        say(f"among those kept: {pluralise(decided.n_left, 'suspect')} whose suggested label is less than {confidence:g} sure")
    if lost := options.lost_classes(decided.given, decided.labels[decided.rows], decided.classes):
        warn(f"nothing is left of {lost}")


def audit(
    run: RunOrNone = None,
    /,
    *,
    size: Annotated[int | None, at_least(1)] = None,
    out: Output = Path("audit.csv"),
    decisions: Path | None = None,
    suspects: FoundBefore = None,
    own: Own = OwnNetworks(),
    seed: Seed = 0,
    quiet: Quiet = False,
) -> object:
    """Draw labels of RUN for a person to look at, and tell from the decisions how many are wrong in all.

    Takes a run, or what dataprune noise check takes. Writes FILE with the labels to look at, some from the top of the ranking,
    some at random. Once its column decision is filled in (keep, drop or relabel), the same command says how many labels are wrong,
    with an interval that rests on these decisions alone, how many flags are right, and how many wrong labels have none. A larger
    size adds rows.

    For example:
        dataprune noise audit run --size 100 --out audit.csv
        dataprune review run

    Args:
        size: How many labels to look at. Default: 100, or all of fewer.
        out: The table, .csv or .parquet; an existing one is continued.
        decisions: A table with id and decision that goes into the table. Default: what was decided in
            dataprune review, whose audit asks for the same labels.
    """
    from dataprune.noise.words import accuracy_in_words
    from dataprune.run.decisions import update_table
    from dataprune.run.journal import reviewed

    found = own.finding(run, seed, suspects)
    sample = dp.audit(found, size, seed=seed)
    table = None if run is None or decisions is not None else reviewed(dp.open_run(run))
    if table is not None:
        say(f"decisions: {table}, made in review")
    said = update_table(sample, out, decisions or table, only_asked=table is not None)
    decided = [said.pop(row) for row in sample.rows.tolist()]
    say(accuracy_in_words(found))
    if beyond := {row for row, word in said.items() if word}:
        larger = dp.audit(found, len(sample) + len(said), seed=seed).rows.tolist()
        within = beyond.issubset(larger)
        does = f"--size {1 + max(map(larger.index, beyond))} does" if within else "of another --seed, or added by hand"
        warn(f"{out} has {pluralise(len(beyond), 'decision')} more, which --size {len(sample)} does not look at: {does}")
    say_file(out)
    ids, left = found.ids[sample.rows].tolist(), decided.count("")
    if left:
        _say_left(sample, decided, out, run)
        return {"ids": ids, "n_left": left, "result": None}
    result = sample.estimate([word in ("drop", "relabel") for word in decided])
    _say_result(result, found)
    first = "next"
    if own.probabilities is not None:  # `apply` reads no probabilities, but what was found in them
        suspects, first = Path("suspects.csv"), "then"
        say(f"next: dataprune noise find {own.words} --out {suspects}")
    source = shlex.quote(str(run)) if suspects is None else f"--suspects {shlex.quote(str(suspects))}"
    say(f"{first}: dataprune noise apply {source} --decisions {shlex.quote(str(out))} --out cleaned.csv")
    return {"ids": ids, "n_left": 0, "result": result}


def _say_left(sample: "dp.Audit", decided: list[str], out: Path, run: Path | None) -> None:
    """Say how many labels are left to look at, how to go on, and what is known already."""
    left, first = sum(not word for word in decided), decided.index("")
    n_top = int((sample.chance[sample.rows] > len(sample) / len(sample.found)).sum())
    say(f"{pluralise(len(sample), 'label')} to look at in {out}: {n_top} from the top of the ranking, {len(sample) - n_top} below")
    say(f"left: {left} of {len(sample)}")
    if first >= 20:
        say(f"the first {first} are decided: --size {first} tells what these say")
    if run is not None:
        say(f"next: dataprune review {shlex.quote(str(run))}, Audit of {len(sample)}, then the same command again")
    say("or: fill in the column decision (keep, drop or relabel), then the same command again")


def _say_result(result: "dp.AuditResult", found: "dp.Suspects") -> None:
    n = len(found)
    say(f"looked at: {result.n_looked:,} of {pluralise(n, 'label')}, {result.n_found:,} of them wrong")
    say(f"wrong labels: {_count(result.n_wrong, n)}: by what was looked at alone, whatever the networks say")
    if result.precision is not None:
        shares = (percent(end) for end in (result.precision.value, result.precision.low, result.precision.high))
        flagged = pluralise(len(found.flagged), "flagged label")
        say("of {}: {} are wrong, 95 % interval {} to {}".format(flagged, *shares))
        say(f"wrong and not flagged: {_count(result.n_unfound, n)}")
    if result.n_together is not None:
        together = f"both together: {_count(result.n_together, n)}, each weighed by its precision"
        say(f"the networks' count: {found.count_in_words}; {together}")
    elif result.fits is False:
        warn(f"the networks' count, {found.count_in_words}, does not fit what was looked at: believe the latter")


def _count(found: "Range", n: int) -> str:
    return f"{found.value:,.0f} ({percent(found.value / n, 1)}), 95 % interval {found.low:,.0f} to {found.high:,.0f}"
