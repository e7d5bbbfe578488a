"""Paths in ComfyUI's folders: weights, LoRAs, motion files, videos; names that lead out of them are refused."""

from __future__ import annotations

import hashlib
import os
import wave
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from datetime import datetime
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Any, TypedDict
from uuid import uuid4

import folder_paths
import torch

from ...personalive_core.backends.personalive.files import FILES, SHIPPED
from ...personalive_core.errors import InputError, OutputError, WeightsError, remedy_first
from ...personalive_core.weights.index import Found, WeightFile, locate
from ...personalive_core.weights.lock import read_lock
from .listing import files_below
from .prefixes import plain_prefix

MODELS, LORAS = "personalive", "loras"
LIVE_MODELS = "liveportrait"  # where other packs keep these weights too
HUNYUAN_MODELS = "hunyuanportrait"
SMALL = "small (drawn people, built in)"  # the option of the model that comes with the pack
EXTENSIONS = {".safetensors", ".pth", ".bin", ".onnx"}
DETECTOR = "yunet"  # the network that finds faces
TYPES = ("input", "output", "temp")
MOTIONS = ".safetensors"


class Viewable(TypedDict):
    """A file as the page requests it from ComfyUI's /view."""

    filename: str
    subfolder: str
    type: str


def register_model_folder() -> None:
    """Registers our folders of ComfyUI's models folder; those from extra_model_paths.yaml stay, in their order."""
    for name in (MODELS, LIVE_MODELS, HUNYUAN_MODELS):
        folder_paths.add_model_folder_path(name, str(Path(folder_paths.models_dir) / name), is_default=True)
        paths, extensions = folder_paths.folder_names_and_paths[name]
        folder_paths.folder_names_and_paths[name] = (paths, {*extensions, *EXTENSIONS})


def model_roots() -> list[Path]:
    """Every folder that may hold weights; downloads go into the first."""
    return [Path(path) for path in folder_paths.get_folder_paths(MODELS)]


def holds_weights(folder: Path) -> bool:
    """Whether `folder` holds a weight file of at least one network that draws.

    The face detector alone, which the small model and LivePortrait download too, makes no set of weights: else the
    other networks, which may lie in another folder, would be downloaded beside it.
    """
    return any(found.paths for found in locate(folder, FILES).found if found.file.network != DETECTOR)


def weight_folders() -> dict[str, Path]:
    """The options of the weights widget: a name, which is the same on every machine -> its folder."""
    roots = model_roots()
    filled = [root for root in roots if root.is_dir() and holds_weights(root)]
    choices = {MODELS: next(iter(filled), roots[0])}
    for root in (root for root in roots if root.is_dir()):
        children = sorted(child for child in root.iterdir() if child.is_dir())
        known = {child.name for child in _layout(root)}
        for child in children:
            if child.name not in known and holds_weights(child):
                choices.setdefault(f"{MODELS}/{child.name}", child)
    return {**choices, SMALL: SHIPPED["small"]} if SHIPPED["small"].is_dir() else choices


def set_folders(name: str, holds: Callable[[Path], bool], parts: Container[str]) -> dict[str, Path]:
    """The options of a weights widget, of another system's folder `name` of ComfyUI's models -> their folders.

    A folder in it for which `holds` is true is a set of its own, unless it is one of the `parts` of a set.
    """
    roots = [Path(path) for path in folder_paths.get_folder_paths(name)]
    there = [root for root in roots if root.is_dir()]
    # Some packs put the hub's inner folder there; its files are then laid out from the folder above.
    filled = [found for root in there for found in (root, root.parent) if holds(found)]
    choices = {name: next(iter(filled), roots[0])}
    for root in there:
        for child in sorted(child for child in root.iterdir() if child.is_dir() and child.name not in parts):
            if holds(child):
                choices.setdefault(f"{name}/{child.name}", child)
    return choices


def layout_parts(files: Iterable[WeightFile]) -> set[str]:
    """The names of the folders of one set of weights, so that these are no sets of their own."""
    paths = [
        part
        for file in files
        for part in (file.place, file.repo, f"models--{file.repo.replace('/', '--')}", Path(file.repo).name)
    ]
    return {Path(path).parts[0] for path in paths} | {"pretrained_weights"}


