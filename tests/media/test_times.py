"""Time is never lost: what is written plays as long as what was read, picture and sound."""

import random
from fractions import Fraction
from itertools import pairwise

import av
import numpy as np
import pytest
from PIL import Image

from personalive_core.errors import OutputError
from personalive_core.media.encode import LONGEST
from personalive_core.media.video import Frame, probe, resample
from personalive_core.media.write import VideoWriter, WriteOptions
from tests.media.films import H, W, decode_sound, encode, encode_sound, number, numbered, read

TICK = {".mp4": Fraction(1, 90_000), ".mov": Fraction(1, 90_000), ".mkv": Fraction(1, 1000)}
RATES = [
    Fraction(*rate) for rate in ((24000, 1001), (25, 1), (60000, 1001), (1, 1), (1, 2), (944000, 6751477), (23, 1))
]


def random_times(rng, rate):
    """Rising times that begin anywhere: even, varying, in milliseconds, or with pauses of minutes and hours."""
    pause = rng.choice([30, 4000, 9000])
    gaps = {
        "even": lambda: 1 / rate,
        "varying": lambda: Fraction(rng.randint(2_000, 500_000), 10**6),
        "milliseconds": lambda: Fraction(rng.randint(2, 200), 1000),
        "pauses": lambda: Fraction(rng.choice([1, 1, 1, pause]), 2),
    }
    gap = gaps[rng.choice(list(gaps))]
    times = [Fraction(rng.choice([0, rng.randint(0, 10**7)]), 1000)]
    for _ in range(rng.randint(0, 14)):
        times.append(times[-1] + gap())
    return times


@pytest.mark.parametrize("suffix", TICK)
def test_times_and_durations_come_back(tmp_path, suffix):
    rng, path = random.Random(suffix), tmp_path / f"a{suffix}"
    for _ in range(25):
        rate = rng.choice(RATES)
        times = random_times(rng, rate)
        last = rng.choice([None, 1 / rate, Fraction(rng.randint(10, 8000), 1000), Fraction(5000)])
        with VideoWriter(path, (W, H), WriteOptions(rate=rate)) as writer:
            for index, time in enumerate(times):
                writer.write(numbered(index), time, last)
        frames, ends = read(path), [*times[1:], times[-1] + (last or 1 / rate)]
        assert [number(frame.image) for frame in frames] == list(range(len(times)))
        for frame, time, end in zip(frames, times, ends, strict=True):
            assert abs(frame.time - (time - times[0])) <= TICK[suffix]
            assert abs(frame.time + frame.duration - (end - times[0])) <= TICK[suffix]


@pytest.mark.parametrize("suffix", TICK)
@pytest.mark.parametrize(("pictures", "sound", "held"), [(25, 1, None), (10, 3, None), (50, 1, None), (12, 4.4, 4)])
def test_a_copy_plays_as_long_as_the_film(tmp_path, suffix, pictures, sound, held):
    """The sound ends with, long after or before the pictures, or while the last of them is held; it ends in a click."""
    click = sound - 0.01
    film = encode_sound(tmp_path / f"film{suffix}", sound, "pcm_s16le", pictures, click, held)
    path = copy(film, tmp_path / f"copy{suffix}")
    wave, hertz = decode_sound(path)
    assert np.flatnonzero(np.abs(wave) > 0.3)[0] / hertz == pytest.approx(click, abs=0.003)
    assert length(read(path)) == pytest.approx(length(read(film)), abs=0.002)
    assert read(film)[-1].duration == pytest.approx(held or 0.04, abs=0.002)


@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
@pytest.mark.parametrize("lossless", [False, True])
def test_the_sounds_length_stays_over_generations(tmp_path, suffix, lossless):
    """An encoder fills its last frame with silence, which is not part of the sound. Where it starts late, as AAC does,
    the header tells the length in milliseconds."""
    rng = random.Random(f"{suffix}{lossless}")
    for _ in range(3):
        samples = rng.randint(30_000, 120_000)
        film = encode_sound(tmp_path / f"0{suffix}", samples / 48_000, "pcm_s16le", rng.randint(1, 40))
        for generation in (1, 2):
            film = copy(film, tmp_path / f"{generation}{suffix}", lossless=lossless)
            with av.open(str(film)) as container:
                sound = container.streams.audio[0]
                told = sound.duration * sound.time_base
            assert abs(told - max(Fraction(samples, 48_000), length(read(film)))) <= (
                0 if lossless else Fraction(1, 1000)
            )


def test_sound_ends_where_the_pictures_were_cut(tmp_path):
    film = encode_sound(tmp_path / "film.mp4", 3, video_frames=25)
    wave, hertz = decode_sound(copy(film, tmp_path / "a.mp4", count=24))
    assert len(wave) / hertz == pytest.approx(0.96, abs=0.03)
    wave, hertz = decode_sound(copy(film, tmp_path / "a.mp4", start=0.5))
    assert len(wave) / hertz == pytest.approx(2.5, abs=0.03)
    wave, hertz = decode_sound(copy(film, tmp_path / "a.mp4", rate=Fraction(7)))
    assert len(wave) / hertz == pytest.approx(3, abs=0.03)


