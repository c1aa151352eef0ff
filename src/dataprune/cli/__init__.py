"""The command line: each command parses, makes one library call, and prints."""

from dataprune.cli.app import main

__all__ = ["main"]
