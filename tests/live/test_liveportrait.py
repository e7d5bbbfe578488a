"""LivePortrait live, on networks that cost nothing: what each frame shows, and what may change between two."""

import gc
import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch

from personalive_core.backends.liveportrait.animation import AnimationOptions, animate_animal, animate_picture
from personalive_core.backends.liveportrait.driving import INPUT_SIDE
from personalive_core.backends.liveportrait.finding import detected_face
from personalive_core.backends.liveportrait.loader import load_live
from personalive_core.backends.liveportrait.motion import read_implicit, unit_pictures
from personalive_core.backends.liveportrait.portrait import prepare_source
from personalive_core.backends.liveportrait.stream import RenderOptions, portrait_keypoints
from personalive_core.backends.liveportrait.transfer import TransferOptions
from personalive_core.backends.personalive.motion import Strengths
from personalive_core.errors import FaceError, InputError, NumericalError
from personalive_core.faces.crop import Box, Face, crop_image, portrait_crop, whole_frame
from personalive_core.live.liveportrait import LIVE_STRENGTHS, LivePortraitPerformer
from personalive_core.live.liveportrait_source import read_live_reference, shown_source
from personalive_core.live.session import LiveSession
from personalive_core.live.types import QUICK, Captured, Settings
from personalive_core.motion.smoothing import OneEuroOptions, smooth
from personalive_core.motion.types import concat_motion
from tests.backends.liveportrait.tiny import CPU, tiny_states, write_hub
from tests.live.toy_liveportrait import PLAIN, Blind, ToyLive, live_performer
from tests.live.toy_networks import SIZE, picture

WHOLE = Settings(strengths=LIVE_STRENGTHS)
FACE = Face(Box(40, 30, 100, 100), 0.9)


@pytest.fixture(scope="module")
def performer():
    return live_performer()


def driving(count, rate=25, **shape):
    return [Captured(picture(i, **shape), i, i / rate) for i in range(count)]


def played(performer, frames, settings=WHOLE, state=None):
    """Each frame's step."""
    state, steps = state or performer.begin(), []
    for frame in frames:
        steps.append(performer.perform(state, [frame], settings))
        state = steps[-1].state
    return steps


def pictures(steps):
    return np.stack([step.frames[0].picture for step in steps])


def motion_of(performer, frames):
    """The motion of whole square frames."""
    small = [crop_image(frame.picture, whole_frame(frame.picture.shape[:2]), INPUT_SIDE) for frame in frames]
    return read_implicit(performer.model, unit_pictures(small))


def drawn(performer, keypoints):
    """What the performer's networks draw of these keypoints, without paste-back."""
    own, model = performer.source, performer.model
    pixels = model.render(own.volume, own.motion.keypoints, keypoints)
    levels = (255 * pixels).byte().permute(0, 2, 3, 1).numpy()
    return np.stack([crop_image(one, whole_frame(one.shape[:2]), performer.size) for one in levels])


def faces(*seen):
    """A detector that finds what it is told, one frame after the other."""
    left = list(seen)
    return lambda _: left.pop(0)


# --- what is shown


@pytest.mark.parametrize(
    "options",
    [
        PLAIN,
        replace(PLAIN, stitching=True, multiplier=1.3),
        replace(PLAIN, transfer=TransferOptions("absolute", "exp")),
        replace(PLAIN, transfer=TransferOptions(region="pose")),
    ],
)
def test_the_pictures_are_those_of_a_clip(options):
    performer, frames = live_performer(options=options), driving(5)
    steps = played(performer, frames)
    motion = motion_of(performer, frames)
    expected = drawn(performer, animate_picture(performer.source.motion, motion, motion[:1], performer.model, options))
    assert np.array_equal(pictures(steps), expected)
    assert len({picture.tobytes() for picture in expected}) == 5


