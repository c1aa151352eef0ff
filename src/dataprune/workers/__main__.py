"""Where a worker process begins."""

import sys

from dataprune.workers.worker import serve

serve(int(sys.argv[1]))
