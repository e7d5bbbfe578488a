"""One motion for both systems: sliced, joined, blended, filled, smoothed, mixed, saved by the same code."""

from fractions import Fraction

import pytest
import torch

from personalive_core.backends.liveportrait.motion_files import IMPLICIT
from personalive_core.backends.liveportrait.types import ImplicitMotion
from personalive_core.errors import InputError
from personalive_core.motion.editing import Edit, edit, mix
from personalive_core.motion.files import HYBRID, part_of, read_kind, read_motion, save_kind, save_motion
from personalive_core.motion.gaps import fill_missing
from personalive_core.motion.smoothing import OneEuroOptions, smooth
from personalive_core.motion.types import HeadPose, concat_motion
from tests.motion.samples import motion as hybrid


def implicit(frames, seed=0, valid=None):
    """Random motion of LivePortrait, every frame different; how open the eyes of frame 0 are is not known."""
    like = hybrid(frames, seed, valid)
    eyes = like.keypoints[:, 1, :2].abs()
    eyes[:1] = torch.nan
    points = like.keypoints
    return ImplicitMotion(points, points.flip(1) / 9, like.pose, eyes, points[:, 2, :1].abs(), like.box, like.valid)


SYSTEMS = pytest.mark.parametrize("made", [hybrid, implicit])


def same(one, other):
    ends = other.tensors()
    return type(one) is type(other) and all(
        torch.equal(value.nan_to_num(nan=-7), ends[name].nan_to_num(nan=-7)) for name, value in one.tensors().items()
    )


@SYSTEMS
def test_parts_joined_are_the_whole(made):
    whole = made(7)
    assert same(concat_motion([whole[:2], whole[2:3], whole[3:]]), whole)
    assert len(whole[2:5]) == 3
    assert isinstance(whole[1:3].pose, HeadPose)
    assert repr(whole) == f"{type(whole).__name__}(7 frames, 7 with a face)"
    with pytest.raises(TypeError, match=f"index a {type(whole).__name__} with a slice"):
        whole[3]


@SYSTEMS
@pytest.mark.parametrize("policy", ["hold", "interpolate", "neutral"])
def test_gaps_are_filled(made, policy):
    driving, neutral = made(5, valid=[True, True, False, False, True]), made(2, 9)[1:]
    filled = concat_motion(fill_missing([driving[:3], driving[3:]], policy, neutral))
    assert torch.equal(filled.valid, driving.valid)
    assert same(filled[:2], driving[:2])
    assert same(filled[4:], driving[4:])
    expected = {"hold": driving[1:2], "neutral": neutral}.get(policy)
    for name, value in filled.tensors().items():
        if name == "valid":
            continue
        if expected is None:
            first, last = (driving.tensors()[name][place] for place in (1, 4))
            wanted = torch.stack([first + (last - first) / 3, first + 2 * (last - first) / 3])
        else:
            wanted = expected.tensors()[name].expand(2, *value.shape[1:])
        assert torch.allclose(value[2:4], wanted, atol=1e-5), name


@SYSTEMS
def test_smoothing_touches_pose_and_box_alone(made):
    driving = made(6)
    smoothed = concat_motion(smooth([driving[:4], driving[4:]], OneEuroOptions()))
    moved = {n for n, value in smoothed.tensors().items() if not torch.equal(value[1:], driving.tensors()[n][1:])}
    assert moved == {"angles", "translation", "scale", "box"}


@SYSTEMS
def test_head_and_expression_are_mixed_apart(made):
    one, other = made(4, 1)[1:], made(5, 2)[1:]
    mixed = mix(one, other, head=1, expression=0, length="shorter").tensors()
    own, others = one.tensors(), other[:3].tensors()
    face = {"embedding", "expression", "eyes", "lips"} & {*own}
    assert all(torch.equal(mixed[name], own[name]) for name in face)
    assert all(torch.allclose(mixed[name], others[name]) for name in {*own} - face)
    calm = edit(one, Edit(expression=0), torch.ones(3)).tensors()
    name = "embedding" if "embedding" in own else "expression"
    assert torch.allclose(calm[name], own[name].mean(0, keepdim=True).expand(3, -1, -1), atol=1e-6)
    assert all(torch.allclose(calm[rest], own[rest]) for rest in {*own} - {name})


def test_what_one_motion_does_not_know_stays_away_at_the_others_end():
    """How open eyes are: not known in the first frame."""
    known, unknown = implicit(3, 1)[1:2], implicit(3, 2)[:1]
    assert unknown.eyes.isnan().all()
    assert torch.equal(mix(known, unknown, head=1, expression=0, length="shorter").eyes, known.eyes)
    assert torch.equal(mix(unknown, known, head=0, expression=1, length="shorter").eyes, known.eyes)
    assert mix(known, unknown, head=0, expression=0.5, length="shorter").eyes.isnan().all()


def test_motions_of_two_systems_are_not_mixed():
    with pytest.raises(InputError, match=r"only motions of one system .* HybridMotion\(2 frames.* ImplicitMotion"):
        mix(hybrid(2), implicit(2), 0.5, 0.5, "shorter")


def test_liveportrait_file_gives_back_the_bits(tmp_path):
    path, moved = tmp_path / "talk.safetensors", implicit(5, valid=[True, True, False, True, True])
    save_kind(IMPLICIT, path, moved, {"rate": "30", "driving": "talk.mp4"})
    file = read_kind(IMPLICIT, path)
    assert same(file.motion, moved)
    assert (file.rate, file.details["driving"], len(file.times)) == (Fraction(30), "talk.mp4", 6)
    assert same(part_of(file, path, 0.05, 2).motion, moved[2:4])


def test_what_is_not_known_may_be_stored_and_nothing_else(tmp_path):
    moved, path = implicit(3), tmp_path / "talk.safetensors"
    for name in ("expression", "eyes"):
        broken = moved.changed(**{name: moved.tensors()[name] * torch.inf})
        with pytest.raises(InputError, match=f"NaN or infinity as {name} of frame"):
            save_kind(IMPLICIT, path, broken)


def test_motion_of_the_other_system_gives_its_head_pose_alone(tmp_path):
    path, moved = tmp_path / "talk.safetensors", hybrid(4)
    save_motion(path, moved, {"rate": "30"})
    with pytest.raises(
        InputError, match=r"talk.safetensors holds the motion of personalive, expected .* the region pose"
    ):
        read_kind(IMPLICIT, path)
    file = read_kind(IMPLICIT, path, head_alone=True)
    assert isinstance(file.motion, ImplicitMotion)
    assert torch.equal(file.motion.pose.angles, moved.pose.angles)
    assert torch.equal(file.motion.box, moved.box)
    assert not file.motion.expression.any()
    assert file.rate == 30

    save_kind(IMPLICIT, path, implicit(4))
    with pytest.raises(InputError, match="the motion of liveportrait, expected that of personalive.*expression to 0"):
        read_motion(path)
    assert torch.equal(read_kind(HYBRID, path, head_alone=True).motion.pose.scale, implicit(4).pose.scale)


@pytest.mark.parametrize("name", ["talk.pkl", "talk.PICKLE"])
def test_templates_are_never_read(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"cos\nsystem\n(S'touch was_run'\ntR.")
    with pytest.raises(
        InputError, match="is a pickle.*never read: make a motion file of its driving with `personalive"
    ):
        read_kind(IMPLICIT, path)
