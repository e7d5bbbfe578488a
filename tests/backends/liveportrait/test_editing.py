"""Both expression editors and timelines against the published code, slider by slider."""

import pytest
import torch

from personalive_core.backends.liveportrait.editing import (
    PageEdit,
    edited_by_node,
    edited_by_page,
    initial_openness,
    video_lips_at,
    video_lips_silent,
)
from personalive_core.backends.liveportrait.expressions import (
    SAMPLE_PARTS,
    Expression,
    blended_expression,
    read_codes,
    sampled_expression,
)
from personalive_core.backends.liveportrait.sliders import EDITORS, SLIDERS, slider, slider_moves
from personalive_core.backends.liveportrait.stitching import stitched
from personalive_core.backends.liveportrait.timelines import (
    ExpressionKey,
    FirstFrameShare,
    Timeline,
    read_commands,
    timeline_keypoints,
)
from personalive_core.errors import InputError
from tests.backends.liveportrait.published import inputs_of, pipeline, worst

EXPECTED = pipeline()
NAMES = [name for name in EXPECTED.files if name.startswith("editor/") and not name.endswith("/values")]
PAGE_ONLY = {"eye_ratio": "eyes", "lip_ratio": "lips", "mov_z": "size"}


def values_of(editor):
    """{slider: its two values}."""
    start = f"editor/{editor}/"
    names = [name for name in EXPECTED.files if name.startswith(start) and name.endswith("/values")]
    return {name.removeprefix(start).removesuffix("/values"): EXPECTED[name].tolist() for name in names}


def page_edit(values, stitching=False):
    moved = {name: value for name, value in values.items() if name not in PAGE_ONLY}
    others = {PAGE_ONLY[name]: value for name, value in values.items() if name in PAGE_ONLY}
    return PageEdit(moved, stitching=stitching, **others)


def page_outputs(x):
    def moved(values, stitching=False):
        return edited_by_page(x.source, page_edit(values, stitching), x.networks)

    sliders, neutral, name = values_of("gradio"), moved({}), "editor/gradio"
    everything = {slider: values[1] for slider, values in sliders.items()}
    return {
        f"{name}/neutral": neutral,
        f"{name}/initial_ratios": initial_openness(x.source),
        **{f"{name}/{s}/delta": torch.cat([moved({s: v}) - neutral for v in vs]) for s, vs in sliders.items()},
        f"{name}/everything/plain": moved(everything),
        f"{name}/everything/stitched": moved(everything, stitching=True),
        "editor/gradio_video/lip_ratio_0.1": video_lips_at(x.video, 0.1, x.networks),
        "editor/gradio_video/lip_silence": video_lips_silent(x.video, x.networks),
    }


def node_outputs(x):
    def moved(values, own=1.0):
        return edited_by_node(x.source, Expression.of(values), own)

    def seen(keypoints):
        return stitched(x.networks, x.source.keypoints, keypoints)

    sliders, neutral, name = values_of("advanced"), moved({}), "editor/advanced"
    own = sliders.pop("src_ratio")
    everything = {slider: values[1] for slider, values in sliders.items()}
    expression = Expression.of(everything)
    sample = {part: sampled_expression(x.driving[1:2], part, 0.8) for part in SAMPLE_PARTS}
    return {
        f"{name}/neutral": neutral,
        f"{name}/neutral_stitched": seen(neutral),
        **{f"{name}/{s}/delta": torch.cat([moved({s: v}) - neutral for v in vs]) for s, vs in sliders.items()},
        f"{name}/src_ratio/delta": torch.cat([moved({}, ratio) - neutral for ratio in own]),
        **{f"{name}/sample/{part}": edited_by_node(x.source, found) for part, found in sample.items()},
        f"{name}/everything/plain": moved(everything),
        f"{name}/everything/stitched": seen(moved(everything)),
        f"{name}/everything/expression": expression.delta[None],
        f"{name}/everything/rotation": expression.turn,
    }


def command_outputs(x):
    known = [Expression.of({"smile": 1, "rotate_pitch": 5}), Expression.of({"aaa": 60, "pupil_x": 8})]
    timeline, name = read_commands("1=2:1\n2=3:1\n0=2:0", known), "editor/advanced/commands"
    share = FirstFrameShare(0.5, 0.7)
    return {
        f"{name}/still": timeline_keypoints(x.source, timeline),
        f"{name}/driven": timeline_keypoints(x.source, timeline, x.driving),
        f"{name}/driven_eyes_0.5_mouth_0.7": timeline_keypoints(x.source, timeline, x.driving, share),
    }


