"""HunyuanPortrait in ComfyUI: folders of its weights, its networks under ComfyUI's management, and a run of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import comfy.model_management as mm
import comfy.utils
import numpy as np
import torch
from PIL import Image
from torch import nn

from ...personalive_core.backends.hunyuan.backend import HunyuanBackend
from ...personalive_core.backends.hunyuan.files import HUNYUAN_FILES, HUNYUAN_NETWORKS, OWN_NETWORKS
from ...personalive_core.backends.hunyuan.loader import load_hunyuan
from ...personalive_core.backends.hunyuan.model import HunyuanPortrait
from ...personalive_core.backends.hunyuan.motion import read_motion_of
from ...personalive_core.backends.hunyuan.sampling import total_calls
from ...personalive_core.backends.hunyuan.stream import segments
from ...personalive_core.backends.hunyuan.types import (
    PORTRAIT_SIDE,
    HunyuanMotion,
    HunyuanReference,
    SamplingOptions,
    SegmentProgress,
)
from ...personalive_core.backends.registry import HUNYUAN
from ...personalive_core.faces.crop import FaceDetector
from ...personalive_core.media.picture import Picture
from ...personalive_core.motion.gaps import fill_missing
from ...personalive_core.motion.times import times_of, usual_rate
from ...personalive_core.motion.types import concat_motion
from ...personalive_core.weights.index import Found, locate
from .folders import HUNYUAN_MODELS, chosen_folder, layout_parts, set_folders
from .footage import DrivingFrames
from .liveportrait_motion import Shown, frames_of
from .memory import activation_bytes, check_interrupt, layers, place, with_room
from .panel import PREVIEW
from .sockets import Footage, LoadedHunyuan, Motion
from .systems import hunyuan_frames

# Load HunyuanPortrait downloads nothing, and its nodes take no box by hand.
NO_HUNYUAN_YUNET = (
    "finding the face needs YuNet, which is not downloaded: run the workflow 01 try it once with download_if_missing "
    "on in Load PersonaLive, then this one again"
)
_BRANCHES = 2  # of guidance, with equal scales
# Rough colours of a latent's four numbers, for previews: red, green and blue of each.
_COLOURS = ((0.30, 0.17, 0.17), (0.19, 0.25, 0.31), (-0.16, 0.19, 0.19), (-0.18, -0.27, -0.45))


def hunyuan_folders() -> dict[str, Path]:
    """The options of the weights widget: a name, which is the same on every machine -> its folder."""
    return set_folders(HUNYUAN_MODELS, holds_hunyuan, layout_parts(HUNYUAN_FILES))


def hunyuan_files(folder: Path) -> tuple[Found, ...]:
    """HunyuanPortrait's files in a folder."""
    return tuple(found for found in locate(folder, HUNYUAN_FILES).found if found.paths)


def holds_hunyuan(folder: Path) -> bool:
    """Whether `folder` holds a file of at least one of HunyuanPortrait's own networks.

    The others' names say little: ComfyUI's folder `vae` often holds a file that is called like the VAE's.
    """
    return any(found.file.network in OWN_NETWORKS for found in hunyuan_files(folder))


def chosen_hunyuan_folder(choice: str) -> Path:
    """The folder of an option of the weights widget. Raises WeightsError if there is no such option."""
    return chosen_folder(hunyuan_folders(), choice)


def load_hunyuan_placed(
    folder: Path, dtype: torch.dtype, storage: torch.dtype | None, accepted: bool
) -> HunyuanPortrait:
    """The networks under ComfyUI's memory management, computing as `dtype`; the UNet's matrices stored as `storage`.

    Raises as `load_hunyuan` does.
    """
    # On the CPU nothing is moved, and plain layers have faster forms there.
    plain = mm.get_torch_device().type == "cpu" and storage is None
    ops: Any = nn if plain else layers("auto")
    model = load_hunyuan(folder, mm.unet_offload_device(), dtype, accepted, ops, storage)
    networks = dict(zip(HUNYUAN_NETWORKS, model.networks, strict=False))
    return replace(model, placement=place(networks, dtype, bare=("image_proj",)))


def denoising_room(model: HunyuanPortrait, size: int, sampling: SamplingOptions) -> HunyuanPortrait:
    """The networks, which keep room for a window's call free whenever one is brought."""
    return with_room(model, activation_bytes(size, _BRANCHES * sampling.windows.size, model.dtype))


