"""Progress of long work: a bar on a terminal, plain lines in a log; and what is shown of each kind of work."""

import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self

from dataprune.cli.lines import is_quiet, say, warn
from dataprune.errors import percent
from dataprune.report.text import duration, operations, pluralise

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

    from dataprune.run.encoders import EmbedProgress
    from dataprune.run.score import Progress as RunProgress
    from dataprune.study.results_table import Cell
    from dataprune.study.run_trials import StudyProgress
    from dataprune.training.ensemble import EpochDone
    from dataprune.training.settings import Cost

LOG_SECONDS, LOG_LINES = 10.0, 10  # between two lines of a log at least; of one piece of work about
TOGETHER_SECONDS = 1.0  # within which steps are told that were done together, of trials trained as one


class Progress:
    """Shows how far work is and how long it will take: in a bar, or in some ten lines of a log, the last one when all is done.

    Use as a context. `heard`: whether there was anything to do.
    """

    def __init__(self, name: str) -> None:
        self.heard, self._name = False, name
        self._bar: Bar | None = None
        self._total, self._seconds = 0, 0.0
        self._first: tuple[float, float] | None = None
        self._opened = 0.0  # when the first step came
        self._told = -math.inf
        self._begun = self._last = time.monotonic()  # the last line of a log; infinitely long ago before the first

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def start(self, total: int, what: str = "", cost: "Cost | None" = None) -> None:
        """Say what is to be done in so many steps, and what it will cost."""
        self.__exit__()
        self.heard, self._total, self._first, self._opened = True, total, None, 0.0
        if cost is not None:
            self._seconds = cost.seconds if math.isfinite(cost.seconds) else 0.0
            time_needed = "under a minute" if math.isnan(cost.seconds) else f"about {duration(cost.seconds)}"
            time_needed = f"{operations(cost.flops)}, {time_needed}" if cost.flops else "how long is known once the first has ended"
            say(f"to train: {what}, {time_needed}")
            self._last = -math.inf
        elif what:
            say(what)
        self._bar = _bar_on_terminal()
        if self._bar is not None:
            self._bar.add_task(self._name, total=total, status="")
            self._bar.start()

    def step(self, done: int, status: str, result: str = "", worked: float | None = None) -> None:
        """Show that so many steps are done (`worked` by their work, if they differ): the status in the bar, or now and then in a
        log, which has every result."""
        self.heard = True
        now, left = time.monotonic(), self._left(done if worked is None else worked)
        shown = f", about {duration(left)} left" if left >= 1 else ""
        is_due = now - self._last >= max(LOG_SECONDS, (now - self._begun + left) / LOG_LINES)
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=done, status=status + shown)
        elif result:  # those that were trained together end together: one estimate is enough
            say(result + (shown if now - self._told >= 1 else ""))
            self._told = now
        elif is_due or (done >= self._total and self._last != self._begun):
            self._last = now
            say(status + shown)

    def _left(self, done: float) -> float:
        """Estimate the seconds left from the steps since the first ones, which pay for starting; the expected counts as a tenth."""
        now = time.monotonic()
        self._opened = self._opened or now
        if self._first is None or now - self._opened < TOGETHER_SECONDS:
            self._first = done, now
        first, begun = self._first
        prior = self._total / 10 if self._seconds else 0.0
        counted, rest = done - first + prior, self._total - done
        return 0.0 if rest <= 0 or counted <= 0 else (now - begun + self._seconds / 10) / counted * rest


def _bar_on_terminal() -> "Bar | None":
    if is_quiet() or sys.stdout is None or not sys.stdout.isatty():
        return None
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bar

    console = Console(markup=False, highlight=False)
    if not console.is_interactive:  # a terminal that cannot move its cursor
        return None
    status = TextColumn("{task.fields[status]}", markup=False)
    return Bar(TextColumn("{task.description}"), BarColumn(bar_width=24), status, console=console, transient=True)


@contextmanager
def reading_progress(verb: str = "decod") -> Iterator[Callable[[int, int], None]]:
    """Yield a function that is told how many pictures are decoded (or encoded), of how many."""
    with Progress(f"{verb}ing") as progress:

        def hear(done: int, total: int) -> None:
            if not progress.heard:
                progress.start(total)
            progress.step(done, f"{verb}ed {done:,} of {pluralise(total, 'picture')}")

        yield hear


