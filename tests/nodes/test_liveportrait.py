"""LivePortrait's nodes without ComfyUI: whose motion it is, its files, which face, the passes over a driving."""

import importlib
from dataclasses import replace
from fractions import Fraction
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from personalive_core.drawn.canvas import FaceMotion
from personalive_core.drawn.person import draw_portrait
from personalive_core.drawn.sample import DRIVER
from tests.backends.liveportrait.tiny import SIZES

CORE = "_pack_without_comfyui.personalive_core"
WHOLE = draw_portrait(DRIVER, FaceMotion(), 128)


@pytest.fixture(scope="module", autouse=True)
def _one_thread(one_thread):
    pass


@pytest.fixture(scope="module")
def core(node_module):
    """Imports a module of the pack's own core: its classes are others than those that the tests import."""
    node_module("host.systems")
    return lambda name: importlib.import_module(f"{CORE}.{name}")


@pytest.fixture(scope="module")
def networks(core):
    return core("backends.liveportrait.networks").build_live(SIZES)


@pytest.fixture
def model(networks, node_module, tmp_path):
    return node_module("host.sockets").LoadedLivePortrait(networks, tmp_path, "human")


@pytest.fixture(scope="module")
def motions(core, node_module):
    """A node's value with each system's motion of three frames."""
    motion = node_module("host.sockets").Motion
    types, live = core("motion.types"), core("backends.liveportrait.types")
    pose = types.HeadPose(torch.zeros(3, 3), torch.zeros(3, 3), torch.ones(3, 1))
    box, valid = torch.zeros(3, 4), torch.ones(3, dtype=torch.bool)
    hybrid = types.HybridMotion(torch.ones(3, 32, 16), torch.ones(3, 21, 3), pose, box, valid)
    unknown = (torch.full((3, 2), torch.nan), torch.full((3, 1), torch.nan))
    implicit = live.ImplicitMotion(torch.ones(3, 21, 3), torch.full((3, 21, 3), 0.5), pose, *unknown, box, valid)
    return SimpleNamespace(hybrid=motion(hybrid, Fraction(25)), implicit=motion(implicit, Fraction(25)))


def test_the_systems_motions_are_told_apart(node_module, motions):
    systems = node_module("host.systems")
    assert systems.hybrid(motions.hybrid) is motions.hybrid.frames
    assert systems.implicit(motions.implicit) is motions.implicit.frames
    with pytest.raises(systems.InputError, match="was read by LivePortrait: connect it to Retarget"):
        systems.hybrid(motions.implicit)
    with pytest.raises(systems.InputError, match="was read by PersonaLive: read the driving with Extract Motion"):
        systems.implicit(motions.hybrid)


def test_the_head_pose_is_given_where_it_is_enough(node_module, motions, tmp_path):
    """And what came of it is never taken for a whole motion."""
    systems = node_module("host.systems")
    assert systems.hybrid(motions.hybrid, alone=True) is motions.hybrid.frames
    head = systems.hybrid(motions.implicit, alone=True)
    assert torch.equal(head.pose.scale, motions.implicit.frames.pose.scale)
    assert not head.embedding.any()
    motion = replace(motions.hybrid, frames=head)
    assert systems.hybrid(motion, alone=True) is head
    for refused in (systems.hybrid, partial(systems.save_any_motion, tmp_path / "a.safetensors")):
        with pytest.raises(systems.InputError, match="Keypoint Interpolate with expression 0 for its head pose alone"):
            refused(motion)


def test_a_fitted_head_keeps_the_references_expression(node_module, core, motions):
    motion_core, types = core("backends.personalive.motion"), core("motion.types")
    pose = types.HeadPose(torch.full((1, 3), 5.0), torch.zeros(1, 3), torch.ones(1, 1))
    valid = torch.ones(1, dtype=torch.bool)
    own = types.HybridMotion(torch.rand(1, 32, 16), torch.rand(1, 21, 3), pose, torch.zeros(1, 4), valid)
    reference = SimpleNamespace(reference=SimpleNamespace(motion=own, canonical=torch.rand(21, 3)))
    turned = replace(motions.implicit, frames=motions.implicit.frames.turned(torch.tensor([[0.0, 9.0, 0.0]])))
    fit = node_module("fit").fitted_motion
    strengths = motion_core.Strengths(expression=0)
    found = fit(turned, reference, 2, strengths)
    assert torch.equal(found.fitted.motion.embedding, own.embedding.expand(5, -1, -1))
    assert found.fitted.motion.pose.angles[2:].tolist() == [[0, 9, 0]] * 3
    assert fit(found, reference, 2, strengths).fitted is not None
    for motion in (turned, found):
        with pytest.raises(core("errors").InputError, match="Keypoint Interpolate with expression 0"):
            fit(motion, reference, 2, motion_core.Strengths())


