"""Coverage-guided fuzzing of every target for a bounded time, each in a process of its own.

    python tests/fuzz/fuzzer.py [--seconds 60] [--jobs 2] [--only NAME,NAME] [--keep DIR]        (make fuzz)

Needs atheris. Ends with 1 if anything was found, and prints the input that did it; --keep also keeps those that reached new code.
"""

import argparse
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).parent
SECONDS_EACH, MEGABYTES = 20, 3000  # bounds of one input; the memory is the whole process's, libraries included
LONGEST = 8192  # bytes
INSTRUMENTED = ["dataprune.data", "dataprune.tables", "dataprune.store", "dataprune.trace", "dataprune.run", "dataprune.study"]
INSTRUMENTED += ["zipfile", "tarfile", "json", "csv", "tomllib", "numpy.lib._format_impl", "numpy.lib.format", "pickletools"]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--jobs", type=int, default=2, help="targets at once")
    parser.add_argument("--only", default=None)
    parser.add_argument("--keep", type=Path, default=None)
    parser.add_argument("--target", default=None, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, default=None, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.target is not None:
        fuzz(asked.target, asked.folder, asked.seconds)
        return
    names = asked.only.split(",") if asked.only else target_names()
    with tempfile.TemporaryDirectory() as temporary, ThreadPoolExecutor(asked.jobs) as pool:
        place = asked.keep or Path(temporary)
        fine = list(pool.map(lambda name: fuzzed(name, place / name, asked.seconds), names))
    bad = [name for name, is_fine in zip(names, fine, strict=True) if not is_fine]
    sys.exit(f"found something in {', '.join(bad)}" if bad else 0)


def target_names() -> list[str]:
    """Return the targets' names out of their source, which is imported only where it is watched."""
    return re.findall(r'^    "([a-z-]+)": Target\(', (HERE / "fuzz_targets.py").read_text(encoding="utf-8"), re.MULTILINE)


def fuzzed(name: str, folder: Path, seconds: int) -> bool:
    """Fuzz one target in a process of its own; print how many inputs it took, and what was found. True if nothing was."""
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, str(Path(__file__)), "--target", name, "--folder", str(folder), "--seconds", str(seconds)]
    with (folder / "log.txt").open("wb") as log:
        code = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, check=False).returncode
    said = (folder / "log.txt").read_text(encoding="utf-8", errors="replace")
    runs, peak = (re.search(rf"stat::{stat}:\s+(\d+)", said) for stat in ("number_of_executed_units", "peak_rss_mb"))
    covered = re.findall(r"cov: (\d+)", said)
    figures = (
        f"{runs[1] if runs else '?':>9} inputs, {covered[-1] if covered else '?':>6} branches, {peak[1] if peak else '?':>5} MB"
    )
    print(f"{name:<16}{figures}  {'nothing found' if code == 0 else 'FOUND'}", flush=True)
    if code:
        print("".join(f"    {line}\n" for line in said.splitlines()[-60:] if "cov:" not in line), flush=True)
        for file in sorted(folder.glob("found-*")):
            print(f"    {file.name}: {file.read_bytes()[:600]!r}", flush=True)
    return code == 0


def fuzz(name: str, folder: Path, seconds: int) -> None:
    """Fuzz one target in this process, which ends with it."""
    import atheris

    sys.path[:0] = [str(HERE), str(HERE.parent)]
    work, corpus = folder / "work", folder / "corpus"
    for one in (work, corpus):
        one.mkdir(exist_ok=True)
    with atheris.instrument_imports(include=INSTRUMENTED):
        from fuzz_targets import TARGETS, survives

        for number, seed in enumerate(TARGETS[name].seeds(work)):
            (corpus / f"seed-{number}").write_bytes(seed)
            survives(name, seed, work)  # imports the rest, while it is watched
    limits = [f"-max_total_time={seconds}", f"-timeout={SECONDS_EACH}", f"-rss_limit_mb={MEGABYTES}", f"-max_len={LONGEST}"]
    more = ["-seed=1", "-print_final_stats=1", "-verbosity=1", f"-artifact_prefix={folder}/found-"]
    atheris.Setup([sys.argv[0], *limits, *more, str(corpus)], lambda content: survives(name, content, work) and None)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
