"""Films in a real ComfyUI: what they carry, their formats, sound and names; videos cut by other nodes."""

import json
import time
from fractions import Fraction

import av
import numpy as np
import pytest

from personalive_core.media.video import probe, read_frames
from personalive_core.media.write import VideoWriter, WriteOptions
from tests.comfyui.test_nodes import SAMPLER, SIZE, change, heard, key_of, made, small

pytestmark = [pytest.mark.comfyui, pytest.mark.timeout(600)]

COUNT = 4
CODECS = {"mp4": "h264", "mkv": "h264", "webm": "vp9", "mov": "prores"}
RATE = Fraction(30)


def tags(path):
    with av.open(str(path)) as container:
        return {key.lower(): value for key, value in container.metadata.items()}


def codec(path):
    with av.open(str(path)) as container:
        return container.streams.video[0].codec_context.name


def film(comfyui, name, media, *, size=None, start=0.0, sound=True):
    """A film in the input folder: ten pictures of spoken.mp4 at `rate`, with its sound."""
    pictures = [frame.image for frame in read_frames(media / "spoken.mp4", start=start, count=10)]
    if size:
        pictures = [np.ascontiguousarray(picture[: size[1], : size[0]]) for picture in pictures]
    height, width = pictures[0].shape[:2]
    options = WriteOptions(rate=RATE, audio=media / "spoken.mp4" if sound else None, audio_start=start, lossless=True)
    with VideoWriter(comfyui.base / "input" / name, (width, height), options) as writer:
        for picture in pictures:
            writer.write(picture)
    return name


def test_films_of_every_format_carry_their_prompt_and_are_pasted_back_in_kind(comfyui):
    for name, kind in CODECS.items():
        workflow = change(small("paste_back", count=COUNT), SAMPLER, format=name)
        run = comfyui.run(workflow)
        assert not run.error
        videos = made(comfyui, run)
        assert [video.suffix for video in videos] == [f".{name}"] * 2
        for video in videos:
            assert codec(video) == kind
            assert json.loads(tags(video)["prompt"]) == workflow
            assert "generated" in tags(video)["description"]
            assert len(list(read_frames(video))) == COUNT


def test_crf_is_the_quality(comfyui):
    sizes = []
    for crf in (0, 40):
        (video,) = made(comfyui, comfyui.run(change(small("long_video", count=COUNT), SAMPLER, crf=crf)))
        sizes.append(video.stat().st_size)
    assert sizes[1] < sizes[0]


def test_a_clip_has_the_drivings_frame_rate_and_its_sound(comfyui, media):
    workflow = change(small("clip", count=9), "LoadVideo", file=film(comfyui, "thirty.mp4", media))
    run = comfyui.run(change(workflow, "ExtractHybridMotion", start=0.1))
    assert not run.error
    (video,) = [path for path in made(comfyui, run, "images") if path.suffix == ".mp4"]
    assert probe(video).rate == RATE
    assert len(list(read_frames(video))) == 7
    assert same_sound(heard(video), heard(media / "spoken.mp4")[4800:])
    silent = change(workflow, "LoadVideo", file=film(comfyui, "silent.mp4", media, sound=False))
    run = comfyui.run(change(silent, "ExtractHybridMotion", count=COUNT))
    assert not run.error
    assert not probe(next(path for path in made(comfyui, run, "images") if path.suffix == ".mp4")).has_audio


def same_sound(sound, expected):
    """Whether `sound` is the beginning of `expected`, apart from an encoder's delay."""
    length = min(len(sound), len(expected), 9000) - 2400
    part = expected[1200 : 1200 + length]
    near = [np.corrcoef(sound[shift:][:length], part)[0, 1] for shift in range(0, 2400, 8)]
    return max(near) > 0.9


def test_another_sound_replaces_the_drivings(comfyui, media):
    other = film(comfyui, "later.mp4", media, start=1.0)
    workflow = change(small("long_video", count=8), "LoadVideo", file="spoken.mp4")
    workflow["70"] = {"class_type": "LoadVideo", "inputs": {"file": other}}
    workflow["71"] = {"class_type": "GetVideoComponents", "inputs": {"video": ["70", 0]}}
    (video,) = made(comfyui, comfyui.run(change(workflow, SAMPLER, sound=["71", 1])))
    whole = heard(media / "spoken.mp4")
    assert same_sound(heard(video), whole[48000:])
    assert not same_sound(heard(video), whole)
    own = [key_of(workflow, "ExtractHybridMotion"), 4]  # not decoded: the film's own file is read
    (video,) = made(comfyui, comfyui.run(change(workflow, SAMPLER, sound=own)))
    assert same_sound(heard(video), whole)
    (video,) = made(comfyui, comfyui.run(change(workflow, SAMPLER, sound=["71", 1], audio=False)))
    assert not probe(video).has_audio


