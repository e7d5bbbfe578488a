"""ExpressionEditor: moves the expression and head of a still with sliders, and shows it while a slider moves."""

from __future__ import annotations

import weakref

import torch
from comfy_api.v0_0_2 import io

from ..personalive_core.backends.liveportrait.crops import EDITOR_CROP
from ..personalive_core.backends.liveportrait.editing import expression_motion
from ..personalive_core.backends.liveportrait.expressions import SAMPLE_PARTS, Expression
from ..personalive_core.backends.liveportrait.pasting import prepare_live_paste
from ..personalive_core.backends.liveportrait.sliders import EDITORS
from .expression_timeline import MOTION_TOOLTIP, motion_at
from .host.editing import EDITS, Choices, Sitting, draw_edit, jpeg, small_paste
from .host.errors import readable
from .host.folders import temp_file, viewable
from .host.liveportrait_source import FaceChoice, choice_inputs, read_expression, read_source, roomy
from .host.panel import for_page
from .host.schema import schema
from .host.sliders import slider_inputs
from .host.sockets import (
    ExpressionSocket,
    LivePortraitSocket,
    LoadedLivePortrait,
    MotionSocket,
    only_picture,
    to_image,
)

EDITOR_PANEL = "personalive_editor"
NODE = "Expression Editor"


def way_inputs() -> list[io.Input]:
    """The widgets of how the edit is made."""
    return [
        io.Combo.Input(
            "editor",
            options=list(reversed(EDITORS)),
            default="advanced",
            tooltip="Whose way it is: advanced turns the expression with the head, as ComfyUI-AdvancedLivePortrait "
            "does; gradio does not, as LivePortrait's own page.",
        ),
        io.Boolean.Input(
            "stitching",
            default=True,
            tooltip="Moves neck and hair, so that the square joins the picture seamlessly.",
        ),
        io.Boolean.Input(
            "paste_back", default=True, tooltip="Paste the square back into the picture. Off: the square alone."
        ),
    ]


def sample_inputs() -> list[io.Input]:
    """The widgets of the sample picture, and of an expression in numbers."""
    return [
        io.Combo.Input(
            "sample_part",
            options=list(SAMPLE_PARTS),
            default="OnlyExpression",
            tooltip="What sample_image gives.",
        ),
        io.Float.Input(
            "sample_ratio", default=1.0, min=-0.2, max=1.2, step=0.01, tooltip="How much of it. Below 0: its opposite."
        ),
        io.String.Input(
            "codes",
            default="",
            tooltip="An expression in numbers that is added, such as 141=-20, 60=5: ten times the point plus its axis, "
            "and thousandths. Empty: none.",
        ),
    ]


class ExpressionEditor(io.ComfyNode):
    """Moves expression and head of one picture."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="PersonaLiveExpressionEditor",
            display_name="Expression Editor (PersonaLive)",
            description="Edits the face of a still with LivePortrait: eyes, brows, mouth, head. Run it once, then move "
            "a slider: the picture on the node follows.",
            inputs=[
                LivePortraitSocket.Input("model", tooltip="From Load LivePortrait."),
                io.Image.Input("image", tooltip="One picture of the person to edit."),
                *slider_inputs(),
                *way_inputs(),
                *choice_inputs(),
                *sample_inputs(),
                io.Image.Input("sample_image", optional=True, tooltip="A picture whose expression is added."),
                ExpressionSocket.Input(
                    "expression",
                    optional=True,
                    tooltip="Added: an expression that was loaded or blended, or another editor's.",
                ),
            ],
            outputs=[
                io.Image.Output("edited_image", display_name="edited_image", tooltip="The edited picture."),
                io.Image.Output(
                    "edited_face", display_name="edited_face", tooltip="The edited square, 512 pixels a side."
                ),
                ExpressionSocket.Output(
                    "edited_expression",
                    display_name="edited_expression",
                    tooltip="All that was added, to save, blend or animate.",
                ),
                MotionSocket.Output("edited_motion", display_name="edited_motion", tooltip=MOTION_TOOLTIP),
            ],
            is_output_node=True,
        )

    @classmethod
    @readable
    def execute(
        cls,
        model: LoadedLivePortrait,
        image: torch.Tensor,
        editor: str,
        stitching: bool,
        paste_back: bool,
        detector: str,
        face: str,
        face_box: str,
        crop_scale: float,
        crop_x: float,
        crop_y: float,
        sample_part: str,
        sample_ratio: float,
        codes: str,
        sample_image: torch.Tensor | None = None,
        expression: Expression | None = None,
        **values: float,
    ) -> io.NodeOutput:
        whole, sample = only_picture(image, NODE), None
        if sample_image is not None:
            sample = read_expression(model, only_picture(sample_image, NODE), FaceChoice(detector))
        added = expression or Expression.none()
        choices = Choices(values, editor, stitching, sample_part, sample_ratio, codes, sample, added)
        edit = choices.edit()
        chosen = FaceChoice(detector, face, face_box, crop_scale, crop_x, crop_y)
        portrait = read_source(model, whole, chosen, EDITOR_CROP)
        square = draw_edit(roomy(model), portrait.source, edit)
        paste = prepare_live_paste(whole, portrait.crop.matrix)
        result = paste(square) if paste_back else square
        sitting = Sitting(weakref.ref(model), portrait.source, small_paste(portrait), choices)
        shown, before = (
            viewable(temp_file(jpeg(one), ".jpg")) for one in (sitting.paste(square), sitting.paste.original)
        )
        begun = {"token": EDITS.begin(sitting), "image": shown, "before": before, "asked": choices.plain()}
        panel = for_page(EDITOR_PANEL, begun)
        moved = expression_motion(portrait.source.motion, [edit.expression], edit.own, edit.editor == "advanced")
        return io.NodeOutput(
            to_image([result]), to_image([square]), edit.expression, motion_at(moved, portrait.crop), ui=panel
        )
