"""How are many jobs run: in this process, in several at once, or on the machines of a Ray cluster?"""

from dataprune.workers.cores import default_workers
from dataprune.workers.executors import Executor, ExecutorConfig, open_pool, run_jobs
from dataprune.workers.jobs import Job, Outcome, Pool, Report, Tell

__all__ = ["Executor", "ExecutorConfig", "Job", "Outcome", "Pool", "Report", "Tell", "default_workers", "open_pool", "run_jobs"]
