"""A run on disk: made, opened, verified, and what leaves it."""

from dataprune.run.kept import check_new, write_folder, write_kept
from dataprune.run.opened import Run, open_run, verify
from dataprune.run.score import Progress, check_out, score

__all__ = ["Progress", "Run", "check_new", "check_out", "open_run", "score", "verify", "write_folder", "write_kept"]