def test_a_pause_too_long_for_the_container_is_refused_and_what_is_made_stays(tmp_path):
    pause = Fraction(LONGEST, 90_000)
    for suffix in (".mp4", ".mkv"):
        slides(VideoWriter(tmp_path / f"a{suffix}", (W, H)), Fraction(0), pause)
        assert abs(read(tmp_path / f"a{suffix}")[1].time - pause) <= TICK[suffix]
    writer = VideoWriter(tmp_path / "b.mp4", (W, H))
    with pytest.raises(OutputError, match=r"mp4 cannot hold a pause of over 6\.6 hours: write \.mkv"):
        slides(writer, Fraction(0), pause + 1)
    assert len(read(writer.partial)) == 1


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png"])
def test_animations_hold_their_last_picture(tmp_path, suffix):
    pictures = [Image.fromarray(numbered(i)) for i in range(3)]
    path = tmp_path / f"a{suffix}"
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=[20, 40, 3000], loop=0)
    frames = read(path)
    assert [(frame.time, frame.duration) for frame in frames] == [
        (Fraction(0), Fraction(20, 1000)),
        (Fraction(20, 1000), Fraction(40, 1000)),
        (Fraction(60, 1000), Fraction(3)),
    ]
    assert len(read(path, rate=Fraction(10))) == 31
    assert length(read(copy(path, tmp_path / "b.mp4"))) == pytest.approx(3.06, abs=0.001)


@pytest.mark.parametrize("suffix", [".webp", ".png"])
def test_sixty_pictures_a_second(tmp_path, suffix):
    """Browsers slow down only what is shown for 10 ms or less."""
    pictures = [Image.fromarray(numbered(i)) for i in range(30)]
    times = [17, 17, 16] * 10
    pictures[0].save(tmp_path / f"a{suffix}", save_all=True, append_images=pictures[1:], duration=times, lossless=True)
    assert sum(frame.duration for frame in read(tmp_path / f"a{suffix}")) == Fraction(sum(times), 1000)
    assert probe(tmp_path / f"a{suffix}").duration == Fraction(sum(times), 1000)
    pictures[0].save(tmp_path / f"b{suffix}", save_all=True, append_images=pictures[1:], duration=10, lossless=True)
    assert [frame.duration for frame in read(tmp_path / f"b{suffix}")] == [Fraction(1, 10)] * 30


def test_the_still_before_an_animation_is_not_shown(tmp_path):
    still, *pictures = (Image.fromarray(numbered(i)) for i in range(4))
    still.save(tmp_path / "a.png", save_all=True, append_images=pictures, default_image=True, duration=40)
    assert [number(frame.image) for frame in read(tmp_path / "a.png")] == [1, 2, 3]


def test_resampling_keeps_the_whole_time(tmp_path):
    path = encode(tmp_path / "a.mp4", [numbered(i) for i in range(10)])
    for rate in (Fraction(7), Fraction(24000, 1001), Fraction(60), Fraction(1)):
        frames = read(path, rate=rate)
        assert [frame.time for frame in frames] == [i / rate for i in range(len(frames))]
        assert all(frame.duration == 1 / rate for frame in frames[:-1])
        assert length(frames) == Fraction(2, 5)
    assert length(read(path, rate=Fraction(7), start=Fraction(1, 5))) == Fraction(1, 5)


def test_resampling_shows_no_picture_long_before_its_time():
    """In a pause of ten seconds the nearest picture would come five seconds early."""
    frames = [Frame(numbered(i), Fraction(time), None) for i, time in enumerate((0, 10))]
    shown = list(resample(iter(frames), Fraction(25), Fraction(0)))
    assert next(frame.time for frame in shown if number(frame.image) == 1) >= 10 - Fraction(1, 20)


def test_joined_transport_streams(tmp_path):
    """At the joint the first file's last packet counts as corrupt, and the second one's clock starts again."""
    one = encode_sound(tmp_path / "a.ts", 1, video_frames=25, click=0.9).read_bytes()
    (tmp_path / "b.ts").write_bytes(one + one)
    frames = read(tmp_path / "b.ts")
    assert [number(frame.image) for frame in frames] == [*range(25), *range(25)]
    assert length(frames) == pytest.approx(2, abs=0.1)
    wave, hertz = decode_sound(copy(tmp_path / "b.ts", tmp_path / "c.mkv"))
    loud = np.flatnonzero(np.abs(wave) > 0.3) / hertz
    assert loud[0] == pytest.approx(0.9, abs=0.01)
    assert loud[-1] == pytest.approx(1.9, abs=0.1)


def test_pauses_in_joined_transport_streams(tmp_path):
    times = [Fraction(n, 25) for n in range(30)]
    times = [*times, *(time + 3 for time in times)]
    one = encode(tmp_path / "a.ts", [numbered(i) for i in range(60)], times=times).read_bytes()
    (tmp_path / "b.ts").write_bytes(one + one)
    frames = read(tmp_path / "b.ts")
    steps = [later.time - frame.time for frame, later in pairwise(frames)]
    assert [index for index, step in enumerate(steps) if step > 1] == [29, 89]
    assert steps[29] == steps[89] == times[30] - times[29]


def copy(source, path, lossless=False, **cut):
    """`source` as the animation writes it: each frame at its time, with the sound."""
    info = probe(source)
    frames = read(source, **cut)
    options = WriteOptions(cut.get("rate") or info.rate, source, frames[0].time, lossless)
    with VideoWriter(path, (info.width, info.height), options) as writer:
        for frame in frames:
            writer.write(frame.image, frame.time, frame.duration)
    return path


def slides(writer, *times):
    with writer:
        for index, time in enumerate(times):
            writer.write(numbered(index), time)


def length(frames):
    return frames[-1].time + frames[-1].duration - frames[0].time
