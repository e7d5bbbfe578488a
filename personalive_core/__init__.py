"""PersonaLive's core: published checkpoints in, streamed video out. Never imports ComfyUI.

The names in `PUBLIC` are the stable interface for other programs, see docs/library.md; everything else may change. Each
name is loaded at its first use, so that importing this package does not import torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from .version import __version__

if TYPE_CHECKING:
    from .animation.pipeline import (
        AnimatedFrame,
        AnimateOptions,
        MotionOptions,
        animate,
        animate_motion,
        driving_motion,
    )
    from .backends.personalive.loader import load_model
    from .backends.personalive.motion import Strengths
    from .backends.personalive.reference import encode_reference
    from .backends.personalive.sampling import StreamingSampler
    from .backends.personalive.state_file import load_state, save_state
    from .backends.personalive.stream import stream, to_reference
    from .backends.personalive.types import Reference, StreamConfig, StreamState
    from .errors import FaceError, InputError, NumericalError, OutputError, PersonaLiveError, WeightsError
    from .media.picture import read_image
    from .media.video import Frame, read_frames
    from .media.write import VideoWriter, WriteOptions
    from .modules.fusion import Fusion
    from .modules.schedule import seeded_noise
    from .motion.files import load_motion, motion_times, save_motion
    from .motion.types import HybridMotion, concat_motion

PUBLIC = {  # public name -> its module
    "AnimateOptions": "animation.pipeline",
    "AnimatedFrame": "animation.pipeline",
    "FaceError": "errors",
    "Frame": "media.video",
    "Fusion": "modules.fusion",
    "HybridMotion": "motion.types",
    "InputError": "errors",
    "MotionOptions": "animation.pipeline",
    "NumericalError": "errors",
    "OutputError": "errors",
    "PersonaLiveError": "errors",
    "Reference": "backends.personalive.types",
    "StreamConfig": "backends.personalive.types",
    "StreamState": "backends.personalive.types",
    "StreamingSampler": "backends.personalive.sampling",
    "Strengths": "backends.personalive.motion",
    "VideoWriter": "media.write",
    "WeightsError": "errors",
    "WriteOptions": "media.write",
    "animate": "animation.pipeline",
    "animate_motion": "animation.pipeline",
    "concat_motion": "motion.types",
    "driving_motion": "animation.pipeline",
    "encode_reference": "backends.personalive.reference",
    "load_model": "backends.personalive.loader",
    "load_motion": "motion.files",
    "load_state": "backends.personalive.state_file",
    "motion_times": "motion.files",
    "read_frames": "media.video",
    "read_image": "media.picture",
    "save_motion": "motion.files",
    "save_state": "backends.personalive.state_file",
    "seeded_noise": "modules.schedule",
    "stream": "backends.personalive.stream",
    "to_reference": "backends.personalive.stream",
}

__all__ = [
    "AnimateOptions",
    "AnimatedFrame",
    "FaceError",
    "Frame",
    "Fusion",
    "HybridMotion",
    "InputError",
    "MotionOptions",
    "NumericalError",
    "OutputError",
    "PersonaLiveError",
    "Reference",
    "StreamConfig",
    "StreamState",
    "StreamingSampler",
    "Strengths",
    "VideoWriter",
    "WeightsError",
    "WriteOptions",
    "__version__",
    "animate",
    "animate_motion",
    "concat_motion",
    "driving_motion",
    "encode_reference",
    "load_model",
    "load_motion",
    "load_state",
    "motion_times",
    "read_frames",
    "read_image",
    "save_motion",
    "save_state",
    "seeded_noise",
    "stream",
    "to_reference",
]


def __getattr__(name: str) -> object:
    """Loads the public `name` from its module. Raises AttributeError for any other name."""
    if name not in PUBLIC:
        raise AttributeError(f"personalive_core has no public name {name!r}: docs/library.md lists them")
    return getattr(import_module(f".{PUBLIC[name]}", __name__), name)


def __dir__() -> list[str]:
    """The public names and `__version__`."""
    return [*PUBLIC, "__version__"]