def test_edited_frames_are_motion_in_the_picture(node_module, motions, core):
    node = node_module("expression_timeline")
    film = replace(motions.implicit, rate=Fraction(30), ticks=torch.tensor([0, 40, 70, 110]))
    frames, crop = motions.implicit.frames, SimpleNamespace(roll=12.0)
    assert torch.equal(node.motion_at(frames, crop).frames.pose.angles[:, 2], torch.full((3,), 12.0))
    assert node.motion_at(frames, crop).rate == 25
    assert node.motion_at(frames[:2], crop, film).times.tolist() == [0, 40, 70]
    longer = core("motion.types").concat_motion([frames, frames])
    even = [110 + round(step * 10**9 / 30) for step in (1, 2, 3)]
    assert node.motion_at(longer, crop, film).times.tolist() == [0, 40, 70, 110, *even]
    assert node.motion_at(longer, crop, film).rate == 30
    assert node.film_of(film) is film.frames
    with pytest.raises(core("errors").InputError, match="the motion has one frame, which moves nothing"):
        node.film_of(replace(film, frames=frames[:1]))


@pytest.mark.parametrize("name", ["hybrid", "implicit"])
def test_the_motion_of_either_system_has_a_plot(name, node_module, motions):
    assert node_module("plot").plot(getattr(motions, name)).shape == (640, 1024, 3)


@pytest.mark.parametrize("name", ["hybrid", "implicit"])
def test_motion_of_either_system_is_saved_and_read(node_module, motions, tmp_path, name):
    systems, motion = node_module("host.systems"), getattr(motions, name)
    systems.save_any_motion(tmp_path / "a.safetensors", motion)
    part = systems.read_any_part(tmp_path / "a.safetensors", 0.04, None)
    assert type(part.motion) is type(motion.frames)
    assert len(part.motion) == 2
    for tensor, expected in zip(part.motion.tensors().values(), motion.frames[1:].tensors().values(), strict=True):
        assert torch.equal(tensor.nan_to_num(9), expected.nan_to_num(9))


# --- which face


def test_a_box_by_hand_needs_no_detector(node_module, model):
    module = node_module("host.liveportrait_source")
    face = module.FaceChoice(face_box="30, 30, 98, 110")
    portrait = module.read_source(model, WHOLE, face)
    closer = module.read_source(model, WHOLE, module.FaceChoice(face_box="30, 30, 98, 110", crop_scale=0.5))
    assert portrait.crop.picture.shape == (512, 512, 3)
    assert np.hypot(*closer.crop.matrix[:2, 0]) == pytest.approx(np.hypot(*portrait.crop.matrix[:2, 0]) / 2)
    moved = module.read_source(model, WHOLE, module.FaceChoice(face_box="30, 30, 98, 110", crop_x=0.25))
    right = moved.crop.matrix[:2] @ (256, 256, 1) - portrait.crop.matrix[:2] @ (256, 256, 1)
    assert np.hypot(*right) == pytest.approx(0.25 * 512 * np.hypot(*portrait.crop.matrix[:2, 0]), rel=1e-3)


@pytest.mark.parametrize("box", ["200, 200, 300, 300", "1, 2"])
def test_a_box_beside_the_picture_is_refused(node_module, model, box):
    module = node_module("host.liveportrait_source")
    with pytest.raises(node_module("host.systems").InputError, match="face_box"):
        module.found_face(model, WHOLE, module.FaceChoice(face_box=box))


def test_without_a_detector_the_square_is_the_face(node_module, model):
    module = node_module("host.liveportrait_source")
    assert module.found_face(model, WHOLE, module.FaceChoice("none")) is None
    source = module.read_source(model, WHOLE, module.FaceChoice("none"))
    assert np.abs(source.crop.small[::2, ::2].astype(int) - WHOLE).mean() < 3
    assert module.read_expression(model, WHOLE, module.FaceChoice("none")).valid.all()


