"""A whole clip fitted to a reference and streamed: the length of the lead-in never shows in the number of frames."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from personalive_core.animation.pipeline import AnimateOptions, animate_motion
from personalive_core.backends.personalive.motion import Strengths, extract_motion, fit, lead_in, retarget
from personalive_core.backends.personalive.novelty import novelty_curve
from personalive_core.backends.personalive.reference import encode_reference
from personalive_core.backends.personalive.sampling import StreamingSampler, first_bank
from personalive_core.backends.personalive.stream import stream_fitted
from personalive_core.backends.personalive.types import StreamConfig
from personalive_core.errors import InputError
from personalive_core.media.tensors import to_signed
from personalive_core.modules.schedule import seeded_noise
from personalive_core.motion.types import FittedMotion, concat_motion

SIZE = 64
CONFIG = StreamConfig()


@pytest.fixture(scope="module", autouse=True)
def _one_thread(one_thread):
    pass


def pictures(count, seed):
    return np.random.default_rng(seed).integers(0, 256, (count, SIZE, SIZE, 3), np.uint8)


@pytest.fixture(scope="module")
def reference(standin):
    return encode_reference(standin, pictures(1, 7)[0], SIZE)


@pytest.fixture(scope="module")
def motion(standin):
    return extract_motion(standin, to_signed(pictures(10, 1)))


def run(standin, reference, fitted, config=CONFIG):
    sampler = StreamingSampler(standin, reference, seeded_noise(0), config)
    return list(stream_fitted(standin, sampler, fitted))


def frames(emitted):
    return np.concatenate([step.pictures for step in emitted])


def test_a_fitted_clip_is_the_lead_in_and_the_retargeted_frames(reference, motion):
    strengths = Strengths(rotation=0.5)
    fitted = fit(motion, reference, 12, strengths)
    expected = retarget(motion, reference, motion.pose[:1], strengths)
    assert len(fitted) == len(motion)
    assert torch.equal(fitted.motion[12:].keypoints, expected.keypoints)
    assert torch.equal(fitted.motion[:12].keypoints, lead_in(reference, expected[:1], 12).keypoints)


def test_motion_without_frames_is_refused(reference, motion):
    with pytest.raises(InputError, match="no frames"):
        fit(motion[:0], reference)


def test_twelve_frames_of_lead_in_are_what_the_command_line_does(standin, reference, motion):
    animated = [frame.picture for frame in animate_motion(standin, reference, [motion], AnimateOptions())]
    assert np.array_equal(frames(run(standin, reference, fit(motion, reference))), np.stack(animated))


@pytest.mark.parametrize("lead", [0, 5, 12, 13, 24, 30])
@pytest.mark.parametrize("count", [1, 4, 10])
def test_as_many_pictures_as_driving_frames(standin, reference, motion, lead, count):
    emitted = run(standin, reference, fit(motion[:count], reference, lead))
    assert len(frames(emitted)) == count
    begun = [step for step in emitted if len(step.pictures)]
    assert [step.first for step in begun] == np.cumsum([0, *(len(step.pictures) for step in begun[:-1])]).tolist()


def test_a_short_lead_in_waits_in_the_references_own_pose(standin, reference, motion):
    """The same as a clip whose lead-in holds the reference's pose first."""
    short = fit(motion, reference, 5)
    held = FittedMotion(concat_motion([*[reference.motion] * 7, short.motion]), 12)
    assert np.array_equal(frames(run(standin, reference, short)), frames(run(standin, reference, held)))


def test_a_longer_lead_in_changes_the_start(standin, reference, motion):
    longer = frames(run(standin, reference, fit(motion, reference, 24)))
    assert not np.array_equal(longer[0], frames(run(standin, reference, fit(motion, reference)))[0])


def test_each_step_tells_its_novelty_and_its_keyframe(standin, reference, motion):
    config = replace(CONFIG, keyframe_distance=1e-6, keyframe_warmup=3, max_keyframes=2)
    fitted = fit(motion, reference)
    emitted = run(standin, reference, fitted, config)
    curve = novelty_curve(fitted.motion[12:].embedding, config, reference.motion.embedding)
    begun = [step for step in emitted if len(step.pictures)]
    assert [step.novelty for step in begun] == pytest.approx(curve.values, rel=1e-4, abs=1e-3)
    joined = [(step.first, step.keyframe) for step in begun if step.keyframe is not None]
    assert [first for first, _ in joined] == list(curve.keyframes) == [0]
    assert np.array_equal(joined[0][1], begun[0].pictures[0])


def test_a_reference_moves_to_another_type_and_keeps_its_motion(reference):
    moved = reference.to(torch.device("cpu"), torch.bfloat16)
    tensors = [moved.latent, moved.clip, *moved.context, *(tensor for pair in moved.features for tensor in pair)]
    assert {tensor.dtype for tensor in tensors} == {torch.bfloat16}
    assert moved.motion is reference.motion
    assert first_bank(moved).features is moved.features
