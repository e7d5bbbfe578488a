"""LivePortrait in a real ComfyUI, on stand-in weights: the editor, its preview, expressions as files, timelines."""

import asyncio
import io
import json
import time

import aiohttp
import numpy as np
import pytest
import torch
from PIL import Image

from personalive_core.backends.liveportrait.expression_files import load_expression
from personalive_core.backends.liveportrait.motion_files import IMPLICIT
from personalive_core.media.audio import has_audio
from personalive_core.media.video import read_frames
from personalive_core.motion.files import read_kind
from tests.comfyui.live_weights import write_live_standin
from tests.comfyui.page import load_api, open_page
from tests.comfyui.server import ROOT, ComfyUI

pytestmark = [pytest.mark.comfyui, pytest.mark.timeout(600)]

EDITOR, TIMELINE = "PersonaLiveExpressionEditor", "PersonaLiveExpressionTimeline"
ROUTE = "/personalive/expression"
OURS = {"X-PersonaLive": "1"}
FACE = {"detector": "none", "face": "largest", "face_box": "", "crop_scale": 1.0, "crop_x": 0.0, "crop_y": 0.0}


@pytest.fixture(scope="module")
def server(tmp_path_factory, media, checkout):  # noqa: ARG001 - ends before the next ComfyUI's turn
    """A ComfyUI of these tests alone: others' prompts would make previews wait."""
    inputs = [media / name for name in ("portrait.png", "expression.png", "spoken.mp4")]
    comfyui = ComfyUI(tmp_path_factory.mktemp("liveportrait"), inputs=inputs)
    write_live_standin(comfyui.base / "models" / "liveportrait")
    write_live_standin(comfyui.base / "models" / "liveportrait" / "animals", "animal")
    with comfyui:
        yield comfyui


def editor(snapshot, **inputs):
    """A workflow with the editor as node 3, at rest but for `inputs`, that saves picture and expression."""
    kinds = {**snapshot[EDITOR]["input"]["required"]}
    plain = {name: spec[1]["default"] for name, spec in kinds.items() if "default" in spec[1]}
    return {
        "1": loader(),
        "2": {"class_type": "LoadImage", "inputs": {"image": "portrait.png"}},
        "3": {"class_type": EDITOR, "inputs": {**plain, **FACE, "model": ["1", 0], "image": ["2", 0], **inputs}},
        "4": {"class_type": "SaveImage", "inputs": {"images": ["3", 0], "filename_prefix": "edited"}},
        "5": {
            "class_type": "PersonaLiveSaveExpression",
            "inputs": {"expression": ["3", 2], "filename_prefix": "expressions/smile"},
        },
    }


def loader(**inputs):
    given = {"weights": "liveportrait", "subject": "human", "precision": "auto", "download_if_missing": False}
    return {"class_type": "PersonaLiveLoadLivePortrait", "inputs": {**given, **inputs}}


@pytest.fixture(scope="module")
def snapshot(server):
    return server.get("/object_info")


def picture(server, run, node="4"):
    (made,) = run.outputs[node]["images"]
    return read(server.base / made["type"] / made["subfolder"] / made["filename"])


def read(source):
    return np.asarray(Image.open(source).convert("RGB")).astype(int)


def ask(server, body, headers=OURS, data=None):
    """(status, JPEG or JSON) of a request for a preview; a prompt that has just ended is waited for."""

    async def answer():
        async with aiohttp.ClientSession() as http:
            send = {"data": data} if data is not None else {"json": body}
            async with http.post(server.url + ROUTE, headers=headers, **send) as reply:
                content = await reply.read()
                return reply.status, content if reply.content_type == "image/jpeg" else content.decode()

    found = asyncio.run(answer())
    while found == (200, '{"busy": true}'):
        time.sleep(0.3)
        found = asyncio.run(answer())
    return found


def begun(server, snapshot, **inputs):
    """Runs the editor: (run, its token)."""
    run = server.run(editor(snapshot, **inputs))
    assert not run.error, run.error
    return run, run.outputs["3"]["personalive_editor"][0]["token"]