def training(progress: Progress) -> Callable[["RunProgress"], None]:
    """Return the listener of a run: the cost, then each epoch of a member that is done, of all that there are."""
    latest: dict[int, EpochDone] = {}

    def hear(message: "RunProgress") -> None:
        plan, left = message.ensemble, message.total // message.ensemble.passes
        total, before = plan.n_networks * plan.passes, (plan.n_networks - left) * plan.passes
        if message.cost is not None:
            networks = f"{f'{left} of ' if before else ''}{pluralise(plan.n_networks, 'network')}"
            chosen = message.chosen
            why = "" if chosen is None or not chosen.reason else f", {chosen.precision}: {chosen.reason}"
            how = f"model {plan.model}, recipe {plan.recipe.name}{why}"
            progress.start(total, f"{networks} × {pluralise(plan.passes, 'epoch')} ({how})", message.cost)
        if (epoch := message.epoch) is None:
            return
        done = before + message.done
        if not latest:
            _say_resumed(done - 1, total)
        latest[epoch.member] = epoch
        loss, accuracy = (sum(getattr(one, name) for one in latest.values()) / len(latest) for name in ("loss", "accuracy"))
        figures = f"loss {loss:.3f}, accuracy on training labels {percent(accuracy, 1)}"
        worked = done if message.worked is None else before + message.worked
        progress.step(done, f"{done:,} of {pluralise(total, 'epoch')}: {figures}", worked=worked)

    return hear


def learning(progress: Progress) -> Callable[["EmbedProgress"], None]:
    """Return the listener of a training without labels: the cost, then each epoch."""
    heard = False

    def hear(message: "EmbedProgress") -> None:
        nonlocal heard
        if message.cost is not None:
            progress.start(message.total, f"{pluralise(message.total, 'epoch')} without labels", message.cost)
        if (epoch := message.epoch) is None:
            if message.cost is None:
                progress.step(message.done, f"encoded {message.done:,} of {pluralise(message.total, 'picture')}")
            return
        if not heard:
            _say_resumed(message.done - 1, message.total)
        heard = True
        progress.step(message.done, f"{message.done:,} of {pluralise(message.total, 'epoch')}: loss {epoch.loss:.3f}")

    return hear


def studying(progress: Progress) -> Callable[["StudyProgress"], None]:
    """Return the listener of a study: the cost, then each trial that ended; on a terminal also the epochs of those that run."""

    def hear(message: "StudyProgress") -> None:
        if message.cost is not None:
            warn(*message.notes)
            missing, found = message.total - message.found, f", {message.found:,} found" if message.found else ""
            what = f"{pluralise(missing, 'trial')}{found}" + (
                "" if math.isinf(message.cost.seconds) else f", {message.to_see:,} examples to see"
            )
            progress.start(message.to_see, what if missing else f"to train: nothing{found}", message.cost if missing else None)
            return
        line = ""
        if message.ended is not None:
            trial, result = message.ended
            ok = result.status == "ok"
            came = f"{percent(result.validation_accuracy, 1)} on validation" if ok else f"failed: {result.error}"
            if ok and result.value is not None and trial.trainer is not None:
                metric = trial.trainer.metric
                came = f"{metric.name} {metric.text(result.value)}{' %' if metric.is_share else ''}"
            line = f"trial {message.done} of {message.total}: {_named(trial.cell)}, seed {trial.seed}: {came}"
        some = [f"epoch {e.epoch}/{e.epochs} {percent(e.accuracy, 1)} on validation" for e in list(message.running.values())[:3]]
        status = f"{message.done}/{message.total} trials" + (f" ({'; '.join(some)})" if some else "")
        progress.step(message.examples, status, line)

    return hear


def _say_resumed(done: int, total: int) -> None:
    if done > 0:
        say(f"resuming: {done:,} of {pluralise(total, 'epoch')} done")


def _named(cell: "Cell") -> str:
    words = [cell.score] + ([cell.strategy] if cell.strategy not in (cell.score, "hardest") else [])
    words += [f"keep {cell.keep:g}"] if cell.keep < 1 else []
    words += [f"from {cell.start:g}"] if cell.start or cell.strategy == "window" else []
    words += [f"{cell.clusters} clusters"] if cell.clusters else []
    words += [word for word in (cell.order, cell.arm) if word]
    return " ".join(words)
