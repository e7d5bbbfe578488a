"""The pack in a real ComfyUI: it loads, its workflows run, and it caches, cancels, fails and unloads as it should."""

import copy
import json
import re
import shutil
import time
from fractions import Fraction

import av
import numpy as np
import pytest
import torch

from personalive_core.media.video import probe, read_frames
from personalive_core.media.write import VideoWriter, WriteOptions
from personalive_core.motion.files import load_motion, motion_times, save_motion
from tests.comfyui.server import PACK, ROOT, ComfyUI
from tests.comfyui.snapshot import reduce, stored
from tests.motion.samples import motion, write_old

pytestmark = [pytest.mark.comfyui, pytest.mark.timeout(600)]

SIZE, COUNT = 64, 10
PREPARE, SAMPLER = "PersonaLivePrepareReference", "PersonaLiveStreamingSamplerVideo"
API = sorted((ROOT / "workflows" / "api").glob("*.json"))
UI = sorted((ROOT / "workflows").glob("*.json"))
MEDIA = {  # the samples of the shipped workflows -> the tests' own, which may be real
    "personalive_portrait.png": "portrait.png",
    "personalive_expression.png": "expression.png",
    "personalive_film.mp4": "driving.mp4",
    "personalive_motion.safetensors": "motion/PersonaLive_00001_.safetensors [output]",
}


def shipped(name):
    """A workflow as it comes with the pack, in API format."""
    return json.loads((ROOT / "workflows" / "api" / f"{name}.json").read_text(encoding="utf-8"))


def small(name, size=SIZE, count=COUNT):
    """A shipped workflow on the tests' media and stand-in weights, cut to what a CPU does in seconds."""
    workflow = shipped(name)
    for node in workflow.values():
        inputs = node["inputs"]
        if node["class_type"] == "LoadPersonaLive":
            inputs |= {"weights": "personalive", "decoder": "tiny", "attention": "auto", "download_if_missing": False}
        elif node["class_type"] == PREPARE:
            inputs |= {"size": size, "detector": "none"}
        elif node["class_type"] == "ExtractHybridMotion":
            inputs |= {"count": count, "detector": "none"}
        inputs |= {key: MEDIA[value] for key, value in inputs.items() if isinstance(value, str) and value in MEDIA}
    return workflow


def change(workflow, node, **inputs):
    """Another value in the first node of that class."""
    workflow = copy.deepcopy(workflow)
    next(n for n in workflow.values() if n["class_type"] == node)["inputs"].update(inputs)
    return workflow


def key_of(workflow, node):
    return next(key for key, n in workflow.items() if n["class_type"] == node)


def made(comfyui, run, key="video"):
    """The files that a run's nodes show under `key`."""
    items = [item for output in run.outputs.values() for item in output.get(key, [])]
    return [comfyui.base / item["type"] / item["subfolder"] / item["filename"] for item in items]


def first_line(run):
    return run.error.splitlines()[0] if run.error else ""


# --- it loads


def test_the_pack_loads_fast_and_without_a_word(comfyui):
    """Told from the server's start alone: what it logs later belongs to other tests."""
    log, started, _ = comfyui.log.read_text().partition("Starting server")
    assert started
    seconds = re.search(rf"([\d.]+) seconds: \S+{PACK}$", log, re.MULTILINE)
    assert seconds, log[-2000:]
    assert float(seconds[1]) < 1
    assert "IMPORT FAILED" not in log
    (only,) = [line for line in log.splitlines() if "personalive" in line.lower()]
    assert only.endswith(seconds[0])


def test_nodes_are_those_of_the_snapshot(comfyui):
    """A difference breaks saved workflows: add inputs at the end and optional, and write the snapshot anew."""
    assert reduce(comfyui.get("/object_info")) == stored()


def test_help_locales_and_workflows_are_served(comfyui):
    assert "# " in comfyui.get(f"/extensions/{PACK}/docs/StreamingSampler.md")
    assert "# " in comfyui.get(f"/extensions/{PACK}/docs/StreamingSampler/ko.md")
    assert "StreamingSampler" in comfyui.get("/i18n")["zh"]["nodeDefs"]
    assert set(comfyui.get("/workflow_templates")[PACK]) == {path.stem for path in UI}


# --- every shipped workflow runs


@pytest.fixture(scope="module")
def saved_motion(comfyui):
    """What motion_reuse loads, as motion_blend writes it."""
    run = comfyui.run(small("motion_blend"))
    assert not run.error
    return made(comfyui, run, "motion")[0]


