"""Motion and paused streams as safetensors files with a schema version: loaded as saved, bit for bit."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

from .errors import InputError
from .media.files import save_tensors
from .types import HeadPose, HybridMotion, KeyframeBank, MotionFeatures, StreamState

MOTION_SCHEMA = "personalive-motion-1"
MOTION_SHAPES: dict[str, tuple[int, ...]] = {  # behind the number of frames
    "embedding": (32, 16),
    "keypoints": (21, 3),
    "angles": (3,),
    "translation": (3,),
    "scale": (1,),
    "box": (4,),
    "valid": (),
}
STREAM_SCHEMA = "personalive-stream-1"
SUFFIXES = (".safetensors",)


def save_motion(path: Path, motion: HybridMotion, details: dict[str, str] | None = None) -> None:
    """Writes `motion`, 2.4 kB a frame; `details` (frame rate, source...) come back from `motion_details`."""
    tensors = {
        "embedding": motion.embedding,
        "keypoints": motion.keypoints,
        "angles": motion.pose.angles,
        "translation": motion.pose.translation,
        "scale": motion.pose.scale,
        "box": motion.box,
        "valid": motion.valid,
    }
    save_tensors(path, tensors, {"schema": MOTION_SCHEMA, "details": json.dumps(details or {})})


def load_motion(path: Path) -> HybridMotion:
    """Reads what `save_motion` wrote. Raises InputError for any other file."""
    tensors, _ = _load(path, MOTION_SCHEMA)
    frames = len(tensors.get("valid", ()))
    for name, shape in MOTION_SHAPES.items():
        found = list(tensors[name].shape) if name in tensors else "nothing"
        if found != [frames, *shape]:
            raise InputError(f"{path.name} holds {found} as {name}, expected {[frames, *shape]}: save the motion again")
    pose = HeadPose(tensors["angles"], tensors["translation"], tensors["scale"])
    return HybridMotion(tensors["embedding"], tensors["keypoints"], pose, tensors["box"], tensors["valid"])


def motion_details(path: Path) -> dict[str, str]:
    """The `details` given to `save_motion`."""
    return dict(json.loads(_load(path, MOTION_SCHEMA)[1].get("details", "{}")))


def motion_rate(path: Path) -> Fraction:
    """The frames a second a motion file was made at, 25 where it does not say. Raises InputError for no such number."""
    told = motion_details(path).get("rate", "25")
    try:
        rate = Fraction(told)
    except (ValueError, ZeroDivisionError):
        rate = Fraction(0)
    if rate <= 0:
        raise InputError(f"{path.name} says {told!r} frames a second: save the motion again")
    return rate


def save_state(path: Path, state: StreamState) -> None:
    """Writes a paused stream. The reference, seed and configuration are the caller's to keep."""
    tensors = {
        "latents": state.latents,
        "motion.face": state.motion.face,
        "motion.pose": state.motion.pose,
        "bank.motion": state.keyframes.motion,
    }
    for i, (keys, values) in enumerate(state.keyframes.features):
        tensors |= {f"bank.{i}.k": keys, f"bank.{i}.v": values}
    facts = {"chunk": state.chunk, "frames": state.frames, "chunks": state.keyframes.chunks}
    save_tensors(path, tensors, {"schema": STREAM_SCHEMA, "facts": json.dumps(facts)})


def load_state(path: Path) -> StreamState:
    """Reads what `save_state` wrote, onto the CPU. Raises InputError for any other file."""
    tensors, metadata = _load(path, STREAM_SCHEMA)
    facts = json.loads(metadata["facts"])
    layers = sum(key.endswith(".k") for key in tensors)
    features = tuple((tensors[f"bank.{i}.k"], tensors[f"bank.{i}.v"]) for i in range(layers))
    return StreamState(
        tensors["latents"],
        MotionFeatures(tensors["motion.face"], tensors["motion.pose"]),
        KeyframeBank(tensors["bank.motion"], features, tuple(facts["chunks"])),
        chunk=facts["chunk"],
        frames=facts["frames"],
    )


def _load(path: Path, schema: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    kind = schema.split("-")[1]
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            metadata = dict(file.metadata() or {})
            found = metadata.get("schema", "none")
            if found != schema:
                raise InputError(
                    f"{path.name} is no {kind} file of this version: expected schema {schema}, found {found}; "
                    f"make it again with this version"
                )
            return {key: file.get_tensor(key) for key in file.keys()}, metadata  # noqa: SIM118 - the file is no mapping
    except (SafetensorError, OSError) as error:
        raise InputError(
            f"{path} cannot be read as a {kind} file ({error}): check the path, or make it again"
        ) from error
