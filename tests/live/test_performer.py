"""PersonaLive live, on networks that cost nothing: the same pictures as offline, what may change between two steps."""

import gc
import weakref
from dataclasses import replace
from fractions import Fraction
from itertools import islice

import numpy as np
import pytest
import torch

from personalive_core.animation.pipeline import AnimateOptions, MotionOptions, animate
from personalive_core.backends.personalive.motion import Strengths, retarget
from personalive_core.backends.personalive.reference import encode_reference
from personalive_core.backends.personalive.sampling import first_bank, remember
from personalive_core.backends.personalive.types import StreamConfig
from personalive_core.errors import FaceError, InputError
from personalive_core.faces.crop import Box, Face
from personalive_core.live.performer import LiveState, PersonaLivePerformer, follow, read_reference
from personalive_core.live.session import LiveSession
from personalive_core.live.types import QUICK, Captured, Settings
from personalive_core.media.video import Frame
from personalive_core.motion.smoothing import pose_smoothing, smooth
from personalive_core.motion.types import HeadPose, HybridMotion, concat_motion

from .toy_networks import SIZE, Broken, Toy, picture, toy_performer

WINDOW, PLAIN = 4, Settings()
CONFIG = StreamConfig(keyframe_warmup=4, keyframe_distance=0.0)  # keyframes join soon
BIG, SMALL = Face(Box(16, 12, 48, 44), 0.9), Face(Box(66, 20, 82, 36), 0.9)
LARGE = Face(Box(100, 20, 140, 60), 1.0)


@pytest.fixture(scope="module")
def performer():
    return toy_performer(config=CONFIG, seed=3)


def driving(count, rate=25, **shape):
    return [Captured(picture(i, **shape), i, i / rate) for i in range(count)]


def played(performer, frames, settings=PLAIN, state=None, piece=WINDOW):
    """The results of all steps, one after the other."""
    state, steps = state or performer.begin(), []
    for first in range(0, len(frames), piece):
        done = performer.perform(state, frames[first : first + piece], settings)
        state, steps = done.state, [*steps, done]
    return steps


def results(steps):
    return [frame for step in steps for frame in step.frames]


def offline(performer, frames, most):
    options = AnimateOptions(
        seed=performer.seed,
        motion=MotionOptions(size=SIZE, detector=performer.detector),
        config=performer.config,
    )
    told = [Frame(frame.picture, Fraction(frame.number, 25)) for frame in frames]
    return list(islice(animate(performer.model, performer.reference, told, options), most))


def same(one, other):
    return len(one) == len(other) and all(np.array_equal(a.picture, b.picture) for a, b in zip(one, other, strict=True))


def moving(image):
    """A face that walks to the right with the first pixel of the frame, beside a smaller one that stays."""
    step = int(image[0, 0, 0]) / 16
    return SMALL, Face(BIG.box.moved(step, 0), 0.9)


# --- the same as offline