def file_stats(paths: Iterable[Path]) -> list[tuple[str, int, int]]:
    """(path, size in bytes, mtime in ns) of files, by which ComfyUI sees a changed one."""
    stats = {path: path.stat() for path in paths}
    return sorted((str(path), stat.st_size, stat.st_mtime_ns) for path, stat in stats.items())


def own_stats(folder: Path, founds: Iterable[Found]) -> list[tuple[str, int, int]]:
    """`file_stats` of the weight files in `folder`, without those that are as they were downloaded.

    The download of a first run must not make the second run load again. A file of the user's beside a downloaded one,
    which is read in its place, counts, and so does one that has replaced it.
    """
    records = {str(folder / name): locked.record for name, locked in read_lock(folder).items()}
    downloaded = {(path, record.size, record.mtime_ns) for path, record in records.items()}
    return [stat for stat in file_stats({path for found in founds for path in found.paths}) if stat not in downloaded]


def detector_folder(weights: Path) -> Path:
    """The folder that holds the face detector for the networks in `weights`: the small model brings none."""
    return weight_folders()[MODELS] if weights in SHIPPED.values() else weights


def _layout(root: Path) -> Iterator[Path]:
    """Yields the folders below `root` that are parts of one set of weights, so they are no sets of their own."""
    for found in locate(root, FILES).found:
        for path in (Path(found.file.place), Path(found.file.repo)):
            yield root / path.parts[0]
    yield root / "pretrained_weights"
    yield from root.glob("models--*")


def weights_folder(choice: str) -> Path:
    """The folder of an option of the weights widget. Raises WeightsError if there is no such option."""
    return chosen_folder(weight_folders(), choice)


def chosen_folder(choices: Mapping[str, Path], choice: str) -> Path:
    """The folder of one of the `choices`. Raises WeightsError if there is no such option."""
    if choice not in choices:
        raise WeightsError(f"there are no weights at models/{choice}: put them there, or choose {' or '.join(choices)}")
    return choices[choice]


def inside(root: str, *parts: str) -> Path | None:
    """The path of `parts` below `root`, or None if it leads out of `root`.

    Compares the names only and never touches the disk: a path from a request could be a network path, and Windows would
    contact that computer.
    """
    base = os.path.abspath(root)  # noqa: PTH100
    path = os.path.abspath(os.path.join(base, *parts))  # noqa: PTH100, PTH118
    try:
        return Path(path) if os.path.commonpath([base, path]) == base else None
    except ValueError:  # the paths are on different drives
        return None


def viewable(path: Path) -> Viewable | None:
    """`path` as the page can request it; None if it is not in ComfyUI's input, output or temporary folder."""
    for kind in TYPES:
        root = folder_paths.get_directory_by_type(kind)
        place = inside(root, str(path))
        if place is not None:
            short = place.relative_to(os.path.abspath(root))  # noqa: PTH100
            return Viewable(filename=short.name, subfolder=short.parent.as_posix().removeprefix("."), type=kind)
    return None


def viewed(filename: str, subfolder: str, kind: str) -> Path:
    """The file that the page requests. Raises InputError if it is missing or outside ComfyUI's folders."""
    path = inside(folder_paths.get_directory_by_type(kind), subfolder, filename) if kind in TYPES else None
    if path is None or not path.is_file():
        raise InputError(f"there is no file {filename} in ComfyUI's {kind} folder: choose one that is")
    return path


def output_prefix(prefix: Any) -> str:
    """A filename_prefix with its dates filled. Raises InputError for one that names no file in the output folder."""
    text = plain_prefix(prefix, datetime.now())
    if inside(folder_paths.get_output_directory(), text) is None:
        raise InputError(f"{prefix} leads out of ComfyUI's output folder: use a filename_prefix without '..'")
    return text


def refused_prefix(prefix: Any) -> bool | str:
    """For a node's validate_inputs: True, or a sentence. None: the prefix comes from another node, not known yet."""
    try:
        if prefix is not None:
            output_prefix(prefix)
    except InputError as error:
        return remedy_first(str(error))
    return True


