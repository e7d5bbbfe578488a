"""The Expression Editor without ComfyUI: what a page may ask, whose request wins, when the route is there; folders."""

import asyncio
import gc
import json
import re
import threading
import weakref
from copy import copy
from io import BytesIO
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from PIL import Image

from personalive_core.backends.liveportrait.editor import limits
from personalive_core.backends.liveportrait.expressions import Expression
from personalive_core.backends.liveportrait.networks import build_live
from personalive_core.backends.liveportrait.reference import crop_source, live_source
from personalive_core.backends.liveportrait.sliders import ALL_SLIDERS
from personalive_core.drawn.canvas import FaceMotion
from personalive_core.drawn.person import draw_portrait
from personalive_core.drawn.sample import DRIVER
from tests.backends.liveportrait.tiny import SIZES

OURS = {"X-PersonaLive": "1"}
POINTS = np.array([[50, 60], [80, 60], [65, 75], [55, 92], [75, 92]], np.float32)  # eyes, nose, mouth's corners


@pytest.fixture(scope="module", autouse=True)
def _one_thread(one_thread):
    pass


@pytest.fixture
def editing(node_module, monkeypatch):
    """nodes/host/editing.py with a service of its own; `prompts` says how many ComfyUI has."""
    module = node_module("host.editing")
    module.prompts = 0
    queue = SimpleNamespace(get_tasks_remaining=lambda: module.prompts)
    monkeypatch.setattr(module.PromptServer, "instance", SimpleNamespace(prompt_queue=queue))
    monkeypatch.setattr(module, "EDITS", module.EditService())
    monkeypatch.setattr(module, "LIVE_ON", SimpleNamespace(hub=None))
    return module