def test_a_missing_detector_says_how_to_get_it(node_module, model, monkeypatch, tmp_path):
    """For square pictures too: LivePortrait crops a face."""
    module = node_module("host.liveportrait_source")
    monkeypatch.setattr(module, "detector_place", lambda: tmp_path)
    with pytest.raises(Exception, match="turn on download_if_missing in Load LivePortrait and run again, or give"):
        module.found_face(model, WHOLE, module.FaceChoice())


def test_load_runs_again_after_a_node_lacked_yunet(node_module, model, monkeypatch, tmp_path):
    """The hub did not answer when Load LivePortrait ran: the next run of the workflow asks it again."""
    module, picker = node_module("host.liveportrait_source"), node_module("host.liveportrait_picker")
    faces, load = node_module("host.faces"), node_module("load_liveportrait")
    faces.LACKED.clear()
    for where in (module, load):
        monkeypatch.setattr(where, "detector_place", lambda: tmp_path / "detector")
    (tmp_path / "detector").mkdir()
    monkeypatch.setattr(load, "live_folders", lambda: {"liveportrait": tmp_path})

    def mark(allowed=True):
        return load.LoadLivePortrait.fingerprint_inputs(weights="liveportrait", download_if_missing=allowed)

    before = mark()
    portrait = module.read_source(model, WHOLE, module.FaceChoice(face_box="30, 30, 98, 110"))
    assert picker._looked(model, portrait.whole, module.FaceChoice())["faces"] == []
    assert mark() == before, "the picker goes on without it"
    with pytest.raises(faces.WeightsError, match="turn on download_if_missing in Load LivePortrait"):
        module.found_face(model, WHOLE, module.FaceChoice())
    after = mark()
    assert before != after == mark()
    assert mark(allowed=False) == before


def test_a_face_that_is_not_there_is_an_error(node_module, model, monkeypatch):
    module = node_module("host.liveportrait_source")
    monkeypatch.setattr(module, "live_face_detector", lambda *_: lambda _: ())
    with pytest.raises(module.FaceError, match="choose another detector or face, or give face_box"):
        module.found_face(model, WHOLE, module.FaceChoice())


# --- the passes over a driving


@pytest.fixture
def driving(node_module, core, monkeypatch):
    """Opens a driving of six frames; `opened` counts how often. The bar does nothing."""
    module, frame = node_module("host.liveportrait_motion"), core("media.video").Frame
    monkeypatch.setattr(module, "check_interrupt", lambda: None)
    kind, state = node_module("host.footage").DrivingFrames, SimpleNamespace(opened=0)

    def opened():
        state.opened += 1
        pictures = (draw_portrait(DRIVER, FaceMotion(yaw=yaw), 96) for yaw in range(0, 30, 5))
        frames = (frame(one, Fraction(n, 25), Fraction(1, 25)) for n, one in enumerate(pictures))
        return kind(frames, next(frames), Fraction(25), 6, None)

    state.open, state.extract = opened, module.motion_of_driving
    return state


def test_a_driving_without_a_detector_is_read_once(driving, networks, core):
    finder = core("backends.liveportrait.finding").Finder()
    motion, ticks = driving.extract(networks, driving.open, finder, "hold")
    assert (len(motion), len(ticks), driving.opened) == (6, 7, 1)
    assert motion.valid.all()
    assert ticks.tolist() == [n * 40_000_000 for n in range(7)]


def test_faces_are_found_in_a_first_pass(driving, networks, core):
    faces = core("faces.crop")
    seen = []

    def detector(_picture):
        seen.append(True)
        there = [faces.Face(faces.Box(20, 20, 70, 80), 1.0)]
        return there if len(seen) != 3 else []

    finder = core("backends.liveportrait.finding").Finder(detector)
    motion, ticks = driving.extract(networks, driving.open, finder, "hold")
    assert (len(seen), driving.opened, len(motion), len(ticks)) == (6, 2, 6, 7)
    assert motion.valid.tolist() == [True, True, False, True, True, True]
    assert torch.equal(motion.expression[2], motion.expression[1]), "held"
    assert not torch.equal(motion.expression[3], motion.expression[1])