def test_without_an_edit_the_path_is_like_any_other(server):
    async def answers(path):
        found = []
        async with aiohttp.ClientSession() as http:
            for prefix in ("", "/api"):
                for method in ("GET", "POST", "DELETE"):
                    async with http.request(method, server.url + prefix + path, headers=OURS) as answer:
                        found.append((answer.status, await answer.text()))
        return found

    assert asyncio.run(answers(ROUTE)) == asyncio.run(answers("/personalive/nothing"))


def test_a_slider_moves_picture_and_preview(server, snapshot):
    still, token = begun(server, snapshot)
    moved, newer = begun(server, snapshot, smile=1.0, yaw=12.0)
    assert picture(server, still).shape == picture(server, moved).shape
    assert np.abs(picture(server, still) - picture(server, moved)).max() > 0
    expression = load_expression(next((server.base / "output" / "expressions").glob("smile_00002*")))
    assert expression.turn.tolist() == [0, -12, 0]
    # the older run's edit goes on, too
    (_, at_rest), (_, turned) = ask(server, {"token": token}), ask(server, {"token": token, "values": {"yaw": 12.0}})
    assert np.abs(read(io.BytesIO(at_rest)) - read(io.BytesIO(turned))).max() > 0
    same, again = ask(server, {"token": newer}), ask(server, {"token": token, "values": {"yaw": 12.0, "smile": 1.0}})
    assert same == again
    assert read(io.BytesIO(same[1])).shape == picture(server, moved).shape


def test_only_the_page_gets_previews(server, snapshot):
    _, token = begun(server, snapshot)
    body = {"token": token}
    assert ask(server, body)[0] == 200
    assert ask(server, body, headers={})[0] == 403
    assert ask(server, body, headers={**OURS, "Origin": "http://elsewhere.example"})[0] == 403
    assert ask(server, {"token": f"{token}x"})[0] == 403
    assert ask(server, {})[0] == 403
    assert ask(server, {**body, "codes": "1=1," * 8000})[0] == 413
    for wrong in (
        {"values": {"smile": 99}},
        {"values": {"smiel": 0}},
        {"values": []},
        {"file": "/etc"},
        {"codes": "x"},
    ):
        status, text = ask(server, {**body, **wrong})
        assert (status, list(json.loads(text))) == (200, ["error"]), wrong
    assert "error" in json.loads(ask(server, None, data=b"[" * 16000)[1])
    assert ask(server, body)[0] == 200


def test_an_edit_ends_with_its_model(server, snapshot):
    _, token = begun(server, snapshot)
    server.post("/free", {"unload_models": True})
    assert ask(server, {"token": token})[0] == 200, "networks are brought back"
    server.post("/free", {"unload_models": True, "free_memory": True})
    end = time.monotonic() + 30
    while (status := ask(server, {"token": token})[0]) != 405:  # until the path is gone
        assert time.monotonic() < end, status
        time.sleep(0.5)


def test_an_expression_is_used_in_another_workflow(server, snapshot):
    begun(server, snapshot, wink=20.0, codes="60=5")
    name = sorted((server.base / "output" / "expressions").glob("*.safetensors"))[-1].name
    given = {"file": f"expressions/{name} [output]", "ratio": 0.5}
    workflow = {
        **editor(snapshot, expression=["6", 0]),
        "6": {"class_type": "PersonaLiveLoadExpression", "inputs": given},
    }
    run = server.run(workflow)
    assert not run.error
    whole, half = (
        load_expression(path) for path in sorted((server.base / "output" / "expressions").glob("*.safetensors"))[-2:]
    )
    assert torch.allclose(half.delta, whole.delta / 2)
    assert whole.delta[6, 0] == pytest.approx(0.005)