@pytest.mark.parametrize(
    ("shape", "detector"), [({}, None), ({"width": 96, "height": 70}, moving)], ids=["whole", "tracked"]
)
def test_quality_gives_the_pictures_of_animate(shape, detector, performer):
    performer = replace(performer, detector=detector)
    frames = driving(32, **shape)
    found, expected = results(played(performer, frames)), offline(performer, frames, 20)
    assert len(found) == 32 - 12  # the last three windows are in flight
    assert same(found, expected)
    assert [frame.keyframe for frame in found] == [frame.keyframe for frame in expected]
    assert sum(frame.keyframe for frame in found) == 3
    assert [frame.number for frame in found] == list(range(20))
    assert [frame.time for frame in found] == [frame.time for frame in frames[:20]]
    assert [frame.window for frame in found] == [i // 4 for i in range(20)]


@pytest.mark.usefixtures("one_thread")
def test_so_do_the_networks_themselves(standin):
    """The smallest of PersonaLive's shape, from their random weights."""
    shown = encode_reference(standin, picture(1000), SIZE)
    performer, frames = PersonaLivePerformer(standin, shown, picture(1000), None, seed=1), driving(16)
    assert same(results(played(performer, frames)), offline(performer, frames, 4))


def test_nothing_comes_before_the_fourth_step(performer):
    steps = played(performer, driving(20))
    assert [len(step.frames) for step in steps] == [0, 0, 0, 4, 4]
    assert [step.keyframes for step in steps] == [0, 0, 0, 0, 1]
    assert all(frame.novelty == pytest.approx(steps[4].frames[0].novelty) for frame in steps[4].frames)
    assert steps[4].frames[0].novelty > 0


def test_faces_lost_are_held_as_offline(performer):
    """The same frames without a face, after one with."""
    shown = iter([True] * 6 + [False] * 5 + [True] * 100)
    live = replace(performer, detector=lambda _: (BIG,) if next(shown) else ())
    frames = driving(28)
    found = results(played(live, frames))
    shown = iter([True] * 6 + [False] * 5 + [True] * 100)
    expected = offline(live, frames, 16)
    assert same(found, expected)
    assert [frame.valid for frame in found] == [frame.valid for frame in expected]
    assert [frame.number for frame in found if not frame.valid] == [6, 7, 8, 9, 10]


def test_quick_on_the_grid_is_the_plain_stream(performer):
    """From the second frame on: the first is before the first window."""
    frames = driving(25)
    first = performer.perform(performer.begin(), frames[:1], Settings(mode=QUICK))
    quick = played(performer, frames[1:], Settings(mode=QUICK), first.state)
    plain = played(performer, frames[1:], state=first.state)
    assert same(results(quick), results(plain))
    assert [frame.time for frame in results(quick)][4:] == [frame.time for frame in frames[1:13]]


@pytest.mark.parametrize("piece", [1, 2, 3])
def test_quick_takes_any_number_of_frames(piece, performer):
    """A window of results for each step; their times rise evenly, up to the newest frame's."""
    frames = driving(8 * piece, rate=30)
    steps = played(performer, frames, Settings(mode=QUICK), piece=piece)
    found = results(steps)
    assert len(found) == 4 * (8 - 3)
    assert [frame.time for frame in found[3::4]] == pytest.approx([frames[piece * k - 1].time for k in range(1, 6)])
    assert np.diff([frame.time for frame in found][4:]) == pytest.approx(piece / 30 / 4)
    assert [frame.number for frame in found[3::4]] == [piece * k - 1 for k in range(1, 6)]


def test_too_few_frames_in_quality_are_interpolated(performer):
    """A mode that changes while fewer wait: a step always takes a window."""
    steps = played(performer, driving(8), piece=2)
    assert [len(step.frames) for step in steps] == [0, 0, 0, 4]


# --- a state is a value


def everything(state):
    return [state.stream.latents, state.stream.motion.face, *(k for k, _ in state.stream.keyframes.features)]


def test_the_same_step_twice_gives_the_same(performer):
    frames = driving(24)
    before = played(performer, frames[:20])[-1].state
    one, other = (performer.perform(before, frames[20:], Settings()) for _ in range(2))
    assert same(one.frames, other.frames)
    for mine, its in zip(everything(one.state), everything(other.state), strict=True):
        assert torch.equal(mine, its)


def test_a_step_that_broke_down_is_taken_again(performer):
    frames = driving(20)
    whole = played(performer, frames)
    state = whole[2].state
    with pytest.raises(RuntimeError, match="the device is gone"):
        replace(performer, model=Broken()).perform(state, frames[12:16], Settings())
    again = played(performer, frames[12:], state=state)
    assert same(results(again), results(whole))


# --- settings


def test_strengths_take_effect_with_the_next_frames(performer):
    """They change what is in the next window, and nothing that is in flight."""
    frames = driving(32)
    state = played(performer, frames[:16])[-1].state
    strong = Settings(strengths=Strengths(expression=0.0, rotation=0.0, translation=0.0))
    plain = results(played(performer, frames[16:], state=state))
    changed = results(played(performer, frames[16:], strong, state))
    at_rest = performer.reference.motion
    assert not same(plain, changed)
    flight = performer.perform(state, frames[16:20], strong).state.flight
    assert flight[:8] == state.flight[4:]
    torch.testing.assert_close(flight[-1].motion.embedding, at_rest.embedding)
    torch.testing.assert_close(flight[-1].motion.keypoints, at_rest.keypoints)


def test_the_first_pose_is_the_neutral_one(performer):
    frames = driving(8)
    state = played(performer, frames[:4])[-1].state
    again = performer.perform(state, frames[4:], Settings()).state
    assert again.last.first is state.last.first
    calibrated = performer.perform(performer.calibrated(state), frames[4:], Settings()).state
    own = performer.reference.motion.pose.translation
    torch.testing.assert_close(calibrated.flight[4].motion.pose.translation, own)
    assert not torch.allclose(again.flight[4].motion.pose.translation, own)
    assert not calibrated.calibrate


def plain_motion(frames, valid=None):
    generator = torch.Generator().manual_seed(2)
    pose = HeadPose(*(torch.randn(frames, n, generator=generator) for n in (3, 3, 1)))
    flags = torch.ones(frames, dtype=torch.bool) if valid is None else torch.tensor(valid)
    return HybridMotion(torch.zeros(frames, 32, 16), torch.zeros(frames, 21, 3), pose, torch.rand(frames, 4), flags)


def followed(motion, times, cutoff, state=None):
    state, driven = state or LiveState(), []
    for index, time in enumerate(times):
        state, one = follow(state, Captured(picture(0), index, time), motion[index : index + 1], cutoff)
        driven.append(one)
    return state, driven


def test_smoothing_is_that_of_a_film_with_these_times():
    motion, times = plain_motion(7), [0.0, 0.04, 0.08, 0.2, 0.24, 0.5, 0.54]
    expected = concat_motion(smooth([motion], pose_smoothing(1.0, 0.5), [Fraction(time) for time in times]))
    _, driven = followed(motion, times, 0.5)
    found = concat_motion([one.motion for one in driven])
    torch.testing.assert_close(found.pose.angles, expected.pose.angles)
    assert not torch.allclose(found.pose.angles, motion.pose.angles)
    _, plain = followed(motion, times, None)
    assert torch.equal(concat_motion([one.motion for one in plain]).pose.angles, motion.pose.angles)


def test_smoothing_takes_effect_with_the_next_frames(performer):
    frames = driving(8)
    state = played(performer, frames[:4], Settings(smoothing=0.2))[-1].state
    plain, smoothed = (
        performer.perform(state, frames[4:], Settings(smoothing=cutoff)).state.flight for cutoff in (None, 0.2)
    )
    assert plain[:4] == smoothed[:4] == state.flight
    for one, other in zip(plain[4:], smoothed[4:], strict=True):
        assert not torch.allclose(one.motion.pose.angles, other.motion.pose.angles)


def test_smoothing_begins_where_it_is_switched_on_and_with_a_new_clock():
    motion = plain_motion(6)
    state, _ = followed(motion[:3], [0.0, 0.04, 0.08], None)
    assert state.smoothing is None
    state, (switched,) = followed(motion[3:4], [0.12], 0.5, state)
    assert torch.equal(switched.motion.pose.angles, motion[3:4].pose.angles)
    state, (smoothed,) = followed(motion[4:5], [0.16], 0.5, state)
    assert not torch.allclose(smoothed.motion.pose.angles, motion[4:5].pose.angles)
    _, (anew,) = followed(motion[5:6], [0.0], 0.5, state)
    assert torch.equal(anew.motion.pose.angles, motion[5:6].pose.angles)


def test_settings_that_cannot_be():
    for wrong in (
        {"mode": "fast"},
        {"face": "best"},
        {"smoothing": -1.0},
        {"smoothing": float("nan")},
        {"strengths": Strengths(rotation=float("inf"))},
    ):
        with pytest.raises(InputError):
            Settings(**wrong)


# --- faces


def test_before_any_face_the_reference_is_at_rest(performer):
    live = replace(performer, detector=lambda _: ())
    steps = played(live, driving(20))
    assert not any(step.found for step in steps)
    assert {step.faces for step in steps} == {0}
    found = results(steps)
    assert len(found) == 8
    assert not any(frame.valid for frame in found)
    for moment in steps[-1].state.flight:
        torch.testing.assert_close(moment.motion.embedding, live.reference.motion.embedding)
        torch.testing.assert_close(moment.motion.keypoints, live.reference.motion.keypoints)


def test_a_face_that_comes_later_is_followed_from_its_own_pose(performer):
    shown = iter([False] * 6 + [True] * 10)
    live = replace(performer, detector=lambda _: (BIG,) if next(shown) else ())
    state = played(live, driving(8))[-1].state
    own = performer.reference.motion.pose.translation
    assert [bool(moment.motion.valid) for moment in state.flight] == [False] * 6 + [True] * 2
    torch.testing.assert_close(state.flight[6].motion.pose.translation, own)
    assert not torch.allclose(state.flight[7].motion.pose.translation, own)


def test_of_two_faces_the_followed_one_is_kept(performer):
    """The other comes nearer and grows larger than it."""
    faces = iter([(BIG, SMALL)] + [(BIG, Face(Box(50, 0, 96, 46), 1.0))] * 7)
    live = replace(performer, detector=lambda _: next(faces))
    steps = played(live, driving(8, width=96))
    assert [step.faces for step in steps] == [2, 2]
    assert all(step.found for step in steps)
    assert steps[-1].state.track.face == BIG.box


def test_another_choice_of_face_begins_anew(performer):
    live = replace(performer, detector=lambda _: (BIG, SMALL))
    frames = driving(8, width=96)
    state = live.perform(live.begin(), frames[:4], Settings()).state
    assert state.track.face == BIG.box
    state = live.perform(state, frames[4:], Settings(face="1")).state
    assert state.track.face == SMALL.box


def test_a_camera_that_changes_its_size(performer):
    """The face's place in the old frames lies outside the new ones."""
    live = replace(performer, detector=lambda image: (SMALL,) if image.shape[1] > 90 else ())
    state = live.perform(live.begin(), driving(4, width=96), Settings()).state
    done = live.perform(state, [replace(frame, number=9, time=9.0) for frame in driving(4)], Settings())
    assert not done.found


# --- references


def test_a_new_reference_is_led_in_to_the_present_motion(performer):
    frames = driving(40)
    before = played(performer, frames[:20])[-1].state
    other = performer.with_reference(picture(7))
    assert np.array_equal(other.portrait, picture(7))
    steps = played(other, frames[20:], state=before)
    assert [len(step.frames) for step in steps] == [0, 0, 0, 4, 4]
    assert [frame.number for frame in results(steps)] == list(range(20, 28))
    assert [frame.window for frame in results(steps)] == [2] * 4 + [3] * 4  # they count on
    after = steps[0].state
    assert torch.equal(after.last.first.angles, before.last.first.angles)
    fitted = retarget(after.last.motion, other.reference, before.last.first)
    torch.testing.assert_close(after.flight[-1].motion.keypoints, fitted.keypoints)
    # and it is the stream that begins with these frames, but for the neutral pose
    anew = played(other, frames[20:], state=replace(before, stream=None, reference=None))
    assert same(results(steps), results(anew))


def test_swapping_back_and_forth_leaves_nothing(performer):
    """Through a session: no reference and no state but the last stays in memory."""
    session = LiveSession(performer)
    kept, frames = [], driving(84)
    for swap in range(20):
        session.swap(picture(swap))
        session.turn()
        for frame in frames[4 * swap : 4 * swap + 4]:
            session.offer(frame)
        assert session.turn()
        kept += [weakref.ref(session.performer.reference), weakref.ref(session._state)]
    gc.collect()
    assert [one() is not None for one in kept] == [False] * 38 + [True] * 2
    session.stop()
    gc.collect()
    assert [one() for one in kept] == [None] * 40


def test_many_steps_keep_nothing(performer):
    """As many tensors after 24 steps as after 12."""

    def tensors():
        gc.collect()
        return sum(type(thing) is torch.Tensor for thing in gc.get_objects())

    state, counts, frames = performer.begin(), [], driving(4)
    for step in range(24):
        later = [replace(frame, number=4 * step + i, time=(4 * step + i) / 25) for i, frame in enumerate(frames)]
        state = performer.perform(state, later, Settings()).state
        if step in (11, 23):
            counts.append(tensors())
    assert counts[0] == counts[1]


@pytest.mark.parametrize(
    ("shape", "detector", "shown"),
    [
        ({}, lambda _: pytest.fail("it is taken whole"), (slice(None), slice(None))),
        ({"height": 200, "width": 120}, None, (slice(40, 160), slice(None))),
        (
            {"height": 100, "width": 180},
            lambda _: (Face(Box(100, 20, 140, 60), 1.0), SMALL),
            (slice(7, 79), slice(84, 156)),
        ),
    ],
    ids=["square", "no detector", "found"],
)
def test_the_face_of_a_reference(shape, detector, shown):
    """As Prepare Reference does it: a square picture whole, of another the square around the largest face."""
    whole = np.full((shape.get("height", SIZE), shape.get("width", SIZE), 3), 10, np.uint8)
    whole[shown] = 200
    reference, portrait = read_reference(Toy(), whole, SIZE, detector)
    assert portrait.shape == (SIZE, SIZE, 3)
    assert (portrait[4:-4, 4:-4] > 190).all()
    assert reference.latent.shape[-1] == SIZE // 8


def test_a_reference_without_a_face(performer):
    with pytest.raises(FaceError, match="no face was found in the new portrait: use a picture with one clear face"):
        replace(performer, detector=lambda _: ()).with_reference(picture(1, height=90))


def test_another_model_may_read_references(performer):
    class Other(Toy):
        def encode(self, pixels):
            return super().encode(pixels) + 1

    other = replace(performer, encoder=Other()).with_reference(picture(5))
    torch.testing.assert_close(other.reference.latent, performer.with_reference(picture(5)).reference.latent + 1)


def test_fixed_keyframes(performer):
    """They are there from the start, are not counted, and leave with their person."""
    model, reference = performer.model, performer.reference
    read = encode_reference(model, picture(55), SIZE)
    features = model.encode_features(read.latent, reference)
    bank = remember(first_bank(reference), read.motion.embedding[None], features, -1)
    fixed = replace(performer, keyframes=bank)
    steps = played(fixed, driving(20))
    assert len(steps[0].state.stream.keyframes) == 2
    assert [step.keyframes for step in steps] == [0, 0, 0, 0, 1]
    assert not same(results(steps), results(played(performer, driving(20))))
    assert fixed.with_reference(picture(5)).keyframes is None
