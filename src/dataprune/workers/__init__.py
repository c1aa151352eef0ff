"""Run many jobs: in this process, in several at once, or on the machines of a Ray cluster."""

from dataprune.workers.child import default_workers
from dataprune.workers.jobs import Executor, ExecutorConfig, Job, Outcome, Pool, Report, Tell
from dataprune.workers.pool import open_pool, run_jobs
