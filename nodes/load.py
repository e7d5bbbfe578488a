"""LoadPersonaLive: loads the networks of a weights folder into ComfyUI's memory management."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import comfy.model_management as mm
import comfy.utils
from comfy_api.v0_0_2 import io

from ..personalive_core.backends.personalive.files import FILES
from ..personalive_core.backends.personalive.loader import DECODERS, OWN, Host, load_model
from ..personalive_core.errors import OutputError, WeightsError, remedy_first
from ..personalive_core.weights.download import download
from ..personalive_core.weights.index import WeightFile, locate
from ..personalive_core.weights.lock import read_lock
from .host.adapters import ComfyImageEncoder, ComfyVae
from .host.errors import readable
from .host.faces import LACKED
from .host.folders import MODELS, weight_folders, weights_folder
from .host.memory import ATTENTIONS, FASTEST_FIRST, FP8, check_interrupt, layers, place, types
from .host.schema import schema
from .host.sockets import LoadedModel, ModelSocket

DETECTOR = "yunet"
BUNDLED = ("vae", "image_encoder", "tiny_vae")

_log = logging.getLogger(__name__)


class LoadPersonaLive(io.ComfyNode):
    """Loads the networks of a weights folder, and downloads missing files first if allowed."""

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
                    tooltip="Folder of the weights: models/personalive, or a folder in it with another set.",
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
                    tooltip="Download missing files (several gigabytes) from the Hugging Face hub into the folder. "
                    "Read the licences first: the published weights are for research.",
                ),
                io.Vae.Input("vae", optional=True, tooltip="A Stable Diffusion 1.5 VAE to use instead of the bundled."),
                io.ClipVision.Input(
                    "clip_vision",
                    optional=True,
                    tooltip="The CLIP image encoder of sd-image-variations, to use instead of the bundled.",
                ),
            ],
            outputs=[
                ModelSocket.Output(
                    "model",
                    display_name="model",
                    tooltip="The networks, for every other PersonaLive node that asks for them.",
                )
            ],
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
        # Downloaded files are left out: their hash is checked on loading, and the download of a first run must not
        # make the second run load again.
        downloaded = read_lock(folder)
        files = [found for found in locate(folder, FILES).found if found.file.network != DETECTOR]
        paths = [path for found in files for path in found.paths if found.file.place not in downloaded]
        stats = {path: path.stat() for path in paths}
        lacked = [(DETECTOR, LACKED[folder], 0)] if download_if_missing and LACKED[folder] else []
        return sorted((str(path), stat.st_size, stat.st_mtime_ns) for path, stat in stats.items()) + lacked

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
    ) -> io.NodeOutput:
        folder = weights_folder(weights)
        dtype, storage = types(precision)
        host = Host(
            ops=layers(attention),
            storage=storage,
            vae=ComfyVae(vae) if vae is not None else None,
            image_encoder=clip_vision,
        )
        download_missing(folder, host.needs(decoder) if decoder in DECODERS else (), download_if_missing)
        networks = load_model(folder, mm.unet_offload_device(), dtype, decoder, host)
        if clip_vision is not None:
            encoder = ComfyImageEncoder(clip_vision, networks.denoising_unet.config.image_dim)
            networks = replace(networks, image_encoder=encoder)
        names = [*OWN, *(name for name in BUNDLED if getattr(host, name, None) is None)]
        placed = {name: network for name in names if (network := getattr(networks, name)) is not None}
        return io.NodeOutput(LoadedModel(replace(networks, placement=place(placed, dtype)), folder))


def download_missing(folder: Path, networks: tuple[str, ...], allowed: bool) -> None:
    """Downloads the face detector, which is small and comes first, then the missing files of `networks`.

    Raises WeightsError if files of `networks` are missing and downloads are not allowed, or if their download fails. A
    failed download of the face detector only logs a warning: square pictures need none.
    """
    if allowed:
        folder.mkdir(parents=True, exist_ok=True)
    elif not folder.is_dir():
        raise WeightsError(f"{folder} does not exist: turn on download_if_missing, or put the weights into that folder")
    index = locate(folder, FILES)
    missing, detector = index.missing(networks), index.missing((DETECTOR,))
    if missing and not allowed:
        raise WeightsError(
            f"weights are missing: turn on download_if_missing, or put these files there\n{index.report(missing)}"
        )
    if detector and allowed:
        try:
            fetch(folder, detector)
        except (WeightsError, OutputError) as error:
            _log.warning("PersonaLive has no YuNet, the face detector for pictures that are not square: %s", error)
    if missing:
        fetch(folder, missing)


def fetch(folder: Path, files: tuple[WeightFile, ...]) -> None:
    """Downloads `files` with a progress bar on the node. A download that was cancelled continues in the next run.

    Raises WeightsError as `download` does, and ComfyUI's InterruptProcessingException if the user pressed Cancel.
    """
    bars: dict[str, comfy.utils.ProgressBar] = {}

    def progress(file: WeightFile, done: int, total: int) -> None:
        try:
            check_interrupt()
            bars.setdefault(file.place, comfy.utils.ProgressBar(total)).update_absolute(done, total)
        except mm.InterruptProcessingException as error:
            raise Cancelled from error

    try:
        download(folder, files, progress=progress)
    except Cancelled as cancelled:
        raise mm.InterruptProcessingException from cancelled


class Cancelled(BaseException):
    """Carries Cancel through libraries that treat every Exception as a network error: hence a BaseException."""
