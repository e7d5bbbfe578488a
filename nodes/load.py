"""LoadPersonaLive: loads the networks of a weights folder into ComfyUI's memory management."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import comfy.model_management as mm
from comfy_api.v0_0_2 import io

from ..personalive_core.backends.personalive.files import FILES, SHIPPED
from ..personalive_core.backends.personalive.loader import DECODERS, OWN, Host, load_model
from ..personalive_core.backends.registry import PERSONALIVE
from ..personalive_core.errors import InputError, OutputError, WeightsError, remedy_first
from ..personalive_core.weights.index import WeightFile, WeightIndex, locate
from .host.adapters import ComfyImageEncoder, ComfyVae
from .host.errors import readable
from .host.faces import LACKED
from .host.fetching import fetch, gigabytes
from .host.folders import DETECTOR, MODELS, SMALL, detector_folder, own_stats, weight_folders, weights_folder
from .host.memory import ATTENTIONS, FASTEST_FIRST, FP8, layers, place, types
from .host.schema import schema
from .host.sockets import LoadedModel, ModelSocket
from .host.speed import OFFERED, sped_up, speed_plan

BUNDLED = ("vae", "image_encoder", "tiny_vae")

_log = logging.getLogger(__name__)


class LoadPersonaLive(io.ComfyNode):
    """Loads the networks of a weights folder, and downloads missing files first if allowed."""

    system = PERSONALIVE  # by which an error says what to do

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="LoadPersonaLive",
            display_name="Load PersonaLive",
            description="Loads the PersonaLive networks from ComfyUI's models folder. Start every workflow with it.",
            inputs=[
                io.Combo.Input(
                    "weights",
                    options=list(weight_folders()),
                    default=MODELS,
                    tooltip="Folder of the weights: models/personalive, or a folder in it with another set. small "
                    "comes with the pack: it paints drawn people at 128 pixels, in seconds and without a download.",
                ),
                io.Combo.Input(
                    "precision",
                    options=["auto", *FASTEST_FIRST, FP8],
                    default="auto",
                    tooltip="Number type to compute in. auto follows ComfyUI's settings; fp8 stores the two large "
                    "networks in half the memory of fp16 at a small loss.",
                ),
                io.Combo.Input(
                    "decoder",
                    options=list(DECODERS),
                    default="full",
                    tooltip="full decodes pictures with the VAE; tiny is many times faster and slightly softer.",
                ),
                io.Combo.Input(
                    "attention",
                    options=list(ATTENTIONS),
                    default="auto",
                    tooltip="auto uses the attention ComfyUI was started with; pytorch uses PyTorch's own, exact one.",
                ),
                io.Boolean.Input(
                    "download_if_missing",
                    default=True,
                    tooltip="Download missing files (about 12 GB) from the Hugging Face hub into the folder. Read the "
                    "licences first: the published weights are for non-commercial use (CC BY-NC 4.0).",
                ),
                io.Vae.Input("vae", optional=True, tooltip="A Stable Diffusion 1.5 VAE to use instead of the bundled."),
                io.ClipVision.Input(
                    "clip_vision",
                    optional=True,
                    tooltip="The CLIP image encoder of sd-image-variations, to use instead of the bundled.",
                ),
                io.Combo.Input(
                    "speed",
                    options=list(OFFERED),
                    default="auto",
                    optional=True,
                    tooltip="How the networks run. auto is plain. compiled runs them in CUDA graphs: faster on an "
                    "NVIDIA GPU, but not yet tried on one in ComfyUI. fp8 changes the pictures slightly.",
                ),
            ],
            outputs=[
                ModelSocket.Output(
                    "model",
                    display_name="model",
                    tooltip="The networks, for every other PersonaLive node that asks for them.",
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
        folder = weight_folders().get(weights or "")
        if folder is None or not folder.is_dir():
            return []
        place = detector_folder(folder)
        files = [found for found in locate(folder, FILES).found if found.file.network != DETECTOR]
        lacked = [(DETECTOR, LACKED[place], 0)] if download_if_missing and LACKED[place] else []
        return own_stats(folder, files) + lacked

    @classmethod
    def validate_inputs(cls, weights: str | None) -> bool | str:
        """Refuses a missing folder before the workflow runs. None: the name comes from another node, not known yet."""
        try:
            if weights is not None:
                weights_folder(weights)
        except WeightsError as error:
            return remedy_first(str(error))
        return True

    @classmethod
    @readable
    def execute(
        cls,
        weights: str,
        precision: str,
        decoder: str,
        attention: str,
        download_if_missing: bool,
        vae: Any = None,
        clip_vision: Any = None,
        speed: str = "auto",
    ) -> io.NodeOutput:
        folder, plan = weights_folder(weights), speed_plan(speed)
        dtype, storage = types(precision)
        host = Host(
            ops=layers(attention, fused=not plan.plain),  # not yet tried beside dynamic VRAM: only if asked for
            storage=storage,
            vae=ComfyVae(vae) if vae is not None else None,
            image_encoder=clip_vision,
        )
        if folder in SHIPPED.values() and decoder != "full":
            raise InputError(f"{SMALL!r} has no {decoder} decoder: choose full")
        needed = host.needs(decoder) if decoder in DECODERS else ()
        download_missing(folder, needed, download_if_missing, str(cls.hidden.unique_id))
        networks = load_model(folder, mm.unet_offload_device(), dtype, decoder, host)
        if clip_vision is not None:
            encoder = ComfyImageEncoder(clip_vision, networks.denoising_unet.config.image_dim)
            networks = replace(networks, image_encoder=encoder)
        names = [*OWN, *(name for name in BUNDLED if getattr(host, name, None) is None)]
        placed = {name: network for name in names if (network := getattr(networks, name)) is not None}
        model = replace(networks, placement=place(placed, dtype, resident=not plan.plain))
        return io.NodeOutput(LoadedModel(sped_up(model, plan, attention), folder))


def download_missing(folder: Path, networks: tuple[str, ...], allowed: bool, node: str = "") -> None:
    """Downloads the face detector, which is small and comes first, then the missing files of `networks`.

    The small model brings its networks, and gets a detector only after a node asked for one: its first run needs no
    network. `node` shows how far the download is. Raises WeightsError if files of `networks` are missing and downloads
    are not allowed, or if their download fails. A failed download of the face detector only logs a warning: square
    pictures need none.
    """
    place = detector_folder(folder)
    asked = place == folder or LACKED[place] > 0
    if asked:
        place.mkdir(parents=True, exist_ok=True)  # also to be filled by hand
    index = locate(folder, FILES)
    missing = index.missing(networks)
    if missing and not allowed:
        raise WeightsError(missing_text(index, missing))
    detector = locate(place, FILES).missing((DETECTOR,)) if allowed and asked else ()
    if detector:
        try:
            fetch(place, detector, node)
        except (WeightsError, OutputError) as error:
            _log.warning("PersonaLive has no YuNet, the face detector for pictures that are not square: %s", error)
    if missing:
        fetch(folder, missing, node)


def missing_text(index: WeightIndex, missing: tuple[WeightFile, ...]) -> str:
    """What to do about missing files: first the quick ways with their size and place, then the files one by one."""
    return (
        f"weights are missing: turn on download_if_missing to download about {gigabytes(missing)} into {index.folder}, "
        f"or choose {SMALL!r}, which works now\n"
        "The weights are for non-commercial use. Where huggingface.co is not reached, set the environment variable "
        f"HF_ENDPOINT to a mirror. To fill the folder by hand, put these files there:\n{index.report(missing)}"
    )