@pytest.mark.parametrize("name", ["long_video", "batch", "paste_back", "motion_blend", "motion_reuse"])
def test_video_workflows(comfyui, saved_motion, media, name):
    run = comfyui.run(small(name))
    assert not run.error
    assert run.previews
    driving = probe(media / "driving.mp4")
    video = made(comfyui, run)[-1]
    info, frames = probe(video), list(read_frames(video))
    assert len(frames) == COUNT
    full = probe(media / "portrait.png")
    size = (full.width, full.height) if name == "paste_back" else (SIZE, SIZE)
    assert (info.width, info.height) == size
    assert info.rate == driving.rate
    assert len(load_motion(saved_motion)) == COUNT


def test_the_drivings_sound_is_kept_cut_or_left_out(comfyui):
    """12 frames from 0.4 s on at 25 a second: 0.48 s of sound, the same as in the driving from there on."""
    workflow = change(small("long_video", count=12), "LoadVideo", file="spoken.mp4")
    workflow = change(workflow, "ExtractHybridMotion", start=0.4)
    sound = heard(made(comfyui, comfyui.run(workflow))[0])
    whole = heard(comfyui.base / "input" / "spoken.mp4")
    assert len(sound) / 48000 == pytest.approx(0.48, abs=0.05)
    begin = round(0.4 * 48000)
    near = [np.corrcoef(sound[:20000], whole[begin + shift :][:20000])[0, 1] for shift in range(-1200, 1200, 8)]
    assert max(near) > 0.9
    silent = comfyui.run(change(workflow, SAMPLER, audio=False))
    assert not probe(made(comfyui, silent)[0]).has_audio


VARYING = [Fraction(n, 30) for n in (0, 1, 2, 5, 6, 9, 10, 11, 15, 16)]


@pytest.fixture(scope="module")
def varying(comfyui, media):
    """The name of a film of varying rate, as phones film: the sound would run away from evenly spaced frames."""
    pictures = [frame.image for frame in read_frames(media / "spoken.mp4", count=len(VARYING))]
    height, width = pictures[0].shape[:2]
    with VideoWriter(
        comfyui.base / "input" / "varying.mp4", (width, height), WriteOptions(rate=Fraction(30))
    ) as writer:
        for picture, time_shown in zip(pictures, VARYING, strict=True):
            writer.write(picture, time_shown)
    return "varying.mp4"


def test_frames_of_varying_rate_keep_their_times(comfyui, varying):
    """Also through a motion file."""
    workflow = change(small("long_video"), "LoadVideo", file=varying)
    workflow["90"] = saving(key_of(workflow, "ExtractHybridMotion"))
    run = comfyui.run(workflow)
    assert not run.error
    expected = pytest.approx([float(time_shown) for time_shown in VARYING], abs=1e-3)
    assert [float(frame.time) for frame in read_frames(made(comfyui, run)[0])] == expected
    (saved,) = made(comfyui, run, "motion")
    times = motion_times(saved)
    assert times[:-1].tolist() == [round(time_shown * 10**9) for time_shown in VARYING]
    assert times[-1] > times[-2]
    loaded = f"{saved.parent.name}/{saved.name} [output]"
    run = comfyui.run(change(small("motion_reuse"), "PersonaLiveLoadMotion", file=loaded, start=0.1, count=7))
    assert not run.error
    assert [float(frame.time) for frame in read_frames(made(comfyui, run)[0])] == pytest.approx(
        [float(time_shown - VARYING[3]) for time_shown in VARYING[3:]], abs=1e-3
    )


MOMENTS = {"a": [0, 40, 90, 2000, 2040, 2100], "b": [100 * n for n in range(10)]}  # milliseconds; the last is the end


@pytest.fixture(scope="module")
def moments(comfyui):
    """Two motion files in the input folder, a of varying rate and b even, and another of the version before."""
    folder = comfyui.base / "input"
    for name, times in MOMENTS.items():
        save_motion(folder / f"{name}.safetensors", motion(len(times) - 1), {"rate": "25"}, torch.tensor(times) * 10**6)
    write_old(folder / "old.safetensors", motion(5), '{"rate": "10"}')


def saving(source):
    """A node that saves the motion of node `source`."""
    return {"class_type": "PersonaLiveSaveMotion", "inputs": {"motion": [source, 0], "filename_prefix": "motion/times"}}


