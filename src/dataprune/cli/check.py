"""`dataprune verify`: is a run still as it was written?"""

import typer

from dataprune.cli.lines import complain, say, several
from dataprune.cli.options import RunFolder
from dataprune.errors import StoreError


def verify(run_folder: RunFolder) -> None:
    """Hash every file of RUN again and compare.

    Prints each file that is missing, cut short or changed, and then ends with exit code 3; otherwise says that all is sound.

    \b
    Example:
        dataprune verify run
    """
    from dataprune.run import open_run
    from dataprune.run import verify as faults_of

    faults = faults_of(run_folder)
    for fault in faults:
        complain(f"{run_folder}: {fault}")
    if faults:
        raise typer.Exit(StoreError.exit_code)
    say(f"sound: {several(len(open_run(run_folder).info['files']), 'file')}")