PREFIXES = [
    ("../../x", "Use a filename_prefix without '..': ../../x leads out of ComfyUI's output folder."),
    ("a\0b", "Type it anew, such as video/PersonaLive: filename_prefix has a character that no file name may have."),
    ("x" * 5000, "Write at most 200 for each folder and for the name: filename_prefix has 5000 letters."),
    ("", "Write a name, such as video/PersonaLive: filename_prefix '' names no file."),
]


@pytest.mark.parametrize(("prefix", "message"), PREFIXES, ids=["outside", "NUL", "long", "empty"])
def test_a_prefix_is_refused_before_anything_runs(comfyui, prefix, message):
    for name, node in (("long_video", SAMPLER), ("paste_back", "PersonaLivePasteBack")):
        run = comfyui.run(change(small(name, count=COUNT), node, filename_prefix=prefix))
        details = [
            error["details"]
            for node_errors in json.loads(run.error)["node_errors"].values()
            for error in node_errors["errors"]
        ]
        assert f"filename_prefix - {message}" in details
        assert not run.executed


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"format": "avi"}, "Choose mp4, mkv, webm or mov: unknown format 'avi'."),
        ({"format": "mov", "crf": 20}, "Change it or leave it out: prores has no crf, not 20."),
        ({"format": "webm", "lossless": True}, "Write .mp4 or .mov or .mkv, or choose another codec:"),
    ],
    ids=["format", "crf", "lossless"],
)
def test_a_file_that_cannot_be_written_is_refused_before_anything_runs(comfyui, inputs, message):
    run = comfyui.run(change(small("long_video", count=COUNT), SAMPLER, **inputs))
    assert message in json.loads(run.error)["node_errors"][key_of(small("long_video"), SAMPLER)]["errors"][0]["details"]
    assert not run.executed


def test_dates_and_sizes_are_filled_into_names(comfyui):
    prefix = "films/%date:yyyy-MM-dd%/%width%x%height%_%year%_%date:yy%"
    run = comfyui.run(change(small("long_video", count=COUNT), SAMPLER, filename_prefix=prefix))
    assert not run.error
    (video,) = made(comfyui, run)
    day = time.strftime("%Y-%m-%d")
    assert video.parent == comfyui.base / "output" / "films" / day
    assert video.name == f"{SIZE}x{SIZE}_{day[:4]}_{day[2:4]}_00001_.mp4"


@pytest.mark.parametrize(("name", "start", "count"), [("spoken.mp4", 0.12, 5), ("odd.mp4", 0.1, 6)])
def test_a_trimmed_video_is_read_from_its_file(comfyui, media, name, start, count):
    """As a driving cut by the node itself: the same motion, sound and place in the player; nothing is encoded anew."""
    if "Video Slice" not in comfyui.get("/object_info"):
        pytest.skip("this ComfyUI has no Trim Video: run it in a newer one")
    if name == "odd.mp4":
        film(comfyui, name, media, size=(255, 255))
    before = set((comfyui.base / "temp").glob("personalive_*.mp4"))
    workflow = change(small("long_video", count=0), "LoadVideo", file=name)
    extract = key_of(workflow, "ExtractHybridMotion")
    cut = change(workflow, "ExtractHybridMotion", start=start, count=count)
    trimmed = change(workflow, "ExtractHybridMotion", driving=["70", 0])
    trim = {"video": workflow[extract]["inputs"]["driving"], "start_time": start, "duration": 0.2}
    trimmed["70"] = {"class_type": "Video Slice", "inputs": {**trim, "strict_duration": False}}
    films, players = [], []
    for each in (cut, trimmed):
        run = comfyui.run(each)
        assert not run.error
        films += made(comfyui, run)
        players += [output["personalive_compare"][0]["driving"] for output in run.outputs.values() if "video" in output]
    assert players[0] == players[1]
    assert players[0]["start"] == pytest.approx(start)
    one, two = (list(read_frames(path)) for path in films)
    assert [frame.time for frame in one] == [frame.time for frame in two]
    assert len(one) == count
    assert all(np.array_equal(a.image, b.image) for a, b in zip(one, two, strict=True))
    assert np.array_equal(*(heard(path) for path in films))
    assert set((comfyui.base / "temp").glob("personalive_*.mp4")) == before