def loading(name, start=0.0, count=0):
    inputs = {"file": f"{name}.safetensors", "start": start, "count": count}
    return {"class_type": "PersonaLiveLoadMotion", "inputs": inputs}


@pytest.mark.parametrize(
    ("name", "start", "count", "milliseconds"),
    [
        ("a", 0.0, 0, MOMENTS["a"]),
        ("a", 0.05, 0, [90, 2000, 2040, 2100]),
        ("a", 0.04, 2, [40, 90, 2000]),
        ("a", 2.04, 9, [2040, 2100]),
        ("old", 0.2, 2, [200, 300, 400]),
    ],
)
@pytest.mark.usefixtures("moments")
def test_a_loaded_motion_is_saved_with_its_own_times(comfyui, name, start, count, milliseconds):
    run = comfyui.run({"1": loading(name, start, count), "2": saving("1")})
    assert not run.error
    (saved,) = made(comfyui, run, "motion")
    assert motion_times(saved).tolist() == [moment * 10**6 for moment in milliseconds]


@pytest.mark.parametrize(
    ("first", "second", "length", "milliseconds"),
    [
        ("a", "b", "shorter", MOMENTS["a"]),
        ("a", "b", "longer", [*MOMENTS["a"], 2140, 2180, 2220, 2260]),
        ("b", "a", "shorter", MOMENTS["b"][:6]),
        ("b", "a", "longer", MOMENTS["b"]),
    ],
)
@pytest.mark.usefixtures("moments")
def test_a_blended_motion_has_the_times_of_the_first(comfyui, first, second, length, milliseconds):
    """Cut to the result's length, or continued at the first one's rate."""
    mixed = {"motion_a": ["1", 0], "motion_b": ["2", 0], "head": 0.5, "expression": 0.5, "length": length}
    blend = {"class_type": "PersonaLiveBlendMotion", "inputs": mixed}
    run = comfyui.run({"1": loading(first), "2": loading(second), "3": blend, "4": saving("3")})
    assert not run.error
    (saved,) = made(comfyui, run, "motion")
    assert motion_times(saved).tolist() == [moment * 10**6 for moment in milliseconds]


def test_a_start_behind_the_motion_and_a_damaged_file_are_told(comfyui, moments):  # noqa: ARG001
    run = comfyui.run({"1": loading("a", 2.05), "2": saving("1")})
    assert first_line(run) == "Start earlier: a.safetensors has no frame at 2.05 s."
    path = comfyui.base / "input" / "spoilt.safetensors"
    write_old(path, motion(5), '{"rate": "nan"}')
    run = comfyui.run({"1": loading("spoilt"), "2": saving("1")})
    assert first_line(run).startswith("Save the motion again: spoilt.safetensors says 'nan' frames a second, expected")


def heard(path):
    """The sound of a film as mono samples at 48 kHz."""
    with av.open(str(path)) as container:
        resampler = av.AudioResampler("flt", "mono", 48000)
        parts = [out.to_ndarray()[0] for frame in container.decode(audio=0) for out in resampler.resample(frame)]
    return np.concatenate(parts)


def test_a_vae_and_a_clip_vision_of_comfyuis_own(comfyui):
    """They replace the bundled networks: a folder without those is enough."""
    bare = comfyui.base / "models" / "personalive" / "bare"
    shutil.copytree(comfyui.base / "models" / "personalive" / "personalive", bare / "personalive", dirs_exist_ok=True)
    workflow = change(small("long_video", count=4), "LoadPersonaLive", weights="personalive/bare", decoder="full")
    assert first_line(comfyui.run(workflow)).startswith("Turn on download_if_missing to download about ")
    workflow = change(workflow, "LoadPersonaLive", vae=["80", 0], clip_vision=["81", 0])
    workflow["80"] = {"class_type": "PersonaLiveTestVae", "inputs": {}}
    workflow["81"] = {"class_type": "PersonaLiveTestClipVision", "inputs": {"dim": 768}}
    run = comfyui.run(workflow)
    assert not run.error
    assert len(list(read_frames(made(comfyui, run)[0]))) == 4
    run = comfyui.run(change(workflow, "PersonaLiveTestClipVision", dim=512))
    assert first_line(run).startswith("Connect the image encoder of sd-image-variations, or nothing:")