def test_a_sample_picture_gives_its_expression(server, snapshot):
    workflow = editor(snapshot, sample_image=["7", 0], sample_part="OnlyMouth")
    workflow["7"] = {"class_type": "LoadImage", "inputs": {"image": "expression.png"}}
    run = server.run(workflow)
    assert not run.error
    expression = load_expression(sorted((server.base / "output" / "expressions").glob("*.safetensors"))[-1])
    assert set(expression.delta.abs().sum(1).nonzero()[:, 0].tolist()) <= {14, 17, 19, 20}
    assert expression.delta.abs().max() > 0


def timeline(text, **inputs):
    given = {"timeline": text, "frames": 0, "stitching": True, "paste_back": True, **FACE}
    return {
        "1": loader(),
        "2": {"class_type": "LoadImage", "inputs": {"image": "portrait.png"}},
        "3": {"class_type": TIMELINE, "inputs": {**given, "model": ["1", 0], "image": ["2", 0], **inputs}},
        "4": {"class_type": "SaveImage", "inputs": {"images": ["3", 0], "filename_prefix": "frames"}},
    }


@pytest.mark.parametrize(("text", "count"), [("0: 0\n4: 1 x 0.5\n6: 0", 7), ("1=3:1\n0=2:0", 6)])
def test_a_timeline_draws_its_frames(server, text, count):
    name = sorted((server.base / "output" / "expressions").glob("*.safetensors"))[0].name
    workflow = timeline(text, expression_1=["6", 0])
    given = {"file": f"expressions/{name} [output]", "ratio": 1.0}
    workflow["6"] = {"class_type": "PersonaLiveLoadExpression", "inputs": given}
    run = server.run(workflow)
    assert not run.error, run.error
    assert len(run.outputs["4"]["images"]) == count
    assert ("3", count, count) in run.progress


@pytest.mark.parametrize(
    ("workflow", "words"),
    [
        (timeline("later: 1"), "Correct it: a keyframe is"),
        (timeline("5: 1"), "Add it: keyframe '5: 1' needs expression 1"),
        ({**timeline("5: 0"), "1": loader(subject="animal")}, "Turn on download_if_missing"),
    ],
)
def test_errors_begin_with_what_to_do(server, workflow, words):
    assert server.run(workflow).error.startswith(words), server.run(workflow).error


# --- a driving moves a picture

COUNT = 7


def animated(**retarget):
    """A film moves the portrait: frames as images (6, shown by 7) and a film (8)."""
    options = {"mode": "relative", "region": "all", "multiplier": 1.0, "stitching": True, "expression_friendly": True}
    options |= {"eyes": False, "lips": False, "close_lips": False}
    driving = {name: FACE[name] for name in ("detector", "face", "face_box")}
    taken = {"missing_face": "hold", "start": 0.2, "count": COUNT, "frame_rate": 0.0}
    film = {"filename_prefix": "video/moved", "format": "mp4", "lossless": False, "audio": True, "crf": 0}
    nodes = {
        "1": loader(),
        "2": {"class_type": "LoadImage", "inputs": {"image": "portrait.png"}},
        "3": {"class_type": "PersonaLivePrepareSource", "inputs": {"model": ["1", 0], "image": ["2", 0], **FACE}},
        "4": {"class_type": "LoadVideo", "inputs": {"file": "spoken.mp4"}},
        "5": {
            "class_type": "PersonaLiveExtractImplicitMotion",
            "inputs": {"model": ["1", 0], "driving": ["4", 0], **driving, **taken},
        },
        "9": {"class_type": "PersonaLiveRetarget", "inputs": {"source": ["3", 0], "motion": ["5", 0], **options}},
        "6": {"class_type": "PersonaLiveRender", "inputs": {"paste_back": False}},
        "7": {"class_type": "SaveImage", "inputs": {"images": ["6", 0], "filename_prefix": "moved"}},
        "8": {"class_type": "PersonaLiveRenderVideo", "inputs": {"paste_back": True, **film}},
        "10": {
            "class_type": "PersonaLiveSaveMotion",
            "inputs": {"motion": ["5", 0], "filename_prefix": "motion/implicit"},
        },
    }
    for key in ("6", "8", "9"):
        nodes[key]["inputs"]["model"] = ["1", 0]
    for key in ("6", "8"):
        nodes[key]["inputs"]["keypoints"] = ["9", 0]
    nodes["9"]["inputs"] |= retarget
    return nodes


