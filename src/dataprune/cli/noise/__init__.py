"""`dataprune noise`: labels made wrong on purpose, found, judged and corrected. One module a command."""

import typer

from dataprune.cli.noise.apply import apply
from dataprune.cli.noise.check import check
from dataprune.cli.noise.find import find
from dataprune.cli.noise.inject import inject

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    help="Find, judge and correct wrong labels; or make them.",
)
for _command in (inject, find, check, apply):
    app.command()(_command)
