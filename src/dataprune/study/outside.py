"""A trial that is trained by somebody else's code: what that is given, its process with log and limit, and its result."""

import contextlib
import json
import logging
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import numpy as np

from dataprune import store
from dataprune.errors import InputError, MachineError, invalid, join_some
from dataprune.run.export import write_folder
from dataprune.selection import Selection
from dataprune.study.grid import Condition
from dataprune.study.spec import StudySpec
from dataprune.study.splits import StudyData
from dataprune.study.trainer import Trainer
from dataprune.study.trial import FOLDER as TRIALS_FOLDER
from dataprune.study.trial import Trial, TrialResult
from dataprune.training.staged import packed
from dataprune.workers import Report
from dataprune.workers.child import THREAD_VARIABLES
from dataprune.workers.jobs import MAX_ATTEMPTS

FOLDER, GIVEN, LOG, RESULT = "trainings", "given", "log.txt", "result.json"
logger = logging.getLogger("dataprune.study")
PATIENCE_SECONDS = 3.0  # from being asked to end to being killed
LOG_BYTES = 2**16  # that come back from a machine that does not see the study
ALONE: dict[str, Any] = {"start_new_session": True}
# Kills a group of processes once the one that started it has died: it is told the group through a pipe that ends with that.
WATCH = "import os,sys\nsaid=sys.stdin.readline()\nsys.stdin.read()\nif said: os.killpg(int(said), 9)"
CALL = "import sys; from dataprune.study.call_trainer import main; main(sys.argv[1])"


@dataclass(frozen=True)
class OutsideJob:
    """All that a worker needs for one trial.

    Attributes:
        folder: the trial's own; None where the worker does not see the study's.
        lists: by place, one entry a line; always the ids.
        n_test: test examples; None where the trainer has its own.
        path: where a function's module is looked for.
    """

    name: str
    trainer: Trainer
    folder: Path | None
    lists: Mapping[str, Sequence[str]]
    n_test: int | None
    seed: int
    budget: float
    seconds: float
    path: tuple[str, ...]


@dataclass(frozen=True)
class Outside:
    """Makes jobs of trials, and results of what comes of them; `arms` are the data by the fingerprint of train."""

    trainer: Trainer
    seconds: float
    arms: Mapping[str, StudyData]

    @classmethod
    def of(cls, spec: StudySpec, conditions: Sequence[Condition]) -> "Outside | None":
        """Return it for a study with a trainer; InputError where ids cannot be lines of a file."""
        if (trainer := spec.own_trainer) is None:
            return None
        arms = {one.data.train.fingerprint: one.data for one in conditions}
        broken = [repr(name) for one in arms.values() for name in one.train.ids.tolist() if len(name.splitlines()) != 1]
        if broken and "ids" in trainer.places:
            wanted = "be given ids that are one line each"
            raise invalid("trainer", wanted, join_some(broken, most=3), "Take {rows} in place of {ids}.")
        return cls(trainer, spec.time_limit, arms)

    def job(self, trial: Trial, folder: Path | None) -> OutsideJob:
        """Return the job of a trial in a folder of its own; its pictures are linked here."""
        data, asked, rows = self.arms[trial.train], self.trainer.places, np.flatnonzero(trial.stages[-1].trained_on)
        given: dict[str, Sequence[str]] = {"ids": data.train.ids[rows].tolist(), "rows": [str(row) for row in rows.tolist()]}
        if "test" in asked and data.test is not None:
            given["test"] = data.test.ids.tolist()
        if "validation" in asked:
            held = data.train.ids[data.validation_rows] if data.validation is None else data.validation.ids
            given["validation"] = held.tolist()
        if "folder" in asked:
            if folder is None:
                raise MachineError("{folder} needs a folder that all machines see. Share one, or take {ids}.")
            shutil.rmtree(folder / GIVEN, ignore_errors=True)
            labels = None if data.train.labels is None else data.train.labels[rows]
            kept = Selection(rows, data.train.ids[rows], labels, None, len(data.train), trial.cell.strategy, trial.cell.keep, {})
            write_folder(kept, data.train, folder / GIVEN / "folder", "copy" if data.train.paths is None else "link")
        n_test, path = len(given["test"]) if "test" in given else None, tuple(one or str(Path.cwd()) for one in sys.path)
        return OutsideJob(trial.name, self.trainer, folder, given, n_test, trial.seed, trial.budget, self.seconds, path)

    def result(self, result: TrialResult, study: Path) -> TrialResult:
        """Bring home the log of a machine that does not see the study, and name it in the error."""
        log = study / FOLDER / result.trial / LOG
        if result.traceback and not log.exists():
            log.parent.mkdir(parents=True, exist_ok=True)
            log.write_text(result.traceback, encoding="utf-8", errors="replace")
        error = f"{result.error}; its log: {log}" if result.error else ""
        return replace(result, error=error, traceback="", made_with=self.trainer.environment)


