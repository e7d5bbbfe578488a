"""Boxes, the choice among faces, square crops, and the detectors behind their protocol."""

import logging
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from personalive_core.errors import InputError, WeightsError
from personalive_core.faces import detectors
from personalive_core.faces.crop import (
    Box,
    Crop,
    Face,
    adjusted,
    choose_face,
    crop_image,
    portrait_crop,
    square_around,
    whole_frame,
)
from personalive_core.faces.detectors import (
    HaarDetector,
    InsightFaceDetector,
    YuNetDetector,
    detector_for,
    make_detector,
)

LEFT = Face(Box(10, 50, 60, 110), 0.9)
MIDDLE = Face(Box(200, 20, 300, 140), 0.7)
RIGHT = Face(Box(500, 40, 550, 100), 0.99)
FACES = (MIDDLE, RIGHT, LEFT)


def picture(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize(
    ("choice", "expected"),
    [("largest", MIDDLE), ("left", LEFT), ("0", LEFT), ("1", MIDDLE), ("2", RIGHT), ("3", None), ("nearest", MIDDLE)],
)
def test_choice_without_a_previous_face(choice, expected):
    assert choose_face(FACES, choice, None) == expected


def test_nearest_weighs_place_and_size():
    assert choose_face(FACES, "nearest", Box(490, 45, 540, 105)) == RIGHT
    small, large = Face(Box(105, 100, 205, 200), 1.0), Face(Box(55, 50, 255, 250), 1.0)
    assert choose_face((large, small), "nearest", Box(100, 100, 200, 200)) == small
    assert choose_face((large, small), "nearest", Box(45, 50, 245, 250)) == large


@pytest.mark.parametrize("choice", ["rightmost", "-1", "", "1.5"])
def test_an_unknown_choice_is_refused_even_without_faces(choice):
    with pytest.raises(InputError, match="'largest', 'left', 'nearest'"):
        choose_face((), choice, None)


def test_no_faces_no_choice():
    assert choose_face((), "largest", None) is None


def test_boxes_are_checked():
    with pytest.raises(InputError, match="right > left"):
        Box(10, 10, 10, 20)
    with pytest.raises(InputError, match="more than one pixel"):
        Crop(0, 0, 0.5)


def test_whole_frame():
    assert whole_frame((512, 512)) == Crop(0, 0, 512)
    assert whole_frame((100, 301)) == Crop(100, 0, 100)
    assert whole_frame((301, 100)) == Crop(0, 100, 100)


def test_square_around_a_box():
    assert square_around(Box(100, 50, 200, 250)) == Crop(50, 50, 200)


def test_portrait_crop_holds_hair_and_shoulders():
    crop = portrait_crop(Box(900, 400, 1000, 520), (1080, 1920), expand=2.0)
    assert crop.size == 240
    assert crop.centre == pytest.approx((950, 460 + 0.05 * 240))


@pytest.mark.parametrize("face", [Box(0, 0, 100, 120), Box(1850, 1000, 1920, 1080), Box(500, 100, 1300, 1060)])
def test_portrait_crop_stays_in_the_frame_with_the_face(face):
    crop = portrait_crop(face, (1080, 1920))
    assert 0 <= crop.left <= face.left
    assert 0 <= crop.top <= face.top
    assert face.right <= crop.left + crop.size <= 1920
    assert face.bottom <= crop.top + crop.size <= 1080


def test_portrait_crop_must_hold_the_face():
    with pytest.raises(InputError, match=r"expand is 1 or more, got 0\.9"):
        portrait_crop(LEFT.box, (200, 600), expand=0.9)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ((), (100, 50, 200)),
        ((1.5,), (50, 0, 300)),
        ((0.5,), (150, 100, 100)),
        ((1, 0.1, -0.2), (120, 10, 200)),
        ((0.5, 0.5, 0.5), (200, 150, 100)),
        ((1, 5, 5), (600, 200, 200)),  # into the corner of the frame
        ((1, -1, -1), (0, 0, 200)),
        ((9,), (0, 0, 400)),  # all of its height
        ((2, 0.25, 0), (100, 0, 400)),
    ],
)
def test_a_crop_is_sized_and_moved_inside_the_frame(change, expected):
    """Of 400x800 pixels. A moved crop keeps its size."""
    changed = adjusted(Crop(100, 50, 200), (400, 800), *change)
    assert (changed.left, changed.top, changed.size) == pytest.approx(expected)


