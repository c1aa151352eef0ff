"""Coverage-guided fuzzing of every target for a bounded time, each in a fork of one process that has imported what is watched.

    python tests/fuzz/fuzzer.py [--seconds 60] [--jobs 2] [--only NAME,NAME] [--keep DIR]        (make fuzz)

Needs atheris. Ends with 1 if anything was found, and prints the input that did it; --keep also keeps those that reached new code.
"""

import argparse
import contextlib
import importlib
import io
import os
import pkgutil
import re
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
SECONDS_EACH, MEGABYTES = 20, 3000  # bounds of one input; the memory is the whole process's, libraries included
LONGEST = 8192  # bytes
ROOMS = ["dataprune.data", "dataprune.tables", "dataprune.store", "dataprune.trace", "dataprune.run", "dataprune.study"]
LIBRARIES = ["zipfile", "tarfile", "json", "csv", "tomllib", "numpy.lib._format_impl", "numpy.lib.format", "pickletools"]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--jobs", type=int, default=2, help="targets at once")
    parser.add_argument("--only", default=None)
    parser.add_argument("--keep", type=Path, default=None)
    asked = parser.parse_args()
    watch()
    from fuzz_targets import TARGETS

    names = asked.only.split(",") if asked.only else list(TARGETS)
    with tempfile.TemporaryDirectory() as temporary:
        place = (asked.keep or Path(temporary)).resolve()
        bad = fuzz_all(names, place, asked.seconds, asked.jobs)
    sys.exit(f"found something in {', '.join(bad)}" if bad else 0)


def watch() -> None:
    """Import the targets, every module of the rooms that read files, and the libraries that do, instrumented: once for all."""
    import atheris

    sys.path[:0] = [str(HERE), str(HERE.parent)]
    with atheris.instrument_imports(include=[*ROOMS, *LIBRARIES]), contextlib.redirect_stderr(io.StringIO()):  # names each module
        for name in [*LIBRARIES, *ROOMS]:
            module = importlib.import_module(name)
            for one in pkgutil.walk_packages(getattr(module, "__path__", ()), f"{name}.") if name in ROOMS else ():
                importlib.import_module(one.name)
        importlib.import_module("fuzz_targets")


def fuzz_all(names: list[str], place: Path, seconds: int, jobs: int) -> list[str]:
    """Fuzz so many targets at once, and return the names of those in which something was found."""
    waiting, running, bad = list(names), {}, []
    while waiting or running:
        while waiting and len(running) < jobs:
            name = waiting.pop(0)
            running[forked(name, place / name, seconds)] = name
        child, status = os.wait()
        name = running.pop(child)
        if not told(name, place / name, os.waitstatus_to_exitcode(status)):
            bad.append(name)
    return bad


def forked(name: str, folder: Path, seconds: int) -> int:
    """Fuzz one target in a child that writes into `folder/log.txt`; give its process id."""
    folder.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        try:
            log = os.open(folder / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(log, 1)
            os.dup2(log, 2)
            fuzz(name, folder, seconds)
        except BaseException:  # noqa: BLE001 into the log; the parent must not be returned to
            sys.excepthook(*sys.exc_info())
        finally:
            os._exit(99)  # what ends well ends in `atheris.Fuzz`
    return child


def told(name: str, folder: Path, code: int) -> bool:
    """Print how many inputs a target took, and what was found. True if nothing was."""
    said = (folder / "log.txt").read_text(encoding="utf-8", errors="replace")
    runs, peak = (re.search(rf"stat::{stat}:\s+(\d+)", said) for stat in ("number_of_executed_units", "peak_rss_mb"))
    covered = re.findall(r"cov: (\d+)", said)
    is_fine = code == 0 and runs is not None and bool(covered)
    figures = (
        f"{runs[1] if runs else '?':>9} inputs, {covered[-1] if covered else '?':>6} branches, {peak[1] if peak else '?':>5} MB"
    )
    print(f"{name:<16}{figures}  {'nothing found' if is_fine else 'FOUND'}", flush=True)
    if not is_fine:
        print("".join(f"    {line}\n" for line in said.splitlines()[-60:] if "cov:" not in line), flush=True)
        for file in sorted(folder.glob("found-*")):
            print(f"    {file.name}: {file.read_bytes()[:600]!r}", flush=True)
    return is_fine


def fuzz(name: str, folder: Path, seconds: int) -> None:
    """Fuzz one target in this process, which ends with it."""
    import atheris
    from fuzz_targets import TARGETS, survives

    work, corpus = folder / "work", folder / "corpus"
    for one in (work, corpus):
        one.mkdir(exist_ok=True)
    for number, seed in enumerate(TARGETS[name].seeds(work)):
        (corpus / f"seed-{number}").write_bytes(seed)
        survives(name, seed, work)
    limits = [f"-max_total_time={seconds}", f"-timeout={SECONDS_EACH}", f"-rss_limit_mb={MEGABYTES}", f"-max_len={LONGEST}"]
    more = ["-seed=1", "-print_final_stats=1", "-verbosity=1", f"-artifact_prefix={folder}/found-"]
    atheris.Setup([sys.argv[0], *limits, *more, str(corpus)], lambda content: survives(name, content, work) and None)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
