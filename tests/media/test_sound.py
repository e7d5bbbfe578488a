"""The sound of a film as people bring it: which track is used, and what happens when its format changes."""

from fractions import Fraction

import av
import numpy as np
import pytest
from av.stream import Disposition

from personalive_core.errors import InputError
from personalive_core.media import audio
from personalive_core.media.audio import has_audio
from personalive_core.media.write import WriteOptions
from tests.media.films import decode_sound, encode_sound, numbered, write


def tone(stream, start, seconds, hertz, layout="stereo", rate=48000):
    """Packets of a tone from `start` seconds on; the encoder is flushed."""
    count = round(rate * seconds)
    wave = 0.5 * np.sin(2 * np.pi * hertz * np.arange(count) / rate)
    samples = np.repeat(wave[None], {"mono": 1, "stereo": 2, "5.1": 6}[layout], 0).astype(np.float32)
    packets = []
    for at in range(0, count, 1024):
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples[:, at : at + 1024]), "fltp", layout)
        frame.sample_rate, frame.time_base = rate, Fraction(1, rate)
        frame.pts = round(start * rate) + at
        packets += stream.encode(frame)
    return packets + stream.encode(None)


def two_parts(path, *parts):
    """A transport stream whose AAC track changes after a second: each part is (layout, rate), a tone of 440 Hz."""
    whole = b""
    for start, (layout, rate) in enumerate(parts):
        with av.open(str(path), "w", format="mpegts") as out:
            track = out.add_stream("aac", rate=rate, layout=layout)
            out.mux(tone(track, start, 1, 440, layout, rate))
        whole += path.read_bytes()
    path.write_bytes(whole)
    return path


def pitch(wave, rate):
    return np.argmax(np.abs(np.fft.rfft(wave))) * rate / len(wave)


@pytest.mark.parametrize("first", [("mono", 48000), ("stereo", 48000), ("5.1", 48000), ("stereo", 44100)])
@pytest.mark.parametrize("second", [("mono", 48000), ("stereo", 48000), ("5.1", 48000), ("stereo", 44100)])
def test_a_format_that_changes_in_mid_file(tmp_path, first, second):
    film = two_parts(tmp_path / "a.ts", first, second)
    path = write(tmp_path / "b.mkv", [numbered(0)] * 50, WriteOptions(audio=film, lossless=True))
    wave, rate = decode_sound(path)
    wave = wave / 2**31
    for part in (wave[rate // 4 : 3 * rate // 4], wave[5 * rate // 4 : 7 * rate // 4]):
        assert pitch(part, rate) == pytest.approx(440, abs=3)
        assert np.abs(part).max() > 0.3


def tracks(path, defaults, undecodable=()):
    """Two sound tracks of 300 and 600 Hz in mkv, marked as `defaults` says; `undecodable` ones have no known codec."""
    with av.open(str(path), "w") as out:
        made = [out.add_stream("pcm_s16le", rate=48000, layout="mono") for _ in defaults]
        for track, default in zip(made, defaults, strict=True):
            track.disposition = Disposition.default.value if default else 0  # PyAV before 17 sets only an int
        for index, track in enumerate(made):
            out.mux(tone_s16(track, 300 * (index + 1)))
    content = path.read_bytes()
    at = -1
    for index in range(len(defaults)):
        at = content.index(b"A_PCM/INT/LIT", at + 1)
        if index in undecodable:
            content = content[:at] + b"A_PCM/UNKNOWN" + content[at + 13 :]
    path.write_bytes(content)
    return path


def tone_s16(stream, hertz):
    wave = (16000 * np.sin(2 * np.pi * hertz * np.arange(48000) / 48000)).astype(np.int16)
    frame = av.AudioFrame.from_ndarray(wave[None], "s16", "mono")
    frame.sample_rate, frame.pts, frame.time_base = 48000, 0, Fraction(1, 48000)
    return [*stream.encode(frame), *stream.encode(None)]


@pytest.mark.parametrize(
    ("defaults", "undecodable", "hertz", "said"),
    [
        ((True, False), (), 300, ""),
        ((False, True), (), 600, ""),
        ((True, True), (), 300, ""),
        ((True, False), (0,), 600, "cannot be decoded: track 1 is used"),
        ((False, True), (1,), 300, "cannot be decoded: track 0 is used"),
    ],
)
def test_the_default_track_that_can_be_decoded(tmp_path, caplog, defaults, undecodable, hertz, said):
    film = tracks(tmp_path / "a.mkv", defaults, undecodable)
    wave, rate = decode_sound(write(tmp_path / "b.mkv", [numbered(0)] * 25, WriteOptions(audio=film, lossless=True)))
    assert pitch(wave, rate) == pytest.approx(hertz, abs=3)
    assert said in caplog.text
    assert len(caplog.records) == bool(said)


def test_no_track_that_can_be_decoded(tmp_path):
    with pytest.raises(InputError, match="cannot be decoded: write without its sound"):
        has_audio(tracks(tmp_path / "a.mkv", (True, False), (0, 1)))


def test_a_track_that_gives_nothing_is_passed_over(tmp_path, monkeypatch):
    """Its codec is known, but not one packet decodes."""
    film = tracks(tmp_path / "a.mkv", (True, False))
    monkeypatch.setattr(audio, "_gives_sound", lambda _, index: index == 1)
    wave, rate = decode_sound(write(tmp_path / "b.mkv", [numbered(0)] * 25, WriteOptions(audio=film, lossless=True)))
    assert pitch(wave, rate) == pytest.approx(600, abs=3)


def test_a_silent_end_keeps_its_place(tmp_path):
    """Samples of silence at a cut are samples: what follows must not come early."""
    film = encode_sound(tmp_path / "a.mkv", 3, "pcm_s16le", video_frames=10, click=2.5)
    path = write(tmp_path / "b.mkv", [numbered(0)] * 10, WriteOptions(audio=film, lossless=True))
    wave, rate = decode_sound(path)
    assert np.flatnonzero(np.abs(wave) > 0.3 * 2**31)[0] / rate == pytest.approx(2.5, abs=0.001)
