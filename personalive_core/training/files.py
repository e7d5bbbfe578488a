"""Files that training writes: whole or not at all, with one kind of error where there is no room for them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from ..errors import OutputError
from ..output import whole_file


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Writes a safetensors file. Raises OutputError; then an older file of that name is as it was."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    with whole_file(path, (".safetensors",)) as partial:
        try:
            save_file({key: tensor.detach().contiguous().cpu() for key, tensor in tensors.items()}, partial, metadata)
        except SafetensorError as error:  # what it makes of a full disk
            raise OSError(str(error)) from error


def make_folder(folder: Path) -> Path:
    """`folder`, made with those above it where they are missing. Raises OutputError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder} cannot be made ({error.strerror}): choose another --output") from error
    return folder
