"""The nine points of an animal in Prepare Source: they place and turn the crop; anything else is told."""

import importlib

import numpy as np
import pytest
import torch

from personalive_core.drawn.canvas import FaceMotion
from personalive_core.drawn.person import draw_portrait
from personalive_core.drawn.sample import DRIVER
from tests.backends.liveportrait.tiny import SIZES

CORE = "_pack_without_comfyui.personalive_core"
WHOLE = draw_portrait(DRIVER, FaceMotion(), 128)
NINE = ((40, 50), (52, 52), (70, 52), (82, 50), (61, 68), (50, 84), (72, 84), (61, 80), (61, 90))


@pytest.fixture(scope="module", autouse=True)
def _one_thread(one_thread):
    pass


@pytest.fixture(scope="module")
def source(node_module):
    node_module("host.systems")
    return node_module("host.liveportrait_source")


@pytest.fixture(scope="module")
def model(source, node_module, tmp_path_factory):  # noqa: ARG001 - the pack is imported first
    networks = importlib.import_module(f"{CORE}.backends.liveportrait.networks").build_live(SIZES)
    return node_module("host.sockets").LoadedLivePortrait(networks, tmp_path_factory.mktemp("weights"), "animal")


def text_of(points):
    return "; ".join(f"{x}, {y}" for x, y in points)


def test_points_are_read_as_the_page_writes_them(source):
    assert source.parse_points(text_of(NINE)).tolist() == [list(map(float, point)) for point in NINE]
    assert source.parse_points(text_of(NINE).replace(";", ",")).shape == (9, 2)
    assert source.parse_points(" ") is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1, 2, x", "write nine points x, y; x, y in pixels"),
        ("1, 2, 3", "write nine points"),
        ("1, inf", "write nine points"),
        (";", "write nine points"),
        (text_of(NINE[:4]), "face_points has 4 of nine points: click the others, or clear it"),
        (text_of([(x + 500, y) for x, y in NINE]), "face_points lies outside the 128x128 picture"),
    ],
)
def test_what_is_no_nine_points_is_told(source, model, text, words):
    with pytest.raises(source.InputError, match=words):
        source.found_face(model, WHOLE, source.FaceChoice(face_points=text, face_box="30, 30, 98, 110"))


def turned(points, degrees):
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return (np.array(points) - 64) @ turn + 64


@pytest.mark.parametrize("degrees", [0, 25])
def test_nine_points_place_and_turn_the_crop(source, model, degrees):
    portrait = source.read_source(model, WHOLE, source.FaceChoice(face_points=text_of(turned(NINE, degrees))))
    seen = np.linalg.inv(portrait.crop.matrix)[:2] @ np.append(turned(NINE, degrees), np.ones((9, 1)), 1).T
    eyes, mouth = seen[:, :4].mean(1), seen[:, 5:7].mean(1)
    assert eyes[0] == pytest.approx(mouth[0], abs=0.5), "the face stands upright in the crop"
    assert 130 < eyes[1] < mouth[1] < 400
    assert torch.isnan(portrait.source.motion.lips).all()


def test_an_animal_that_no_detector_knows_is_asked_for_by_hand(source, model, monkeypatch):
    monkeypatch.setattr(source, "live_face_detector", lambda *_: lambda _: ())
    with pytest.raises(source.FaceError, match="draw a face_box around the animal's face, or click its nine points"):
        source.found_face(model, WHOLE, source.FaceChoice())


def test_the_picker_shows_the_turned_square(node_module, source, model, monkeypatch):
    panel, picker = node_module("host.panel"), node_module("host.liveportrait_picker")
    monkeypatch.setattr(panel, "viewable", lambda path: path)
    monkeypatch.setattr(panel, "temp_file", lambda content, _: len(content))
    wanted = source.FaceChoice(face_points=text_of(turned(NINE, 25)))
    shown = picker.picture_faces(model, source.read_source(model, WHOLE, wanted), wanted)
    corners = np.array(shown["crop"])
    sides = np.linalg.norm(corners - np.roll(corners, 1, 0), axis=1)
    assert np.allclose(sides, sides[0], rtol=0.01)
    across = corners[1] - corners[0]
    assert np.rad2deg(np.arctan2(across[1], across[0])) == pytest.approx(25, abs=1)
    assert (shown["faces"], shown["detects"], shown["width"]) == ([], True, 128)
