"""Writes frames for ever and says after each how many were given; to be killed. Arguments: path, rate, audio or "-"."""

import sys
from fractions import Fraction
from pathlib import Path

from personalive_core.media.write import VideoWriter, WriteOptions
from tests.media.films import moving


def main(path: str, rate: str, audio: str) -> None:
    """Writes until the process is killed."""
    options = WriteOptions(rate=Fraction(rate), audio=None if audio == "-" else Path(audio))
    pictures = moving(16, 96, 64)
    with VideoWriter(Path(path), (96, 64), options) as writer:
        while True:
            writer.write(pictures[writer.frames % len(pictures)])
            sys.stdout.write(f"{writer.frames}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
