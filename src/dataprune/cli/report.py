"""`dataprune report`: one page that shows a run or a study."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dataprune.cli.lines import pluralise, say, warn
from dataprune.report.text import display_text

if TYPE_CHECKING:
    from dataprune.report.page import Written


SERIOUS = ("pictures", "trials", "summary")  # what a person expects on the page and does not find


def report(
    folder: Annotated[
        Path,
        typer.Argument(metavar="RUN|STUDY", help="A folder made by dataprune score or by dataprune study.", show_default=False),
    ],
    out: Annotated[Path, typer.Option(metavar="FILE", help="Page to write, .html.")] = Path("report.html"),
    title: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Headline of the page. Default: made from the folder's name.")
    ] = None,
    max_pictures: Annotated[
        int, typer.Option(min=0, metavar="NUMBER", help="How many pictures to embed at most; each takes 1 to 5 kB.")
    ] = 3000,
    static: Annotated[bool, typer.Option("--static", help="Without any script: nothing to click, everything to read.")] = False,
    figures: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Also write the figures of the page as PNG and SVG files into this folder.", show_default=False
        ),
    ] = None,
    data: Annotated[
        str | None, typer.Option(metavar="DATA", help="Where the run's data lie now, if they were moved.", show_default=False)
    ] = None,
    features: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Features of the run's examples, for a map of them (.npy, Parquet).", show_default=False),
    ] = None,
) -> None:
    """Write one page that shows a RUN or STUDY.

    The page is a single file that opens without a network: what to drop, which labels to check, pictures, plots and tables. In it
    suspected labels are marked keep, drop or relabel, and the decisions saved for dataprune noise apply.

    \b
    Example:
        dataprune report run --out report.html
    """
    from dataprune.report.page import Options, write_report

    written = write_report(folder, out, Options(title, max_pictures, static), data=data, features=features, figures=figures)
    for what, reason in written.missing.items():
        if what in SERIOUS:
            warn(f"{what}: {reason}")
        else:
            say(f"left out: {'near duplicates' if what == 'near' else what}. {reason}")
    say_written(written)
    if figures is not None:
        say(f"written: {figures}, {pluralise(len(written.figures), 'file')}")


def say_written(written: "Written") -> None:
    """Report where a page is and what is in it."""
    labels = f", {pluralise(written.n_suspects, 'label')} to check" if written.n_suspects else ""
    pictures = f"{pluralise(written.n_pictures, 'picture')}{labels}"
    say(f"written: {display_text(written.out)}, {written.size_bytes / 1e6:.1f} MB, {pictures}")
