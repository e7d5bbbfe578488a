"""Where things lie in ComfyUI's folders: weights, motion files, videos; nothing outside them is touched."""

from __future__ import annotations

import hashlib
import os
import wave
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any, TypedDict

import folder_paths

from ...personalive_core.backends.personalive.files import FILES
from ...personalive_core.errors import InputError, WeightsError
from ...personalive_core.weights.index import locate

MODELS, LORAS = "personalive", "loras"
EXTENSIONS = {".safetensors", ".pth", ".bin", ".onnx"}
TYPES = ("input", "output", "temp")


class Viewable(TypedDict):
    """A file as the page asks for it."""

    filename: str
    subfolder: str
    type: str


def register_model_folder() -> None:
    """Makes models/personalive known; folders that extra_model_paths.yaml named before stay, in their order."""
    folder_paths.add_model_folder_path(MODELS, str(Path(folder_paths.models_dir) / MODELS), is_default=True)
    paths, extensions = folder_paths.folder_names_and_paths[MODELS]
    folder_paths.folder_names_and_paths[MODELS] = (paths, {*extensions, *EXTENSIONS})


def model_roots() -> list[Path]:
    """Every folder that may hold weights; downloads go into the first."""
    return [Path(path) for path in folder_paths.get_folder_paths(MODELS)]


def holds_weights(folder: Path) -> bool:
    """Whether any network's file lies in `folder`."""
    return any(found.paths for found in locate(folder, FILES).found)


def weight_folders() -> dict[str, Path]:
    """The choices of the weights widget: a name that is the same on every machine -> a folder."""
    roots = model_roots()
    filled = [root for root in roots if root.is_dir() and holds_weights(root)]
    choices = {MODELS: next(iter(filled), roots[0])}
    for root in (root for root in roots if root.is_dir()):
        children = sorted(child for child in root.iterdir() if child.is_dir())
        known = {child.name for child in _layout(root)}
        for child in children:
            if child.name not in known and holds_weights(child):
                choices.setdefault(f"{MODELS}/{child.name}", child)
    return choices


def _layout(root: Path) -> Iterator[Path]:
    """The folders that make up one set of weights, and are none themselves."""
    for found in locate(root, FILES).found:
        for path in (Path(found.file.place), Path(found.file.repo)):
            yield root / path.parts[0]
    yield root / "pretrained_weights"
    yield from root.glob("models--*")


def weights_folder(choice: str) -> Path:
    """The folder behind a choice. Raises WeightsError for one that is not there."""
    choices = weight_folders()
    if choice not in choices:
        raise WeightsError(f"there are no weights at models/{choice}: put them there, or choose {' or '.join(choices)}")
    return choices[choice]


def inside(root: str, *parts: str) -> Path | None:
    """`parts` below `root`, or None where they lead out of it. Compares names alone: a path that came from outside must
    not make Windows ask another computer for it."""
    base = os.path.abspath(root)  # noqa: PTH100
    path = os.path.abspath(os.path.join(base, *parts))  # noqa: PTH100, PTH118
    try:
        return Path(path) if os.path.commonpath([base, path]) == base else None
    except ValueError:  # on another drive
        return None


def viewable(path: Path) -> Viewable | None:
    """`path` as the page can ask for it, or None if it lies in none of ComfyUI's folders."""
    for kind in TYPES:
        root = folder_paths.get_directory_by_type(kind)
        place = inside(root, str(path))
        if place is not None:
            short = place.relative_to(os.path.abspath(root))  # noqa: PTH100
            return Viewable(filename=short.name, subfolder=short.parent.as_posix().removeprefix("."), type=kind)
    return None


def viewed(filename: str, subfolder: str, kind: str) -> Path:
    """The file that the page means. Raises InputError for one outside ComfyUI's folders, or that is not there."""
    path = inside(folder_paths.get_directory_by_type(kind), subfolder, filename) if kind in TYPES else None
    if path is None or not path.is_file():
        raise InputError(f"there is no file {filename} in ComfyUI's {kind} folder: choose one that is")
    return path


def new_output(prefix: str, suffix: str, size: tuple[int, int] = (0, 0)) -> Path:
    """A path in the output folder that no file has yet, numbered as ComfyUI numbers; `size` is (width, height)."""
    root = folder_paths.get_output_directory()
    if inside(root, prefix) is None:
        raise InputError(f"{prefix} leads out of ComfyUI's output folder: use a filename_prefix without '..'")
    folder, name, counter, _, _ = folder_paths.get_save_image_path(prefix, root, *size)
    return Path(folder) / f"{name}_{counter:05}_{suffix}"


def temp_file(content: bytes, suffix: str) -> Path:
    """`content` as a file in the temporary folder, which ComfyUI empties when it starts; equal content, one file."""
    folder = Path(folder_paths.get_temp_directory())
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"personalive_{hashlib.sha256(content).hexdigest()[:16]}{suffix}"
    if not path.exists():
        path.write_bytes(content)
    return path


def as_file(video: Any) -> Path:
    """A VIDEO as a file: one that is in memory only, or cut by another node, is written to the temporary folder."""
    source = video.get_stream_source()
    window = getattr(video, "get_active_trim_window", tuple)()  # ComfyUI after 0.3.64 can cut without writing
    if any(window):
        whole = BytesIO()
        video.save_to(whole)
        return temp_file(whole.getvalue(), ".mp4")
    return temp_file(source.getvalue(), ".mp4") if isinstance(source, BytesIO) else Path(source)


def as_sound(audio: dict[str, Any]) -> Path:
    """An AUDIO's first sound [C, T] as 16-bit WAV in the temporary folder."""
    samples = (audio["waveform"][0].clamp(-1, 1) * 32767).round().short().T.contiguous()
    buffer = BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(samples.shape[1])
        file.setsampwidth(2)
        file.setframerate(int(audio["sample_rate"]))
        file.writeframes(samples.numpy().tobytes())
    return temp_file(buffer.getvalue(), ".wav")


def lora_files() -> list[str]:
    """The choices of Load PersonaLive LoRA, of which many may be for other models."""
    return [name for name in folder_paths.get_filename_list(LORAS) if name.endswith(".safetensors")]


def lora_file(choice: str) -> Path | None:
    """The file behind a choice, or None."""
    path = folder_paths.get_full_path(LORAS, choice)
    return Path(path) if path else None


def motion_files() -> dict[str, Path]:
    """The choices of Load Motion: what lies in the input folder, and what was saved into the output folder."""
    choices = {}
    for kind, label in (("input", ""), ("output", " [output]")):
        root = Path(folder_paths.get_directory_by_type(kind))
        for path in sorted(root.rglob("*.safetensors")):
            choices[f"{path.relative_to(root).as_posix()}{label}"] = path
    return choices


def motion_file(choice: str) -> Path | None:
    """Where a choice's file would be; None for a name that leads out of the folder."""
    name = choice.removesuffix(" [output]")
    root = folder_paths.get_directory_by_type("input" if name == choice else "output")
    return inside(root, name) if name.endswith(".safetensors") else None