def images_of(server, run):
    return [read(server.base / "output" / one["filename"]) for one in run.outputs["7"]["images"]]


def test_a_film_moves_a_picture(server):
    run = server.run(animated())
    assert not run.error, run.error
    images = images_of(server, run)
    assert [image.shape for image in images] == [(512, 512, 3)] * COUNT
    assert max(np.abs(image - images[0]).max() for image in images) > 0
    path = sorted((server.base / "output" / "video").glob("moved*.mp4"))[-1]
    frames = [frame.image for frame in read_frames(path)]
    assert len(frames) == COUNT
    portrait = read(server.base / "input" / "portrait.png")
    assert frames[0].shape == portrait.shape
    assert has_audio(path)
    assert run.outputs["8"]["personalive_compare"][0]["driving"]["filename"] == "spoken.mp4"


def test_none_of_the_motion_is_a_still(server):
    images = images_of(server, server.run(animated(multiplier=0.0)))
    assert len(images) == COUNT
    assert all((image == images[0]).all() for image in images)


def test_the_other_packs_modes_move_the_picture_in_their_ways(server):
    results = []
    for mode in ("none", "relative_rotation_only", "single_frame", "off"):
        run = server.run(animated(kj_mode=mode, expression_friendly=False, stitching=False))
        assert not run.error, run.error
        results.append(np.stack(images_of(server, run)))
    for index, one in enumerate(results):
        assert all((one != other).any() for other in results[:index])
    error = server.run(animated(kj_mode="source_video_smoothed")).error
    assert error.startswith("Choose another mode: source_video_smoothed is for a source video"), error
    error = server.run(animated(kj_mode="off", region="lip")).error
    assert error.startswith("Leave the region at all and motion relative: off takes over all of the face"), error


def test_saved_motion_moves_the_same(server):
    workflow = animated()
    fresh = images_of(server, server.run(workflow))
    (path,) = sorted((server.base / "output" / "motion").glob("implicit_*"))[-1:]
    given = {"file": f"motion/{path.name} [output]", "start": 0.0, "count": 0}
    workflow["5"] = {"class_type": "PersonaLiveLoadMotion", "inputs": given}
    del workflow["10"], workflow["4"]
    loaded = images_of(server, server.run(workflow))
    assert all((one == other).all() for one, other in zip(fresh, loaded, strict=True))


def test_one_picture_drives_by_its_expression(server):
    workflow = animated()
    workflow["4"] = {"class_type": "LoadImage", "inputs": {"image": "expression.png"}}
    workflow["5"]["inputs"]["start"] = 0.0
    run = server.run(workflow)
    assert not run.error, run.error
    assert len(images_of(server, run)) == 1


def test_what_needs_landmarks_says_so(server):
    error = server.run(animated(eyes=True)).error
    assert error.startswith("Put landmark.onnx into the weights folder"), error


def test_its_motion_is_plotted(server):
    workflow = animated()
    workflow["11"] = {"class_type": "PersonaLiveMotionPlot", "inputs": {"motion": ["5", 0]}}
    run = server.run(workflow)
    assert not run.error, run.error


def test_a_film_and_a_timeline_move_a_picture_together(server):
    """As long as the longer of both; the timeline's motion is the film's where nothing is added."""
    workflow = {**timeline("9: 0", motion=["11", 0], stitching=False), "10": animated()["4"], "11": animated()["5"]}
    workflow["11"]["inputs"]["driving"] = ["10", 0]
    workflow["12"] = {
        "class_type": "PersonaLiveSaveMotion",
        "inputs": {"motion": ["3", 1], "filename_prefix": "motion/edited"},
    }
    run = server.run(workflow)
    assert not run.error, run.error
    shown = [read(server.base / "output" / one["filename"]) for one in run.outputs["4"]["images"]]
    assert len(shown) == 10
    assert max(np.abs(one - shown[0]).max() for one in shown[:COUNT]) > 0
    assert all((one == shown[0]).all() for one in shown[COUNT:]), "after its end the film moves nothing"
    motion = read_kind(IMPLICIT, sorted((server.base / "output" / "motion").glob("edited_*"))[-1]).motion
    assert len(motion) == 10
    assert (motion.pose.angles[:COUNT] - motion.pose.angles[:1]).abs().max() > 0