class Guard:
    """Sees what trainings write into the study beside their own folders, says so, and puts results back that were changed."""

    def __init__(self, study: Path) -> None:
        self.study, self.written = study, dict[Path, bytes]()
        self._known = {*study.iterdir(), *(study / name for name in (FOLDER, TRIALS_FOLDER))}

    def look(self, name: str) -> None:
        """Look at the study as a training ends."""
        new = {path for path in self.study.iterdir() if path not in self._known and not path.name.startswith(".")}
        changed = {path: whole for path, whole in self.written.items() if not path.is_file() or path.read_bytes() != whole}
        for path, whole in changed.items():
            with store.writing(path) as temporary:
                temporary.write_bytes(whole)
        self._known |= new
        if found := join_some(sorted(path.name for path in (*new, *changed)), most=3):
            log = self.study / FOLDER / name / LOG
            logger.warning("a training wrote %s into the study, where only {out} is its own; one that ended now: %s", found, log)


def train_outside(job: OutsideJob, report: Report) -> TrialResult:
    """Run the trainer in the trial's folder and read its result; whatever it does wrong is the error of what is returned."""
    with tempfile.TemporaryDirectory(prefix="dataprune-") if job.folder is None else contextlib.nullcontext(job.folder) as place:
        folder = Path(str(place)).absolute()
        given, result, log = folder / GIVEN, folder / RESULT, folder / LOG
        given.mkdir(parents=True, exist_ok=True)
        result.unlink(missing_ok=True)
        values = {"seed": str(job.seed), "budget": f"{job.budget:g}", "out": str(folder), "result": str(result)}
        values["folder"] = str(given / "folder")
        for name, lines in job.lists.items():
            values[name] = str(given / f"{name}.txt")
            text = "".join(f"{line}\n" for line in lines)
            Path(values[name]).write_text(text, encoding="utf-8", errors="surrogateescape")
        if job.trainer.is_function:
            store.write_json(given / "request.json", {**values, "function": job.trainer.call, "metric": job.trainer.metric.name})
            words = [sys.executable, "-c", CALL, str(given / "request.json")]
        else:
            words = job.trainer.command(values)
        begun = time.perf_counter()
        with log.open("w+b") as output:
            try:
                _run(words, output, job)
                done = _read(result, job, time.perf_counter() - begun)
                shutil.rmtree(given, ignore_errors=True)
            except InputError as wrong:
                done = TrialResult(job.name, "failed", error=str(wrong))
            return replace(done, traceback=_said(output, 0)[-LOG_BYTES:].decode(errors="replace"))


def _said(log: IO[bytes], begin: int) -> bytes:
    """Read a log from where it is open: a training that empties its folder has deleted the file."""
    log.seek(begin)
    return log.read()