def new_output(prefix: str, suffix: str, size: tuple[int, int] = (0, 0)) -> Path:
    """A path in the output folder that is still free, numbered in ComfyUI's way; `size` is (width, height) in pixels.

    Raises InputError for a prefix that leads out of the output folder, or is no file's name; OutputError if its folder
    cannot be made.
    """
    root, text = folder_paths.get_output_directory(), output_prefix(prefix)
    try:
        folder, name, counter, _, _ = folder_paths.get_save_image_path(text, root, *size)
    except OSError as error:
        raise OutputError(f"{text} cannot be written, as {error.strerror}: use another filename_prefix") from error
    return Path(folder) / f"{name}_{counter:05}_{suffix}"


def temp_file(content: bytes, suffix: str) -> Path:
    """Writes `content` to a file in the temporary folder, which ComfyUI empties when it starts.

    The name is a hash of the content, so equal content shares one file. Raises OutputError where the disk is full.
    """
    folder = Path(folder_paths.get_temp_directory())
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"personalive_{hashlib.sha256(content).hexdigest()[:16]}{suffix}"
    if not path.exists():
        part = path.with_name(f".{uuid4().hex}.part")  # what a full disk cuts short is never taken for the file
        try:
            part.write_bytes(content)
            part.replace(path)
        except OSError as error:
            raise OutputError(f"{path} was not written ({error.strerror}): free space and run again") from error
        finally:
            part.unlink(missing_ok=True)
    return path


def as_file(video: Any) -> Path:
    """Path of the film behind a VIDEO, whole and as it is; one in memory is first written to the temporary folder."""
    source = video.get_stream_source()
    return temp_file(source.getvalue(), ".mp4") if isinstance(source, BytesIO) else Path(source)


def trim_window(video: Any) -> tuple[Fraction, Fraction | None]:
    """Where a VIDEO begins and ends in its file, in seconds since the first frame; None: at the file's end.

    ComfyUI after 0.3.64 trims without writing a file.
    """
    start, length = getattr(video, "get_active_trim_window", lambda: (0, 0))()
    begin, seconds = (Fraction(time).limit_denominator(10**6) for time in (start, length))
    return begin, begin + seconds if seconds else None


def is_edited(video: Any) -> bool:
    """Whether a VIDEO's frames are cropped or resized on the fly, as ComfyUI 0.38 does: its file is not."""
    return bool(getattr(video, "has_pending_frame_edits", bool)())


def as_sound(audio: dict[str, Any]) -> Path:
    """Writes the first item [C, T] of an AUDIO as a 16-bit WAV file to the temporary folder; returns its path."""
    waveform = audio["waveform"][0]
    if not waveform.is_floating_point():  # ComfyUI 0.3.64 gives the samples of some files as they are stored
        waveform = waveform / torch.iinfo(waveform.dtype).max
    samples = (waveform.float().clamp(-1, 1) * 32767).round().short().cpu().T.contiguous()  # it may be on a GPU
    buffer = BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(samples.shape[1])
        file.setsampwidth(2)
        file.setframerate(int(audio["sample_rate"]))
        file.writeframes(samples.numpy().tobytes())
    return temp_file(buffer.getvalue(), ".wav")


def lora_files() -> list[str]:
    """The options of Load PersonaLive LoRA: all .safetensors LoRAs, also those for other models."""
    return [name for name in folder_paths.get_filename_list(LORAS) if name.endswith(".safetensors")]


def lora_file(choice: str) -> Path | None:
    """The file of an option of Load PersonaLive LoRA, or None if there is none."""
    path = folder_paths.get_full_path(LORAS, choice)
    return Path(path) if path else None


def motion_files() -> list[str]:
    """The options of Load Motion: .safetensors files in the input folder, and in the output folder with " [output]"."""
    choices = []
    for kind, label in (("input", ""), ("output", " [output]")):
        root = folder_paths.get_directory_by_type(kind)
        names = sorted(os.path.relpath(path, root).replace(os.sep, "/") for path in files_below(root, MOTIONS))
        choices += [f"{name}{label}" for name in names]
    return choices


def motion_file(choice: str) -> Path | None:
    """Where the file of an option would be; None for a name that leads out of its folder or is no .safetensors."""
    name = choice.removesuffix(" [output]")
    root = folder_paths.get_directory_by_type("input" if name == choice else "output")
    return inside(root, name) if name.endswith(MOTIONS) else None
