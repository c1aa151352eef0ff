"""How are many jobs run: in this process, or in several at once?

Knows processes, sockets and signals. Does not know what a job does. A job is a key, a function and an argument; run again
with the same argument it must give the same result, since a job whose worker was lost is run again.
"""

from dataprune.workers.cores import default_workers
from dataprune.workers.executors import Executor, run_jobs
from dataprune.workers.jobs import Job, Outcome, Report

__all__ = ["Executor", "Job", "Outcome", "Report", "default_workers", "run_jobs"]
