"""LoadPersonaLiveLoRA: reads a LoRA, which ComfyUI adds to the networks' weights whenever it loads them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from comfy_api.v0_0_2 import io

from ..personalive_core.backends.personalive.lora import read_lora
from ..personalive_core.errors import InputError, remedy_first
from .host.errors import readable
from .host.folders import lora_file, lora_files
from .host.memory import with_lora_patches
from .host.schema import schema
from .host.sockets import LoadedModel, ModelSocket

NO_LORA = "(no LoRA file yet)"


class LoadPersonaLiveLoRA(io.ComfyNode):
    """Adds a LoRA to the networks of a model; the model that came in is unchanged."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="LoadPersonaLiveLoRA",
            display_name="Load PersonaLive LoRA",
            description="Adds a LoRA, a small file that adapts the networks, for example to a style of drawing.",
            inputs=[
                ModelSocket.Input("model", tooltip="From Load PersonaLive, or from another of these nodes."),
                io.Combo.Input(
                    "lora",
                    options=lora_files() or [NO_LORA],
                    tooltip="A LoRA for PersonaLive in ComfyUI's loras folder. LoRAs for image models do not fit.",
                ),
                io.Float.Input(
                    "strength",
                    default=1.0,
                    min=-10.0,
                    max=10.0,
                    step=0.05,
                    tooltip="How much of it is added. 0: nothing, 1: as it was trained. Negative numbers take it away.",
                ),
            ],
            outputs=[
                ModelSocket.Output(
                    "adapted_model",  # ComfyUI needs an id that differs from the input's
                    display_name="model",
                    tooltip="The networks with the LoRA. The model that came in stays as it was.",
                )
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, lora: str | None, **_: object) -> tuple[int, int] | None:
        """Size in bytes and mtime in ns of the file, or None: after a change ComfyUI reads it again."""
        path = lora_file(lora or "")
        return (path.stat().st_size, path.stat().st_mtime_ns) if path else None

    @classmethod
    def validate_inputs(cls, lora: str | None) -> bool | str:
        """Refuses a missing file before the workflow runs. None: the name comes from another node, not known yet."""
        try:
            if lora is not None:
                chosen_lora(lora)
        except InputError as error:
            return remedy_first(str(error))
        return True

    @classmethod
    @readable
    def execute(cls, model: LoadedModel, lora: str, strength: float) -> io.NodeOutput:
        networks = with_lora_patches(model.networks, read_lora(chosen_lora(lora)), strength)
        return io.NodeOutput(replace(model, networks=networks))


def chosen_lora(lora: str) -> Path:
    """The file of an option of the lora widget. Raises InputError if it is missing."""
    path = lora_file(lora)
    if path is None:
        raise InputError(f"there is no LoRA {lora}: put it into ComfyUI's models/loras folder and press R")
    return path
