"""How many cores may this process use, and how is torch held to fewer?"""

import contextlib
import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
"""What the numeric libraries read when they are first loaded."""


def default_workers() -> int:
    """Count the cores that this process may use: its affinity, and the quota of its control group, rounded up."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _quota_cores(Path("/sys/fs/cgroup"), Path("/proc/self/cgroup"))
    return max(1, cores if quota is None else min(cores, math.ceil(quota)))


@contextlib.contextmanager
def torch_threads(threads: int) -> Iterator[None]:
    """Have torch use `threads` threads within, whether it is imported already or not."""
    torch = sys.modules.get("torch")
    if torch is not None:
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)
        return
    kept = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(threads)))
    try:
        yield
    finally:
        for name in THREAD_VARIABLES:
            os.environ.pop(name, None)
        os.environ.update({name: value for name, value in kept.items() if value is not None})
        torch = sys.modules.get("torch")
        if torch is not None:
            wished = kept["OMP_NUM_THREADS"] or ""
            torch.set_num_threads(int(wished) if wished.isdigit() else default_workers())


def _quota_cores(mount: Path, membership: Path) -> float | None:
    """Read the tightest CPU quota of the control groups (version 2, then 1) this process is in; None without one."""
    groups = [""]
    with contextlib.suppress(OSError):
        groups += [line.split(":", 2)[2] for line in membership.read_text().splitlines() if line.count(":") >= 2]
    quotas = []
    for group in {str(folder).lstrip("/") for name in groups for folder in (Path(name), *Path(name).parents)}:
        with contextlib.suppress(OSError, ValueError):
            quota, period = (mount / group / "cpu.max").read_text().split()
            quotas.append(int(quota) / int(period))
        with contextlib.suppress(OSError, ValueError):
            quota, period = ((mount / "cpu" / group / f"cpu.cfs_{part}_us").read_text() for part in ("quota", "period"))
            quotas.append(int(quota) / int(period))
    return min((quota for quota in quotas if quota > 0), default=None)
