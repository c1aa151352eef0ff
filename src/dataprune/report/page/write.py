"""A run or a study on disk becomes one HTML file, with its figures beside it."""

from dataclasses import dataclass
from pathlib import Path

from dataprune import store
from dataprune.data import Dataset
from dataprune.errors import InputError, invalid
from dataprune.report.figures import check_ours, write_plots
from dataprune.report.page.build import run_page
from dataprune.report.page.data import gather, with_issues
from dataprune.report.page.render import Options, html
from dataprune.report.page.study import study_page
from dataprune.run.run import open_run
from dataprune.study.study import is_study, open_study
from dataprune.tables import check_output


@dataclass(frozen=True)
class Written:
    """The page that was written: its size, what it embeds and calls wrong, which parts are missing and why, the files beside it."""

    out: Path
    size_bytes: int
    n_pictures: int
    n_suspects: int
    missing: dict[str, str]
    figures: tuple[Path, ...]


def write_report(
    folder: str | Path,
    out: str | Path,
    options: Options | None = None,
    *,
    data: str | Path | Dataset | None = None,
    features: str | Path | None = None,
    encoder: str | None = None,
    figures: str | Path | None = None,
    overwrite: bool = False,
) -> Written:
    """Write the page of a run or a study: one file that needs no network.

    Args:
        folder: of the run or the study.
        out: ends in .html.
        data: where a run's data lie now, if they were moved; or the data.
        features: vectors of the run's examples, for the map and the nearest examples.
        encoder: the encoder that makes these vectors; by default the built-in one where the run was made with it.
        figures: a folder for the page's figures as PNG and SVG.
        overwrite: replace files that are no page and no figure of dataprune, which is refused otherwise.

    Raises:
        InputError: `folder` is neither, `out` is no .html, `data` or `features` are others than the run's.
        StoreError: the run is damaged.
        MachineError: no room, or no permission.
    """
    options, place, folder = options or Options(), check_output(out, (".html", ".htm")), Path(folder)
    check_ours(place, overwrite=overwrite)
    if options.max_pictures < 0:
        raise invalid("max-pictures", "be 0 or more", options.max_pictures)
    if not is_study(folder):
        run, vectors = open_run(folder), None if features is None else Path(features)
        page = run_page(with_issues(gather(run, data, vectors, encoder), run, data), options)
    elif any(one is not None for one in (data, features, encoder)):
        raise InputError("`--data`, `--features` and `--encoder` are for the report of a run, not of a study. Leave them out.")
    else:
        page = study_page(open_study(folder), options)
    text = html(page, is_static=options.is_static).encode("utf-8")
    with store.writing(place, len(text)) as temporary:
        temporary.write_bytes(text)
    drawn = () if figures is None else write_plots({**page.plots, **page.tables}, Path(figures), overwrite=overwrite)
    pictures, suspects = page.context.get("n_pictures", 0), page.context.get("suspects", {}).get("total", 0)
    return Written(place, len(text), pictures, suspects, dict(page.context["missing"]), drawn)
