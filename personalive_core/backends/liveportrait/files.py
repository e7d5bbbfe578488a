"""Tables of LivePortrait's weight files (source, licence, place) for people and animals, and where they are found."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from ...errors import WeightsError
from ...text import as_argument
from ...weights.convert import convert
from ...weights.fill import NetworkFacts
from ...weights.index import WeightFile, WeightIndex, locate

BASE_NETWORKS = ("appearance_feature_extractor", "motion_extractor", "warping_module", "spade_generator")
RETARGETING = "stitching_retargeting_module"
LIVE_NETWORKS = (*BASE_NETWORKS, RETARGETING)
SUBJECTS = ("human", "animal")

_LICENCE = "MIT"
# Of the landmark network, which the same repository holds, nothing is said.
_LANDMARK_LICENCE = "MIT with the repository; its origin is not stated"
_HUB, _HUB_BEFORE, _REPACK = "KlingTeam/LivePortrait", "KwaiVGI/LivePortrait", "Kijai/LivePortrait_safetensors"

Table = tuple[WeightFile, ...]


def _file(network: str, repo: str, path: str, place: str = "") -> WeightFile:
    return WeightFile(network, repo, path, place or path, _LICENCE)


def _hub(repo: str, folder: str) -> Table:
    """The hub's layout; the stitching of people serves animals too."""
    bases = (_file(network, repo, f"{folder}/{network}.pth") for network in BASE_NETWORKS)
    return (*bases, _file(RETARGETING, repo, f"liveportrait/retargeting_models/{RETARGETING}.pth"))


def _repack(folder: str) -> Table:
    """The same weights as safetensors; there the base networks of animals lie in a folder."""
    bases = (_file(network, _REPACK, f"{folder}{network}.safetensors") for network in BASE_NETWORKS)
    return (*bases, _file(RETARGETING, _REPACK, f"{RETARGETING}.safetensors"))


def _landmark(repo: str, path: str) -> WeightFile:
    return WeightFile("landmark", repo, path, path, _LANDMARK_LICENCE, required=False)


# Best first; the first table of which nothing is missing is read. The hub's repository has had two names.
LIVE_TABLES: Mapping[str, tuple[Table, ...]] = {
    "human": (
        *(
            (*_hub(repo, "liveportrait/base_models"), _landmark(repo, "liveportrait/landmark.onnx"))
            for repo in (_HUB, _HUB_BEFORE)
        ),
        (*_repack(""), _landmark(_REPACK, "landmark.onnx")),
    ),
    "animal": (
        *(
            _hub(repo, f"liveportrait_animals/{folder}")
            for folder in ("base_models_v1.1", "base_models")
            for repo in (_HUB, _HUB_BEFORE)
        ),
        _repack("animal/"),
    ),
}

# About how large the published files are, in MB.
LIVE_MEGABYTES: Mapping[str, float] = {
    "appearance_feature_extractor": 3.3,
    "motion_extractor": 108,
    "warping_module": 174,
    "spade_generator": 212,
    RETARGETING: 2.3,
}

LIVE_FACTS: Mapping[str, NetworkFacts] = {
    # In half precision, the extractor's LayerNorms change the keypoints.
    "motion_extractor": NetworkFacts(float32=re.compile(r"(^|\.)norm\.|(^|\.)downsample_layers\.(0\.1|[123]\.0)\.")),
    # Norms are folded into convolutions when they are loaded: from statistics, and from vectors, as they were trained.
    "appearance_feature_extractor": NetworkFacts(float32=re.compile(r"\.running_(mean|var)$")),
    "warping_module": NetworkFacts(float32=re.compile(r"\.running_(mean|var)$")),
    "spade_generator": NetworkFacts(float32=re.compile(r"\.weight_[uv]$")),
    RETARGETING: NetworkFacts(float32=re.compile("")),  # a few numbers, which move every keypoint
}


