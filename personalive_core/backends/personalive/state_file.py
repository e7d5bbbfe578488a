"""Saves and loads a paused stream as a safetensors file; the resumed stream is bit-identical."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from ...errors import InputError
from ...media.files import load_tensors, save_tensors
from ...modules.inputs import MotionFeatures
from .types import KeyframeBank, StreamState

STREAM_SCHEMA = "personalive-stream-1"


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
    facts = {"chunk": state.chunk, "frames": state.frames, "chunks": state.keyframes.chunks}
    save_tensors(path, tensors, {"schema": STREAM_SCHEMA, "facts": json.dumps(facts)})


def load_state(path: Path, device: torch.device | None = None) -> StreamState:
    """Reads what `save_state` wrote, onto `device`, the CPU if None. Raises InputError for any other file."""
    saved, metadata = load_tensors(path, STREAM_SCHEMA)
    tensors = {key: tensor.to(device) for key, tensor in saved.items()}
    facts = _facts(path, metadata)
    layers = sum(key.endswith(".k") for key in tensors)
    features = tuple((tensors[f"bank.{i}.k"], tensors[f"bank.{i}.v"]) for i in range(layers))
    return StreamState(
        tensors["latents"],
        MotionFeatures(tensors["motion.face"], tensors["motion.pose"]),
        KeyframeBank(tensors["bank.motion"], features, tuple(facts["chunks"])),
        chunk=facts["chunk"],
        frames=facts["frames"],
    )


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