def test_an_edited_head_turns_personalives_portrait(server, snapshot):
    """The editor's result by Keypoint Interpolate, with expression 0: to Edit Motion and a streaming sampler."""
    small = json.loads((ROOT / "workflows" / "api" / "image_to_image.json").read_text())
    (load,) = (node for node in small.values() if node["class_type"] == "LoadPersonaLive")
    load["inputs"] |= {"weights": "small (drawn people, built in)", "attention": "pytorch"}
    reference = {"size": 0, "detector": "none", "face": "largest", "face_box": ""}
    reference |= {"crop_scale": 1.0, "crop_x": 0.0, "crop_y": 0.0}
    strengths = {"lead_in": 4, "rotation": 1.0, "translation": 0.5, "scale": 0.0, "expression": 0.0}
    kinds = snapshot["PersonaLiveEditMotion"]["input"]["required"]
    plain = {name: spec[1]["default"] for name, spec in kinds.items() if "default" in spec[1]}

    def frames_with(**inputs):
        nodes = {key: node for key, node in editor(snapshot, **inputs).items() if key in "123"}
        fit = {"reference": ["11", 0], "motion": ["3", 3], **strengths}
        nodes["10"] = load
        nodes["11"] = {
            "class_type": "PersonaLivePrepareReference",
            "inputs": {"model": ["10", 0], "image": ["2", 0], **reference},
        }
        nodes["12"] = {"class_type": "KeypointInterpolate", "inputs": fit}
        nodes["13"] = {"class_type": "PersonaLiveEditMotion", "inputs": {"motion": ["12", 0], **plain}}
        sampler = {"model": ["10", 0], "reference": ["11", 0], "motion": ["13", 0]}
        sampler |= {"seed": 0, "steps": 4, "preview_every": 0}
        nodes["14"] = {"class_type": "StreamingSampler", "inputs": sampler}
        nodes["7"] = {"class_type": "SaveImage", "inputs": {"images": ["14", 0], "filename_prefix": "turned"}}
        return nodes

    results = []
    for yaw in (0.0, 15.0):
        run = server.run(frames_with(yaw=yaw))
        assert not run.error, run.error
        results.append(images_of(server, run))
    assert [len(images) for images in results] == [1, 1]
    assert np.abs(results[0][0] - results[1][0]).mean() > 1
    workflow = frames_with()
    workflow["12"]["inputs"]["expression"] = 1.0
    error = server.run(workflow).error
    assert error.startswith("Connect it to Retarget (LivePortrait), or to Keypoint Interpolate with expression 0"), (
        error
    )


# --- a source video, and an animal


def filmed(**source):
    """A picture's expression moves the film: the film in 8, pasted back without loss."""
    nodes, taken = animated(), {"missing_face": "hold", "start": 0.2, "count": COUNT, "longest_side": 1280}
    nodes["4"] = {"class_type": "LoadImage", "inputs": {"image": "expression.png"}}
    nodes["5"]["inputs"] |= {"start": 0.0, "count": 0}
    nodes["2"] = {"class_type": "LoadVideo", "inputs": {"file": "spoken.mp4"}}
    given = {**FACE, **taken, "face_box": "100, 90, 160, 170", "model": ["1", 0], "video": ["2", 0], **source}
    nodes["3"] = {"class_type": "PersonaLivePrepareSourceVideo", "inputs": given}
    nodes["8"]["inputs"] |= {"format": "mkv", "lossless": True, "filename_prefix": "video/filmed"}
    return {key: nodes[key] for key in ("1", "2", "3", "4", "5", "8", "9")}


