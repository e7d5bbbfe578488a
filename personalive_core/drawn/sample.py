"""The bundled sample: one drawn portrait, and a short film of another person who talks, blinks and looks around."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import OutputError
from .canvas import FaceMotion
from .head import Identity
from .person import draw_portrait

SITTER = Identity(
    skin=(236, 190, 160), hair=(92, 54, 36), iris=(84, 116, 92), lips=(196, 92, 92), shirt=(38, 96, 110),
    backdrop=(196, 188, 178), style="long", jaw=0.94, parting=-0.5,
)  # fmt: skip
DRIVER = Identity(
    skin=(198, 140, 104), hair=(38, 32, 32), iris=(92, 62, 40), lips=(166, 88, 78), shirt=(178, 74, 52),
    backdrop=(120, 146, 170), style="short", jaw=1.08, brows=1.35, lashes=0.4, clothes="collar",
)  # fmt: skip
RATE = 25  # frames a second
SOUND_RATE = 48000  # samples a second


def sample_motion(frame: int, rate: float) -> FaceMotion:
    """The talking person's motion in `frame` of a film of `rate` frames a second; calm and frontal at frame 0."""
    t = frame / rate
    turn = 2 * np.pi * t
    blink = float(max(0.0, 1 - abs((t + 1.5) % 2.4 - 2.2) / 0.1))
    brow = float(0.7 * np.sin(0.55 * turn))
    return FaceMotion(
        yaw=float(17 * np.sin(0.45 * turn)),
        pitch=float(-6 * np.sin(0.7 * turn)),
        roll=float(5 * np.sin(0.33 * turn)),
        shift=(float(0.05 * np.sin(0.3 * turn)), float(0.02 * np.sin(0.8 * turn))),
        scale=float(1 + 0.03 * np.sin(0.4 * turn)),
        mouth=float(mouth_opening(np.array(t))),
        smile=float(0.6 * np.sin(0.9 * turn)),
        blink=(blink, blink),
        brow=(brow, brow),
        gaze=(float(0.6 * np.sin(0.6 * turn)), 0.0),
    )


def mouth_opening(seconds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mouth opening, 0 .. 1, at each time: four syllables a second, in phrases with pauses between."""
    turn = 2 * np.pi * seconds
    syllables = np.abs(np.sin(2 * turn)) * (0.7 + 0.3 * np.sin(0.83 * turn))
    phrase = np.clip(2.5 * np.sin(0.4 * turn + 0.3) + 1.2, 0, 1)
    return np.asarray(0.9 * syllables * phrase)


def voice(seconds: float) -> NDArray[np.float32]:
    """A hummed vowel [samples] at SOUND_RATE, peak 0.1; its loudness follows the mouth opening."""
    t = np.arange(round(seconds * SOUND_RATE)) / SOUND_RATE
    pitch = 125 + 12 * np.sin(2 * np.pi * 0.4 * t)
    phase = 2 * np.pi * np.cumsum(pitch) / SOUND_RATE
    harmonics = np.arange(1, 16)
    formants = np.exp(-(((125 * harmonics - 700) / 350) ** 2)) + 0.5 * np.exp(-(((125 * harmonics - 1200) / 250) ** 2))
    tone = sum(weight * np.sin(n * phase) for n, weight in zip(harmonics, formants + 0.15 / harmonics, strict=True))
    sound = tone * mouth_opening(t)
    return np.asarray(0.1 * sound / max(float(np.abs(sound).max()), 1e-9), np.float32)


def write_sample(folder: Path, seconds: float = 2.0, size: int = 512) -> tuple[Path, Path]:
    """Draws and writes `folder`/reference.png and `folder`/driving.mp4 (h264 with sound); returns their two paths.

    Raises OutputError where the folder cannot be written or PyAV is missing.
    """
    reference, driving = folder / "reference.png", folder / "driving.mp4"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw_portrait(SITTER, FaceMotion(), size)).save(reference)
        write_driving(driving, seconds, size)
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(f"the sample cannot be written to {folder}: {reason}; choose another folder") from error
    return reference, driving


def write_driving(path: Path, seconds: float, size: int) -> None:
    """Writes the film of the talking person; one thread, so that the same call writes the same bytes.

    Raises OutputError where PyAV is missing.
    """
    try:
        import av
    except ImportError as error:
        raise OutputError("writing the sample film needs PyAV: install it with `pip install av`") from error
    with av.open(str(path.absolute()), "w") as film:  # a relative name with a colon would be taken for an address
        video = film.add_stream("h264", rate=Fraction(RATE), options={"crf": "18", "threads": "1"})
        video.width, video.height, video.pix_fmt = size, size, "yuv420p"
        audio = film.add_stream("aac", rate=SOUND_RATE, layout="mono")
        for frame in range(round(seconds * RATE)):
            picture = draw_portrait(DRIVER, sample_motion(frame, RATE), size)
            film.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        film.mux(video.encode())
        sound = av.AudioFrame.from_ndarray(voice(seconds)[None], format="fltp", layout="mono")
        sound.sample_rate = SOUND_RATE
        film.mux(audio.encode(sound))
        film.mux(audio.encode())