def test_a_crop_that_nothing_changes_is_the_same_to_the_bit():
    """Also one that the user drew beyond the frame."""
    crop = Crop(-3.3, 0.1, 77.7)
    assert adjusted(crop, (64, 64)) is crop


@pytest.mark.parametrize("change", [(0,), (-1,), (float("nan"),), (1, float("inf"), 0)])
def test_a_crop_is_not_sized_to_nothing(change):
    with pytest.raises(InputError, match="scale must be above 0"):
        adjusted(Crop(0, 0, 9), (64, 64), *change)


def test_a_crop_on_whole_pixels_at_its_size_is_exact():
    image = picture(64, 64)
    assert np.array_equal(crop_image(image, whole_frame((64, 64)), 64), image)
    assert np.array_equal(crop_image(image, Crop(5, 9, 32), 32), image[9:41, 5:37])


def test_edges_go_on_outside_the_frame():
    image = picture(20, 30)
    padded = np.pad(image, ((8, 8), (8, 8), (0, 0)), mode="edge")
    assert np.array_equal(crop_image(image, Crop(-6, -4, 32), 32), padded[4:36, 2:34])
    with pytest.raises(InputError, match="outside the 30x20 frame"):
        crop_image(image, Crop(30, 0, 16), 16)


def test_resizing_is_antialiased_and_sub_pixel_exact():
    stripes = np.zeros((256, 256, 3), np.uint8)
    stripes[:, ::2] = 255
    grey = crop_image(stripes, Crop(0, 0, 256), 64)[:, 2:-2]
    assert 126 <= grey.min() <= grey.max() <= 129

    ramp = np.broadcast_to(np.arange(200, dtype=np.uint8)[None, :, None], (200, 200, 3))
    half = crop_image(
        ramp, Crop(20.5, 30, 100), 50
    )  # pixel i is centred on 20.5 + 2 i + 1, half a pixel past its value
    assert np.array_equal(half[25, 1:-1, 0], 21 + 2 * np.arange(1, 49))


@pytest.mark.parametrize("image", [np.zeros((8, 8), np.uint8), np.zeros((8, 8, 4), np.uint8), np.zeros((8, 8, 3))])
def test_pictures_are_checked(image):
    with pytest.raises(InputError, match="uint8 RGB, got"):
        crop_image(image, Crop(0, 0, 8), 8)


def no_yunet():
    raise WeightsError("no YuNet here: get it")


def test_auto_looks_for_faces_in_pictures_that_are_not_square():
    square, wide = np.zeros((8, 8, 3), np.uint8), np.zeros((8, 9, 3), np.uint8)
    assert detector_for("auto", square, no_yunet) is None
    assert detector_for("none", wide, no_yunet) is None
    with pytest.raises(WeightsError, match="no YuNet here"):
        detector_for("auto", wide, no_yunet)


def test_haar_finds_the_same_face_in_a_wide_frame(demo_folder, haar):
    portrait = np.asarray(Image.open(demo_folder / "ref_image.png").convert("RGB"))
    (alone,) = haar(portrait)
    assert portrait_crop(alone.box, (512, 512)).size == 512
    frame = np.full((1100, 2000, 3), 128, np.uint8)
    frame[300:812, 1200:1712] = portrait
    face = choose_face(haar(frame), "largest", None)
    assert face.box.centre == pytest.approx((alone.box.centre[0] + 1200, alone.box.centre[1] + 300), abs=20)
    assert face.box.side == pytest.approx(alone.box.side, rel=0.1)
    crop = portrait_crop(face.box, frame.shape[:2])
    assert np.abs(np.array([crop.left, crop.top, crop.size]) - (1200, 300, 512)).max() < 50


def test_haar_finds_nothing_in_nothing(haar):
    assert haar(np.full((300, 400, 3), 90, np.uint8)) == ()
    assert haar(np.full((3, 3, 3), 90, np.uint8)) == ()


def test_haar_says_so_where_opencv_has_none(monkeypatch):
    cv2 = pytest.importorskip("cv2", reason="needs OpenCV: pip install opencv-python")
    monkeypatch.delattr(cv2, "CascadeClassifier", raising=False)
    with pytest.raises(InputError, match=r"needs OpenCV 4, and this is OpenCV .*: choose the yunet detector$"):
        HaarDetector()


