"""The stream of both samplers: checks the inputs, fills the keyframe bank, yields pictures window by window."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from comfy_api.v0_0_2 import io

from ...personalive_core.backends.personalive.reference import encode_reference
from ...personalive_core.backends.personalive.sampling import StreamingSampler, first_bank, remember
from ...personalive_core.backends.personalive.stream import Emitted, stream_fitted
from ...personalive_core.backends.personalive.types import KeyframeBank, Reference
from ...personalive_core.errors import InputError
from ...personalive_core.faces.crop import crop_image
from ...personalive_core.media.picture import Picture
from ...personalive_core.modules.schedule import seeded_noise
from ...personalive_core.motion.types import FittedMotion
from .faces import LARGEST, face_crop, look_for
from .memory import activation_bytes, check_interrupt, settled
from .panel import SamplerPanel
from .sockets import (
    Bank,
    BankSocket,
    LoadedModel,
    ModelSocket,
    Motion,
    MotionSocket,
    PreparedReference,
    ReferenceSocket,
    stream_config,
    to_image,
)

FIXED = -1  # chunk of a fixed keyframe, which was in the bank from the start
REFERENCE, FIXED_WORD = "reference", "fixed"


@dataclass(frozen=True, eq=False)
class BankedRun:
    """The inputs that every stream has."""

    model: LoadedModel
    prepared: PreparedReference
    bank: Bank

    @property
    def size(self) -> int:
        """Pixels a side of the animated square."""
        return len(self.prepared.portrait)


@dataclass(frozen=True, eq=False)
class SamplerRun(BankedRun):
    """The checked inputs of one sampler run."""

    motion: Motion
    fitted: FittedMotion
    seed: int
    steps: int


def sampler_inputs() -> list[io.Input]:
    """The sockets and widgets of both samplers."""
    return [
        ModelSocket.Input("model", tooltip="From Load PersonaLive."),
        ReferenceSocket.Input("reference", tooltip="The portrait, from Prepare Reference."),
        MotionSocket.Input("motion", tooltip="From Keypoint Interpolate, fitted to the same reference."),
        io.Int.Input(
            "seed",
            default=0,
            min=0,
            max=0xFFFFFFFFFFFFFFFF,
            control_after_generate=True,
            tooltip="The noise. The same seed and inputs give the same frames.",
        ),
        io.Int.Input(
            "steps", default=4, min=4, max=40, step=4, tooltip="Denoising steps, a multiple of 4. Made for 4."
        ),
        io.Int.Input(
            "preview_every",
            default=8,
            min=0,
            max=10000,
            tooltip="Frames between two live previews on the node. 0: none.",
        ),
        BankSocket.Input(
            "bank", optional=True, tooltip="From Keyframe Bank. Nothing connected: the published settings."
        ),
    ]


def bank_outputs() -> list[io.Output]:
    """The outputs of both samplers about keyframes."""
    return [
        BankSocket.Output(
            "used_bank",
            display_name="used_bank",
            tooltip="The bank with the keyframes of this run as fixed ones, for another.",
        ),
        io.Image.Output(
            "keyframe_images",
            display_name="keyframe_images",
            tooltip="The reference, fixed keyframes, then every keyframe as it joined.",
        ),
        io.String.Output(
            "keyframe_frames",
            display_name="keyframe_frames",
            tooltip='Their frame numbers, for example "reference, 36, 80".',
        ),
    ]


def check(task: tuple[LoadedModel, PreparedReference, Motion, Bank | None], seed: int, steps: int) -> SamplerRun:
    """Checks that the inputs belong together. Raises InputError: which node is missing or wrongly connected."""
    model, prepared, motion, bank = task
    if motion.fitted is None or motion.canonical is None:
        raise InputError(
            "the motion is not fitted to the reference yet: put a Keypoint Interpolate node before the sampler's motion"
        )
    if not torch.equal(motion.canonical, prepared.reference.canonical):
        raise InputError(
            "the motion was fitted to another reference: connect the same Prepare Reference to Keypoint Interpolate "
            "and to the sampler"
        )
    if prepared.weights != model.weights:
        raise InputError(
            "the reference was read by other weights: connect the same Load PersonaLive to Prepare Reference and to "
            "the sampler"
        )
    stream_config(bank or Bank(), steps)
    return SamplerRun(model, prepared, bank or Bank(), motion, motion.fitted, seed, steps)


@dataclass(frozen=True, eq=False)
class Keyframes:
    """The fixed and historical keyframes of a run so far, without the reference."""

    pictures: tuple[Picture, ...]  # [S, S, 3] each
    numbers: tuple[int | None, ...]  # driving frame of each; None: given by the user

    def then(self, emitted: Emitted) -> Keyframes:
        """These keyframes, and the one that joined in this step, if any."""
        if emitted.keyframe is None:
            return self
        return Keyframes((*self.pictures, emitted.keyframe), (*self.numbers, emitted.first))


def fixed_keyframes(task: BankedRun) -> Keyframes:
    """The bank's fixed keyframes, cropped as Prepare Reference crops. Raises FaceError if no face is found."""
    bank, weights = task.bank, task.model.weights
    pictures = []
    for picture, number in zip(bank.portraits, bank.numbers, strict=True):
        faces = look_for(picture, bank.detector, weights) if number is None else None  # generated: cropped already
        pictures.append(crop_image(picture, face_crop(picture, None, faces, LARGEST), task.size))
    return Keyframes(tuple(pictures), bank.numbers)