def test_extra_model_paths_are_searched_too(tmp_path, standin_folder, media):
    """The name in the workflow stays the same wherever the weights lie."""
    paths = tmp_path / "paths.yaml"
    paths.write_text(f"elsewhere:\n  base_path: {standin_folder.parent}\n  personalive: {standin_folder.name}\n")
    arguments = ["--cpu", "--extra-model-paths-config", str(paths)]
    inputs = [media / "portrait.png", media / "driving.mp4"]
    with ComfyUI(tmp_path / "server", inputs=inputs, arguments=arguments) as server:
        run = server.run(small("long_video", count=4))
        assert not run.error
        assert len(list(read_frames(made(server, run)[0]))) == 4


def test_a_used_bank_serves_another_run(comfyui):
    """The reference and what joined in the first run are there from the start of the second."""
    workflow = change(small("clip", count=22), "KeyframeBank", threshold=0.5, warm_up=3, maximum=2)
    sampler = key_of(workflow, "StreamingSampler")
    second = copy.deepcopy(workflow[sampler])
    second["inputs"] |= {"bank": [sampler, 1], "seed": 5}
    workflow |= {"90": second, "91": shown(sampler), "92": shown("90")}
    run = comfyui.run(workflow)
    assert not run.error
    assert run.outputs["91"]["text"] == ["reference, 0, 4"]
    assert run.outputs["92"]["text"][0].startswith("reference, fixed, fixed")
    assert len(run.outputs["90"]["personalive_run"][0]["keyframes"]) == len(run.outputs["92"]["text"][0].split(","))


def shown(sampler):
    """A node that shows a sampler's keyframe_frames."""
    return {"class_type": "PreviewAny", "inputs": {"source": [sampler, 3]}}


def test_weights_that_do_not_fit_are_named(comfyui):
    wrong = comfyui.base / "models" / "personalive" / "wrong"
    shutil.copytree(
        comfyui.base / "models" / "personalive",
        wrong,
        ignore=lambda _, names: {"wrong", "bare"} & set(names),
    )
    (wrong / "personalive" / "pose_guider.pth").unlink()
    shutil.copy(wrong / "personalive" / "motion_encoder.pth", wrong / "personalive" / "pose_guider.pth")
    run = comfyui.run(change(small("long_video"), "LoadPersonaLive", weights="personalive/wrong"))
    assert "pose_guider" in first_line(run)
    assert first_line(run).startswith(("Use the published files", "The file belongs to another network"))


def test_out_of_memory_says_what_to_change(comfyui):
    workflow = small("long_video", count=4)
    sampler = key_of(workflow, SAMPLER)
    workflow["82"] = {
        "class_type": "PersonaLiveTestNoMemory",
        "inputs": {"model": [key_of(workflow, "LoadPersonaLive"), 0]},
    }
    workflow[sampler]["inputs"]["model"] = ["82", 0]
    run = comfyui.run(workflow)
    assert first_line(run).startswith("Choose a smaller size in Prepare Reference, precision fp8 or the tiny decoder")


def test_missing_packages_and_folders_do_not_stop_the_pack(tmp_path):
    """OpenCV, diffusers and insightface are only asked for where they are used; a first start has no weights folder."""
    for name in ("cv2", "diffusers", "insightface"):
        (tmp_path / f"{name}.py").write_text("raise ImportError('not installed')\n")
    comfyui = ComfyUI(tmp_path / "server", environment={"PYTHONPATH": str(tmp_path)})
    (comfyui.base / "models" / "personalive").rmdir()
    with comfyui as server:
        assert set(reduce(server.get("/object_info"))) == set(stored())


def test_a_first_film_needs_nothing(tmp_path):
    """Neither weights nor media nor network: the samples are in the input folder, the small model is in the pack."""
    with ComfyUI(tmp_path) as server:
        assert {path.name for path in (server.base / "input").iterdir() if path.is_file()} == {
            *MEDIA,
            "personalive_cat.png",
        }
        workflow = change(shipped("try_it"), "ExtractHybridMotion", count=4)
        run = server.run(change(workflow, SAMPLER, steps=4))
        assert not run.error
        (film,) = made(server, run)
        assert (probe(film).width, probe(film).height, probe(film).has_audio) == (128, 128, True)
        run = server.run(change(workflow, "LoadPersonaLive", decoder="tiny"))
        assert first_line(run) == "Choose full: 'small (drawn people, built in)' has no tiny decoder."


def test_clip(comfyui):
    run = comfyui.run(small("clip"))
    assert not run.error
    (video,) = [path for path in made(comfyui, run, "images") if path.suffix == ".mp4"]
    assert len(list(read_frames(video))) == COUNT
    assert (probe(video).width, probe(video).rate) == (SIZE, Fraction(25))


