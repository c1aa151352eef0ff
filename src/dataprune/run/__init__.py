"""A run on disk: made, opened, verified, and what leaves it."""

from dataprune.run.kept import write_folder, write_kept
from dataprune.run.opened import Run, open_run, verify
from dataprune.run.score import Progress, score

__all__ = ["Progress", "Run", "open_run", "score", "verify", "write_folder", "write_kept"]