def test_growth_is_left_out_as_it_changes_nothing(performer):
    motion = motion_of(performer, driving(3))
    own, grown = performer.source.motion, replace(PLAIN, expression_friendly=True)
    plain, other = (animate_picture(own, motion, motion[:1], performer.model, chosen) for chosen in (PLAIN, grown))
    torch.testing.assert_close(plain, other, rtol=0, atol=1e-6)


def test_each_frame_gives_one_at_once(performer):
    steps = played(performer, driving(3))
    made = [step.frames[0] for step in steps]
    assert [len(step.frames) for step in steps] == [1, 1, 1]
    assert [(one.number, one.window, one.valid) for one in made] == [(0, 0, True), (1, 1, True), (2, 2, True)]
    assert [one.time for one in made] == [0, 1 / 25, 2 / 25]
    assert {one.picture.shape for one in made} == {(SIZE, SIZE, 3)}
    assert (performer.window, performer.size) == (1, SIZE)
    assert [(step.faces, step.found) for step in steps] == [(1, True)] * 3


def test_the_first_frame_shows_the_reference(performer):
    """Relative motion begins at the reference's own."""
    (step,) = played(performer, driving(1))
    assert np.array_equal(step.frames[0].picture, drawn(performer, performer.source.motion.keypoints)[0])


def test_quick_mode_takes_the_newest(performer):
    frames = driving(4)
    first = performer.perform(performer.begin(), frames[:1], WHOLE).state
    step = performer.perform(first, frames[1:], replace(WHOLE, mode=QUICK))
    assert [(one.number, one.time) for one in step.frames] == [(3, 3 / 25)]
    alone = performer.perform(first, frames[3:], WHOLE)
    assert np.array_equal(step.frames[0].picture, alone.frames[0].picture)


def test_animals_take_the_driving_as_it_is():
    options = AnimationOptions(stitching=False, multiplier=1.75)
    performer, frames = live_performer(animal=True, options=options), driving(3)
    motion = motion_of(performer, frames)
    moved = animate_animal(performer.source.motion, motion, motion[:1], performer.model, options)
    assert np.array_equal(pictures(played(performer, frames)), drawn(performer, moved))


def test_no_face_is_looked_for_in_an_animals_picture():
    performer = replace(live_performer(animal=True), detector=lambda _: pytest.fail("it finds people"))
    other = performer.with_reference(smooth_picture(100, 180))
    assert np.array_equal(other.portrait, crop_image(smooth_picture(100, 180), whole_frame((100, 180)), SIZE))
    assert other.paste is None


def test_broken_networks_are_an_error():
    with pytest.raises(NumericalError, match="the networks gave NaN in float32: check the weights"):
        played(live_performer(Blind()), driving(1))


# --- what a person changes


def test_calibration_measures_from_the_next_face(performer):
    frames = driving(4)
    state = played(performer, frames[:2])[-1].state
    after = played(performer, frames[2:], state=performer.calibrated(state))
    motion = motion_of(performer, frames)
    moved = animate_picture(performer.source.motion, motion[2:], motion[2:3], performer.model, PLAIN)
    assert np.array_equal(pictures(after), drawn(performer, moved))
    assert after[0].frames[0].window == 2


@pytest.mark.parametrize("name", ["rotation", "translation", "scale", "expression"])
@pytest.mark.parametrize("strength", [0.0, 0.5])
def test_strengths_weaken_the_change_since_the_first(performer, name, strength):
    frames = driving(2)
    given = Settings(strengths=replace(LIVE_STRENGTHS, **{name: strength}))
    (_, step) = played(performer, frames, given)
    motion = motion_of(performer, frames)
    first, last = motion[:1], motion[1:]
    parts = {"rotation": "angles", "translation": "translation", "scale": "scale"}
    if name == "expression":
        changed = replace(last, expression=first.expression + strength * (last.expression - first.expression))
    else:
        begin, end = (getattr(one.pose, parts[name]) for one in (first, last))
        changed = replace(last, pose=replace(last.pose, **{parts[name]: begin + strength * (end - begin)}))
    moved = animate_picture(performer.source.motion, changed, first, performer.model, PLAIN)
    assert np.array_equal(step.frames[0].picture, drawn(performer, moved)[0])
    assert not torch.equal(moved, animate_picture(performer.source.motion, last, first, performer.model, PLAIN))


