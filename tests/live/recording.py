"""Records for ever, as fast as it is encoded, and says how many frames were given. To be killed. Argument: the path."""

import sys
import time
from pathlib import Path

import numpy as np

from personalive_core.live.record import FilmRecorder, RecordOptions

WAITING = 20  # frames


def main(path: str) -> None:
    """Gives frames with sound until the process is killed; what waits for the encoder is less than may wait."""
    recorder, begin = FilmRecorder(Path(path), RecordOptions(sound=True)), 500.0
    for number in range(10**6):
        at = begin + number / 25
        recorder.show(at, np.full((64, 64, 3), 40 + number % 100, np.uint8))
        recorder.hear(at, np.zeros((1, 1920), np.float32), 48000)
        sys.stdout.write(f"{number + 1}\n")
        sys.stdout.flush()
        while recorder._frames.qsize() > WAITING:
            time.sleep(0.01)


if __name__ == "__main__":
    main(*sys.argv[1:])
