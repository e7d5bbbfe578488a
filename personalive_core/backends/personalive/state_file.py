"""Saves and loads a paused stream as a safetensors file; the resumed stream is bit-identical."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from ...errors import InputError
from ...media.files import load_tensors, save_tensors
from ...modules.inputs import MotionFeatures
from .types import KeyframeBank, StreamHistory, StreamState

STREAM_SCHEMA = "personalive-stream-1"
_NEEDED = ("latents", "motion.face", "motion.pose", "bank.motion")
_HISTORY = ("history.latents", "history.face", "history.pose")  # only in files of streams with history


def save_state(path: Path, state: StreamState) -> None:
    """Writes a paused stream, without reference, seed and configuration: the caller must keep these."""
    tensors = {
        "latents": state.latents,
        "motion.face": state.motion.face,
        "motion.pose": state.motion.pose,
        "bank.motion": state.keyframes.motion,
    }
    for i, (keys, values) in enumerate(state.keyframes.features):
        tensors |= {f"bank.{i}.k": keys, f"bank.{i}.v": values}
    if state.history is not None:
        motion = state.history.motion
        tensors |= dict(zip(_HISTORY, (state.history.latents, motion.face, motion.pose), strict=True))
    facts = {"chunk": state.chunk, "frames": state.frames, "chunks": state.keyframes.chunks}
    save_tensors(path, tensors, {"schema": STREAM_SCHEMA, "facts": json.dumps(facts)})


def load_state(path: Path, device: torch.device | None = None) -> StreamState:
    """Reads what `save_state` wrote, onto `device`, the CPU if None. Raises InputError for any other file."""
    saved, metadata = load_tensors(path, STREAM_SCHEMA)
    tensors = {key: tensor.to(device) for key, tensor in saved.items()}
    facts = _facts(path, metadata)
    layers = len({key.split(".")[1] for key in tensors if key.endswith((".k", ".v"))})
    needed = (*_NEEDED, *(f"bank.{i}.{half}" for i in range(layers) for half in "kv"))
    lacking = [key for key in needed if key not in tensors]
    if lacking:
        raise InputError(f"{path.name} lacks {lacking[0]} of a stream's state: save the state again")
    features = tuple((tensors[f"bank.{i}.k"], tensors[f"bank.{i}.v"]) for i in range(layers))
    return StreamState(
        tensors["latents"],
        MotionFeatures(tensors["motion.face"], tensors["motion.pose"]),
        KeyframeBank(tensors["bank.motion"], features, tuple(facts["chunks"])),
        chunk=facts["chunk"],
        frames=facts["frames"],
        history=_history(path, tensors),
    )


def _history(path: Path, tensors: dict[str, torch.Tensor]) -> StreamHistory | None:
    """The history in a stream file, where there is one. Raises InputError if only a part of it is there."""
    found = [tensors[key] for key in _HISTORY if key in tensors]
    if not found:
        return None
    frames = {tensor.shape[1] for tensor in found}
    if len(found) < len(_HISTORY) or len(frames) > 1:
        raise InputError(f"{path.name} has a damaged history, expected latents, face and pose of it: save it again")
    latents, face, pose = found
    return StreamHistory(latents, MotionFeatures(face, pose))


def _facts(path: Path, metadata: dict[str, str]) -> dict[str, Any]:
    """The numbers in a stream file's metadata. Raises InputError unless all of them are there."""
    try:
        facts = json.loads(metadata.get("facts", ""))
    except (ValueError, RecursionError):
        facts = None
    if isinstance(facts, dict) and isinstance(facts.get("chunks"), list):
        numbers = [facts.get("chunk"), facts.get("frames"), *facts["chunks"]]
        if all(type(number) is int for number in numbers):
            return facts
    raise InputError(f"{path.name} has damaged facts, expected chunk, frames and chunks in numbers: save it again")