def test_threads_may_share_haar(haar):
    """OpenCV's cascade itself keeps the sizes of one picture: two at once are mixed up, or fail."""
    pictures = [picture(side, side + 40) for side in (120, 200, 280)] * 8
    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(haar, pictures)) == [haar(image) for image in pictures]


class FakeYuNet:
    """Sees one face, the left half of its input, when that is blue (the network reads BGR)."""

    @staticmethod
    def create(*_):
        return FakeYuNet()

    def setInputSize(self, size):  # noqa: N802 - OpenCV's name
        self.size = size

    def detect(self, image):
        assert image.shape[1::-1] == self.size
        if image[0, 0, 0] < 200:
            return 0, None
        return 1, np.array([[0, 0, self.size[0] / 2, self.size[1], *[0] * 10, 0.875]], np.float32)


def test_yunet_shrinks_the_picture_and_scales_the_boxes_back(monkeypatch, tmp_path):
    cv2 = pytest.importorskip("cv2", reason="needs OpenCV: pip install opencv-python")
    monkeypatch.setattr(cv2, "FaceDetectorYN", FakeYuNet)
    (tmp_path / "yunet.onnx").touch()
    detector = make_detector("yunet", lambda: tmp_path / "yunet.onnx")
    assert detector(np.full((100, 200, 3), (0, 0, 255), np.uint8)) == (Face(Box(0, 0, 100, 100), 0.875),)
    assert detector(np.full((960, 1280, 3), (0, 0, 255), np.uint8)) == (Face(Box(0, 0, 640, 960), 0.875),)
    assert detector(np.full((960, 1280, 3), (255, 0, 0), np.uint8)) == ()


def test_threads_may_share_yunet(monkeypatch, tmp_path):
    """The size is set before a picture is looked at: OpenCV reads outside a picture of another size."""
    cv2 = pytest.importorskip("cv2", reason="needs OpenCV: pip install opencv-python")

    class Slow(FakeYuNet):
        @staticmethod
        def create(*_):
            return Slow()

        def setInputSize(self, size):  # noqa: N802 - OpenCV's name
            super().setInputSize(size)
            time.sleep(0.01)

    monkeypatch.setattr(cv2, "FaceDetectorYN", Slow)
    (tmp_path / "yunet.onnx").touch()
    detector = YuNetDetector(tmp_path / "yunet.onnx")
    sides = (50, 60, 70, 80)
    with ThreadPoolExecutor(len(sides)) as pool:
        found = list(pool.map(detector, [np.full((side, side, 3), (0, 0, 255), np.uint8) for side in sides]))
    assert [face.box.height for (face,) in found] == list(sides)


def test_yunet_is_shown_no_side_of_one_cell(monkeypatch, tmp_path):
    """OpenCV 4.14 finds faces at random in such pictures; black on the right and below is YuNet's own filling."""
    cv2 = pytest.importorskip("cv2", reason="needs OpenCV: pip install opencv-python")
    shown = []

    class Noting(FakeYuNet):
        @staticmethod
        def create(*_):
            return Noting()

        def detect(self, image):
            shown.append(image)
            return super().detect(image)

    monkeypatch.setattr(cv2, "FaceDetectorYN", Noting)
    (tmp_path / "yunet.onnx").touch()
    detector = YuNetDetector(tmp_path / "yunet.onnx")
    for size in ((1, 1), (32, 33), (640, 2), (20, 4000)):
        detector(np.full((*size, 3), 90, np.uint8))
    assert [image.shape[:2] for image in shown] == [(33, 33), (33, 33), (640, 33), (33, 640)]
    assert (shown[1][:32] == 90).all()
    assert (shown[1][32:] == 0).all()


def test_a_file_that_this_opencv_can_only_open_is_named(monkeypatch, tmp_path):
    """As 2023mar, of fixed size, in a build of OpenCV 5 with ONNX Runtime."""
    cv2 = pytest.importorskip("cv2", reason="needs OpenCV: pip install opencv-python")

    class Fixed(FakeYuNet):
        @staticmethod
        def create(*_):
            return Fixed()

        def detect(self, _):
            raise cv2.error("Got invalid dimensions for input: index: 2 Got: 480 Expected: 640")

    monkeypatch.setattr(cv2, "FaceDetectorYN", Fixed)
    path = tmp_path / "face_detection_yunet_2023mar.onnx"
    path.touch()
    with pytest.raises(WeightsError, match=r"cannot use .*2023mar.onnx as .*: delete it, then download it again"):
        YuNetDetector(path)(np.zeros((64, 64, 3), np.uint8))