def test_image_to_image(comfyui):
    run = comfyui.run(small("image_to_image"))
    assert not run.error
    (picture,) = made(comfyui, run, "images")
    assert next(read_frames(picture)).image.shape == (SIZE, SIZE, 3)


@pytest.mark.parametrize("frames", [1, 3, 4, 5, 13])
def test_frames_out_equal_frames_in(comfyui, frames):
    run = comfyui.run(small("long_video", count=frames))
    assert not run.error
    assert len(list(read_frames(made(comfyui, run)[0]))) == frames


@pytest.mark.parametrize("lead_in", [0, 5, 24])
def test_the_lead_in_is_never_in_the_result(comfyui, lead_in):
    run = comfyui.run(change(small("long_video"), "KeypointInterpolate", lead_in=lead_in))
    assert not run.error
    assert len(list(read_frames(made(comfyui, run)[0]))) == COUNT


@pytest.mark.parametrize("precision", ["bf16", "fp8"])
@pytest.mark.parametrize("attention", ["auto", "pytorch"])
def test_precisions_and_attentions(comfyui, precision, attention):
    run = comfyui.run(change(small("long_video"), "LoadPersonaLive", precision=precision, attention=attention))
    assert not run.error
    assert len(list(read_frames(made(comfyui, run)[0]))) == COUNT


# --- cached, repeatable, observable


def test_a_rerun_executes_nothing_and_another_seed_only_the_sampler(comfyui):
    workflow = small("clip")
    assert not comfyui.run(workflow).error
    again = comfyui.run(workflow)
    assert again.executed == []
    assert set(again.cached) == set(workflow)
    other = comfyui.run(change(workflow, "StreamingSampler", seed=7))
    behind = {"StreamingSampler", "CreateVideo", "SaveVideo", "PreviewImage"}
    assert {workflow[key]["class_type"] for key in other.executed} <= behind
    assert key_of(workflow, "StreamingSampler") in other.executed


def test_the_face_picker_has_its_faces_again_where_comfyui_sends_them(comfyui):
    """As after the page was reloaded, when nothing is left to run: newer ComfyUI sends what nodes on the way showed."""
    if "has_intermediate_output" not in comfyui.get("/object_info")[PREPARE]:
        pytest.skip("this ComfyUI keeps no intermediate outputs: run it with 0.30 or newer")
    workflow = small("clip")
    first, again = comfyui.run(workflow), comfyui.run(workflow)
    assert again.executed == []
    key = key_of(workflow, PREPARE)
    assert again.outputs[key]["personalive_faces"] == first.outputs[key]["personalive_faces"]


def test_half_precision_pictures_are_read_as_others(comfyui):
    """Newer ComfyUI may hand pictures on in float16."""
    runs = []
    for dtype in ("float32", "float16"):
        workflow = small("long_video", count=4)
        image = [key_of(workflow, "LoadImage"), 0]
        workflow["90"] = {"class_type": "PersonaLiveTestCast", "inputs": {"image": image, "dtype": dtype}}
        run = comfyui.run(change(workflow, PREPARE, image=["90", 0]))
        assert not run.error
        runs.append([frame.image for frame in read_frames(made(comfyui, run)[0])])
    assert all((a == b).all() for a, b in zip(*runs, strict=True))


def test_the_same_seed_gives_the_same_frames(comfyui):
    workflow = change(small("clip"), "SaveVideo", filename_prefix="video/same")
    sampler = key_of(workflow, "StreamingSampler")
    workflow = {k: n for k, n in workflow.items() if n["class_type"] not in ("CreateVideo", "SaveVideo")}
    workflow["90"] = {"class_type": "SaveImage", "inputs": {"images": [sampler, 0], "filename_prefix": "same"}}
    first = [
        path.read_bytes() for path in made(comfyui, comfyui.run(workflow), "images") if path.parent.name == "output"
    ]
    comfyui.post("/free", {"free_memory": True, "unload_models": True})
    time.sleep(2)
    again = [
        path.read_bytes() for path in made(comfyui, comfyui.run(workflow), "images") if path.parent.name == "output"
    ]
    assert len(first) == COUNT
    assert [strip(a) for a in first] == [strip(a) for a in again]


def strip(png):
    """The pixels' chunks of a PNG."""
    return png[png.index(b"IDAT") :]


