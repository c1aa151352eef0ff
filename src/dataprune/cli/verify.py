"""`dataprune verify`: is what we wrote still as it was written? And `dataprune export`: what other tools take from a run."""

from pathlib import Path
from typing import Literal

from dataprune.cli.lines import complain, say
from dataprune.cli.options import Output, Run
from dataprune.errors import InputError, StoreError
from dataprune.report.text import pluralise

WHOM = {"all": "all networks", "in": "the networks trained on the example", "out": "the networks not trained on the example"}


def verify(path: Path, /) -> int:
    """Hash a run, a study or a file again and compare.

    Prints each file that is missing, cut short or changed, and then ends with exit code 3; otherwise says that all is sound.

    For example:
        dataprune verify run
        dataprune verify kept.csv

    Args:
        path: A folder made by dataprune score or study, or a file with its .json beside it, made by embed, km or prune.
    """
    from dataprune import store
    from dataprune.run import feature_manifests, open_run
    from dataprune.run import verify as verify_run
    from dataprune.study.study import is_study, open_study, verify_study

    manifest = None if path.is_dir() else store.manifest_beside(path)
    if path.is_file() and manifest is None:
        raise InputError(f"`{path}` has no {path.name}.json beside it that says how it was written.")
    if manifest is not None:
        faults, sound = store.faults(path.parent, manifest.name), "1 file"
    elif is_study(path):
        faults, sound = verify_study(path), ""
    else:
        faults, sound = verify_run(path), ""
    for fault in faults:
        complain(f"{path}: {fault}")
    if faults:
        return StoreError.exit_code
    if not sound and not is_study(path):
        learned = [store.read_manifest(one.parent, one.name, store.Listing) for one in feature_manifests(path)]
        sound = pluralise(len(open_run(path).manifest.files) + sum(len(one.files) for one in learned), "file")
    if not sound:
        study = open_study(path)
        if study.manifest is None:
            ended, trials = (set(study.trials["trial"][which]) for which in (study.trials["status"] != "open", slice(None)))
            say(f"sound so far, not finished: {pluralise(len(ended), 'trial')} of {len(trials):,}")
            return 0
        sound = pluralise(len(study.manifest.files), "file")
    say(f"sound: {sound}")
    return 0


def export(run: Run, /, *, probabilities: Output, which: Literal["all", "in", "out"] = "all") -> None:
    """Write the class probabilities of RUN.

    Takes a run. Writes FILE with a row for each example, in the order of RUN/scores.parquet, which also holds ids and labels.

    For example:
        dataprune export run --probabilities p.npy --which out

    Args:
        probabilities: Write the class probabilities here, .npy (examples, classes), float32.
        which: The mean over all networks, over those trained on the example, or over those that were not (--folds).
    """
    from dataprune.run import open_run, write_probabilities
    from dataprune.tables import check_output

    check_output(probabilities, (".npy",), name="probabilities")
    rows, columns = write_probabilities(open_run(run), probabilities, which)
    say(f"written: {probabilities}, {pluralise(rows, 'row')} of {pluralise(columns, 'class')}, mean over {WHOM[which]}")