def test_opencv_is_silent_only_while_yunet_is_made(monkeypatch, tmp_path):
    """Version 5 warns of a target at each network."""
    cv2 = pytest.importorskip("cv2", reason="needs OpenCV: pip install opencv-python")
    if not hasattr(cv2.utils, "logging"):
        pytest.skip("OpenCV 4.8.0 has no log level to read: pip install -U opencv-python to run it")
    log, levels = cv2.utils.logging, []
    monkeypatch.setattr(FakeYuNet, "create", staticmethod(lambda *_: levels.append(log.getLogLevel())))
    monkeypatch.setattr(cv2, "FaceDetectorYN", FakeYuNet)
    (tmp_path / "yunet.onnx").touch()
    before = log.getLogLevel()
    YuNetDetector(tmp_path / "yunet.onnx")
    assert levels == [log.LOG_LEVEL_SILENT]
    assert log.getLogLevel() == before != log.LOG_LEVEL_SILENT
    monkeypatch.delattr(cv2.utils, "logging")  # OpenCV 4.8 has none
    monkeypatch.setattr(FakeYuNet, "create", staticmethod(lambda *_: FakeYuNet()))
    assert YuNetDetector(tmp_path / "yunet.onnx")(np.zeros((64, 64, 3), np.uint8)) == ()


def test_what_is_used_is_logged_once_and_only_where_faces_are_looked_for(monkeypatch, caplog):
    monkeypatch.setattr(detectors, "make_detector", lambda *_: lambda _: ())
    square, wide = np.zeros((8, 8, 3), np.uint8), np.zeros((8, 9, 3), np.uint8)
    with caplog.at_level(logging.INFO):
        detector_for("auto", square, no_yunet)
        detector_for("none", wide, no_yunet)
        assert caplog.messages == []
        detector_for("auto", wide, no_yunet)(wide)
    assert caplog.messages == ["PersonaLive finds faces with yunet"]


def test_yunet_without_its_model(tmp_path):
    pytest.importorskip("cv2", reason="needs OpenCV: pip install opencv-python")
    for name in ("yunet", "auto"):
        with pytest.raises(WeightsError, match="no YuNet here"):
            make_detector(name, no_yunet)
    with pytest.raises(WeightsError, match=r"missing at .*absent.onnx: download it \(`personalive download --only"):
        YuNetDetector(tmp_path / "absent.onnx")
    (tmp_path / "broken.onnx").write_bytes(b"no network")
    with pytest.raises(WeightsError, match=r"cannot use .*broken.onnx as .*: delete it, then download it again"):
        YuNetDetector(tmp_path / "broken.onnx")


def test_opencv_missing(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "cv2", None)
    for name in ("haar", "yunet"):
        with pytest.raises(InputError, match="install it with `pip install opencv-python`"):
            make_detector(name, lambda: tmp_path)


def test_insightface_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "insightface", None)
    with pytest.raises(InputError, match="needs the insightface and onnxruntime packages"):
        make_detector("insightface", no_yunet)


def test_insightface_says_its_licence_once_and_reads_bgr(monkeypatch, caplog):
    class FaceAnalysis:
        def __init__(self, **_):
            pass

        def prepare(self, **_):
            pass

        def get(self, image):
            assert tuple(image[0, 0]) == (3, 2, 1)
            return [SimpleNamespace(bbox=np.array([1, 2, 3, 5], np.float32), det_score=np.float32(0.5))]

    app = SimpleNamespace(FaceAnalysis=FaceAnalysis)
    monkeypatch.setitem(sys.modules, "insightface", SimpleNamespace(app=app))
    monkeypatch.setitem(sys.modules, "insightface.app", app)
    with caplog.at_level(logging.WARNING):
        detector = InsightFaceDetector()
        for _ in range(2):
            assert detector(np.full((6, 6, 3), (1, 2, 3), np.uint8)) == (Face(Box(1, 2, 3, 5), 0.5),)
    assert [record for record in caplog.messages if "non-commercial research only" in record] == caplog.messages
    assert len(caplog.messages) == 1


def test_unknown_detector():
    with pytest.raises(InputError, match="one of auto, yunet, haar, insightface, none, got 'dlib'"):
        make_detector("dlib", no_yunet)