@pytest.fixture(scope="module")
def inputs(synth, live_cases):
    return inputs_of(synth, live_cases)


@pytest.fixture(scope="module")
def outputs(inputs):
    return {**page_outputs(inputs), **node_outputs(inputs), **command_outputs(inputs)}


def test_every_published_array_is_compared(outputs):
    assert set(outputs) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_published_edit(name, outputs):
    assert not worst(outputs, EXPECTED, [name])


def test_every_number_of_the_table_is_seen():
    """Each coordinate that a slider moves, each factor and each turn changes what some published value gives."""
    unseen = []
    for editor in EDITORS:
        for name, values in values_of(editor).items():
            one, variant = slider(name), slider(name).variant(editor)
            moves = {**one.moves, **(one.below or {}), **variant.moves}
            found = [slider_moves({name: value}, editor)[0] for value in values]
            moved = {f"{point}{'xyz'[axis]}" for delta in found for point, axis in delta.nonzero().tolist()}
            unseen += [(editor, name, where) for where in moves if where not in moved]
    assert not unseen


def test_sliders_know_each_other_by_any_name():
    assert {slider(name).name for name in ("pupil_x", "gaze_x")} == {"gaze_x"}
    names = [one.name for one in SLIDERS]
    assert len(set(names)) == len(names)
    assert {one.group for one in SLIDERS} == {"eyes", "brows", "mouth", "head"}
    for one in SLIDERS:
        for variant in filter(None, (one.gradio, one.advanced)):
            assert variant.least <= variant.default <= variant.most


def test_expressions_add_up_and_scale():
    smile, nod = Expression.of({"smile": 1}), Expression.of({"rotate_pitch": 4})
    both = smile + nod * 0.5
    assert torch.equal(both.delta, smile.delta)
    assert both.turn.tolist() == [2, 0, 0]
    assert torch.allclose(blended_expression(smile, nod, 0.25).delta, 0.75 * smile.delta)
    assert not Expression.none().delta.any()


def test_codes_are_point_and_axis():
    delta = read_codes({141: 20.0, 50: -3.0})
    assert delta[14, 1] == pytest.approx(0.02)
    assert delta[5, 0] == pytest.approx(-0.003)
    assert delta.count_nonzero() == 2


def test_a_timeline_between_and_beyond_its_keys():
    smile = Expression.of({"smile": 1})
    timeline = Timeline((ExpressionKey(2, Expression.none()), ExpressionKey(6, smile)), 0)
    shares = [float(timeline.at(frame).delta[14, 1] / smile.delta[14, 1]) for frame in (0, 2, 3, 6, 9)]
    assert shares == pytest.approx([0, 0, 0.25, 1, 1])


def test_a_timeline_is_as_long_as_its_driving(inputs):
    timeline = Timeline((ExpressionKey(0, Expression.none()),), 0)
    assert len(timeline_keypoints(inputs.source, timeline, inputs.driving)) == 4
    assert len(timeline_keypoints(inputs.source, timeline)) == 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: slider("frown"), "there is no slider 'frown': the sliders are smile, wink"),
        (lambda: Expression.of({"pouting": 1}), "advanced editor has no slider 'pouting': use the other editor's"),
        (lambda: slider_moves({"blink": 1}, "gradio"), "gradio editor has no slider 'blink'"),
        (lambda: read_commands("1=2", [Expression.none()]), "a command is expression=change:keep.* got '1=2': correct"),
        (lambda: read_commands("3=2:1", [Expression.none()]), "needs expression 3, but there are 1: add it"),
        (lambda: read_codes({213: 1.0}), "10 times a point of 0 to 20, plus its axis, got 213: correct it"),
        (lambda: Timeline((), 0), "a timeline's keys are at rising frames, got"),
        (lambda: sampled_expression(None, "Nose"), "OnlyMouth, OnlyEyes, All, got 'Nose': choose one of these"),
    ],
)
def test_what_does_not_exist_is_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()
