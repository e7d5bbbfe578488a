"""The command line as `python -m personalive_core`, without its console script."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
