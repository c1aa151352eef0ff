"""`dataprune report`: one page that shows a run or a study."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from dataprune.cli.lines import say, warn
from dataprune.cli.options import MovedData, Output, at_least
from dataprune.report.text import display_text, pluralise

if TYPE_CHECKING:
    from dataprune.report.page import Written

SERIOUS = ("pictures", "trials", "summary")  # what a person expects on the page and does not find


def report(
    run_or_study: Path,
    /,
    *,
    out: Output = Path("report.html"),
    title: str | None = None,
    max_pictures: Annotated[int, at_least(0)] = 3000,
    static: bool = False,
    figures: Path | None = None,
    data: MovedData = None,
    features: Path | None = None,
) -> None:
    """Write one page that shows a RUN or STUDY.

    The page is a single file that opens without a network: what to drop, which labels to check, pictures, plots and tables. In it
    suspected labels are marked keep, drop or relabel, and the decisions saved for dataprune noise apply.

    For example:
        dataprune report run --out report.html

    Args:
        run_or_study: A folder made by dataprune score or by dataprune study.
        out: Page to write, .html.
        title: Headline of the page. Default: made from the folder's name.
        max_pictures: How many pictures to embed at most; each takes 1 to 5 kB.
        static: Without any script: nothing to click, everything to read.
        figures: Also write the figures of the page as PNG and SVG files into this folder.
        features: Features of the run's examples, for a map of them (.npy, Parquet).
    """
    from dataprune.report.page import Options, write_report

    options = Options(title, max_pictures, static)
    written = write_report(run_or_study, out, options, data=data, features=features, figures=figures)
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