def test_no_strength_keeps_the_reference_still(performer):
    steps = played(performer, driving(3), Settings(strengths=Strengths(0, 0, 0, 0)))
    assert len({picture.tobytes() for picture in pictures(steps)}) == 1


def test_smoothing_is_that_of_a_film(performer):
    frames = driving(5, rate=20)
    steps = played(performer, frames, replace(WHOLE, smoothing=2.0))
    options = OneEuroOptions(20, 2.0, 0.05)
    motion = motion_of(performer, frames)
    expected = list(smooth((motion[i : i + 1] for i in range(5)), options))[-1].pose
    found = steps[-1].state.motion.pose
    torch.testing.assert_close(found.angles, expected.angles)
    torch.testing.assert_close(found.translation, expected.translation)
    torch.testing.assert_close(found.scale, expected.scale)
    assert (found.angles - motion.pose.angles[-1]).abs().max() > 0.1
    again = performer.perform(steps[-1].state, frames[:1], replace(WHOLE, smoothing=2.0))  # the source began anew
    torch.testing.assert_close(again.state.motion.pose.angles, motion.pose.angles[:1])


def test_another_reference_keeps_the_driving(performer):
    frames = driving(4)
    before = played(performer, frames[:2])[-1].state
    other = performer.with_reference(picture(7))
    assert np.array_equal(other.portrait, picture(7))
    after = played(other, frames[2:], state=before)
    motion = motion_of(performer, frames)
    moved = animate_picture(other.source.motion, motion[2:], motion[:1], performer.model, PLAIN)
    assert np.array_equal(pictures(after), drawn(other, moved))
    assert [step.frames[0].window for step in after] == [2, 3]


# --- faces of the driving


def test_without_a_face_the_last_motion_is_held(performer):
    away = Face(Box(16, 12, 48, 44), 0.9)
    looking = replace(performer, detector=faces((), (away,), (), (away, FACE), ()))
    steps = played(looking, driving(5, height=150, width=200))
    shown = pictures(steps)
    assert [step.found for step in steps] == [False, True, False, True, False]
    assert [step.frames[0].valid for step in steps] == [False, True, False, True, False]
    assert [step.faces for step in steps] == [0, 1, 0, 2, 0]
    assert np.array_equal(shown[0], drawn(performer, performer.source.motion.keypoints)[0])  # at rest
    assert np.array_equal(shown[1], shown[2])
    assert np.array_equal(shown[3], shown[4])
    assert not np.array_equal(shown[2], shown[3])


def test_the_followed_face_is_cropped(performer):
    """Only what is near it matters; another choice of face looks anew."""
    frame = picture(3, height=150, width=300)
    changed = frame.copy()
    changed[:, 200:] = 0
    left, right = Face(Box(40, 40, 90, 90), 0.9), Face(Box(220, 30, 290, 100), 0.8)
    for choice, is_same in (("left", True), ("largest", False)):
        states = [
            replace(performer, detector=lambda _: (left, right))
            .perform(performer.begin(), [Captured(one, 0, 0.0)], replace(WHOLE, face=choice))
            .state
            for one in (frame, changed)
        ]
        assert torch.equal(states[0].motion.pose.angles, states[1].motion.pose.angles) is is_same
    looking = replace(performer, detector=lambda _: (left, right))
    state = looking.perform(looking.begin(), [Captured(frame, 0, 0.0)], replace(WHOLE, face="left")).state
    assert state.motion.box[0, 0] < 100
    assert looking.perform(state, [Captured(frame, 1, 0.1)], WHOLE).state.motion.box[0, 0] > 150


