"""The expression editor: both editors' sliders in one edit, each eye alone, expression files, codes and keyframes."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from personalive_core.backends.liveportrait.editing import PageEdit, edited_by_node, edited_by_page, expression_motion
from personalive_core.backends.liveportrait.editor import (
    EditorEdit,
    edited,
    limits,
    slider_edit,
    slider_expression,
)
from personalive_core.backends.liveportrait.expression_files import load_expression, save_expression
from personalive_core.backends.liveportrait.expressions import Expression, written_codes
from personalive_core.backends.liveportrait.keyframes import read_timeline
from personalive_core.backends.liveportrait.sliders import ALL_SLIDERS, OTHER_EYE, SLIDERS, slider, slider_moves
from personalive_core.backends.liveportrait.stitching import stitched
from personalive_core.backends.liveportrait.timelines import timeline_expressions
from personalive_core.errors import InputError
from tests.backends.liveportrait.published import inputs_of

NONE = Expression.none()
# Points and axes of one side of the face -> those of the other; x changes its sign.
MIRROR = {11: 15, 13: 16, 3: 7, 17: 17}


@pytest.fixture(scope="module")
def x(synth, live_cases):
    return inputs_of(synth, live_cases)


def values_of(editor):
    """{slider: some value} of all sliders that move the expression in an editor."""
    special = ("move_z", "eyes_open", "lips_open", "source_expression")
    there = [one for one in SLIDERS if one.variant(editor) and one.name not in special]
    return {one.name: 0.3 * one.variant(editor).least + 0.1 * one.variant(editor).most for one in there}


def test_the_advanced_way_is_its_editors(x):
    values = values_of("advanced")
    edit = slider_edit({**values, "source_expression": 0.4}, "advanced", NONE)
    there = edited_by_node(x.source, Expression.of(values, "advanced"), 0.4)
    assert torch.equal(edited(x.source, edit, x.networks), stitched(x.networks, x.source.keypoints, there))
    assert torch.equal(edited(x.source, replace(edit, stitching=False), x.networks), there)


def test_the_gradio_way_is_the_pages(x):
    values = values_of("gradio")
    edit = slider_edit({**values, "move_z": 1.1, "eyes_open": 0.5, "lips_open": 0.2}, "gradio", NONE)
    page = PageEdit(values, size=1.1, eyes=0.5, lips=0.2)
    found = edited(x.source, edit, x.networks)
    assert torch.allclose(found, edited_by_page(x.source, page, x.networks), atol=1e-6)


def test_edited_faces_are_motion(x):
    """Whose keypoints are those that are drawn, but for depth, which motion has none of."""
    found = [Expression.of(values_of("advanced")), replace(NONE, turn=torch.tensor([3.0, -8, 5]))]
    found += [replace(NONE, scale=0.2, translation=(0.1, -0.2, 0.3)), NONE]
    motion = expression_motion(x.source, found, 0.4)
    drawn = torch.cat([edited_by_node(x.source, one, 0.4) for one in found])
    assert (motion.keypoints - drawn)[..., :2].abs().max() < 1e-6
    assert motion.eyes.isnan().all()
    assert motion.lips.isnan().all()
    assert motion.valid.all()
    assert torch.equal(motion.pose.angles[1:2], x.source.pose.angles + found[1].turn)
    page = Expression.of(values_of("gradio"), "gradio")
    drawn = edited_by_page(x.source, PageEdit(added=page, stitching=False), x.networks)
    assert (expression_motion(x.source, [page], turned=False).keypoints - drawn)[..., :2].abs().max() < 1e-6


@pytest.mark.parametrize("editor", ["gradio", "advanced"])
def test_at_rest_only_stitching_moves_anything(x, editor):
    rest = {one.name: limits(one)[2] for one in ALL_SLIDERS}
    edit = slider_edit(rest, editor, NONE, stitching=False)
    placing = x.source.placing
    if editor == "gradio":
        there = placing.keypoints(x.source.canonical, keep_depth=True)
    else:
        there = edited_by_node(x.source, NONE)
    assert torch.allclose(edited(x.source, edit, x.networks), there, atol=1e-7)


@pytest.mark.parametrize("editor", ["gradio", "advanced"])
@pytest.mark.parametrize("one", ALL_SLIDERS, ids=lambda one: one.name)
def test_every_slider_works_in_both_ways(x, editor, one):
    least, most, default = limits(one)
    far = most if most != default else least
    still, moved = (
        edited(x.source, slider_edit({one.name: value}, editor, NONE, False), x.networks) for value in (default, far)
    )
    assert (still - moved).abs().max() > 1e-4


def test_a_slider_that_an_editor_lacks_works_as_in_the_other():
    mixed = slider_expression({"blink": -9.0, "pouting": 0.05, "smile": 1.0}, "gradio")
    apart = Expression.of({"blink": -9.0}, "advanced") + Expression.of({"pouting": 0.05, "smile": 1.0}, "gradio")
    assert torch.equal(mixed.delta, apart.delta)
    assert slider_expression({"move_z": 1.15}, "advanced").scale == pytest.approx(0.15)


@pytest.mark.parametrize("editor", ["gradio", "advanced"])
def test_the_other_eye_winks_as_the_first(editor):
    (one, turn), (other, away) = (slider_moves({name: 10.0}, editor) for name in ("wink", "wink_other"))
    mirrored = torch.zeros_like(one)
    for here, there in MIRROR.items():
        mirrored[there] = one[here] * torch.tensor([-1.0, 1.0, 1.0])
    assert torch.allclose(other, mirrored)
    assert torch.allclose(away, -turn)


@pytest.mark.parametrize("value", [-8.0, 8.0])
@pytest.mark.parametrize("axis", ["x", "y"])
def test_the_other_eyes_gaze_is_its_part_of_both(axis, value):
    both, _ = slider_moves({f"gaze_{axis}": value}, "gradio")
    other, _ = slider_moves({f"gaze_{axis}_other": value}, "gradio")
    kept = torch.zeros(21, 1)
    kept[[15, 16]] = 1
    assert torch.allclose(other, both * kept)
    assert {one.group for one in OTHER_EYE} == {"eyes"}


def test_an_expression_is_added_in_both_ways(x):
    added = Expression(torch.full((21, 3), 0.01), torch.tensor([1.0, 2.0, 3.0]), 0.1, (0.05, -0.05, 0.0))
    for editor in ("gradio", "advanced"):
        edit = slider_edit({"smile": 0.5}, editor, added, stitching=False)
        doubled = replace(edit, expression=edit.expression + added)
        first, second = (edited(x.source, one, x.networks) for one in (edit, doubled))
        assert (second - first)[..., 0].mean() > 0.03, "moved right"
        still = edited(x.source, slider_edit({"smile": 0.5}, editor, NONE, stitching=False), x.networks)
        assert (first - still).abs().max() > 0.03


def test_none_of_the_own_expression_is_the_same_whatever_it_is(x):
    other = replace(x.source, expression=x.source.expression * 3)
    other.expression[:, 5] = x.source.expression[:, 5]
    for editor in ("gradio", "advanced"):
        edit = EditorEdit(editor, own=0.0, stitching=False)
        assert torch.allclose(edited(x.source, edit, x.networks), edited(other, edit, x.networks), atol=1e-6)
        nodding = replace(other, expression=other.expression.clone())
        nodding.expression[:, 5, 1] += 0.1
        assert not torch.allclose(edited(other, edit, x.networks), edited(nodding, edit, x.networks), atol=1e-3), "neck"
        one = replace(edit, own=1.0)
        assert not torch.allclose(edited(x.source, one, x.networks), edited(other, one, x.networks), atol=1e-3)


@pytest.mark.parametrize(("name", "word"), [("eyes_open", "eyes"), ("lips_open", "lips")])
def test_opening_needs_landmarks(x, name, word):
    blind = replace(x.source, eyes=torch.full((1, 2), torch.nan), lips=torch.full((1, 1), torch.nan))
    edited(blind, slider_edit({name: -1.0}, "advanced", NONE), x.networks)
    with pytest.raises(InputError, match=f"how open the {word} are .*: leave {name} below 0"):
        edited(blind, slider_edit({name: 0.3}, "advanced", NONE), x.networks)


def test_an_unknown_editor_and_numbers_without_end_are_refused():
    with pytest.raises(InputError, match="gradio or advanced, got 'mine': choose"):
        EditorEdit("mine")
    for bad in (
        Expression(torch.full((21, 3), torch.nan), torch.zeros(3)),
        Expression(torch.zeros(21, 3), torch.zeros(3), float("inf")),
    ):
        with pytest.raises(InputError, match="not finite: set its sliders back"):
            EditorEdit(expression=bad)


# --- files, codes, keyframes


def test_a_saved_expression_comes_back(tmp_path):
    saved = Expression(torch.rand(21, 3, generator=torch.Generator().manual_seed(0)), torch.rand(3), 0.1, (0.1, 0.2, 0))
    path = tmp_path / "smile.safetensors"
    save_expression(path, saved)
    found = load_expression(path)
    assert torch.equal(found.delta, saved.delta)
    assert torch.equal(found.turn, saved.turn)
    assert (found.scale, found.translation) == (saved.scale, saved.translation)
    assert path.stat().st_size < 1000


@pytest.mark.parametrize(
    ("tensors", "schema", "words"),
    [
        ({"delta": torch.zeros(21, 3)}, "liveportrait-expression-1", "expected .*: save it again"),
        ({"delta": torch.zeros(21, 3)}, "personalive-motion-2", "is no expression file of this version"),
        (
            {
                "delta": torch.full((21, 3), torch.nan),
                "turn": torch.zeros(3),
                "scale": torch.zeros(1),
                "translation": torch.zeros(3),
            },
            "liveportrait-expression-1",
            "numbers in delta that are not finite",
        ),
    ],
)
def test_other_files_are_refused(tmp_path, tensors, schema, words):
    save_file(tensors, tmp_path / "other.safetensors", {"schema": schema, "details": json.dumps({})})
    with pytest.raises(InputError, match=words):
        load_expression(tmp_path / "other.safetensors")


def test_codes_are_read():
    delta = written_codes(" 141=-20, 60 = 5;\n12=0.5 ")
    assert delta[14, 1] == pytest.approx(-0.02)
    assert delta[6, 0] == pytest.approx(0.005)
    assert delta[1, 2] == pytest.approx(0.0005)
    assert delta.count_nonzero() == 3
    assert not written_codes("").any()


@pytest.mark.parametrize("text", ["smile=1", "14", "141=", "141=nan", "141=1e999", "213=1", "14=1"])
def test_other_codes_are_refused(text):
    with pytest.raises(InputError):
        written_codes(text)


def moving(amount):
    return Expression(torch.full((21, 3), amount), torch.zeros(3))


def test_keyframes_are_read():
    timeline = read_timeline("4: 1\n\n 8 : 2 x 0.5 \n10: 0", [moving(1.0), moving(4.0)])
    assert timeline.frames == 11
    amounts = [float(timeline.at(frame).delta[0, 0]) for frame in range(11)]
    assert amounts == pytest.approx([0, 0.25, 0.5, 0.75, 1, 1.25, 1.5, 1.75, 2, 1, 0])
    assert float(read_timeline("0: 1\n2: 0", [moving(1.0)]).at(0).delta[0, 0]) == 1, "a keyframe at 0 is the first"


def test_commands_are_read_as_such():
    timeline = read_timeline("1=4:2\n0=2:0", [moving(1.0)])
    assert timeline.frames == 8
    assert float(timeline.at(5).delta[0, 0]) == 1


def test_a_command_without_change_is_reached_at_once():
    timeline = read_timeline("1=0:3\n0=0:1\n2=2:1", [moving(1.0), moving(4.0)])
    assert [float(timeline.at(frame).delta[0, 0]) for frame in range(timeline.frames)] == [1, 1, 1, 0, 2, 4, 4]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "the timeline is empty: write"),
        ("later: 1", "got 'later: 1': correct it"),
        ("5: 2", "needs expression 2, but there are 1: add it"),
        ("5: 1\n3: 0", "order them"),
        ("1=9999999:0", "has 9999999 frames: write"),
        ("1=0:0", "has 0 frames"),
        ("5: 1\n1=2:3", "got '1=2:3'"),
    ],
)
def test_other_timelines_are_refused(text, words):
    with pytest.raises(InputError, match=words):
        read_timeline(text, [moving(1.0)])


def test_a_slider_is_found_by_any_of_its_names():
    assert slider("wink_other").name == "wink_other"
    with pytest.raises(InputError, match="there is no slider 'frown': .*gaze_y_other"):
        slider("frown")


def test_a_timeline_with_a_driving_is_as_long_as_the_longer():
    timeline = read_timeline("4: 1", [moving(1.0)])
    assert [timeline.lasting(*lengths).frames for lengths in ((0,), (0, 3), (0, 9), (2, 9), (12, 9))] == [
        5,
        5,
        9,
        2,
        12,
    ]


def test_a_driving_moves_the_picture_beside_the_timeline(x):
    timeline = read_timeline("2: 1", [moving(1.0)]).lasting(6)
    plain, driven = timeline_expressions(timeline), timeline_expressions(timeline, x.driving)
    assert len(plain) == len(driven) == 6
    for frame, (one, other) in enumerate(zip(plain, driven, strict=True)):
        moved = other + one * -1
        there = x.driving[frame : frame + 1] if frame < len(x.driving) else x.driving[:1]  # after its end: nothing
        assert torch.allclose(moved.delta, (there.expression - x.driving[:1].expression)[0], atol=1e-6)
        assert torch.allclose(moved.turn, (there.pose.angles - x.driving[:1].pose.angles)[0], atol=1e-4)
        assert moved.scale == 0
    assert len(x.driving) == 4
