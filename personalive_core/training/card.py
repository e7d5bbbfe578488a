"""A run's card: what it trained, how far it is, for how many minutes and on which machine."""

from __future__ import annotations

import json

import torch

from ..device import device_name
from ..media.files import whole_file
from .checkpoint import read_progress
from .loop import Run

CARD = "card.json"


def write_card(run: Run, preset: str, device: torch.device) -> dict[str, object]:
    """Returns the card of a run whose checkpoint is in its folder; of several processes the main one writes it.

    Raises WeightsError, OutputError.
    """
    from accelerate import PartialState

    progress, row = read_progress(run.folder), run.row
    minutes = progress.seconds / 60
    card: dict[str, object] = {
        "preset": preset,
        "stage": run.stage,
        "steps": progress.step,
        "of": row.steps,
        "minutes": round(minutes, 2),
        "finished": progress.step >= row.steps or (row.minutes > 0 and minutes >= row.minutes),
        "device": device_name(device),
        "precision": run.precision,
        "torch": str(torch.__version__),
        "seed": run.seed,
    }
    if PartialState().is_main_process:
        with whole_file(run.folder / CARD, (".json",)) as partial:
            partial.write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
    return card
