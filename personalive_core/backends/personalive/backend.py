"""PersonaLive as a backend: whole square pictures in, without detection; detection and films are animation/'s."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice

from ...faces.crop import cut_patch, whole_frame
from ...faces.resize import resized_patches
from ...media.picture import Picture
from ...modules.schedule import seeded_noise
from ...motion.gaps import fill_missing
from ...motion.types import HybridMotion
from .model import PersonaLive
from .motion import Strengths, extract_motion
from .reference import encode_reference
from .sampling import StreamingSampler
from .stream import stream, to_reference
from .types import STREAM, Reference, StreamConfig


@dataclass(frozen=True)
class PersonaLiveBackend:
    """See `Backend`; of a frame that is not square, the centred square is the portrait."""

    model: PersonaLive
    size: int = 512  # pixels a side of the pictures
    seed: int = 0
    strengths: Strengths = field(default_factory=Strengths)
    config: StreamConfig = STREAM

    def portrait(self, picture: Picture) -> Reference:
        """What animation needs of a square picture. Raises InputError for another, or for an unusable size."""
        return encode_reference(self.model, picture, self.size)

    def read(self, frames: Iterable[Picture]) -> Iterator[HybridMotion]:
        """The motion of driving frames [H, W, 3], a window at a time."""
        source = iter(frames)
        while window := list(islice(source, self.config.window)):
            patches = [cut_patch(frame, whole_frame(frame.shape[:2])) for frame in window]
            yield extract_motion(self.model, resized_patches(patches, self.size, self.model.device))

    def animate(self, portrait: Reference, motions: Iterable[HybridMotion]) -> Iterator[Picture]:
        """One picture [S, S, 3] for each frame of `motions`; a frame without a face holds the motion before it."""
        filled = fill_missing(motions, "hold", portrait.motion)
        sampler = StreamingSampler(self.model, portrait, seeded_noise(self.seed), self.config)
        for emitted in stream(
            self.model, sampler, to_reference(filled, portrait, self.config.lookahead, self.strengths)
        ):
            yield from emitted.pictures