# --- the reference


def smooth_picture(height, width):
    y, x = np.mgrid[:height, :width]
    waves = (np.sin(x / 17), np.cos(y / 13), np.sin((x + y) / 23))
    return (120 + 60 * np.stack(waves, -1)).astype(np.uint8)


@pytest.mark.parametrize(
    ("height", "width", "size"), [(160, 160, 160), (160, 160, 512), (150, 230, 128), (2000, 1500, 256)]
)
def test_the_face_goes_back_to_its_place(height, width, size):
    """Networks that give the source picture back leave the portrait as it was, to interpolation."""
    scale = height / 150
    box = Box(*(scale * edge for edge in (55, 55, 90, 95)))  # its crop is within the picture
    read = read_live_reference(
        ToyLive(0), smooth_picture(height, width), size, lambda image: (scaled(box, image, height),)
    )
    pixels = ToyLive(0).render(read.source.volume, read.source.motion.keypoints, read.source.motion.keypoints)
    result = read.paste((2 * 255 * pixels[0]).byte().permute(1, 2, 0).numpy())
    assert result.shape == (size, size, 3)
    assert np.abs(result.astype(int) - read.portrait).max() <= 4
    black = read.paste(np.zeros((512, 512, 3), np.uint8))
    assert black.min() == 0
    assert black[:2].max() > 0 if height == width else True


def scaled(box, image, height):
    """The box in a picture that was made smaller."""
    assert max(image.shape) <= 1280
    factor = len(image) / height
    return Face(Box(*(factor * edge for edge in (box.left, box.top, box.right, box.bottom))), 0.9)


def test_what_is_shown_of_a_reference():
    square, wide = smooth_picture(160, 160), smooth_picture(150, 230)
    model = ToyLive()
    whole = read_live_reference(model, square, 160, None)
    assert np.array_equal(whole.portrait, square)
    assert whole.paste is None
    unseen = read_live_reference(model, square, 160, lambda _: ())
    assert unseen.paste is None
    assert torch.equal(unseen.source.volume, whole.source.volume)
    found = read_live_reference(model, square, 160, lambda _: (FACE,))
    assert np.array_equal(found.portrait, square)
    assert not torch.equal(found.source.volume, whole.source.volume)
    assert np.array_equal(read_live_reference(model, wide, 150, None).portrait, wide[:, 40:190])
    with pytest.raises(FaceError, match="no face was found in the new portrait: use a picture with one clear face"):
        read_live_reference(model, wide, 128, lambda _: ())


@pytest.mark.parametrize("shape", [(160, 160), (150, 230)])
def test_a_source_that_was_read_before_is_shown_like_any(shape):
    image, model = smooth_picture(*shape), ToyLive()
    now = read_live_reference(model, image, 128, lambda _: (FACE,))
    before = shown_source(prepare_source(model, image, detected_face(image, FACE)), 128, model)
    assert np.array_equal(before.portrait, now.portrait)
    around = whole_frame(shape) if shape[0] == shape[1] else portrait_crop(FACE.box, shape)
    assert np.array_equal(before.portrait, crop_image(image, around, 128))
    assert torch.equal(before.source.volume, now.source.volume)
    black = np.zeros((512, 512, 3), np.uint8)
    assert np.array_equal(before.paste(black), now.paste(black))
    alone = shown_source(prepare_source(model, image, None), 128, model)
    assert alone.paste is None
    assert np.array_equal(alone.portrait, read_live_reference(model, image, 128, None).portrait)


def test_further_references_are_read_by_the_encoder(performer):
    read = []

    class Encoder(ToyLive):
        def appearance(self, pictures):
            read.append(len(pictures))
            return super().appearance(pictures)

    other = replace(performer, encoder=Encoder()).with_reference(picture(7))
    assert read == [1]
    assert other.model is performer.model


