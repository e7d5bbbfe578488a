"""LivePortrait as a backend: whole pictures in, or faces that a finder finds; films are animation/'s."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from ...errors import FaceError
from ...media.picture import Picture
from ...motion.gaps import fill_missing
from .driving import read_driving
from .finding import Finder, FollowState, follow_face
from .model import LivePortrait
from .portrait import SourcePortrait, prepare_source
from .stream import RenderOptions, animate_portrait
from .types import ImplicitMotion


@dataclass(frozen=True)
class LivePortraitBackend:
    """See `Backend`. Driving frames are taken whole; of one that is not square, the centred square."""

    model: LivePortrait
    finder: Finder = field(default_factory=Finder)  # of the reference's face; by default the whole picture is it
    options: RenderOptions = field(default_factory=RenderOptions)

    def portrait(self, picture: Picture) -> SourcePortrait:
        """What animation needs of a picture [H, W, 3]. Raises FaceError if a face is looked for and not found."""
        found = follow_face(FollowState(), picture, self.finder)[1]
        if found is None and self.finder.looks:
            raise FaceError("no face was found in the portrait: use a picture with one clear face, or give its box")
        return prepare_source(self.model, picture, found)

    def read(self, frames: Iterable[Picture]) -> Iterator[ImplicitMotion]:
        """The motion of driving frames [H, W, 3], in pieces."""
        yield from read_driving(self.model, frames)

    def animate(self, portrait: SourcePortrait, motions: Iterable[ImplicitMotion]) -> Iterator[Picture]:
        """One picture [H, W, 3] for each frame of `motions`; a frame without a face holds the motion before it."""
        for frame in animate_portrait(self.model, portrait, fill_missing(motions), self.options):
            yield frame.picture
