"""SaveMotion and LoadMotion: write motion to a small .safetensors file and read it back."""

from __future__ import annotations

from pathlib import Path

from comfy_api.v0_0_2 import io

from ..personalive_core.errors import InputError, remedy_first
from .host.errors import readable
from .host.folders import motion_file, motion_files, new_output, refused_prefix, viewable
from .host.schema import schema
from .host.sockets import Motion, MotionSocket
from .host.systems import read_any_part, save_any_motion

NO_MOTION = "(no motion file yet)"


class SaveMotion(io.ComfyNode):
    """Writes motion and its times to a .safetensors file in the output folder, without its driving file and fit."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="PersonaLiveSaveMotion",
            display_name="Save Motion (PersonaLive)",
            description="Writes motion to a small file (2.4 kB a frame) in the output folder. It holds no pictures, "
            "but for pixels of eyes, nose and mouth where the model has a region cue. Any portrait can be animated "
            "with it.",
            inputs=[
                MotionSocket.Input("motion", tooltip="From Extract or Blend Motion."),
                io.String.Input(
                    "filename_prefix", default="motion/PersonaLive", tooltip="Folder and beginning of the file's name."
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
    def execute(cls, motion: Motion, filename_prefix: str) -> io.NodeOutput:
        path = new_output(filename_prefix, ".safetensors")
        save_any_motion(path, motion)
        return io.NodeOutput(ui={"text": [f"{path.name}: {motion!r}"], "motion": [viewable(path)]})


class LoadMotion(io.ComfyNode):
    """Reads a motion file from the input or the output folder and cuts it to a range of frames."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="PersonaLiveLoadMotion",
            display_name="Load Motion (PersonaLive)",
            description="Reads a motion file from the input folder, or one that Save Motion wrote.",
            inputs=[
                io.Combo.Input(
                    "file",
                    options=motion_files() or [NO_MOTION],
                    tooltip="A .safetensors motion file in the input folder or, marked [output], in the output folder.",
                ),
                io.Float.Input("start", default=0.0, min=0.0, max=1e6, step=0.04, tooltip="Seconds to leave out."),
                io.Int.Input("count", default=0, min=0, max=10**7, tooltip="Most frames to take. 0: all."),
            ],
            outputs=[MotionSocket.Output("motion", display_name="motion", tooltip="For Keypoint Interpolate.")],
        )

    @classmethod
    def fingerprint_inputs(cls, file: str, **_: object) -> tuple[int, int] | None:
        """Size in bytes and mtime in ns of the file, or None: after a change ComfyUI reads it again."""
        path = found(file)
        return (path.stat().st_size, path.stat().st_mtime_ns) if path else None

    @classmethod
    def validate_inputs(cls, file: str | None) -> bool | str:
        """Refuses a missing file before the workflow runs. None: the name comes from another node, not known yet."""
        try:
            if file is not None:
                chosen_motion(file)
        except InputError as error:
            return remedy_first(str(error))
        return True

    @classmethod
    @readable
    def execute(cls, file: str, start: float, count: int) -> io.NodeOutput:
        part = read_any_part(chosen_motion(file), start, count or None)
        return io.NodeOutput(Motion(part.motion, part.rate, ticks=part.times))


def chosen_motion(file: str) -> Path:
    """The file of an option of Load Motion. Raises InputError if it is missing."""
    path = found(file)
    if path is None:
        raise InputError(f"there is no motion file {file}: put it into ComfyUI's input folder and press R")
    return path


def found(file: str | None) -> Path | None:
    """The file of an option of Load Motion, or None if it is missing."""
    path = motion_file(file) if file else None
    return path if path and path.is_file() else None