def test_a_film_is_the_source(server):
    run = server.run(filmed())
    assert not run.error, run.error
    path = sorted((server.base / "output" / "video").glob("filmed*.mkv"))[-1]
    own = [frame.image for frame in read_frames(server.base / "input" / "spoken.mp4")][5 : 5 + COUNT]
    frames = [frame.image for frame in read_frames(path)]
    assert len(frames) == COUNT
    for frame, before in zip(frames, own, strict=True):
        assert np.array_equal(frame[:8], before[:8]), "only the face is another"
        assert not np.array_equal(frame, before)
    assert has_audio(path), "the driving has no sound, the film has"
    shown = run.outputs["3"]["personalive_faces"][0]
    assert (shown["width"], shown["height"]) == own[0].shape[1::-1]
    assert len(shown["crop"]) == 4
    assert ("8", COUNT, COUNT) in run.progress
    assert run.previews


def test_cancel_keeps_what_was_made_of_a_film(server):
    asked = []

    def cancel(run):
        if not asked and any(node == "8" and value >= 2 for node, value, _ in run.progress):
            asked.append(True)
            server.post("/interrupt", {})

    workflow = filmed(count=0)
    workflow["8"]["inputs"]["filename_prefix"] = "video/cancelled"
    run = server.run(workflow, watch=cancel)
    assert run.interrupted
    (path,) = (server.base / "output" / "video").glob("cancelled*")
    count = len(list(read_frames(server.base / "input" / "spoken.mp4", 0.2)))
    assert ".partial" in path.name
    assert 2 <= len(list(read_frames(path))) < count


NINE = "132, 175; 175, 179; 209, 179; 252, 175; 192, 215; 165, 240; 219, 240; 192, 232; 192, 248"


def an_animal(points=NINE):
    nodes = animated(stitching=False, multiplier=1.75)
    nodes["1"] = loader(weights="liveportrait/animals", subject="animal")
    nodes["2"]["inputs"]["image"] = "personalive_cat.png"
    nodes["3"]["inputs"]["face_points"] = points
    return {key: nodes[key] for key in ("1", "2", "3", "4", "5", "6", "7", "9")}


def test_nine_points_give_an_animals_face(server):
    run = server.run(an_animal())
    assert not run.error, run.error
    assert len(images_of(server, run)) == COUNT
    error = server.run(an_animal("132, 175; 175, 179")).error
    assert error.startswith("Click the others, or clear it: face_points has 2 of nine points"), error


PREPARE = "PersonaLivePrepareSource"
POINTS = f"""() => window.app.graph._nodes.find(n => n.type === '{PREPARE}').widgets
    .find(w => w.name === 'face_points').value"""


