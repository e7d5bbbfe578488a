"""LivePortrait in ComfyUI: folders of its weights, their download, and its networks under ComfyUI's management."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import comfy.model_management as mm
import torch
from torch import nn

from ...personalive_core.backends.liveportrait.files import (
    LIVE_MEGABYTES,
    LIVE_NETWORKS,
    LIVE_TABLES,
    locate_live,
)
from ...personalive_core.backends.liveportrait.loader import load_live
from ...personalive_core.backends.liveportrait.model import LivePortrait
from ...personalive_core.backends.personalive.files import FILES
from ...personalive_core.errors import OutputError, WeightsError
from ...personalive_core.weights.index import Found, WeightFile, locate
from .fetching import fetch, gigabytes
from .folders import LIVE_MODELS, MODELS, chosen_folder, layout_parts, set_folders, weight_folders
from .memory import Patchers, layers, place, stay

FACE_FINDER, LANDMARK = "yunet", "landmark"
# Numbers that are held at once while one picture is drawn, besides the weights: an estimate from the layers' sizes.
DRAW_NUMBERS = 160_000_000
MEGABYTE = 10**6

_log = logging.getLogger(__name__)


def live_folders() -> dict[str, Path]:
    """The options of the weights widget: a name, which is the same on every machine -> its folder."""
    files = (file for tables in LIVE_TABLES.values() for table in tables for file in table)
    return set_folders(LIVE_MODELS, holds_live, {*layout_parts(files), "base_models", "retargeting_models"})


def found_files(folder: Path) -> tuple[Found, ...]:
    """LivePortrait's files in a folder, for people and animals."""
    tables = [table for tables in LIVE_TABLES.values() for table in tables]
    return tuple(found for table in tables for found in locate(folder, table).found if found.paths)


def holds_live(folder: Path) -> bool:
    """Whether `folder` holds a weight file of at least one of LivePortrait's networks."""
    return any(found.file.network in LIVE_NETWORKS for found in found_files(folder))


def chosen_live_folder(choice: str) -> Path:
    """The folder of an option of the weights widget. Raises WeightsError if there is no such option."""
    return chosen_folder(live_folders(), choice)


def detector_place() -> Path:
    """The weights folder that holds the face detector, which PersonaLive's nodes use too."""
    return weight_folders()[MODELS]


def about_live(file: WeightFile) -> int:
    """About how many bytes a published file has."""
    return round(LIVE_MEGABYTES.get(file.network, 0) * MEGABYTE)


def fetch_live(folder: Path, subject: str, allowed: bool, node: str = "") -> None:
    """Downloads what is missing of a subject's networks, the landmark network, and the face detector, if `allowed`.

    `node` shows how far the download is. Raises WeightsError if files are missing that may not or cannot be downloaded;
    a failed download of landmarks and detector, which a crop by hand does without, only logs a warning.
    """
    folder.mkdir(parents=True, exist_ok=True)  # also to be filled by hand
    try:
        locate_live(folder, subject)
    except WeightsError as error:
        if subject not in LIVE_TABLES:
            raise
        if not allowed:
            raise WeightsError(live_missing_text(folder, subject)) from error
        fetch(folder, locate(folder, LIVE_TABLES[subject][0]).missing(LIVE_NETWORKS), node, about_live)
    if allowed:
        for where, files, name in ((folder, LIVE_TABLES["human"][0], LANDMARK), (detector_place(), FILES, FACE_FINDER)):
            _fetch_helper(where, files, name, node)


def _fetch_helper(folder: Path, files: tuple[WeightFile, ...], network: str, node: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    missing = locate(folder, files).missing((network,))
    try:
        if missing:
            fetch(folder, missing, node)
    except (WeightsError, OutputError) as error:
        _log.warning("LivePortrait has no %s network, which finds faces: %s", network, error)


def live_missing_text(folder: Path, subject: str) -> str:
    """What to do about missing files: the quick way with its size and place, then the files one by one."""
    index = locate(folder, LIVE_TABLES[subject][0])
    missing = index.missing(LIVE_NETWORKS)
    return (
        f"weights are missing: turn on download_if_missing to download about {gigabytes(missing, about_live)} into "
        f"{folder}, or put these files there\n{index.report(missing)}"
    )


def load_placed(folder: Path, subject: str, dtype: torch.dtype, resident: bool = False) -> LivePortrait:
    """The networks of a folder under ComfyUI's memory management, computing as `dtype`; `resident`: see `place`.

    Raises as `load_live` does.
    """
    # On the CPU nothing is moved, and plain layers have faster forms there.
    ops: Any = nn if mm.get_torch_device().type == "cpu" else layers("auto")
    model = load_live(folder, mm.unet_offload_device(), dtype, subject, ops)
    return replace(model, placement=place(dict(zip(LIVE_NETWORKS, model.networks, strict=True)), dtype, resident))


def draw_bytes(dtype: torch.dtype) -> int:
    """Bytes that drawing a picture takes besides the weights."""
    return DRAW_NUMBERS * dtype.itemsize


def ready(model: LivePortrait) -> LivePortrait:
    """`model` with all its networks brought once, and room to draw: for a loop that brings nothing more."""
    if not model.placement or not isinstance(model.placement.bring, Patchers):
        return model
    patchers = model.placement.bring
    patchers(model.networks, draw_bytes(model.dtype))
    return replace(model, placement=replace(model.placement, bring=partial(stay, patchers)))
