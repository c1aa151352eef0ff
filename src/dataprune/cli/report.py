"""`dataprune report`: one page that shows a run or a study; `dataprune verify`: is it as it was written; `dataprune export`."""

from pathlib import Path
from typing import Annotated, Any, Literal

import dataprune as dp
from dataprune.cli.lines import complain, say, say_file, warn
from dataprune.cli.options import MovedData, Output, Overwrite, Run, at_least, only_one
from dataprune.cli.results import Ended
from dataprune.errors import InputError, StoreError, invalid
from dataprune.report.text import pluralise

WHOM = {"all": "all networks", "in": "the networks trained on the example", "out": "the networks not trained on the example"}
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
    encoder: str | None = None,
    overwrite: Overwrite = False,
) -> object:
    """Write one page that shows a RUN or STUDY.

    The page is a single file that opens without a network: what to drop, which labels to check, pictures, plots and tables. In it
    suspected labels are marked keep, drop or relabel, and the decisions saved for dataprune noise apply.

    For example:
        dataprune report run --out report.html

    Args:
        run_or_study: A folder made by dataprune score or by dataprune study.
        out: Page to write, .html.
        title: Headline of the page. Default: made from the folder's name.
        max_pictures: How many pictures to embed at most. Of many they are smaller, then fewer: the page stays below 4 MB.
        static: Without any script: nothing to click, everything to read.
        figures: Also write the figures of the page as PNG and SVG files into this folder.
        features: Features of the run's examples, for a map of them (.npy, Parquet).
        encoder: Or the encoder that makes them. Default: the built-in one, where the run was made with it.
    """
    from dataprune.report.page import Options, write_report

    options = Options(title, max_pictures, static)
    files: dict[str, Any] = {"data": data, "features": features, "figures": figures}
    written = write_report(run_or_study, out, options, **files, encoder=encoder, overwrite=overwrite)
    for what, reason in written.missing.items():
        if what in SERIOUS:
            warn(f"{what}: {reason}")
        elif what == "thumbnails":  # smaller than asked for, or fewer: the reason says which
            say(reason)
        else:
            say(f"left out: {'near duplicates' if what == 'near' else what}. {reason}")
    labels = f", {pluralise(written.n_suspects, 'label')} to check" if written.n_suspects else ""
    pictures = f"{pluralise(written.n_pictures, 'picture')}{labels}"
    say_file(written.out, f"{written.size_bytes / 1e6:.1f} MB, {pictures}")
    if figures is not None:
        say_file(figures, pluralise(len(written.figures), "file"))
    return written


def verify(path: Path, /) -> object:
    """Hash a run, a study or a file again and compare.

    Prints each file that is missing, cut short or changed, and then ends with exit code 3; otherwise says that all is sound.

    For example:
        dataprune verify run
        dataprune verify kept.csv

    Args:
        path: A folder made by dataprune score or study, or a file with its .json beside it, made by embed, km or prune.
    """
    from dataprune import store
    from dataprune.run.run import inner_manifests
    from dataprune.study.study import is_study, verify_study

    manifest = None if path.is_dir() else store.manifest_beside(path)
    if path.is_file() and manifest is None:
        raise InputError(f"`{path}` has no {path.name}.json beside it that says how it was written.")
    of_study = manifest is None and is_study(path)
    if manifest is not None:
        faults = store.faults(path.parent, manifest.name)
    elif of_study:
        faults = verify_study(path)
    else:
        faults = dp.verify(path)
    for fault in faults:
        complain(f"{path}: {fault}")
    if faults:
        return Ended({"faults": faults, "n_files": None, "is_finished": None}, StoreError.exit_code)
    n_files = 1
    if of_study:
        study = dp.open_study(path)
        if study.manifest is None:
            ended, trials = (set(study.trials["trial"][which]) for which in (study.trials["status"] != "open", slice(None)))
            say(f"sound so far, not finished: {pluralise(len(ended), 'trial')} of {len(trials):,}")
            return {"faults": (), "n_files": None, "is_finished": False}
        n_files = len(study.manifest.files)
    elif manifest is None:
        learned = [store.read_manifest(one.parent, one.name, store.Listing) for one in inner_manifests(path)]
        n_files = len(dp.open_run(path).manifest.files) + sum(len(one.files) for one in learned)
    say(f"sound: {pluralise(n_files, 'file')}")
    return {"faults": (), "n_files": n_files, "is_finished": True}


def export(
    run: Run,
    /,
    *,
    probabilities: Output | None = None,
    fiftyone: Output | None = None,
    label_studio: Output | None = None,
    decisions: Path | None = None,
    which: Literal["all", "in", "out"] = "all",
    overwrite: Overwrite = False,
) -> object:
    """Write the class probabilities of RUN, or what was decided about its labels, for other tools.

    Takes a run. Probabilities have a row for each example, in the order of RUN/scores.parquet, which also holds ids and labels.
    Labels for FiftyOne are those after the decisions, without what is dropped. Tasks for Label Studio are the suspects, with the
    suggested label as a prediction, and what is decided.

    For example:
        dataprune export run --probabilities p.npy --which out
        dataprune export run --label-studio tasks.json --decisions suspects.csv

    Args:
        probabilities: Write the class probabilities here, .npy (examples, classes), float32.
        fiftyone: Write labels.json for FiftyOneImageClassificationDataset here, with data_path=DATA.
        label_studio: Write tasks here, .json: choices called label of the object image; DATA is the document root of local files.
        decisions: For --fiftyone and --label-studio: a file as for dataprune noise apply. Default: what was decided in review.
        which: For probabilities: the mean over all networks, over those trained on the example, or over those that were not.
    """
    from dataprune.run.export import write_fiftyone, write_label_studio
    from dataprune.run.journal import reviewed
    from dataprune.tables import check_output

    only_one({"--probabilities": probabilities, "--fiftyone": fiftyone, "--label-studio": label_studio})
    opened, out = dp.open_run(run), fiftyone or label_studio
    if probabilities is not None:
        if decisions is not None:
            raise invalid("decisions", "go with --fiftyone or --label-studio", str(decisions))
        check_output(probabilities, (".npy",), name="probabilities")
        rows, columns = dp.write_probabilities(opened, probabilities, which, overwrite=overwrite)
        say_file(probabilities, f"{pluralise(rows, 'row')} of {pluralise(columns, 'class')}, mean over {WHOM[which]}")
        return {"n_rows": rows}
    assert out is not None, "one of the three"
    check_output(out, (".json",))
    if decisions is None and (decisions := reviewed(opened)) is not None:
        say(f"decisions: {decisions}, made in review")
    found = dp.find_suspects(opened)
    if fiftyone is not None:
        count = write_fiftyone(found, decisions, fiftyone, overwrite=overwrite)
    else:
        count = write_label_studio(found, decisions, out, overwrite=overwrite)
    say_file(out, pluralise(count, "label" if fiftyone else "task"))
    return {"n_rows": count}
