"""How are many jobs run: in this process, in several at once, or on the machines of a Ray cluster?

Knows processes, sockets, signals and Ray. Does not know what a job does. A job is a key, a function and an argument; run again
with the same argument it must give the same result, since a job whose worker was lost is run again.
"""

from dataprune.workers.cores import default_workers
from dataprune.workers.executors import Crew, Executor, run_jobs, team
from dataprune.workers.jobs import Job, Outcome, Report, Team, Tell

__all__ = ["Crew", "Executor", "Job", "Outcome", "Report", "Team", "Tell", "default_workers", "run_jobs", "team"]