@pytest.fixture(scope="module")
def face(node_module):
    """A drawn person as the node reads one, on small networks with random weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # of some weights a turn of the head changes next to nothing
        model = build_live(SIZES)
    whole = draw_portrait(DRIVER, FaceMotion(), 128)
    crop = crop_source(whole, POINTS)
    found = node_module("host.editing").SourcePortrait(whole, crop, live_source(model, [crop.small]))
    return SimpleNamespace(model=model, found=found)


class Model:
    """As much of a LoadedLivePortrait as a sitting uses."""

    def __init__(self, networks):
        self.networks = networks


def sitting(editing, face, model, **choices):
    paste = editing.small_paste(face.found)
    return editing.Sitting(weakref.ref(model), face.found.source, paste, editing.Choices(**choices))


def levels(data):
    return np.asarray(Image.open(BytesIO(data)).convert("RGB")).astype(int)


# --- what a page may ask


def test_what_a_page_leaves_out_is_as_in_the_run(editing):
    begun = editing.Choices({"smile": 0.5, "wink": 3.0}, "gradio", sample_ratio=0.5)
    found = editing.asked({"token": "t", "values": {"smile": 1}, "sample_ratio": 1, "stitching": False}, begun)
    assert found.plain() == {
        "values": {"smile": 1.0, "wink": 3.0},
        "editor": "gradio",
        "stitching": False,
        "sample_part": "OnlyExpression",
        "sample_ratio": 1,
        "codes": "",
    }
    assert begun.values["smile"] == 0.5


@pytest.mark.parametrize(
    "request_body",
    [
        {"values": {"smile": 1.4}},
        {"values": {"smile": "1"}},
        {"values": {"smile": True}},
        {"values": {"smile": float("nan")}},
        {"values": {"smile": 10**400}},
        {"values": {"frown": 0}},
        {"values": [1]},
        {"sample": "x"},
        {"added": 1},
        {"filename": "/etc/passwd"},
        {"stitching": 1},
        {"sample_ratio": "1"},
        {"sample_ratio": float("inf")},
        {"sample_ratio": 10**400},
        {"codes": 3},
        {"editor": None},
    ],
)
def test_nothing_else_may_be_asked(editing, request_body):
    with pytest.raises(editing.InputError, match="reload the page"):
        editing.asked(request_body, editing.Choices())


def test_all_that_is_connected_is_added(editing, face):
    added = Expression(torch.full((21, 3), 0.5), torch.zeros(3))
    sample = face.found.source.motion
    chosen = {"codes": "60=100", "sample": sample, "sample_part": "OnlyExpression", "sample_ratio": 0.5}
    expression = editing.Choices(added=added, **chosen).edit().expression
    own = sample.expression[0].clone()
    own[5, :2] = 0
    expected = 0.5 + 0.5 * own
    expected[6, 0] += 0.1
    assert torch.allclose(expression.delta, expected)


# --- pictures


def test_a_preview_is_the_small_picture_with_the_face_moved(editing, face):
    model = Model(face.model)
    one = sitting(editing, face, model)
    still, moved = (levels(one.preview(editing.Choices({"yaw": yaw}).edit())) for yaw in (0.0, 20.0))
    assert still.shape == moved.shape == (128, 128, 3)
    assert np.abs(still - moved).max() > 2


def test_nan_is_told_and_not_drawn(editing, face):
    model, edit = copy(face.model), editing.Choices().edit()
    object.__setattr__(model, "render", lambda *given: face.model.render(*given) * torch.nan)
    with pytest.raises(editing.PersonaLiveError, match="the networks gave NaN in float32: check the weights"):
        editing.draw_edit(model, face.found.source, edit)


def test_a_large_picture_is_pasted_into_a_small_copy(editing, face, node_module):
    large = np.asarray(Image.fromarray(face.found.whole).resize((2000, 1000)))
    crop = crop_source(large, POINTS * [2000 / 128, 1000 / 128])
    kind = node_module("host.editing").SourcePortrait
    paste = editing.small_paste(kind(large, crop, face.found.source))
    assert paste.original.shape == (384, 768, 3)
    error = np.abs(paste(crop.picture).astype(int) - paste.original)
    assert error.mean() < 2, "the crop itself comes back where it was"


# --- requests


def ask(editing, token, **asked):
    return asyncio.run(editing.EDITS.answer({"token": token, **asked}))


def test_a_token_is_needed(editing, face):
    model = Model(face.model)
    token = editing.EDITS.begin(sitting(editing, face, model))
    for wrong in ("", f"{token}x", None, 3):
        with pytest.raises(PermissionError):
            ask(editing, wrong)
    assert ask(editing, token)[:2] == b"\xff\xd8"


def test_the_newest_request_wins(editing, face, monkeypatch):
    """While one is drawn, of those that wait only the last is."""
    model, drawn, going = Model(face.model), [], threading.Event()
    token = editing.EDITS.begin(sitting(editing, face, model))

    def preview(_self, edit):
        drawn.append(float(edit.expression.turn[1]))
        going.wait(20)
        return b"jpeg"

    monkeypatch.setattr(editing.Sitting, "preview", preview)

    async def all_at_once():
        async def later(yaw):
            return await editing.EDITS.answer({"token": token, "values": {"yaw": yaw}})

        first = asyncio.ensure_future(later(1.0))
        while not drawn:
            await asyncio.sleep(0.01)
        others = [asyncio.ensure_future(later(yaw)) for yaw in (2.0, 3.0, 4.0)]
        await asyncio.sleep(0.05)
        going.set()
        return await asyncio.gather(first, *others)

    assert asyncio.run(all_at_once()) == [b"jpeg", None, None, b"jpeg"]
    assert drawn == [-1.0, -4.0]


def test_previews_wait_for_prompts_and_live_sessions(editing, face):
    model = Model(face.model)
    token = editing.EDITS.begin(sitting(editing, face, model))
    editing.prompts = 1
    with pytest.raises(editing.DeviceTakenError):
        ask(editing, token)
    editing.prompts = 0
    assert ask(editing, token)
    editing.EDITS.prompted({})  # one that is on its way into the queue
    with pytest.raises(editing.DeviceTakenError):
        ask(editing, token)
    editing.LIVE_ON.hub = object()
    with pytest.raises(editing.InputError, match="a live session has the networks' device: end it"):
        ask(editing, token)


def test_a_wrong_choice_is_told_before_anything_is_drawn(editing, face):
    model = Model(face.model)
    token = editing.EDITS.begin(sitting(editing, face, model))
    editing.prompts = 1
    with pytest.raises(editing.InputError, match="codes are code=value"):
        ask(editing, token, codes="smile")


def test_a_sitting_does_not_keep_the_model(editing, face):
    model = Model(face.model)
    token = editing.EDITS.begin(sitting(editing, face, model))
    assert editing.EDITS.open
    del model
    gc.collect()
    assert not editing.EDITS.open
    with pytest.raises(PermissionError):
        ask(editing, token)


def test_only_the_last_sittings_are_kept(editing, face):
    model = Model(face.model)
    tokens = [editing.EDITS.begin(sitting(editing, face, model)) for _ in range(editing.MOST_SITTINGS + 2)]
    for gone in tokens[:2]:
        with pytest.raises(PermissionError):
            ask(editing, gone)
    assert ask(editing, tokens[2])


# --- the route


@pytest.fixture
def post(editing):
    """Posts to the route of a server: (status, content type, body)."""

    async def posted(data, headers):
        app = web.Application()
        resource = editing.WhileEditing(editing.EDIT_ROUTE)
        resource.add_route("POST", editing.answer_preview)
        app.router.register_resource(resource)
        async with TestClient(TestServer(app)) as client:
            answer = await client.post(editing.EDIT_ROUTE, data=data, headers=headers)
            return answer.status, answer.content_type, await answer.read()

    def post(body, headers=OURS):
        return asyncio.run(posted(body if isinstance(body, bytes) else json.dumps(body).encode(), headers))

    return post


def test_the_path_is_there_while_something_is_edited(editing, face, post):
    assert post({})[0] == 404
    model = Model(face.model)
    token = editing.EDITS.begin(sitting(editing, face, model))
    status, kind, body = post({"token": token})
    assert (status, kind, body[:2]) == (200, "image/jpeg", b"\xff\xd8")
    assert post({"token": "x"})[0] == 403
    del model
    gc.collect()
    assert post({"token": token})[0] == 404


def test_only_the_pages_own_requests_are_read(editing, face, post):
    model = Model(face.model)
    token = editing.EDITS.begin(sitting(editing, face, model))
    assert post({"token": token}, {})[0] == 403
    assert post({"token": token}, {**OURS, "Origin": "http://elsewhere.example"})[0] == 403
    assert post({"token": token, "codes": "1" * editing.MOST_REQUEST})[0] == 413
    for body in (b"", b"{", b"[" * 10_000, b"\xff\xfe", b"[1]", b"3"):
        assert post(body)[0] in (200, 403), body
        assert post(body)[1] == "application/json"


def test_what_cannot_be_drawn_is_told_in_a_sentence(editing, face, post, monkeypatch):
    model = Model(face.model)
    token = editing.EDITS.begin(sitting(editing, face, model))
    assert json.loads(post({"token": token, "codes": "smile"})[2])["error"].startswith("Correct it: codes are")
    editing.prompts = 1
    assert json.loads(post({"token": token})[2]) == {"busy": True}
    editing.prompts = 0

    def full(*_):
        raise RuntimeError("CUDA out of memory")

    monkeypatch.setattr(editing, "draw_edit", full)
    assert json.loads(post({"token": token})[2])["error"].startswith("The GPU ran out of memory")


# --- widgets and folders


def test_every_slider_has_a_widget_and_the_page_knows_it(node_module, repository):
    sliders = node_module("host.sliders")
    assert set(sliders.WORDS) == {one.name for one in ALL_SLIDERS}
    groups = [next(one.group for one in ALL_SLIDERS if one.name == name) for name in sliders.WORDS]
    assert list(dict.fromkeys(groups)) == ["eyes", "brows", "mouth", "head"]
    assert sum(a != b for a, b in pairwise(groups)) == 3, "each group in one piece"
    script = (repository / "web" / "js" / "editor_sliders.js").read_text(encoding="utf-8")
    block = re.search(r"SLIDERS = Object.freeze\(\{(.*?)\}\)", script, re.DOTALL)[1]
    listed = {name: float(value) for name, value in re.findall(r"(\w+): (-?[\d.]+)", block)}
    assert list(listed) == list(sliders.WORDS)
    assert listed == {one.name: limits(one)[2] for one in ALL_SLIDERS}


def test_steps_are_fine_and_round(node_module):
    step = node_module("host.sliders").step
    assert [step(width) for width in (210, 39, 1.6, 0.38, 0.18)] == [1.0, 0.1, 0.001, 0.001, 0.0001]


@pytest.fixture
def folders(node_module, monkeypatch, tmp_path):
    """nodes/host/liveportrait.py, whose models folder is tmp_path."""
    module = node_module("host.liveportrait")
    paths = SimpleNamespace(get_folder_paths=lambda name: [str(tmp_path / name)], models_dir=str(tmp_path))
    monkeypatch.setattr(node_module("host.folders"), "folder_paths", paths)
    (tmp_path / "liveportrait").mkdir()
    return module


def test_weights_are_found_where_other_packs_keep_them(folders, tmp_path):
    root = tmp_path / "liveportrait"
    assert folders.live_folders() == {"liveportrait": root}
    (root / "warping_module.safetensors").touch()
    (root / "animal").mkdir()
    (root / "animal" / "warping_module.safetensors").touch()
    (root / "mine").mkdir()
    (root / "mine" / "spade_generator.safetensors").touch()
    (root / "insightface").mkdir()
    assert folders.live_folders() == {"liveportrait": root, "liveportrait/mine": root / "mine"}


def test_the_hubs_inner_folder_is_found(folders, tmp_path):
    inner = tmp_path / "liveportrait" / "base_models"
    inner.mkdir()
    (inner / "warping_module.pth").touch()
    assert folders.live_folders() == {"liveportrait": tmp_path}


def test_an_unknown_folder_is_refused(folders):
    with pytest.raises(folders.WeightsError, match="no weights at models/gone: put them there, or choose liveportrait"):
        folders.chosen_live_folder("gone")


def test_missing_weights_say_how_large_they_are(folders, tmp_path):
    with pytest.raises(folders.WeightsError, match=r"turn on download_if_missing to download about 0\.5 GB"):
        folders.fetch_live(tmp_path / "liveportrait", "human", allowed=False)
    (tmp_path / "liveportrait" / "landmark.onnx").touch()
    with pytest.raises(folders.WeightsError, match=r"about 0\.5 GB"):
        folders.fetch_live(tmp_path / "liveportrait", "animal", allowed=False)


def test_missing_weights_are_downloaded_with_their_helpers(folders, tmp_path, monkeypatch):
    fetched = []
    monkeypatch.setattr(folders, "fetch", lambda _folder, files, *_: fetched.extend(file.network for file in files))
    monkeypatch.setattr(folders, "detector_place", lambda: tmp_path / "personalive")
    folders.fetch_live(tmp_path / "liveportrait", "human", allowed=True)
    assert set(fetched) == {*folders.LIVE_NETWORKS, "landmark", "yunet"}


def test_the_previews_thread_begins_with_the_first_request(editing, face):
    model = Model(face.model)
    before = threading.active_count()
    token = editing.EDITS.begin(sitting(editing, face, model))
    assert threading.active_count() == before
    ask(editing, token)
    assert any(thread.name.startswith("personalive-editor") for thread in threading.enumerate())
