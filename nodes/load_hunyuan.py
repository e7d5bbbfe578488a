"""LoadHunyuan: loads HunyuanPortrait's networks of a weights folder, once its licence is accepted."""

from __future__ import annotations

from typing import Any

from comfy_api.v0_0_2 import io

from ..personalive_core.backends.hunyuan.files import LICENCE_TERMS, check_licence
from ..personalive_core.backends.registry import HUNYUAN
from ..personalive_core.errors import PersonaLiveError, remedy_first
from .host.errors import readable
from .host.folders import HUNYUAN_MODELS, file_stats
from .host.hunyuan import chosen_hunyuan_folder, hunyuan_files, hunyuan_folders, load_hunyuan_placed
from .host.memory import FASTEST_FIRST, FP8, types
from .host.schema import schema
from .host.sockets import HunyuanSocket, LoadedHunyuan


class LoadHunyuan(io.ComfyNode):
    """Loads HunyuanPortrait's networks; nothing is downloaded."""

    system = HUNYUAN  # by which an error says what to do

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="PersonaLiveLoadHunyuanPortrait",
            display_name="Load HunyuanPortrait (PersonaLive)",
            description="Loads the HunyuanPortrait networks from ComfyUI's models folder, where you put them: nothing "
            f"is downloaded. {LICENCE_TERMS}.",
            inputs=[
                io.Combo.Input(
                    "weights",
                    options=list(hunyuan_folders()),
                    default=HUNYUAN_MODELS,
                    tooltip="Folder of the weights: models/hunyuanportrait, or a folder in it with another set. What "
                    "belongs there is said if a file is missing.",
                ),
                io.Boolean.Input(
                    "accept_licence",
                    default=False,
                    tooltip=f"Turn on once you have read the licence and accept it. {LICENCE_TERMS}.",
                ),
                io.Combo.Input(
                    "precision",
                    options=["auto", *FASTEST_FIRST, FP8],
                    default="auto",
                    tooltip="Number type to compute in. auto follows ComfyUI's settings. fp16 is the published one. "
                    "fp8 stores the UNet in 8 bits: half the memory, and slightly other pictures.",
                ),
            ],
            outputs=[
                HunyuanSocket.Output("model", display_name="model", tooltip="The networks, for HunyuanPortrait Sample.")
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, weights: str | None, **_: Any) -> list[tuple[str, int, int]]:
        """(path, size in bytes, mtime in ns) of the weight files; ComfyUI reloads changed ones."""
        folder = hunyuan_folders().get(weights or "")
        if folder is None or not folder.is_dir():
            return []
        return file_stats({path for found in hunyuan_files(folder) for path in found.paths})

    @classmethod
    def validate_inputs(cls, weights: str | None, accept_licence: bool | None) -> bool | str:
        """Refuses a missing folder, or no licence, before the workflow runs. None: another node's, not known yet."""
        try:
            if accept_licence is not None:
                check_licence(accept_licence)
            if weights is not None:
                chosen_hunyuan_folder(weights)
        except PersonaLiveError as error:
            return remedy_first(str(error))
        return True

    @classmethod
    @readable
    def execute(cls, weights: str, accept_licence: bool, precision: str) -> io.NodeOutput:
        check_licence(accept_licence)
        folder, (dtype, storage) = chosen_hunyuan_folder(weights), types(precision)
        folder.mkdir(parents=True, exist_ok=True)  # to be filled by hand
        return io.NodeOutput(LoadedHunyuan(load_hunyuan_placed(folder, dtype, storage, accept_licence), folder))
