"""The region cue of a motion goes with it: cut, joined, mixed, filled, saved; motion without it stays as it was."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from personalive_core.animation.sharing import whole_film
from personalive_core.errors import InputError
from personalive_core.motion import gaps
from personalive_core.motion.editing import mix
from personalive_core.motion.files import load_motion, read_part, save_motion
from personalive_core.motion.gaps import fill_missing
from personalive_core.motion.types import CUE_SHAPE, HybridMotion, concat_motion
from tests.motion import samples

GAP = torch.tensor([True, False])


def cued(frames, seed=0, valid=None):
    drawn = torch.randint(-127, 128, (frames, *CUE_SHAPE), generator=torch.Generator().manual_seed(seed))
    return replace(samples.motion(frames, seed, valid), cue=drawn.to(torch.int8))


def test_it_is_sliced_joined_and_shared():
    whole = cued(5)
    assert torch.equal(concat_motion([whole[:2], whole[2:]]).cue, whole.cue)
    (piece,) = whole_film([whole[:3], whole[3:]], [(0, None)] * 5).pieces(HybridMotion)
    assert torch.equal(piece.cue, whole.cue)
    assert whole.cue[0].numel() < 30_000  # bytes a frame


def test_gaps_are_filled_with_whole_pixels():
    gappy = cued(4, valid=[True, False, False, True])
    held = concat_motion(fill_missing([gappy], "hold"))
    assert torch.equal(held.cue[1:3], gappy.cue[:1].expand(2, -1, -1, -1, -1))
    path = concat_motion(fill_missing([gappy], "interpolate"))
    assert path.cue.dtype == torch.int8
    wanted = gappy.cue[0].double() + (gappy.cue[3].double() - gappy.cue[0].double()) / 3
    assert (path.cue[1] - wanted).abs().max() < 0.51
    neutral = cued(1, seed=2)
    assert torch.equal(concat_motion(fill_missing([gappy], "neutral", neutral)).cue[2], neutral.cue[0])


def test_a_mix_takes_it_with_the_expression(monkeypatch):
    one, other = cued(3), cued(3, seed=1)
    mixed = mix(one, other, head=0.5, expression=1.0, length="shorter")
    assert torch.equal(mixed.cue, other.cue)
    monkeypatch.setattr(gaps, "BLOCK", 2)
    half = mix(one, other, head=0.0, expression=0.5, length="shorter").cue
    assert (half - (one.cue.double() + other.cue.double()) / 2).abs().max() < 0.51


def test_with_and_without_do_not_mix():
    for make in (
        lambda a, b: concat_motion([a, b]),
        lambda a, b: mix(a, b, 0.5, 0.5, "shorter"),
        lambda a, b: concat_motion(fill_missing([replace(a, valid=a.valid & GAP)], "neutral", b[:1])),
    ):
        for pair in ((cued(2), samples.motion(2)), (samples.motion(2), cued(2))):
            with pytest.raises(InputError, match="one motion has a region cue and another none: extract both with the"):
                make(*pair)


def test_it_is_saved_and_a_motion_without_it_is_saved_as_before(tmp_path):
    path, moved = tmp_path / "a.safetensors", cued(5)
    save_motion(path, moved)
    assert torch.equal(load_motion(path).cue, moved.cue)
    part = read_part(path, 0.04).motion
    assert part.cue.dtype == torch.int8
    assert torch.equal(part.cue, moved.cue[1:])
    save_motion(path, samples.motion(5))
    assert "cue" not in load_file(path)
    assert load_motion(path).cue is None


@pytest.mark.parametrize(
    ("cue", "message"),
    [
        (torch.zeros(2, *CUE_SHAPE), r"holds float32 \[2, 4, 3, 48, 48\] as cue, expected int8 \[2, 4, 3, 48, 48\]"),
        (torch.zeros(1, *CUE_SHAPE, dtype=torch.int8), r"holds int8 \[1, 4, 3, 48, 48\] as cue, expected int8"),
    ],
)
def test_a_spoilt_one_is_refused(cue, message, tmp_path):
    path = tmp_path / "a.safetensors"
    save_motion(path, samples.motion(2))
    save_file({**load_file(path), "cue": cue}, path, {"schema": "personalive-motion-2"})
    with pytest.raises(InputError, match=message):
        load_motion(path)
    with pytest.raises(InputError, match="as cue"):
        save_motion(path, replace(samples.motion(2), cue=cue))


def test_numpy_takes_its_type():
    assert np.asarray(cued(1).cue).dtype == np.int8
