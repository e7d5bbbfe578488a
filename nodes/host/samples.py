"""Puts the sample media that come with the pack into ComfyUI's input folder, where the templates look for them."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import folder_paths

ASSETS = Path(__file__).parents[1] / "assets"

_log = logging.getLogger(__name__)


def copy_samples() -> None:
    """Copies each sample that the input folder lacks; files of that name stay as they are. A failure is only logged."""
    folder = Path(folder_paths.get_input_directory())
    for sample in sorted(ASSETS.iterdir()):
        target = folder / sample.name
        if target.exists():
            continue
        part = target.with_name(f".{sample.name}.part")  # a copy that breaks off is not taken for the sample
        try:
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(sample, part)
            part.replace(target)
        except OSError as error:
            _log.warning("PersonaLive's sample %s could not be put into %s: %s", sample.name, folder, error)
