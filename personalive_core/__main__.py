"""Runs the command line as `python -m personalive_core`, where its console script is not installed."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