def _run(words: list[str], output: IO[bytes], job: OutsideJob) -> None:
    """Run a command, again where it is killed from outside, as when memory runs out; InputError says why it failed."""
    threads = os.environ.get("OMP_NUM_THREADS", "1")
    environment = {**os.environ, **dict.fromkeys((*THREAD_VARIABLES, "DATAPRUNE_THREADS"), threads)}
    environment |= {"DATAPRUNE_SEED": str(job.seed), "PYTHONHASHSEED": str(job.seed % 2**32)}
    environment |= {"PYTHONPATH": os.pathsep.join(job.path)} if job.trainer.is_function else {}
    for _ in range(MAX_ATTEMPTS):
        output.seek(0, os.SEEK_END)
        output.write(f"$ {shlex.join(words)}\n".encode(errors="surrogateescape"))
        output.flush()
        begin = output.tell()
        try:
            code = _ended(words, output, environment, job.seconds)
        except OSError as error:
            raise InputError(f"cannot be started: {error.strerror}") from None
        if code != -signal.SIGKILL:
            break
    if code == 0:
        return
    how = f"was ended by signal {-(code or 0)}" + (", perhaps out of memory" if code == -signal.SIGKILL else "")
    how = f"ended with exit code {code}" if code and code > 0 else how
    how = f"took longer than {job.seconds:g} seconds (--time-limit)" if code is None else how
    said = [line.strip() for line in _said(output, begin).decode(errors="replace").split("\n") if line.strip()]
    raise InputError(how + (f": {said[-1][:200]}" if said else " and printed nothing"))


def _ended(words: list[str], output: Any, environment: Mapping[str, str], limit: float) -> int | None:
    """Return the exit code of a command, whose processes end with this one; None where it was ended at the limit."""
    process, pipe = None, subprocess.PIPE
    with subprocess.Popen([sys.executable, "-I", "-S", "-c", WATCH], stdin=pipe, stderr=subprocess.DEVNULL, **ALONE) as watch:
        try:
            how: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": output, "stderr": subprocess.STDOUT, "env": environment}
            process = subprocess.Popen(words, **how, **ALONE)
            assert watch.stdin is not None
            watch.stdin.write(f"{process.pid}\n".encode())
            watch.stdin.flush()
            return process.wait(limit or None)
        except subprocess.TimeoutExpired:
            return None
        finally:
            if process is not None:
                _end(process)
            watch.kill()


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End a group of processes: asked first where its leader still runs."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(PATIENCE_SECONDS)
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _read(path: Path, job: OutsideJob, seconds: float) -> TrialResult:
    """Read the result that a training wrote; InputError says what is wrong with it."""
    metric, given = job.trainer.metric, job.lists["ids"]
    if path.is_symlink() or not path.is_file() or path.stat().st_nlink > 1:
        raise InputError(f"wrote no result file of its own ({RESULT}, where {{result}} is)")
    try:
        said = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise InputError(f"its result is not JSON: {' '.join(str(error).split())}") from None
    if not isinstance(said, dict) or metric.name not in said:
        got = f"an object with {join_some(said) or 'nothing'}" if isinstance(said, dict) else type(said).__name__
        raise InputError(f'its result must be an object that holds "{metric.name}", got {got}')
    value, right = metric.check(said[metric.name]), said.get("correct", [])
    if not isinstance(right, list) or not all(one in (0, 1) for one in right):
        raise InputError('its "correct" must be a list of true and false, one for each test example')
    if "correct" in said and job.n_test is not None and len(right) != job.n_test:
        raise InputError(f'its "correct" must be of the {job.n_test:,} test examples, got {len(right):,}')
    if right and metric.name == "accuracy" and abs(sum(right) / len(right) - value) > 0.005:
        raise InputError(f'its accuracy must be the share of "correct", {sum(right) / len(right):.4f}, got {value:.4f}')
    numbers = {"seconds": seconds, "examples_seen": round(job.budget * len(given)), "flops": 0}
    for name in numbers:
        numbers[name] = one = said.get(name, numbers[name])
        if isinstance(one, bool) or not isinstance(one, int | float) or not 0 <= one < 2**63:
            raise InputError(f'its "{name}" must be a number of 0 or more, below 2^63, got {str(one)[:40]}')
    if "ids_seen" in said:
        seen = said["ids_seen"]
        theirs, ours = set(map(str, seen if isinstance(seen, list) else [])), set(given)
        if theirs != ours:
            wrong = f"{len(theirs - ours):,} that were not given and lacks {len(ours - theirs):,} that were"
            raise InputError(f"trained on other ids than it was given: it names {wrong}")
    return TrialResult(
        job.name,
        "ok",
        n_test=len(right),
        test_correct=packed(np.array(right, bool)),
        examples_seen=int(numbers["examples_seen"]),
        flops=int(numbers["flops"]),
        train_seconds=float(numbers["seconds"]),
        value=value,
    )