def test_progress_and_panel(comfyui):
    workflow = change(small("long_video", count=22), "KeyframeBank", threshold=0.5, warm_up=3, maximum=2)
    run = comfyui.run(workflow)
    sampler = key_of(workflow, SAMPLER)
    assert (sampler, 22, 22) in [(node, value, most) for node, value, most in run.progress]
    assert run.events[0]["first"]
    assert run.events[-1]["last"]
    points = [tuple(point) for event in run.events for point in event["novelty"]]
    (whole,) = run.outputs[sampler]["personalive_run"]
    assert points == [tuple(point) for point in whole["novelty"]]
    assert [frame for frame, _ in points] == [0, 4, 8, 12, 16, 20]
    assert [keyframe["frame"] for keyframe in whole["keyframes"]] == [None, 0, 4]
    assert all(keyframe["image"].startswith("data:image/jpeg;base64,") for keyframe in whole["keyframes"])
    assert whole["frame"] == whole["total"] == 22
    (players,) = run.outputs[sampler]["personalive_compare"]
    assert players["driving"]["filename"] == "driving.mp4"
    assert players["driving"]["type"] == "input"
    assert run.previews >= 2


def test_the_driving_keeps_its_place_when_cut(comfyui):
    run = comfyui.run(change(small("long_video"), "ExtractHybridMotion", start=0.4))
    (players,) = next(
        output["personalive_compare"] for output in run.outputs.values() if "personalive_compare" in output
    )
    assert players["driving"]["start"] == pytest.approx(0.4)


# --- cancelled, and what is kept


@pytest.mark.parametrize("name", ["long_video", "clip"])
def test_cancel_stops_at_once_and_keeps_what_was_made(comfyui, name):
    before = (
        set((comfyui.base / "output" / "video").glob("*")) if (comfyui.base / "output" / "video").exists() else set()
    )
    asked = []

    def cancel(run):
        if any(node == sampler and value >= 12 for node, value, _ in run.progress) and not asked:
            asked.append(run.progress[-1][1])
            comfyui.post("/interrupt", {})

    workflow = small(name, count=48)
    sampler = key_of(workflow, "StreamingSampler" if name == "clip" else SAMPLER)
    run = comfyui.run(change(workflow, workflow[sampler]["class_type"], seed=99), watch=cancel)
    assert run.interrupted
    assert run.progress[-1][1] < 48
    (kept,) = set((comfyui.base / "output" / "video").glob("*.mp4")) - before
    assert asked[0] - 4 <= len(list(read_frames(kept))) < 48
    assert not comfyui.run(small(name)).error, "the next run is not disturbed"


# --- errors, as the page gets them


def without_fit(workflow):
    return change(workflow, SAMPLER, motion=[key_of(workflow, "ExtractHybridMotion"), 0])


def two_references(workflow):
    other = copy.deepcopy(workflow[key_of(workflow, PREPARE)])
    other["inputs"]["size"] = 128
    other["inputs"]["face_box"] = "60, 60, 180, 200"
    return {**change(workflow, SAMPLER, reference=["77", 0]), "77": other}


def image_batch(workflow):
    return {
        **change(workflow, PREPARE, image=["78", 0]),
        "78": {"class_type": "RepeatImageBatch", "inputs": {"image": [key_of(workflow, "LoadImage"), 0], "amount": 2}},
    }


ERRORS = [
    ("no motion fitted", without_fit, "Put a Keypoint Interpolate node before the sampler's motion:"),
    (
        "other reference",
        two_references,
        "Connect the same Prepare Reference to Keypoint Interpolate and to the sampler:",
    ),
    ("batch of references", image_batch, "Give it one, for example with ImageFromBatch:"),
    (
        "bad box",
        lambda w: change(w, PREPARE, face_box="a, b"),
        "Write four numbers, left, top, right, bottom",
    ),
    (
        "box outside",
        lambda w: change(w, PREPARE, face_box="9, 9, 3, 3"),
        "Correct the order or the numbers:",
    ),
    ("start behind the end", lambda w: change(w, "ExtractHybridMotion", start=9999.0), "Choose an earlier start:"),
    (
        "box elsewhere",
        lambda w: change(w, PREPARE, face_box="5000, 5000, 5100, 5100"),
        "Choose a face in it, or clear it: face_box lies outside the",
    ),
    ("neutral", lambda w: change(w, "ExtractHybridMotion", missing_face="neutral"), "Connect it, or choose hold:"),
    ("no yunet", lambda w: change(w, PREPARE, detector="yunet"), "Turn on download_if_missing in Load"),
    ("no insightface", lambda w: change(w, PREPARE, detector="insightface"), "Install both with pip"),
]