# --- live


def test_a_live_performer_shows_the_prepared_source(node_module, model, core, monkeypatch):
    live, sources = node_module("live_liveportrait"), node_module("host.liveportrait_source")
    source = sources.read_source(model, WHOLE, sources.FaceChoice(face_box="30, 30, 98, 110"))
    monkeypatch.setattr(live, "detector_place", lambda: model.weights)
    animation = live.live_animation("human", "relative", "pose", 0.5, True)
    run = live.LiveRun(model, source, animation, "none", 128)
    performer = live.live_performer(run)
    assert np.array_equal(performer.portrait, WHOLE)
    assert (performer.size, performer.detector, performer.animal) == (128, None, False)
    assert performer.options.transfer.region == "pose"
    assert (performer.options.multiplier, performer.options.stitching) == (0.5, True)
    types = core("live.types")
    step = performer.perform(performer.begin(), [types.Captured(WHOLE, 0, 0.0)], types.Settings())
    assert step.frames[0].picture.shape == (128, 128, 3)
    with pytest.raises(core("errors").WeightsError, match="turn on download_if_missing in Load LivePortrait"):
        live.camera_detector("yunet")


def test_a_camera_without_yunet_is_noted(node_module, monkeypatch, tmp_path):
    """Once, where the session goes on with the centred square: Load LivePortrait then tries its download again."""
    live, faces = node_module("live_liveportrait"), node_module("host.faces")
    faces.LACKED.clear()
    monkeypatch.setattr(live, "detector_place", lambda: tmp_path)
    for _ in range(3):
        live.camera_detector("auto")
    assert {tmp_path: 1} == faces.LACKED
    with pytest.raises(faces.WeightsError, match="finding the camera's face needs YuNet"):
        live.camera_detector("yunet")
    assert {tmp_path: 2} == faces.LACKED


def test_live_eyes_and_lips_need_what_reads_them(node_module, model, core, monkeypatch):
    live, sources = node_module("live_liveportrait"), node_module("host.liveportrait_source")
    source = sources.read_source(model, WHOLE, sources.FaceChoice(face_box="30, 30, 98, 110"))
    plain = live.live_animation("human", "relative", "all", 1.0, True)
    assert live.opened(plain, model, False, False) == plain
    animation, detector, network = live.opened(plain, model, True, False), object(), object()
    assert (animation.eyes, animation.lips) == (True, False)
    run = live.LiveRun(model, source, animation, "auto", 128)
    with pytest.raises(core("errors").WeightsError, match="turn on download_if_missing in Load LivePortrait, or turn"):
        live.live_landmarks(run, detector)
    monkeypatch.setattr(live, "landmarker", lambda _: network)
    monkeypatch.setattr(live, "camera_detector", lambda _: None)
    with pytest.raises(live.InputError, match="choose yunet as detector, or turn eyes and lips off"):
        live.live_performer(run)
    monkeypatch.setattr(live, "camera_detector", lambda _: detector)
    with pytest.raises(live.InputError, match="how open the source's eyes are is read from 203 landmarks"):
        live.live_performer(run)
    motion = replace(source.source.motion, eyes=torch.tensor([[0.3, 0.3]]))
    known = replace(source, source=replace(source.source, motion=motion))
    performer = live.live_performer(replace(run, source=known))
    assert (performer.landmarks, performer.detector, performer.options.eyes) == (network, detector, True)
    assert live.live_performer(replace(run, animation=plain)).landmarks is None
    with pytest.raises(live.InputError, match="turn eyes and lips off"):
        live.opened(plain, replace(model, subject="animal"), False, True)


def test_live_animals_take_all_of_it(node_module):
    live = node_module("live_liveportrait")
    animal = live.live_animation("animal", "relative", "all", 1.75, True)
    assert (animal.stitching, animal.expression_friendly, animal.multiplier) == (False, True, 1.75)
    for mode, region in (("absolute", "all"), ("relative", "lip")):
        with pytest.raises(live.InputError, match="leave mode at relative and region at all"):
            live.live_animation("animal", mode, region, 1.0, True)


def test_live_takes_no_source_video(node_module):
    live = node_module("live_liveportrait")
    with pytest.raises(live.InputError, match="the source is a video: give Prepare Source a picture"):
        live.only_portrait(object())
