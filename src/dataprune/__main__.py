"""`python -m dataprune`: the command line."""

import sys

from dataprune.cli import main

if __name__ == "__main__":
    sys.exit(main())