@pytest.mark.parametrize(("broken", "message"), [e[1:] for e in ERRORS], ids=[e[0] for e in ERRORS])
def test_errors_begin_with_what_to_do(comfyui, broken, message):
    run = comfyui.run(broken(small("long_video", count=4)))
    assert first_line(run).startswith(message)
    assert first_line(run).endswith("."), "one sentence"


@pytest.mark.parametrize(
    ("node", "widget", "message"),
    [
        (PREPARE, "detector", "Use one of these:"),
        ("ExtractHybridMotion", "face", "Choose largest, 1st from left"),
        ("ExtractHybridMotion", "missing_face", "Use one of hold, interpolate"),
        ("LoadPersonaLive", "precision", "Choose auto, fp16, bf16, fp32 or fp8:"),
        ("LoadPersonaLive", "decoder", "Use full or tiny:"),
        (SAMPLER, "format", "Choose mp4, mkv, webm or mov:"),
    ],
)
def test_an_unknown_choice_is_refused(comfyui, node, widget, message):
    """By newer ComfyUI itself before anything runs, as in a list of its own; else by the node."""
    run = comfyui.run(change(small("long_video", count=4), node, **{widget: "zzz"}))
    if run.prompt_id:
        assert first_line(run).startswith(message)
        assert first_line(run).endswith("."), "one sentence"
    else:
        errors = [error for entry in json.loads(run.error)["node_errors"].values() for error in entry["errors"]]
        if errors[0]["type"] == "custom_validation_failed":  # the node's own check, shown at all its inputs
            assert widget in {error["extra_info"]["input_name"] for error in errors}
            assert all(message.lower() in error["details"].lower() + ":" for error in errors), errors
        else:
            assert [(e["type"], e["extra_info"]["input_name"]) for e in errors] == [("value_not_in_list", widget)]


def test_a_missing_motion_file_or_folder_is_refused_before_anything_runs(comfyui):
    run = comfyui.run(change(small("motion_reuse"), "PersonaLiveLoadMotion", file="gone.safetensors"))
    assert "Put it into ComfyUI's input folder and press R: there is no motion file gone.safetensors." in run.error
    run = comfyui.run(change(small("clip"), "LoadPersonaLive", weights="personalive/gone"))
    assert "there are no weights at models/personalive/gone" in run.error


def test_an_empty_or_broken_video_is_named(comfyui):
    (comfyui.base / "input" / "empty.mp4").write_bytes(b"")
    (comfyui.base / "input" / "noise.mp4").write_bytes(bytes(range(256)) * 64)
    for name in ("empty.mp4", "noise.mp4"):
        run = comfyui.run(change(small("long_video"), "LoadVideo", file=name))
        assert name in first_line(run)


def test_images_that_do_not_fit_are_refused_in_advance(comfyui):
    """102,400 frames of 512x512 are 300 GiB, which is known before the first step."""
    workflow = small("clip", size=512, count=50)
    fit = key_of(workflow, "KeypointInterpolate")
    last = key_of(workflow, "ExtractHybridMotion")
    del workflow[next(key for key, n in workflow.items() if n["inputs"].get("images") == [last, 2])]
    for index in range(11):  # twice as long each time
        key = f"d{index}"
        workflow[key] = {"class_type": "PersonaLiveTestDouble", "inputs": {"motion": [last, 0]}}
        last = key
    workflow[fit]["inputs"]["motion"] = [last, 0]
    run = comfyui.run(workflow)
    assert re.match(
        r"Use Streaming Sampler \(Video\), or take fewer frames: 102400 frames of 512x512 as images take", run.error
    )


# --- memory