def test_only_the_face_is_animated():
    performer = live_performer(detector=lambda _: (Face(Box(24, 20, 40, 38), 1.0),), shown=picture(5))
    shown = pictures(played(performer, driving(3)))
    changes = np.abs(shown[1:].astype(int) - performer.portrait).max((0, 3)) > 0
    assert changes.any()
    assert not changes[:8].any()
    assert not changes[:, :8].any()


# --- eyes and lips as open as the driving's


class OpenLive(ToyLive):
    """The same with perceptrons, whose change follows each of their inputs."""

    def open_eyes(self, x):
        return 0.3 * x[:, 65:] + 0.1 * x[:, 63:64] + 0.05 * x[:, 64:65] + 0.01 * x[:, :63]

    def open_lips(self, x):
        return 0.2 * x[:, 64:] - 0.1 * x[:, 63:64] + 0.02 * x[:, :63]


def landmarks_of(face, eye, lips):
    """203 points over the face's box, whose two eyes and lips are so open."""
    box, points = face.box, np.random.default_rng(0).random((203, 2))
    points[:2] = (0, 0), (1, 1)
    for (low, high), (left, right), ratio in (
        ((6, 18), (0, 12), eye),
        ((30, 42), (24, 36), eye / 2),
        ((90, 102), (48, 66), lips),
    ):
        points[[left, right]] = (0, 0), (1, 0)
        points[[low, high]] = (0.5, 0), (0.5, ratio)
    return (points * (box.width, box.width) + (box.left, box.top)).astype(np.float32)


ELSEWHERE = np.full((203, 2), 900, np.float32)


def opening(options, seen, **more):
    """A performer that finds FACE and, one after the other, the landmarks `seen` in what is not its reference."""
    left = [landmarks_of(FACE, 0.3, 0.1), *seen]
    found = {"detector": lambda _: (FACE,), "landmarks": lambda *_: left.pop(0)}
    read = read_live_reference(OpenLive(), picture(1000), SIZE, *found.values())
    return LivePortraitPerformer(OpenLive(), read.source, read.portrait, None, options=options, **found, **more)


def opened(motion, ratios):
    """Motion whose openness is these: the left eye's, and the lips'."""
    eyes = torch.tensor([[eye, eye / 2] for eye, _ in ratios])
    return replace(motion, eyes=eyes, lips=torch.tensor([[lips] for _, lips in ratios]))


RATIOS = [(0.2, 0.3), (0.35, 0.05), (0.1, 0.6)]


@pytest.mark.parametrize(
    "options",
    [
        replace(PLAIN, eyes=True, lips=True, stitching=True, multiplier=1.3),
        replace(PLAIN, eyes=True),
        replace(PLAIN, lips=True, transfer=TransferOptions("absolute", "exp")),
        replace(PLAIN, lips=True, kj="off"),
    ],
)
def test_eyes_and_lips_are_those_of_a_clip(options):
    performer = opening(options, [landmarks_of(FACE, *pair) for pair in RATIOS])
    steps = played(performer, driving(3, height=150, width=150))
    motion = opened(concat_motion([step.state.motion for step in steps]), RATIOS)
    assert torch.allclose(concat_motion([step.state.motion for step in steps]).eyes, motion.eyes, atol=1e-5)
    own = performer.source.motion
    assert torch.allclose(torch.cat([own.eyes, own.lips], 1), torch.tensor([[0.3, 0.15, 0.1]]), atol=1e-5)
    told = next(portrait_keypoints(performer.model, own, [motion], RenderOptions(options)))[1]
    assert np.abs(pictures(steps).astype(int) - drawn(performer, told)).max() <= 1
    assert len({picture.tobytes() for picture in pictures(steps)}) == 3


