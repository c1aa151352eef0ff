"""`python -m dataprune`: the command line."""

from dataprune.cli import command

if __name__ == "__main__":
    command()
