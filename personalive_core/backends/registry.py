"""The systems that animate a portrait, by name: what each is, and how its networks are opened."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError

if TYPE_CHECKING:  # the command line's help loads no torch
    import torch

    from .backend import Backend

PERSONALIVE, LIVEPORTRAIT, HUNYUAN = "personalive", "liveportrait", "hunyuan"
LIVE_SYSTEMS = (PERSONALIVE, LIVEPORTRAIT)  # fast enough for live sessions
SYSTEMS = (*LIVE_SYSTEMS, HUNYUAN)


def open_backend(
    system: str, folder: Path, device: torch.device, dtype: torch.dtype, license_accepted: bool = False
) -> Backend[Any, Any]:
    """Loads the networks of a system from a weights folder, with its published options.

    `license_accepted` is needed by HUNYUAN alone, which also takes YuNet from the folder. Raises InputError for another
    system, and without the licence; WeightsError if a file or a key does not fit.
    """
    if system == PERSONALIVE:
        from .personalive.backend import PersonaLiveBackend
        from .personalive.loader import load_model

        return PersonaLiveBackend(load_model(folder, device, dtype))
    if system == LIVEPORTRAIT:
        from .liveportrait.backend import LivePortraitBackend
        from .liveportrait.loader import load_live

        return LivePortraitBackend(load_live(folder, device, dtype))
    if system == HUNYUAN:
        from .hunyuan.backend import open_hunyuan

        return open_hunyuan(folder, device, dtype, license_accepted)
    raise InputError(f"a system is one of {', '.join(SYSTEMS)}, got {system!r}: choose one of these")