def fixed_bank(task: BankedRun, reference: Reference, pictures: tuple[Picture, ...]) -> KeyframeBank:
    """The keyframe bank before the first step: the reference, then the fixed keyframes `pictures` [S, S, 3].

    Raises ComfyUI's InterruptProcessingException if the user pressed Cancel.
    """
    bank, model = first_bank(reference), task.model.networks
    for picture in pictures:
        check_interrupt()
        read = encode_reference(model, picture, task.size)
        motion = read.motion.embedding[None].to(model.device)
        bank = remember(bank, motion, model.encode_features(read.latent, reference), FIXED)
    return bank


def run_stream(task: SamplerRun, panel: SamplerPanel) -> Iterator[tuple[Emitted, Keyframes]]:
    """Yields every step of the stream and the keyframes so far.

    The panel shows a step after the caller has taken it. So Cancel, which the panel raises, loses no finished frame.
    """
    model, config = task.model.networks, stream_config(task.bank, task.steps)
    room = activation_bytes(task.size, config.window * config.windows, model.dtype)
    reference = task.prepared.reference.to(model.device, model.dtype)
    keyframes = fixed_keyframes(task)
    panel.keyframe(None, task.prepared.portrait)
    for picture in keyframes.pictures:
        panel.keyframe(None, picture)
    panel.begin()
    with torch.inference_mode():
        bank = fixed_bank(task, reference, keyframes.pictures)
    model = settled(model, room)
    sampler = StreamingSampler(model, reference, seeded_noise(task.seed), config)
    for emitted in stream_fitted(model, sampler, task.fitted, bank):
        keyframes = keyframes.then(emitted)
        yield emitted, keyframes
        panel.show(emitted)


def told(task: SamplerRun, keyframes: Keyframes) -> tuple[Bank, torch.Tensor, str]:
    """The outputs of `bank_outputs`: the used bank, keyframe pictures as IMAGE [K, S, S, 3], their frame numbers."""
    bank = replace(task.bank, portraits=keyframes.pictures, numbers=keyframes.numbers)
    fixed = len(task.bank.portraits)
    words = [REFERENCE, *[FIXED_WORD] * fixed, *(str(number) for number in keyframes.numbers[fixed:])]
    return bank, to_image([task.prepared.portrait, *keyframes.pictures]), ", ".join(words)