@dataclass(frozen=True)
class HunyuanWish:
    """What the widgets of both samplers ask for."""

    sampling: SamplingOptions
    seed: int
    size: int = PORTRAIT_SIDE
    paste_back: bool = True
    face: str = "largest"  # the picture's, see `choose_face`
    driving_face: str = "largest"  # the one to follow in the driving

    @property
    def details(self) -> dict[str, str]:
        """What the result's metadata say of how it was made."""
        paste = "matched" if self.paste_back else "square"
        return {"system": HUNYUAN, "seed": str(self.seed), "steps": str(self.sampling.steps), "paste": paste}


@dataclass(frozen=True, eq=False)
class HunyuanRun:
    """One run: the networks with the reference and the driving's motion."""

    backend: HunyuanBackend
    reference: HunyuanReference
    motion: Motion  # of a HunyuanMotion, without gaps

    def __len__(self) -> int:
        return len(self.motion)

    @property
    def sound(self) -> Footage | None:
        """Where the result's sound is: in the driving's file."""
        return self.motion.footage

    def size(self, paste_back: bool) -> tuple[int, int]:
        """Width and height of the pictures in pixels."""
        side = self.backend.side
        height, width = self.reference.picture.shape[:2] if paste_back else (side, side)
        return width, height

    def pictures(self, previews: bool = False) -> Iterator[Picture]:
        """The picture of each frame, with a progress bar over all calls of the UNet and, if asked, live previews.

        Raises ComfyUI's InterruptProcessingException after the step in which the user pressed Cancel.
        """
        frames, sampling = self.motion.frames, self.backend.options
        parts = [len(part.motion) for part in segments([frames], sampling.segments)]
        calls = [total_calls(part + 2 * sampling.padding, sampling) for part in parts]
        bar = comfy.utils.ProgressBar(sum(calls))

        def told(done: SegmentProgress) -> None:
            check_interrupt()
            shown = ("JPEG", latent_preview(done.clean), PREVIEW) if previews else None
            bar.update_absolute(sum(calls[: done.segment]) + done.calls, sum(calls), shown)

        for picture in self.backend.changed(told=told).animate(self.reference, [frames]):
            check_interrupt()
            yield picture


def latent_preview(clean: torch.Tensor) -> Image.Image:
    """A rough picture of the middle frame of latents [N, 4, h, w]."""
    middle = clean[len(clean) // 2].float().cpu()
    colours = torch.einsum("chw,cd->hwd", middle, torch.tensor(_COLOURS)) / 2 + 0.5
    levels = (colours.clamp(0, 1) * 255).round().byte().numpy()
    return Image.fromarray(np.asarray(levels)).resize((PREVIEW, PREVIEW))


def begun_hunyuan(
    model: LoadedHunyuan,
    whole: Picture,
    moving: DrivingFrames | Motion,
    missing: str,
    detector: FaceDetector,
    wish: HunyuanWish,
) -> HunyuanRun:
    """Reads the reference [H, W, 3] and, with a progress bar, the motion of a driving that was not read before.

    Raises FaceError if the picture or the driving does not show the chosen face, InputError for the motion of another
    system, ComfyUI's InterruptProcessingException after Cancel.
    """
    if isinstance(moving, Motion):
        hunyuan_frames(moving)  # refused before the networks work
    networks = denoising_room(model.networks, wish.size, wish.sampling)
    paste = "matched" if wish.paste_back else "square"
    backend = HunyuanBackend(networks, detector, wish.sampling, wish.size, wish.seed, paste, face=wish.face)
    reference = backend.portrait(whole)
    if isinstance(moving, DrivingFrames):
        moving = motion_of_film(networks, moving, missing, detector, (wish.driving_face, wish.size))
    frames = hunyuan_frames(moving)
    filled = frames.changed(valid=torch.ones_like(frames.valid))  # as the user chose, not again
    return HunyuanRun(backend, reference, replace(moving, frames=filled))


def motion_of_film(
    networks: HunyuanPortrait,
    driving: DrivingFrames,
    missing: str,
    detector: FaceDetector,
    followed: tuple[str, int],
) -> Motion:
    """The motion of a driving, filled, with a progress bar; `followed` is the face, and the side it is read at.

    Raises as `begun_hunyuan` does.
    """
    (face, side), shown = followed, Shown()
    bar = comfy.utils.ProgressBar(max(driving.total, 1))
    read = read_motion_of(networks, frames_of(driving, bar, shown), detector, side, face)
    frames: HunyuanMotion = concat_motion(fill_missing(read, missing))
    ticks = times_of(shown, driving.rate)
    return Motion(frames, usual_rate(driving.rate, ticks), driving.footage, ticks=ticks)
