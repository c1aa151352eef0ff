"""`dataprune review`: a run on this machine's browser, to look at all of it and decide; ends with Ctrl-C."""

import os
import secrets
import shlex
import sys
import webbrowser
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import dataprune as dp
from dataprune.cli import lines
from dataprune.cli.lines import say, warn
from dataprune.cli.options import MovedData, Run, at_least
from dataprune.errors import InputError, MachineError
from dataprune.report.text import pluralise


def review(
    run: Run,
    /,
    *,
    data: MovedData = None,
    features: Path | None = None,
    decisions: Path | None = None,
    port: Annotated[int, at_least(0)] = 0,
    no_browser: bool = False,
) -> None:
    """Look at everything in RUN in a browser on this machine, and decide about labels and duplicates.

    Every decision (keep, drop, relabel) is in the run as soon as it is made: dataprune noise apply, prune, export, report and noise
    audit read them there. Only this machine can open the page, by the address that is printed. Needs dataprune[review].

    For example:
        dataprune review run
        dataprune review run --decisions tasks.json

    Args:
        features: Vectors of the run's examples, .npy or .parquet, to find what looks alike. Default: those that the run has.
        decisions: First take in what was decided elsewhere: a table as for dataprune noise apply, or JSON of FiftyOne or Label
            Studio.
        port: Where to listen on 127.0.0.1. Default: a free one.
        no_browser: Only print the address.
    """
    if lines.collected is not None:
        raise InputError("`--json` must be left out with review: it prints an address, and goes on until it is ended.")
    if find_spec("starlette") is None or find_spec("uvicorn") is None:
        raise MachineError("review needs starlette and uvicorn: pip install 'dataprune[review]'")
    from dataprune.report.page.data import gather, with_issues
    from dataprune.review.book import Book
    from dataprune.review.server import HOST, listening, serve
    from dataprune.run.decisions import read_said

    opened = dp.open_run(run)
    with listening(port) as at, _only_one(opened) as read_only:
        book = Book(opened, with_issues(gather(opened, data, features), opened, data), read_only=read_only)
        for note in (*book.notes, *(f"{what}: {why}" for what, why in book.data.missing.items())):
            warn(note)
        if decisions is not None:
            after, said = read_said(decisions, opened.ids.tolist(), opened.labels, opened.classes, book.data.suspects)
            words = {row: word for row, word in said.items() if word}
            say(f"taken in: {pluralise(book.take_in(words, after.labels), 'new decision')} of {len(words):,} in {decisions}")
        token = secrets.token_urlsafe(24)
        address = f"http://{HOST}:{at.getsockname()[1]}/?token={token}"
        say(f"review of {pluralise(len(book.table), 'example')}: {address}", "Ctrl-C ends it; decisions are saved as they are made")
        if not no_browser and (
            sys.platform in ("darwin", "win32") or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
        ):
            with suppress(webbrowser.Error):
                webbrowser.open(address)
        serve(book, at, token)
        book.close()
    counts = book.table.count_decisions()
    say("decided: " + ", ".join(f"{count:,} {word}" for word, count in counts.items()))
    if any(counts.values()):
        say(f"next: dataprune noise apply {shlex.quote(str(run))} --out cleaned.csv")


@contextmanager
def _only_one(run: "dp.Run") -> Iterator[str]:
    """Keep other reviews out while the block runs; yield why nothing can be saved, or ""."""
    from dataprune import store

    with ExitStack() as stack:
        reason = ""
        try:
            stack.enter_context(store.lock(run.path, cure="end that one first."))
        except MachineError as error:
            reason = str(error)
        yield reason
