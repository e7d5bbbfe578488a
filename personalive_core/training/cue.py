"""The region cue of training batches and streams: cut from the clips or their actors, recoloured, dropped at random."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional

from ..backends.personalive.model import PersonaLive
from ..errors import InputError
from ..modules.keypoints import PICTURE_SIZE
from ..modules.region_cue import cut_regions
from ..motion.types import HybridMotion
from .augment import recolour
from .data import Clip, Pick
from .drops import kept
from .presets import Preset
from .source import Batch, Source, acted, signed_on

DROPS_CUE, COLOURS_CUE = 24, 25  # numbers of the random streams, which no stage uses for anything else


def cue_of(clip: Clip, rows: Tensor, device: torch.device, strength: float = 0.0, *numbers: int) -> Tensor:
    """The region cue [F, *CUE_SHAPE] int8 of the frames `rows` of a clip, on `device`; hidden where nobody is.

    With a `strength`, the pictures are recoloured that much, as `augment.recolour` does.
    """
    pictures = functional.interpolate(signed_on(device, clip.pictures[rows]), size=PICTURE_SIZE, mode="bilinear")
    pictures = recolour(pictures, strength, *numbers, COLOURS_CUE) if strength else pictures
    return cut_regions(pictures, clip.motion.keypoints[rows].to(device), clip.motion.valid[rows])


def shown_in_cue(clip: Clip, crossed: bool) -> Clip:
    """Whom the cue shows: `clip`, or if `crossed` its actor. Raises InputError for actors without keypoints."""
    if crossed and clip.actors is not None and clip.actor_keypoints is None:
        raise InputError("a region cue needs the actors' keypoints, which older clips lack: draw the clips again")
    return acted(clip) if crossed else clip


def with_cue(items: Batch, source: Source, picks: Sequence[Pick], row: Preset, *numbers: int) -> Batch:
    """`items`, made of `picks`, with the cue that `row` asks for, if any; a share `row.dropped_cue` of them without."""
    if not row.region_cue:
        return items
    cues = [
        cue_of(
            shown_in_cue(source.data.clip(item.clip), row.crossed),
            torch.tensor(item.driving), source.model.device, row.augment, *numbers, index,
        )
        for index, item in enumerate(picks)
    ]  # fmt: skip
    cue = torch.stack(cues)
    if row.dropped_cue:
        cue = cue * kept(len(cue), row.dropped_cue, cue, *numbers, DROPS_CUE)[..., None, None, None]
    return replace(items, cue=cue)


def sheet_cue(items: Batch, source: Source, picks: Sequence[Pick]) -> Batch:
    """`items` of a sheet with the whole cue, of actors where the clips have them; unchanged for a model without."""
    if not source.model.has_cue:
        return items
    clips = [source.data.clip(item.clip) for item in picks]
    shown = [shown_in_cue(clip, clip.actor_keypoints is not None) for clip in clips]
    cues = [
        cue_of(one, torch.tensor(item.driving), source.model.device) for one, item in zip(shown, picks, strict=True)
    ]
    return replace(items, cue=torch.stack(cues))


def stream_cue(
    model: PersonaLive,
    clip: Clip,
    rows: tuple[slice, slice],
    motions: tuple[HybridMotion, HybridMotion],
    row: Preset,
    *numbers: int,
) -> tuple[HybridMotion, HybridMotion]:
    """The `motions` of a stream's driving frames and of its reference, `rows` of a clip, with the cue of `row`, if any.

    The driving's shows the actor if the row is crossed; the reference's is its own. Both are hidden in a share
    `row.dropped_cue` of the streams.
    """
    if not row.region_cue:
        return motions
    driving, own = (torch.arange(len(clip))[part] for part in rows)
    led = cue_of(shown_in_cue(clip, row.crossed), driving, model.device, row.augment, *numbers).cpu()
    still = cue_of(clip, own, model.device).cpu()
    if row.dropped_cue:
        factor = kept(1, row.dropped_cue, led, *numbers, DROPS_CUE)[..., None, None]
        led, still = led * factor, still * factor
    return replace(motions[0], cue=led), replace(motions[1], cue=still)
