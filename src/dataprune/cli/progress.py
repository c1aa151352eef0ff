"""How does somebody see that long work goes on? By a bar on a terminal, by plain lines in a log."""

import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from dataprune.cli.lines import duration, pluralise, say, warn

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

    from dataprune.run import Progress
    from dataprune.study.results_table import Cell
    from dataprune.study.run_trials import StudyProgress
    from dataprune.training.cost import Cost
    from dataprune.training.ensemble import Ensemble, EpochDone

PRIOR_EPOCHS = 4  # member-epochs that the price is worth, when the rest is estimated
LOG_SECONDS = 10.0  # decoding adds a line to a log this often


def price_line(ensemble: "Ensemble", member_epochs: int, cost: "Cost") -> str:
    """Return what training will cost."""
    left, epochs = member_epochs // ensemble.epochs, pluralise(ensemble.epochs, "epoch")
    members = pluralise(left, "member") if left == ensemble.members else f"{left} of {pluralise(ensemble.members, 'member')}"
    took = ", under a minute" if math.isnan(cost.seconds) else f", about {duration(cost.seconds)}"
    return (
        f"to train: {members} for {epochs}, model {ensemble.model}, recipe {ensemble.recipe.name} = "
        f"{pluralise(member_epochs, 'member-epoch')}{took}, {cost.flops:.2g} floating-point operations"
    )


class TrainingProgress:
    """Listens to a run: prints the price, then each epoch of a member that is done. Use as a context.

    Attributes:
        trained: whether there was anything to train.
    """

    def __init__(self, ensemble: "Ensemble", quiet: bool) -> None:
        self.trained = False
        self._ensemble = ensemble
        self._quiet = quiet
        self._bar: Bar | None = None
        self._seconds: float | None = None  # of one member-epoch on the clock, as the price has it
        self._heard = 0
        self._first = 0.0
        self._latest: dict[int, tuple[float, float]] = {}

    def __enter__(self) -> "TrainingProgress":
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, progress: "Progress") -> None:
        """Take in one message of the run."""
        self.trained = True
        if self._quiet:
            return
        if progress.price is not None:
            say(price_line(self._ensemble, progress.total, progress.price))
            seconds = progress.price.seconds
            self._seconds = None if math.isnan(seconds) else seconds / progress.total
            self._bar = bar_on_terminal()
            if self._bar is not None:
                self._bar.add_task("training", total=progress.total, done="", left=self._left(progress))
                self._bar.start()
        if progress.epoch is not None:
            self._heard += 1
            self._first = self._first or time.monotonic()
            self._latest[progress.epoch.member] = (progress.epoch.loss, progress.epoch.accuracy)
            self._show(progress, progress.epoch)

    def _show(self, progress: "Progress", epoch: "EpochDone") -> None:
        if self._bar is None:
            say(
                f"member {epoch.member} epoch {epoch.epoch}/{self._ensemble.epochs}: loss {epoch.loss:.3f}, "
                f"accuracy {100 * epoch.accuracy:.1f} %, {duration(epoch.seconds)} "
                f"({progress.done} of {progress.total}{self._left(progress)})"
            )
            return
        n = len(self._latest)
        loss, accuracy = (sum(pair[which] for pair in self._latest.values()) / n for which in (0, 1))
        done = f"{progress.done}/{progress.total} member-epochs, loss {loss:.3f}, accuracy {100 * accuracy:.1f} %"
        self._bar.update(self._bar.task_ids[0], completed=progress.done, done=done, left=self._left(progress))

    def _left(self, progress: "Progress") -> str:
        """Estimate the rest from the epochs heard since the first one, which pays for starting; the price counts as a few more."""
        rest, prior = progress.total - progress.done, 0 if self._seconds is None else PRIOR_EPOCHS
        counted = max(0, self._heard - 1) + prior
        if rest == 0 or counted == 0:
            return ""
        passed = time.monotonic() - self._first if self._heard else 0.0
        return f", about {duration((passed + prior * (self._seconds or 0.0)) / counted * rest)} left"


