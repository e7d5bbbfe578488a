"""The stages of the pipeline, one call each: their floating-point operations, time and memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from ..backends.personalive.model import PersonaLive
from ..backends.personalive.motion import extract_motion, lead_in
from ..backends.personalive.reference import CLIP_SIZE, encode_reference
from ..backends.personalive.sampling import StreamingSampler, first_bank
from ..backends.personalive.types import LATENT_PIXELS, STREAM, Reference
from ..device import peak_memory, reset_peak_memory
from ..faces.crop import crop_image, whole_frame
from ..media.tensors import to_signed
from ..modules.face_encoder import FACE_SIZE
from ..modules.inputs import MotionFeatures
from ..modules.keypoints import PICTURE_SIZE
from ..modules.schedule import seeded_noise
from ..motion.types import HeadPose, HybridMotion
from .loop import drawn_frames, drawn_portrait, grown
from .measure import count_flops, median_seconds, on_meta
from .networks import each
from .options import KEYFRAMES
from .report import StageCost

Calls = dict[str, Callable[[], object]]


def count_stages(model: PersonaLive, size: int) -> dict[str, int]:
    """Floating-point operations of one call of each stage; the meta device needs no weights and no accelerator."""
    with torch.inference_mode():
        return {name: count_flops(call) for name, call in _counted_calls(each(model, _meta), size).items()}


def _meta(_: str, network: nn.Module) -> nn.Module:
    return on_meta(network)


def _counted_calls(model: PersonaLive, size: int) -> Calls:
    """Calls that run the networks of each stage on empty inputs; `model` is on the meta device."""
    side, width = size // LATENT_PIXELS, model.denoising_unet.config.widths[0]

    def empty(*shape: int) -> Tensor:
        return torch.empty(shape, dtype=model.dtype, device="meta")

    def features(frames: int) -> MotionFeatures:
        return MotionFeatures(empty(1, frames, 32, 16), empty(1, frames, width, side, side))

    def see(frames: int) -> None:
        model.motion_extractor(empty(frames, 3, PICTURE_SIZE, PICTURE_SIZE))
        model.motion_encoder(empty(frames, 3, FACE_SIZE, FACE_SIZE))

    def encode() -> Reference:
        see(1)
        latent = model.encode(empty(1, 3, size, size))
        clip = model.embed_image(empty(1, 3, CLIP_SIZE, CLIP_SIZE))
        # motion stays on the CPU, where decisions are made
        pose = HeadPose(torch.zeros(1, 3), torch.zeros(1, 3), torch.zeros(1, 1))
        own = HybridMotion(torch.zeros(1, 32, 16), torch.zeros(1, 21, 3), pose, torch.zeros(1, 4), torch.zeros(1))
        tokens = model.project_tokens(latent, clip)
        return Reference(latent, clip, model.project_image(clip), tokens, own, torch.zeros(21, 3))

    def motion() -> None:
        see(STREAM.window)
        model.pose_guider(empty(STREAM.window, 3, size, size))

    calls = stream_calls(model, encode(), features(STREAM.lookahead), features(STREAM.window))
    return {"reference": encode, "motion": motion, **calls}


def timed_calls(model: PersonaLive, size: int) -> Calls:
    """Calls that run each stage as the pipeline does, for one window of frames."""
    portrait = drawn_portrait(size)
    frames = drawn_frames(size)[: STREAM.window]
    reference = encode_reference(model, portrait, size)
    pictures = cropped(frames, size)
    motion = extract_motion(model, pictures)
    with torch.inference_mode():
        features = model.embed_motion(motion, size)
        lead = model.embed_motion(lead_in(reference, motion[:1], STREAM.lookahead), size)
        calls = stream_calls(model, reference, lead, features)
    return {
        "reference": lambda: encode_reference(model, portrait, size),
        "crop": lambda: cropped(frames, size),
        "motion": lambda: model.embed_motion(extract_motion(model, pictures), size),
        **calls,
    }


def stream_calls(model: PersonaLive, reference: Reference, lead: MotionFeatures, window: MotionFeatures) -> Calls:
    """Calls for one sampler step with the fewest and the most keyframes, and for each decoder; counted and timed."""
    sampler = StreamingSampler(model, reference, seeded_noise(0), STREAM)

    def step(keyframes: int) -> Callable[[], object]:
        state = sampler.start(lead, grown(first_bank(reference), reference.features, keyframes))
        return lambda: sampler.step(state, window)

    latents = reference.latent[:, None].expand(-1, STREAM.window, -1, -1, -1)
    calls: Calls = {f"step_{keyframes}": step(keyframes) for keyframes in KEYFRAMES}
    calls["decode_full"] = lambda: replace(model, tiny_vae=None).decode(latents)
    if model.tiny_vae is not None:
        calls["decode_tiny"] = lambda: model.decode(latents)
    return calls


def cropped(frames: list[np.ndarray], size: int) -> Tensor:
    """Driving frames, cropped to pictures [F, 3, S, S] in [-1, 1]."""
    return to_signed(np.stack([crop_image(frame, whole_frame(frame.shape[:2]), size) for frame in frames]))


def measure_stage(stage: StageCost, call: Callable[[], object], repeats: int, device: torch.device) -> StageCost:
    """`stage` with the time and the memory of `call`, after it ran once."""
    with torch.inference_mode():
        reset_peak_memory(device)
        seconds = median_seconds(call, repeats, device)
        return replace(stage, seconds=seconds, peak_memory=peak_memory(device))