@pytest.mark.browser
def test_nine_clicks_place_the_points(server, tmp_path):
    """The loader of animals brings the mode; a point is undone, dragged; the run shows the turned square."""
    with open_page(server.url, {}) as (page, seen):
        load_api(page, an_animal(""))
        page.evaluate(VIEW.replace(EDITOR, PREPARE))
        page.get_by_text("Click point 1 of 9: right eye").wait_for()
        page.wait_for_timeout(800)
        svg = page.locator(".personalive-picker svg").first
        box, side = svg.bounding_box(), 384
        scale = min(box["width"], box["height"]) / side
        left, top = (box["x"] + (box["width"] - side * scale) / 2, box["y"] + (box["height"] - side * scale) / 2)
        wanted = [tuple(map(int, point.split(","))) for point in NINE.split(";")]
        for index, (x, y) in enumerate(wanted[:3]):
            page.get_by_text(f"Click point {index + 1} of 9").wait_for()
            page.mouse.click(left + x * scale, top + y * scale)
        page.get_by_role("button", name="Undo").click()
        for x, y in wanted[2:]:
            page.mouse.click(left + x * scale, top + y * scale)
        page.get_by_text("All nine points are there").wait_for()
        placed = np.array([[float(v) for v in point.split(",")] for point in page.evaluate(POINTS).split(";")])
        assert np.abs(placed - wanted).max() <= 2, "the picture does not move while the words change"
        page.mouse.move(left + 192 * scale, top + 215 * scale)
        page.mouse.down()
        page.mouse.move(left + 216 * scale, top + 231 * scale, steps=4)
        page.mouse.up()
        dragged = np.array([[float(v) for v in point.split(",")] for point in page.evaluate(POINTS).split(";")])
        assert np.abs(dragged[4] - (216, 231)).max() <= 2
        assert (np.delete(dragged, 4, 0) == np.delete(placed, 4, 0)).all()
        page.evaluate("() => window.app.queuePrompt(0, 1)")
        page.locator(".personalive-picker polygon.crop").wait_for(timeout=120_000, state="attached")
        page.wait_for_timeout(1500)
        page.screenshot(path=tmp_path / "points.png")
        picker = page.locator(".personalive-bar").filter(has=page.get_by_role("button", name="Undo"))
        picker.get_by_role("button", name="automatic").click()
        assert page.evaluate(POINTS) == ""
        picker.get_by_role("button", name="Points").click()
        page.get_by_text("The whole picture is used: drag a box").nth(1).wait_for()  # the film's node says it too
        assert not seen.ours()
        assert not seen.foreign


PICTURE = "() => document.querySelector('.personalive-editor img').src"
VIEW = """() => {
  const { canvas, graph } = window.app, node = graph._nodes.find(n => n.type === 'PersonaLiveExpressionEditor');
  canvas.ds.scale = 0.6;
  canvas.ds.offset = [120 / 0.6 - node.pos[0], 60 / 0.6 - node.pos[1]];
  canvas.setDirty(true, true);
}"""
SET = """([name, value]) => {
  const node = window.app.graph._nodes.find(n => n.type === 'PersonaLiveExpressionEditor');
  const widget = node.widgets.find(w => w.name === name);
  widget.value = value;
  widget.callback?.(value);
}"""


@pytest.mark.browser
@pytest.mark.parametrize("vue", [False, True], ids=["canvas", "vue"])
def test_the_picture_follows_the_sliders(server, checkout, snapshot, tmp_path, vue):
    """Run; move sliders; before; reset; the model goes: the panel says to run again."""
    if vue and checkout.version == "0.3.64":
        pytest.skip("the Vue nodes of its page are an experiment that shows no node at all")
    with open_page(server.url, {"Comfy.VueNodes.Enabled": vue}) as (page, seen):
        load_api(page, editor(snapshot, smile=0.1))
        page.evaluate(VIEW)
        page.get_by_text("Run the workflow once, then move a slider").wait_for()
        page.evaluate("() => window.app.queuePrompt(0, 1)")
        page.wait_for_function(f"() => ({PICTURE})().includes('/view?')", timeout=120_000)
        page.wait_for_timeout(600)
        assert "/view?" in page.evaluate(PICTURE), "what the run has drawn is not drawn again"
        for value in (0.4, 0.8, 1.2):
            page.evaluate(SET, ["smile", value])
        page.wait_for_function(f"() => ({PICTURE})().startsWith('blob:')", timeout=60_000)
        page.get_by_text("Move a slider: the picture follows.").wait_for()
        first = page.evaluate(PICTURE)
        page.evaluate(SET, ["yaw", 15])
        page.wait_for_function(f"before => ({PICTURE})() !== before", arg=first, timeout=60_000)
        page.screenshot(path=tmp_path / f"editor_{vue}.png")
        page.get_by_role("button", name="Reset sliders").click()
        values = page.evaluate(
            "() => window.app.graph._nodes.find(n => n.type === 'PersonaLiveExpressionEditor')"
            ".widgets.filter(w => ['smile', 'yaw', 'move_z'].includes(w.name)).map(w => w.value)"
        )
        assert values == [0, 0, 1]
        assert not seen.ours()
        assert not seen.foreign