class TrialsProgress:
    """Listens to a study: prints the price, then each trial that ended; on a terminal also the epochs of those that run.

    Attributes:
        heard: whether there was anything to say.
    """

    def __init__(self, quiet: bool) -> None:
        self.heard = False
        self._quiet = quiet
        self._bar: Bar | None = None
        self._seconds: float | None = None  # of all that is to be trained, as the price has it
        self._begun = 0.0

    def __enter__(self) -> "TrialsProgress":
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, progress: "StudyProgress") -> None:
        """Take in one message of the study."""
        self.heard = True
        if progress.cost is not None:
            self._begun = time.monotonic()
            self._seconds = None if math.isnan(progress.cost.seconds) else progress.cost.seconds
            for note in progress.notes:
                warn(note)
            if not self._quiet:
                self._say_cost(progress)
        if self._quiet:
            return
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=progress.examples, done=_running(progress), left=self._left(progress))
        elif progress.ended is not None:
            trial, result = progress.ended
            came = f"{100 * result.validation_accuracy:.1f} % on validation" if result.status == "ok" else f"failed: {result.error}"
            say(f"trial {progress.done} of {progress.total}: {_named(trial.cell)}, seed {trial.seed}: {came}{self._left(progress)}")

    def _say_cost(self, progress: "StudyProgress") -> None:
        cost, n_trials = progress.cost, progress.total - progress.found
        assert cost is not None
        found = f", {progress.found:,} found" if progress.found else ""
        if not n_trials:
            say(f"to train: nothing{found}")
            return
        took = "under a minute" if self._seconds is None else f"about {duration(self._seconds)}"
        say(
            f"to train: {pluralise(n_trials, 'trial')}{found}, {progress.to_see:,} examples to see, {took}, "
            f"{cost.flops:.2g} floating-point operations"
        )
        self._bar = bar_on_terminal()
        if self._bar is not None:
            self._bar.add_task("studying", total=progress.to_see, done="", left="")
            self._bar.start()

    def _left(self, progress: "StudyProgress") -> str:
        """Estimate the rest by the examples seen; the price counts as the first tenth."""
        rest, passed = progress.to_see - progress.examples, time.monotonic() - self._begun
        prior = 0.0 if self._seconds is None else progress.to_see / 10
        if rest <= 0 or progress.examples + prior == 0:
            return ""
        seconds = (passed + prior / max(1, progress.to_see) * (self._seconds or 0.0)) / (progress.examples + prior) * rest
        return f", about {duration(seconds)} left"


def _running(progress: "StudyProgress") -> str:
    some = [f"epoch {e.epoch}/{e.epochs} {100 * e.accuracy:.1f} %" for e in list(progress.running.values())[:3]]
    return f"{progress.done}/{progress.total} trials" + (f" ({'; '.join(some)})" if some else "")


def _named(cell: "Cell") -> str:
    """Name a cell of a study in a few words."""
    words = [cell.score] + ([cell.strategy] if cell.strategy not in (cell.score, "hardest") else [])
    words += [f"keep {cell.keep:g}"] if cell.keep < 1 else []
    words += [f"from {cell.start:g}"] if cell.start or cell.strategy == "window" else []
    words += [f"{cell.clusters} clusters"] if cell.clusters else []
    words += [word for word in (cell.order, cell.arm) if word and word != "recipe"]
    return " ".join(words)


@contextmanager
def reading_progress(quiet: bool) -> Iterator[Callable[[int, int], None] | None]:
    """Yield a function that is told how many pictures are decoded, of how many."""
    if quiet:
        yield None
        return
    bar = bar_on_terminal()
    last = time.monotonic()

    def told(done: int, total: int) -> None:
        nonlocal last
        if bar is not None:
            if not bar.task_ids:
                bar.add_task("decoding", total=total, done="", left="")
                bar.start()
            bar.update(bar.task_ids[0], completed=done, done=f"{done:,}/{total:,} pictures")
        elif time.monotonic() - last >= LOG_SECONDS:
            last = time.monotonic()
            say(f"decoded {done:,} of {pluralise(total, 'picture')}")

    try:
        yield told
    finally:
        if bar is not None:
            bar.stop()


def bar_on_terminal() -> "Bar | None":
    if sys.stdout is None or not sys.stdout.isatty():
        return None
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bar

    console = Console(markup=False, highlight=False)
    if not console.is_interactive:  # a terminal that cannot move its cursor
        return None
    words = TextColumn("{task.fields[done]}{task.fields[left]}", markup=False)
    return Bar(TextColumn("{task.description}"), BarColumn(bar_width=24), words, console=console, transient=True)