def test_openness_that_is_not_seen_is_that_of_the_frame_before():
    """Until it is known the reference is at rest; landmarks that slip off the face say nothing."""
    seen = [ELSEWHERE, landmarks_of(FACE, 0.2, 0.3), ELSEWHERE, ELSEWHERE, landmarks_of(FACE, 0.4, 0.1)]
    performer = opening(replace(PLAIN, eyes=True), seen)
    steps = played(performer, driving(4, height=150, width=150))
    shown = pictures(steps)
    assert [step.found for step in steps] == [True] * 4
    assert np.array_equal(shown[0], drawn(performer, performer.source.motion.keypoints)[0])
    assert not np.array_equal(shown[0], shown[1])
    assert np.array_equal(shown[1], shown[2])
    assert not np.array_equal(shown[2], shown[3])
    assert steps[1].state.first.eyes.isfinite().all()


def test_landmarks_lead_from_frame_to_frame():
    """Those of the frame before place the next; after a frame without the face, the detector's points do."""
    asked, visible = [], [True, True, False, True]

    def landmarks(_, points):
        asked.append(len(points))
        return landmarks_of(FACE, 0.3, 0.1)

    performer = replace(opening(replace(PLAIN, eyes=True), []), landmarks=landmarks)
    performer = replace(performer, detector=lambda _: (FACE,) if visible.pop(0) else ())
    played(performer, driving(4, height=150, width=150))
    assert asked == [5, 203, 5]
    asked.clear()
    plain = replace(performer, options=PLAIN, detector=lambda _: (FACE,))
    played(plain, driving(2, height=150, width=150))
    assert not asked


def test_the_strength_of_the_expression_weakens_openness():
    frames, pairs = driving(2, height=150, width=150), RATIOS[:2]
    options = replace(PLAIN, eyes=True, lips=True)
    performer = opening(options, [landmarks_of(FACE, *pair) for pair in pairs])
    steps = played(performer, frames, Settings(strengths=replace(LIVE_STRENGTHS, expression=0.5)))
    moved = opened(steps[1].state.motion, [(0.275, 0.175)])
    told = animate_picture(performer.source.motion, moved, moved, performer.model, options)
    assert np.abs(pictures(steps)[1].astype(int) - drawn(performer, told)[0]).max() <= 1


def test_another_reference_must_show_how_open_it_is():
    performer = opening(replace(PLAIN, eyes=True), [landmarks_of(FACE, 0.4, 0.1), ELSEWHERE])
    assert performer.with_reference(picture(7)).source.motion.eyes[0, 0] == pytest.approx(0.4, abs=1e-5)
    with pytest.raises(InputError, match="how open the source's eyes are is read from 203 landmarks"):
        performer.with_reference(picture(8))


# --- a session


def test_a_session_leaves_nothing(performer):
    session = LiveSession(performer)
    kept, frames = [], driving(24)
    for index, frame in enumerate(frames):
        if index % 4 == 0:
            session.swap(picture(index))
            session.turn()
        session.offer(frame)
        assert session.turn()
        kept += [weakref.ref(session.performer.source), weakref.ref(session._state)]
    gc.collect()
    assert sum(one() is not None for one in kept) == 2 + 3  # the last source, of four frames, and one state
    session.stop()
    gc.collect()
    assert not [one for one in kept if one() is not None]


@pytest.mark.usefixtures("one_thread")
def test_the_networks_themselves(synth, tmp_path):
    """The smallest of LivePortrait's shape, from files of stand-in weights."""
    model = load_live(write_hub(tmp_path, tiny_states(synth)), CPU, torch.float32)
    read = read_live_reference(model, picture(1000), SIZE, None)
    performer, frames = LivePortraitPerformer(model, read.source, read.portrait), driving(2)
    motion = motion_of(performer, frames)
    moved = animate_picture(performer.source.motion, motion, motion[:1], model, performer.options)
    assert not torch.equal(moved[0], moved[1])
    expected = np.concatenate([drawn(performer, one[None]) for one in moved])
    assert np.abs(pictures(played(performer, frames)).astype(int) - expected).max() <= 1
