"""`dataprune verify`: is a run, a study or a file still as it was written?"""

from pathlib import Path
from typing import Annotated

import typer

from dataprune.cli.lines import complain, pluralise, say
from dataprune.errors import InputError, StoreError


def verify(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="RUN|STUDY|FILE",
            help="A folder made by dataprune score or study, or a file with its .json beside it, made by embed, km or prune.",
            show_default=False,
        ),
    ],
) -> None:
    """Hash a run, a study or a file again and compare.

    Prints each file that is missing, cut short or changed, and then ends with exit code 3; otherwise says that all is sound.

    \b
    Examples:
        dataprune verify run
        dataprune verify kept.csv
    """
    from dataprune import store
    from dataprune.run import feature_manifests, open_run
    from dataprune.run import verify as verify_run
    from dataprune.study.study import is_study, open_study, verify_study

    is_one = is_study(folder)
    manifest = None if folder.is_dir() else store.manifest_beside(folder)
    if folder.is_file() and manifest is None:
        raise InputError(f"`{folder}` has no {folder.name}.json beside it that says how it was written.")
    check = verify_study if is_one else verify_run
    faults = check(folder) if manifest is None else store.faults(folder.parent, manifest.name)
    for fault in faults:
        complain(f"{folder}: {fault}")
    if faults:
        raise typer.Exit(StoreError.exit_code)
    if manifest is not None:
        say("sound: 1 file")
        return
    if not is_one:
        learned = [store.read_manifest(one.parent, one.name, store.Listing) for one in feature_manifests(folder)]
        say(f"sound: {pluralise(len(open_run(folder).manifest.files) + sum(len(one.files) for one in learned), 'file')}")
        return
    found = open_study(folder)
    if found.manifest is not None:
        say(f"sound: {pluralise(len(found.manifest.files), 'file')}")
    else:
        n_ended = len(set(found.trials["trial"][found.trials["status"] != "open"]))
        say(f"sound so far, not finished: {pluralise(n_ended, 'trial')} of {len(set(found.trials['trial'])):,}")
