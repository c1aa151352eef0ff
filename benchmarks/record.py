"""Appends one measurement to results.jsonl, with the hardware, the versions and the command that made it."""

import json
import os
import platform
import resource
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results.jsonl"


def record(name: str, figures: dict[str, Any], device: str = "cpu") -> None:
    """Write and print one line: what was measured, where, with what."""
    command = shlex.join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *_without_paths(sys.argv[1:])])
    line = {
        "benchmark": name,
        "figures": figures,
        "command": command,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        **accelerator(device),
        "load_before": round(LOAD_AT_START, 2),
        "peak_megabytes": peak_megabytes(device),
        "versions": {name: version(name) for name in ("dataprune", "torch", "numpy")} | {"python": platform.python_version()},
    }
    with RESULTS.open("a") as file:
        file.write(json.dumps(line) + "\n")
    print(json.dumps(figures, indent=2))


def processor() -> str:
    """Name the processor as the system does."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def accelerator(device: str) -> dict[str, str]:
    """Name the GPU that was measured, if one was."""
    if not device.startswith("cuda"):
        return {}
    import torch

    return {"accelerator": torch.cuda.get_device_name(device), "cuda": str(torch.version.cuda)}


def peak_megabytes(device: str) -> dict[str, float]:
    """Return the most memory that this process held so far, and, of a GPU, what torch held there."""
    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
    found = {"process": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit, 1)}
    if device.startswith("cuda"):
        import torch

        found["gpu"] = round(torch.cuda.max_memory_allocated(device) / 2**20, 1)
    return found


def _commit() -> str:
    found = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    return found.stdout.strip()


def _without_paths(arguments: list[str]) -> list[str]:
    """Name data and folders by their last part: where they lie on one machine is nobody's business."""
    return [Path(argument).name if os.sep in argument else argument for argument in arguments]


LOAD_AT_START = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