def test_models_unload_on_free(comfyui):
    assert not comfyui.run(change(small("clip"), "StreamingSampler", seed=5)).error
    held = comfyui.get("/personalive_test/held")
    assert held["loaded"] > 0
    assert held["networks"] > 0
    comfyui.post("/free", {"unload_models": True, "free_memory": True})
    for _ in range(40):
        time.sleep(0.25)
        held = comfyui.get("/personalive_test/held")
        if not held["networks"]:
            break
    assert held == {"loaded": 0, "networks": 0}


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_three_thousand_frames_in_flat_memory(comfyui, tmp_path):
    from personalive_core.drawn.sample import write_sample

    write_sample(tmp_path, seconds=120, size=64)
    (tmp_path / "driving.mp4").rename(comfyui.base / "input" / "long.mp4")
    workflow = change(small("long_video", count=0), "LoadVideo", file="long.mp4")
    workflow = change(workflow, SAMPLER, preview_every=100)
    memory = {}

    def watch(run):
        if run.progress and run.progress[-1][2] == 3000:
            memory.setdefault(run.progress[-1][1] // 500, comfyui.memory())

    run = comfyui.run(workflow, limit=1100, watch=watch)
    assert not run.error
    assert len(list(read_frames(made(comfyui, run)[0]))) == 3000
    assert max(memory.values()) < 1.05 * memory[1], memory


# --- edited motion


def editing(source, **changed):
    """An Edit Motion node of the motion of node `source`; what is not given is neutral."""
    neutral = dict.fromkeys(("pitch", "yaw", "roll", "x", "y", "start", "end", "ramp"), 0)
    factors = ("pitch_scale", "yaw_scale", "roll_scale", "movement", "size", "expression")
    inputs = {**neutral, **dict.fromkeys(factors, 1), "unit": "frames", "motion": [source, 0], **changed}
    return {"class_type": "PersonaLiveEditMotion", "inputs": inputs}


def test_an_edited_motion_is_previewed_and_drives_the_sampler(comfyui):
    """The preview is one chunk beside each other, and only with both a model and a reference."""
    workflow = small("long_video")
    fitted, sampler = key_of(workflow, "KeypointInterpolate"), key_of(workflow, SAMPLER)
    both = {"model": workflow[sampler]["inputs"]["model"], "reference": workflow[sampler]["inputs"]["reference"]}
    workflow["90"] = editing(fitted, yaw=10, size=1.2, start=0.1, end=0.3, unit="seconds", **both)
    workflow["91"] = editing("90", x=0.1, model=both["model"])
    workflow[sampler]["inputs"]["motion"] = ["91", 0]
    run = comfyui.run(workflow)
    assert not run.error
    assert len(list(read_frames(made(comfyui, run)[0]))) == COUNT
    (strip,) = made(comfyui, run, "images")
    assert next(read_frames(strip)).image.shape == (SIZE, 4 * SIZE, 3)
    assert "91" not in run.outputs


@pytest.mark.usefixtures("moments")
def test_a_motion_is_edited_by_its_own_seconds_and_saved(comfyui):
    run = comfyui.run(
        {"1": loading("a"), "2": editing("1", yaw=10, start=0.05, end=2.0, unit="seconds"), "3": saving("2")}
    )
    assert not run.error
    (saved,) = made(comfyui, run, "motion")
    before, after = (load_motion(path).pose.angles for path in (comfyui.base / "input" / "a.safetensors", saved))
    assert (after - before)[:, 1].round().tolist() == [0, 0, 10, 0, 0]
    assert motion_times(saved).tolist() == [moment * 10**6 for moment in MOMENTS["a"]]
    run = comfyui.run({"1": loading("a"), "2": editing("1", x=0.1), "3": saving("2")})
    assert first_line(run).startswith("Put Edit Motion after Keypoint Interpolate: x of a motion that is not fitted")


def test_the_crop_is_sized_and_moved_and_given_as_a_mask(comfyui, media):
    """Half the centred square, moved right and up by a quarter of its side."""
    workflow = small("long_video")
    key = key_of(workflow, PREPARE)
    inputs = workflow[key]["inputs"] | {"crop_scale": 0.5, "crop_x": 0.25, "crop_y": -0.25}
    picture, model = inputs["image"][0], inputs["model"][0]
    workflow = {picture: workflow[picture], model: workflow[model], "90": {"class_type": PREPARE, "inputs": inputs}}
    workflow["91"] = {"class_type": "MaskToImage", "inputs": {"mask": ["90", 2]}}
    workflow["92"] = {"class_type": "SaveImage", "inputs": {"images": ["91", 0], "filename_prefix": "crop"}}
    run = comfyui.run(workflow)
    assert not run.error
    (mask,) = made(comfyui, run, "images")
    full, white = probe(media / "portrait.png"), next(read_frames(mask)).image[..., 0] > 127
    side = min(full.width, full.height) / 2
    left, top = (full.width - side) / 2 + side / 4, (full.height - side) / 2 - side / 4
    rows, columns = np.nonzero(white)
    assert white.shape == (full.height, full.width)
    assert (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) == pytest.approx(
        (left, top, left + side, top + side), abs=1
    )
    (shown,) = run.outputs["90"]["personalive_faces"]
    assert shown["crop"] == pytest.approx([left, top, left + side, top + side], abs=1)
