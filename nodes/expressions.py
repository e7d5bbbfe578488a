"""SaveExpression, LoadExpression and BlendExpressions: expressions as files and as values."""

from __future__ import annotations

from pathlib import Path

from comfy_api.v0_0_2 import io

from ..personalive_core.backends.liveportrait.expression_files import load_expression, save_expression
from ..personalive_core.backends.liveportrait.expressions import Expression, blended_expression
from ..personalive_core.errors import InputError, remedy_first
from .host.errors import readable
from .host.folders import motion_file, motion_files, new_output, refused_prefix, viewable
from .host.schema import schema
from .host.sockets import ExpressionSocket

NO_EXPRESSION = "(no expression file yet)"
MIXES = ("blend", "add")


class SaveExpression(io.ComfyNode):
    """Writes an expression to a .safetensors file in the output folder."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="PersonaLiveSaveExpression",
            display_name="Save Expression (PersonaLive)",
            description="Writes an expression to a small file in the output folder, for other pictures and workflows.",
            inputs=[
                ExpressionSocket.Input("expression", tooltip="From Expression Editor or Blend Expressions."),
                io.String.Input(
                    "filename_prefix",
                    default="expressions/PersonaLive",
                    tooltip="Folder and beginning of the file's name.",
                ),
            ],
            outputs=[],
            is_output_node=True,
        )

    @classmethod
    def validate_inputs(cls, filename_prefix: str | None) -> bool | str:
        """Refuses a prefix that names no file in the output folder before the workflow runs."""
        return refused_prefix(filename_prefix)

    @classmethod
    @readable
    def execute(cls, expression: Expression, filename_prefix: str) -> io.NodeOutput:
        path = new_output(filename_prefix, ".safetensors")
        save_expression(path, expression)
        return io.NodeOutput(ui={"text": [path.name], "expression": [viewable(path)]})


class LoadExpression(io.ComfyNode):
    """Reads an expression file from the input or the output folder."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="PersonaLiveLoadExpression",
            display_name="Load Expression (PersonaLive)",
            description="Reads an expression file from the input folder, or one that Save Expression wrote.",
            inputs=[
                io.Combo.Input(
                    "file",
                    options=motion_files() or [NO_EXPRESSION],
                    tooltip="A .safetensors expression file in the input folder or, marked [output], in the output "
                    "folder.",
                ),
                io.Float.Input(
                    "ratio", default=1.0, min=-2.0, max=2.0, step=0.01, tooltip="How much of it. Below 0: its opposite."
                ),
            ],
            outputs=[
                ExpressionSocket.Output(
                    "expression",
                    display_name="expression",
                    tooltip="For Expression Editor, Timeline and Blend.",
                )
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, file: str, **_: object) -> tuple[int, int] | None:
        """Size in bytes and mtime in ns of the file, or None: after a change ComfyUI reads it again."""
        path = motion_file(file) if file else None
        return (path.stat().st_size, path.stat().st_mtime_ns) if path and path.is_file() else None

    @classmethod
    def validate_inputs(cls, file: str | None) -> bool | str:
        """Refuses a missing file before the workflow runs. None: the name comes from another node, not known yet."""
        try:
            if file is not None:
                chosen_expression(file)
        except InputError as error:
            return remedy_first(str(error))
        return True

    @classmethod
    @readable
    def execute(cls, file: str, ratio: float) -> io.NodeOutput:
        return io.NodeOutput(load_expression(chosen_expression(file)) * ratio)


def chosen_expression(file: str) -> Path:
    """The file of an option of Load Expression. Raises InputError if it is missing."""
    path = motion_file(file)
    if path is None or not path.is_file():
        raise InputError(f"there is no expression file {file}: put it into ComfyUI's input folder and press R")
    return path


class BlendExpressions(io.ComfyNode):
    """Mixes two expressions, or adds one to the other."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="PersonaLiveBlendExpressions",
            display_name="Blend Expressions (PersonaLive)",
            description="Mixes two expressions, or adds one to the other; several nodes in a row mix more.",
            inputs=[
                ExpressionSocket.Input("expression_a", tooltip="The expression at 0."),
                ExpressionSocket.Input("expression_b", tooltip="The expression at 1, or the one that is added."),
                io.Float.Input(
                    "weight", default=0.5, min=-2.0, max=2.0, step=0.01, tooltip="0: a alone; 1: b, or all of b added."
                ),
                io.Combo.Input(
                    "mode",
                    options=list(MIXES),
                    default=MIXES[0],
                    tooltip="blend goes from a to b; add keeps all of a and adds b times the weight.",
                ),
            ],
            outputs=[
                ExpressionSocket.Output(
                    "expression",
                    display_name="expression",
                    tooltip="For Expression Editor, Timeline and Save.",
                )
            ],
        )

    @classmethod
    @readable
    def execute(cls, expression_a: Expression, expression_b: Expression, weight: float, mode: str) -> io.NodeOutput:
        if mode not in MIXES:
            raise InputError(f"unknown mode {mode!r}: choose {' or '.join(MIXES)}")
        added = expression_a + expression_b * weight
        return io.NodeOutput(added if mode == "add" else blended_expression(expression_a, expression_b, weight))
