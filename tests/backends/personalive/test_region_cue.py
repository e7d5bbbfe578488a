"""A model with a region cue in use: read, retargeted, streamed, live; a fresh one does the same as without it."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from personalive_core.animation.pipeline import AnimateOptions, MotionOptions, animate_motion, driving_motion
from personalive_core.backends.personalive.model import PersonaLive
from personalive_core.backends.personalive.motion import Strengths, extract_motion, fit, retarget
from personalive_core.backends.personalive.reference import encode_reference
from personalive_core.bench.standin import calm
from personalive_core.live.performer import PersonaLivePerformer
from personalive_core.live.types import QUALITY, QUICK, Captured, Settings
from personalive_core.media.picture import read_image
from personalive_core.media.tensors import to_signed
from personalive_core.media.video import read_frames
from personalive_core.motion.gaps import fill_missing
from personalive_core.motion.types import concat_motion
from personalive_core.text import warn_once
from personalive_core.training.networks import SHAPES, fresh, save_networks, trainable, with_region_cue
from tests.training.toy import speaking

SIZE = 64
OPTIONS = AnimateOptions(motion=MotionOptions(size=SIZE))


@pytest.fixture(scope="module", autouse=True)
def _one_thread(one_thread):
    pass


@pytest.fixture(scope="module")
def plain():
    """A model without it; the guider's memory format, which chooses the kernels, is that of loaded ones."""
    made = speaking(fresh(SHAPES["twin"], 0))
    with torch.no_grad():
        calm(made.motion_extractor)
    return replace(made, pose_guider=made.pose_guider.to(memory_format=torch.channels_last))


@pytest.fixture(scope="module")
def fresh_cue(plain):
    return with_region_cue(plain)


@pytest.fixture(scope="module")
def cued(plain):
    """The same with a layer that has learned something."""
    model = with_region_cue(plain)
    with torch.no_grad():
        model.pose_guider.conv_regions.weight.normal_(generator=torch.Generator().manual_seed(0))
    return model


@pytest.fixture(scope="module")
def frames(sample):
    return [frame.image for frame in read_frames(sample[1])]


@pytest.fixture(scope="module")
def portrait(sample):
    return read_image(sample[0])


def animated(model, portrait, frames, motion=None, **strengths):
    """Pictures of `frames` on `portrait`, and their motion."""
    reference = encode_reference(model, portrait, SIZE)
    motion = motion or concat_motion(driving_motion(model, frames, OPTIONS.motion))
    options = replace(OPTIONS, strengths=Strengths(**strengths))
    return np.stack([one.picture for one in animate_motion(model, reference, [motion], options)]), motion


def test_a_fresh_cue_changes_no_bit_and_a_trained_one_the_pictures(plain, fresh_cue, cued, portrait, frames):
    before, motion = animated(plain, portrait, frames)
    assert motion.cue is None
    after, motion = animated(fresh_cue, portrait, frames)
    assert motion.cue.any()
    assert np.array_equal(before, after)
    assert not np.array_equal(before, animated(cued, portrait, frames, motion)[0])
    hidden = replace(motion, cue=torch.zeros_like(motion.cue))
    features = [model.embed_motion(one, SIZE).pose for model, one in ((plain, motion), (cued, hidden), (cued, motion))]
    assert torch.equal(features[0], features[1])  # an all-zero cue is no cue
    assert not torch.equal(features[0], features[2])
    reference = encode_reference(plain, portrait, SIZE)
    assert retarget(motion, reference, motion.pose[:1]).cue is None  # a model without it does not use it


def test_motion_without_a_cue_hides_it_and_a_warning_says_so(plain, cued, portrait, frames, caplog):
    """As in saved motion of a model that had none: what was saved stays of use."""
    warn_once.cache_clear()
    pictures = to_signed(np.stack(frames))
    bare, whole = extract_motion(plain, pictures), extract_motion(cued, pictures)
    hidden = replace(whole, cue=torch.zeros_like(whole.cue))
    with caplog.at_level("WARNING"):
        shown = animated(cued, portrait, frames, bare)[0]
    assert "motion was extracted without them" in caplog.text
    assert np.array_equal(shown, animated(cued, portrait, frames, hidden)[0])
    assert not np.array_equal(shown, animated(cued, portrait, frames, whole)[0])
    assert torch.equal(cued.embed_motion(bare, SIZE).pose, cued.embed_motion(hidden, SIZE).pose)
    reference = encode_reference(cued, portrait, SIZE)
    found = {e: retarget(bare, reference, bare.pose[:1], Strengths(expression=e)).cue for e in (0.0, 0.5, 1.0)}
    assert torch.equal(found[0.0], reference.motion.cue.expand_as(whole.cue))
    assert not found[0.5].any()
    assert not found[1.0].any()


def test_retargeting_fades_the_cue_from_the_references_own(cued, portrait, frames):
    reference = encode_reference(cued, portrait, SIZE)
    motion = extract_motion(cued, to_signed(np.stack(frames)))
    own, first = reference.motion.cue, motion.pose[:1]
    assert own.any()
    found = {e: retarget(motion, reference, first, Strengths(expression=e)).cue for e in (0.0, 0.5, 1.0, 1.5)}
    assert torch.equal(found[0.0], own.expand_as(motion.cue))
    assert torch.equal(found[1.0], motion.cue)
    assert torch.equal(found[1.5], motion.cue)
    assert (found[0.5] - (own.double() + motion.cue.double()) / 2).abs().max() < 0.51
    fitted = fit(motion, reference)
    assert torch.equal(fitted.motion.cue[0], own[0])  # the lead-in begins with the reference's
    assert torch.equal(fitted.motion.cue[fitted.lead :], motion.cue)
    assert torch.equal(fit(motion, reference, lead=0).motion.cue, motion.cue)


def test_a_frame_without_a_face_has_no_cue(cued, frames, monkeypatch):
    pictures = to_signed(np.stack(frames[:2]))
    detect = PersonaLive.detect_keypoints

    def nowhere(self, small):
        pose, canonical = detect(self, small)
        return pose, canonical * torch.tensor([1.0, 0.0])[:, None, None]  # the second face has no extent

    monkeypatch.setattr(PersonaLive, "detect_keypoints", nowhere)
    motion = extract_motion(cued, pictures)
    assert motion.valid.tolist() == [True, False]
    assert motion.cue[0].any()
    assert not motion.cue[1].any()
    held = concat_motion(fill_missing([motion], "hold"))
    assert torch.equal(held.cue[1], motion.cue[0])


@pytest.mark.parametrize("mode", [QUALITY, QUICK])
def test_it_is_live(cued, portrait, frames, mode):
    performer = PersonaLivePerformer(cued, encode_reference(cued, portrait, SIZE), portrait)
    state, made = performer.begin(), []
    for step in range(4):
        taken = frames[:4] if mode == QUALITY else frames[:2]
        shot = [Captured(image, 4 * step + i, (4 * step + i) / 25) for i, image in enumerate(taken)]
        performed = performer.perform(state, shot, Settings(mode=mode))
        state, made = performed.state, [*made, *performed.frames]
    assert len(made) == 4
    assert all(moment.motion.cue is not None for moment in state.flight)


def test_it_is_saved_and_loaded_with_the_weights(plain, cued, tmp_path):
    again = trainable(save_networks(cued, tmp_path), torch.device("cpu"))
    assert again.has_cue
    assert torch.equal(again.pose_guider.conv_regions.weight, cued.pose_guider.conv_regions.weight)
    assert not plain.has_cue
