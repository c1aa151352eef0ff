"""`dataprune prune`: turns a score into a kept set, as a file or a folder. Imports no torch: it answers at once."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from dataprune.cli.lines import pluralise, say, say_columns, warn
from dataprune.cli.options import RunFolder, Seed
from dataprune.errors import invalid, join_some
from dataprune.report.text import display_text

if TYPE_CHECKING:
    import numpy as np

    from dataprune.run import Run
    from dataprune.scores import Score
    from dataprune.selection import Selection

FEW_CLASSES = 20
COLUMN_FILES = (".csv", ".parquet", ".npy")


def prune(
    run_folder: RunFolder,
    by: Annotated[
        str | None,
        typer.Option(
            metavar="SCORE",
            help="Which score decides: a column of RUN/scores.parquet, or FILE:COLUMN with one number for each example, higher is "
            "harder (matched by the file's column id if it has one, else by row), or module:function of a trace. Default: el2n; "
            "for moderate median_distance.",
            show_default=False,
        ),
    ] = None,
    keep: Annotated[
        float | None,
        typer.Option(metavar="FRACTION", help="Fraction to keep, above 0 and at most 1: 0.7 keeps 70 %.", show_default=False),
    ] = None,
    count: Annotated[
        int | None, typer.Option(metavar="NUMBER", help="How many examples to keep, in place of --keep.", show_default=False)
    ] = None,
    strategy: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="hardest, easiest, window (a band from --start on), random, moderate (the middle), stratified (over the "
            "whole range), or module:function.",
        ),
    ] = "hardest",
    balanced: Annotated[bool, typer.Option("--balanced", help="Keep the same share of every class.")] = False,
    start: Annotated[float, typer.Option(metavar="FRACTION", help="For window: leave out this fraction of the easiest.")] = 0.0,
    cut: Annotated[
        float, typer.Option(metavar="FRACTION", help="For stratified: leave out this fraction of the hardest first.")
    ] = 0.0,
    seed: Seed = 0,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write the kept set: .csv or .parquet (id, label, row, score), .txt (ids), .npy (row numbers).",
            show_default=False,
        ),
    ] = None,
    copy_to: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Copy the kept pictures into a new folder DIR/class/.", show_default=False)
    ] = None,
    link_to: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The same with symbolic links, which take no space.", show_default=False)
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="DATA", help="Where the data lie now, for --copy-to and --link-to, if they were moved.", show_default=False
        ),
    ] = None,
) -> None:
    """Pick the examples worth training on, by a score of RUN.

    Takes a scored run and how much to keep. Writes the kept examples as a file, or as a folder of pictures that can be trained on.
    Without --out, --copy-to or --link-to it only says what would be kept.

    \b
    Examples:
        dataprune prune run --keep 0.7 --out kept.csv
        dataprune prune run --by forget --count 5000 --balanced --copy-to flowers-small
    """
    from dataprune.data.folders import refuse_output_inside_data
    from dataprune.run import check_new, open_run, write_folder, write_kept
    from dataprune.selection import select

    run = open_run(run_folder)
    name = by if by is not None else "median_distance" if strategy == "moderate" else "el2n"
    score = score_named(name, run)
    kept = select(score, keep, count=count, strategy=strategy, balanced=balanced, start=start, cut=cut, seed=seed)
    folders: list[tuple[Path, Literal["copy", "link"]]] = []
    folders += [(copy_to, "copy")] if copy_to is not None else []
    folders += [(link_to, "link")] if link_to is not None else []
    for number, (folder, _) in enumerate(folders):
        check_new(folder)
        if folder in [other for other, _ in folders[:number]]:
            raise invalid("--link-to", "be another folder than --copy-to", str(folder))
    dataset = run.dataset(data) if folders else None
    for folder, how in folders:
        assert dataset is not None
        refuse_output_inside_data(dataset, folder, f"--{how}-to")
    if out is not None:
        write_kept(kept, out, run)
    for folder, how in folders:
        assert dataset is not None
        write_folder(kept, dataset, folder, how)
    say_kept(kept, run)
    if out is not None:
        say(f"written: {out}, and {out.name}.json with what was asked")
    for folder, how in folders:
        say(f"written: {folder}, {'copies' if how == 'copy' else 'links'} in a folder for each class")
    if out is None and not folders:
        say(
            "nothing was written; add --out kept.csv, or --copy-to DIR, to: "
            + _same_command(run_folder, by, kept, count is not None)
        )


def _same_command(run_folder: Path, by: str | None, kept: "Selection", by_count: bool) -> str:
    spec = kept.spec
    words = ["dataprune", "prune", str(run_folder)]
    words += [] if by is None else ["--by", by]
    words += ["--count", str(spec["count"])] if by_count else ["--keep", f"{spec['keep']:g}"]
    words += [] if spec["strategy"] == "hardest" else ["--strategy", str(spec["strategy"])]
    words += ["--balanced"] if spec["balanced"] else []
    words += [word for name in ("start", "cut", "seed") if spec[name] for word in (f"--{name}", f"{spec[name]:g}")]
    return f"{shlex.join(words)} ..."


def say_kept(kept: "Selection", run: "Run") -> None:
    """Report how much is kept of what, by class if there are few, and which classes are lost."""
    import numpy as np

    by = "" if kept.spec["score"] is None or kept.strategy == "random" else f" by {kept.spec['score']}"
    say(f"kept {len(kept):,} of {pluralise(kept.n_total, 'example')} ({len(kept) / kept.n_total:.1%}): {kept.strategy}{by}")
    if kept.labels is not None:
        before = np.bincount(run.labels, minlength=len(run.classes))
        after = np.bincount(kept.labels, minlength=len(run.classes))
        if len(run.classes) <= FEW_CLASSES:
            say_columns([("class", "kept", "of"), *zip(run.classes, after.tolist(), before.tolist(), strict=True)], right=(1, 2))
        lost = np.flatnonzero((after == 0) & (before > 0))
        if len(lost):
            names = join_some(display_text(run.classes[index], 30) for index in lost.tolist())
            cure = (
                "fewer examples are kept than there are classes"
                if kept.spec["balanced"]
                else "--balanced keeps the same share of each"
            )
            warn(f"nothing is kept of {pluralise(len(lost), 'class')}: {names}; {cure}.")
    say(f"seed {kept.spec['seed']}, sha256 of the kept ids {kept.ids_hash}")


def score_named(by: str, run: "Run") -> "Score":
    """Find the score that `--by` means: of the run, of a file, or a function of the trace.

    Raises:
        InputError: there is no such score; the nearest name is offered.
    """
    if by in run.scores:
        return run.scores[by]
    file, _, column = by.rpartition(":")
    if Path(by).is_file() or Path(by).suffix in COLUMN_FILES or Path(file).suffix in COLUMN_FILES:
        return score_of_file(by, run.ids, run.labels)
    if file and column:
        from dataprune.scores import score_trace

        return score_trace(run.trace, [by])[by]
    return run.scores[by]


def score_of_file(spec: str, ids: "np.ndarray", labels: "np.ndarray | None") -> "Score":
    """Read a score made elsewhere: `FILE` or `FILE:COLUMN`, matched by id if the file has them, else row by row.

    A column of a `scores.parquet` keeps its direction; any other is a difficulty, higher is harder.

    Raises:
        InputError: no such file or column, examples without a score, rows of another number, values that are no finite numbers.
        StoreError: a file that dataprune wrote, and that is not as it was written.
    """
    import numpy as np

    from dataprune import store, tables
    from dataprune.scores import Score

    store.as_written(Path(spec) if Path(spec).is_file() else Path(spec.rpartition(":")[0] or spec))
    values, named = tables.read_column(spec, "score")
    if named is not None:
        values = _in_order(values, [str(one) for one in named], [str(one) for one in ids.tolist()], spec)
    elif len(values) != len(ids):
        cure = "Give the file a column `id`, or one row for each example in the order of the source."
        raise invalid("by", f"be a score of the {len(ids)} examples", f"{len(values)} rows in {spec}", cure)
    if values.dtype.kind in "iu" and len(values) > 2 and np.array_equal(np.sort(values), np.arange(len(values))):
        raise invalid("by", "be a score of each example", f"a ranking, every number from 0 to {len(values) - 1} once, in {spec}")
    return Score(Path(spec).name, values, _direction(spec), ids, labels)


def _in_order(values: "np.ndarray", given: list[str], wanted: list[str], spec: str) -> "np.ndarray":
    place = {name: row for row, name in enumerate(given)}
    if len(place) != len(given):
        raise invalid("by", "name every id once", f"ids that repeat in {spec}")
    missing = [name for name in wanted if name not in place]
    if missing:
        raise invalid("by", "have a row for every example", f"none for {join_some(map(repr, missing))} in {spec}")
    if len(place) > len(wanted):
        warn(f"{spec} has {pluralise(len(place) - len(wanted), 'row')} for ids that are not in the data")
    return values[[place[name] for name in wanted]]


def _direction(spec: str) -> int:
    """Read the sign that our own files say beside a column; 1 where nothing is said."""
    from dataprune import tables

    file, _, column = (spec, "", "score") if Path(spec).is_file() else spec.rpartition(":")
    if not file.endswith(".parquet"):
        return 1
    said = tables.read_table(Path(file), [column]).metadata.get(column, {})
    return -1 if said.get("harder") == -1 else 1