def locate_live(folder: Path, subject: str = "human") -> WeightIndex:
    """The files of the first table of `subject` that `folder` holds all of.

    Raises WeightsError that says where each file was searched, and for another subject than SUBJECTS.
    """
    index = best_live(folder, subject)
    index.require(LIVE_NETWORKS)
    return index


def best_live(folder: Path, subject: str = "human") -> WeightIndex:
    """The files of the table of `subject` that `folder` holds most of, complete or not. Raises as `locate`."""
    if subject not in LIVE_TABLES:
        raise WeightsError(f"LivePortrait has weights for {' and '.join(SUBJECTS)}, got {subject!r}: choose one")
    indexes = (_located(folder, table, subject) for table in LIVE_TABLES[subject])
    return min(indexes, key=lambda index: len(index.missing(LIVE_NETWORKS)))


def is_complete(index: WeightIndex) -> bool:
    """True if no file of LivePortrait's five networks is missing; the landmark network may be."""
    return not index.missing(LIVE_NETWORKS)


def live_folder(folder: Path, subject: str = "human") -> Path:
    """`folder`. Raises WeightsError with the command that downloads the weights if it is no folder."""
    if not folder.is_dir():
        raise WeightsError(
            f"the weights folder {folder} does not exist: run {_command(folder, subject)} to fetch the weights, or "
            "name another folder with --weights"
        )
    return folder


def require_live(folder: Path, subject: str = "human") -> None:
    """Raises WeightsError that names the missing files and the command to download them; reads no weights."""
    index = best_live(live_folder(folder, subject), subject)
    missing = index.missing(LIVE_NETWORKS)
    if missing:
        raise WeightsError(
            f"weights are missing: run {_command(folder, subject)}, or name another folder with --weights\n"
            f"{index.report(missing)}"
        )


def _command(folder: Path, subject: str) -> str:
    animal = " --animal" * (subject == "animal")
    return f"`personalive download --system liveportrait{animal} --weights {as_argument(folder)}`"


def live_to_download(folder: Path, subject: str = "human") -> tuple[WeightFile, ...]:
    """The files of `subject` that `folder` lacks, where the hub has them; none for a folder that can be used as it is.

    The landmark network, which people's pictures are cropped by, is among them.
    """
    index = best_live(folder, subject)
    hub = index if is_complete(index) else _located(folder, LIVE_TABLES[subject][0], subject)
    landmark = ["landmark"] if "landmark" in hub.networks and landmark_file(folder) is None else []
    return hub.missing([*LIVE_NETWORKS, *landmark])


def convert_live(folder: Path, output: Path | None, dtype: torch.dtype) -> list[Path]:
    """Converts what `folder` holds of people's and animals' weights, as `convert` does; returns the files' paths."""
    written: list[Path] = []
    files: list[WeightFile] = []
    for subject in SUBJECTS:
        # a table of the files that are there, without those that the other subject's has converted
        there = [found.file for found in best_live(folder, subject).found if found.paths]
        new = [file for file in there if file.place not in {done.place for done in files}]
        if new:
            written += convert(folder, new, LIVE_FACTS, output, dtype)
        files += new
    return written


def landmark_file(folder: Path) -> Path | None:
    """The file of the network of 203 landmarks, landmark.onnx; None if the folder has none."""
    indexes = (locate(folder, table) for table in LIVE_TABLES["human"])
    return next((index.path("landmark") for index in indexes if not index.missing(["landmark"])), None)


def _located(folder: Path, table: Sequence[WeightFile], subject: str) -> WeightIndex:
    """As `locate`; base networks that lie in the folder itself are people's, their names say nothing of animals."""
    index = locate(folder, table)
    if subject == "human":
        return index
    kept = (
        replace(one, paths=() if one.file.network in BASE_NETWORKS and _is_flat(folder, one.paths) else one.paths)
        for one in index.found
    )
    return replace(index, found=tuple(kept))


def _is_flat(folder: Path, paths: tuple[Path, ...]) -> bool:
    return bool(paths) and paths[0].parent == folder
