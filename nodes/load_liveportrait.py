"""LoadLivePortrait: loads LivePortrait's networks of a weights folder into ComfyUI's memory management."""

from __future__ import annotations

from typing import Any

from comfy_api.v0_0_2 import io

from ..personalive_core.backends.liveportrait.files import SUBJECTS
from ..personalive_core.backends.liveportrait.speed import LIVE_SPEEDS
from ..personalive_core.backends.registry import LIVEPORTRAIT
from ..personalive_core.errors import WeightsError, remedy_first
from .host.errors import readable
from .host.faces import LACKED
from .host.folders import LIVE_MODELS, own_stats
from .host.liveportrait import (
    FACE_FINDER,
    chosen_live_folder,
    detector_place,
    fetch_live,
    found_files,
    live_folders,
    load_placed,
)
from .host.memory import FASTEST_FIRST, types
from .host.schema import schema
from .host.sockets import LivePortraitSocket, LoadedLivePortrait
from .host.speed import live_plan, sped_up_live


class LoadLivePortrait(io.ComfyNode):
    """Loads LivePortrait's networks, and downloads missing files first if allowed."""

    system = LIVEPORTRAIT  # by which an error says what to do

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="PersonaLiveLoadLivePortrait",
            display_name="Load LivePortrait (PersonaLive)",
            description="Loads the LivePortrait networks from ComfyUI's models folder: for the Expression Editor, and "
            "for animation at many frames a second.",
            inputs=[
                io.Combo.Input(
                    "weights",
                    options=list(live_folders()),
                    default=LIVE_MODELS,
                    tooltip="Folder of the weights: models/liveportrait, where other packs keep them too, or a folder "
                    "in it with another set.",
                ),
                io.Combo.Input(
                    "subject",
                    options=list(SUBJECTS),
                    default=SUBJECTS[0],
                    tooltip="Whose faces: human, or animal, which has networks of its own.",
                ),
                io.Combo.Input(
                    "precision",
                    options=["auto", *FASTEST_FIRST],
                    default="auto",
                    tooltip="Number type to compute in. auto follows ComfyUI's settings. fp16 is the published one.",
                ),
                io.Boolean.Input(
                    "download_if_missing",
                    default=True,
                    tooltip="Download missing files (about 0.5 GB) from the Hugging Face hub into the folder. The "
                    "weights' licence is MIT.",
                ),
                io.Combo.Input(
                    "speed",
                    options=list(LIVE_SPEEDS),
                    default="auto",
                    optional=True,
                    tooltip="How the networks run. auto is plain. compiled runs them in CUDA graphs: meant for NVIDIA "
                    "GPUs, but not yet tried on one.",
                ),
            ],
            outputs=[
                LivePortraitSocket.Output(
                    "model", display_name="model", tooltip="The networks, for the nodes that ask for LivePortrait."
                )
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def fingerprint_inputs(
        cls, weights: str | None, download_if_missing: bool | None = False, **_: Any
    ) -> list[tuple[str, int, int]]:
        """(path, size in bytes, mtime in ns) of weight files that were not downloaded; ComfyUI reloads changed ones.

        It changes too if a node needed the face detector that could not be downloaded: the next run tries again.
        """
        folder = live_folders().get(weights or "")
        if folder is None or not folder.is_dir():
            return []
        lacked = LACKED[detector_place()] if download_if_missing else 0
        asked = [(FACE_FINDER, lacked, 0)] if lacked else []
        return own_stats(folder, found_files(folder)) + asked

    @classmethod
    def validate_inputs(cls, weights: str | None) -> bool | str:
        """Refuses a missing folder before the workflow runs. None: the name comes from another node, not known yet."""
        try:
            if weights is not None:
                chosen_live_folder(weights)
        except WeightsError as error:
            return remedy_first(str(error))
        return True

    @classmethod
    @readable
    def execute(
        cls, weights: str, subject: str, precision: str, download_if_missing: bool, speed: str = "auto"
    ) -> io.NodeOutput:
        folder, (dtype, _), plan = chosen_live_folder(weights), types(precision), live_plan(speed)
        fetch_live(folder, subject, download_if_missing, str(cls.hidden.unique_id))
        model = sped_up_live(load_placed(folder, subject, dtype, resident=not plan.plain), plan)
        return io.NodeOutput(LoadedLivePortrait(model, folder, subject))
