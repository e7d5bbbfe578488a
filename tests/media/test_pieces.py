"""Sound that comes piece by piece while a film is written: in its place to less than a frame, whatever is missing."""

from fractions import Fraction
from itertools import pairwise

import av
import numpy as np
import pytest

from personalive_core.errors import InputError
from personalive_core.media.pieces import SoundPieces
from personalive_core.media.write import VideoWriter, WriteOptions
from tests.media.films import decode_sound, encode_sound, read

RATE = 48000
BEGIN = 7000.25  # of the frames' clock, which is not the film's
WHITE = 1.6  # seconds after it, when picture and sound show it


def beep(start, end, rate=RATE, channels=1, at=WHITE, begin=BEGIN):
    """Sound [C, n] from `start` to `end` with a beep of 20 ms at `at`, in seconds since `begin`; (time, samples)."""
    times = start + np.arange(round((end - start) * rate)) / rate
    wave = np.where((times >= at) & (times < at + 0.02), 0.8 * np.sin(2 * np.pi * 1000 * times), 0)
    return begin + start, np.repeat(wave[None], channels, 0).astype(np.float32)


def film(path, sound, pieces, lag=0.0, seconds=3.0):
    """Frames at 25 a second, white from WHITE on for one frame; pieces [(time, samples, rate)] come `lag` s late."""
    waiting = list(pieces)
    with VideoWriter(path, (64, 64), WriteOptions(sound=sound)) as writer:
        for index in range(round(seconds * 25)):
            now = index / 25
            while waiting and waiting[0][0] - BEGIN + waiting[0][1].shape[1] / waiting[0][2] + lag <= now:
                sound.put(*waiting.pop(0))
            level = 255 if abs(now - WHITE) < 1e-6 else 20
            writer.write(np.full((64, 64, 3), level, np.uint8), Fraction(BEGIN) + Fraction(index, 25))
        for piece in waiting:
            sound.put(*piece)
    return path


def cut(start, end, size=0.1, **options):
    """The beep's sound in pieces, as a page sends them."""
    rate = options.get("rate", RATE)
    edges = np.arange(start, end + 1e-6, size)
    return [(*beep(one, other, **options), rate) for one, other in pairwise(edges)]


def apart(path):
    """Seconds from the white frame to the beep, as the file has them."""
    white = [frame.time for frame in read(path) if frame.image.mean() > 200]
    wave, rate = decode_sound(path)
    assert len(white) == 1
    loud = np.flatnonzero(np.abs(wave) > 0.3 * np.abs(wave).max())
    return loud[0] / rate - float(white[0])


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
@pytest.mark.parametrize(
    ("pieces", "lag"),
    [
        (cut(0, 3), 0.0),
        (cut(0, 3), 0.3),
        (cut(-2, 3), 0.1),
        (cut(1.2, 2.2), 0.1),  # it starts late, and ends early
        (cut(0, 0.7) + cut(1.5, 3), 0.1),  # a gap
        (cut(0, 3, rate=44100), 0.1),
        (cut(0.3, 0.8, rate=44100) + cut(1.3, 3, rate=16000), 0.1),
        (cut(0, 3, channels=2), 0.1),
        (cut(0, 3, size=0.37), 0.1),
    ],
    ids=["whole", "late pieces", "before too", "starts late", "gap", "44100", "rates", "stereo", "odd pieces"],
)
def test_sound_and_picture_are_in_sync(tmp_path, suffix, pieces, lag):
    path = film(tmp_path / f"a{suffix}", SoundPieces(), pieces, lag)
    assert abs(apart(path)) < 0.006
    wave, rate = decode_sound(path)
    assert len(wave) / rate == pytest.approx(3, abs=0.03)


def test_two_channels_stay_two(tmp_path):
    path = film(tmp_path / "a.mkv", SoundPieces(2), cut(0, 3, channels=2))
    with av.open(str(path)) as opened:
        assert opened.streams.audio[0].codec_context.layout.name == "stereo"
    assert abs(apart(path)) < 0.006


def test_vp9_and_opus_too(tmp_path):
    assert abs(apart(film(tmp_path / "a.webm", SoundPieces(), cut(0, 3)))) < 0.01


def test_no_sound_at_all_is_silence(tmp_path):
    path = film(tmp_path / "a.mp4", SoundPieces(), [])
    wave, rate = decode_sound(path)
    assert not wave.any()
    assert len(wave) / rate == pytest.approx(3, abs=0.03)


def test_sound_that_comes_after_silence_took_its_place_is_dropped(tmp_path):
    """It must not be heard at another time."""
    wave, rate = decode_sound(film(tmp_path / "a.mp4", SoundPieces(), cut(0, 3), lag=1.3))
    assert len(wave) / rate == pytest.approx(3, abs=0.03)
    assert not wave.any()


def test_small_misses_are_joined_and_large_ones_kept():
    sound = SoundPieces()
    sound.begin(RATE, Fraction(0))
    ones = np.ones((1, 480), np.float32)
    sound.put(0.0, ones, RATE)
    sound.put(0.012, ones, RATE)  # 2 ms late: joins
    sound.put(0.050, ones, RATE)  # a gap
    sound.put(0.055, ones, RATE)  # half of it overlaps what is there
    sound.close()
    taken, position = [], 0
    while position < 4800:
        piece = sound.read(position, 4800 - position)
        taken.append(piece)
        position += piece.shape[1]
    wave = np.concatenate(taken, 1)[0]
    expected = np.zeros(4800)
    expected[:960] = expected[2400:3120] = 1
    assert np.array_equal(wave, expected)


def test_sound_without_pictures_does_not_gather():
    sound = SoundPieces()
    for second in range(300):
        sound.put(float(second), np.zeros((1, RATE), np.float32), RATE)
    assert sum(piece.samples.nbytes for piece in sound._pieces) <= 62 * RATE * 4


def test_two_sounds_are_refused(tmp_path):
    with pytest.raises(InputError, match="one sound, but a file and pieces were given: give one"):
        VideoWriter(
            tmp_path / "a.mp4", (64, 64), WriteOptions(audio=encode_sound(tmp_path / "s.mkv", 1), sound=SoundPieces())
        )
