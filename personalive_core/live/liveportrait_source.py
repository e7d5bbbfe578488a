"""The reference of a live LivePortrait: the portrait that is shown, and the face in it that is animated."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..backends.liveportrait.crops import CropMatrix, limited
from ..backends.liveportrait.driving import INPUT_SIDE
from ..backends.liveportrait.finding import Landmarks, detected_face
from ..backends.liveportrait.model import LivePortrait
from ..backends.liveportrait.pasting import LivePaste, prepare_live_paste
from ..backends.liveportrait.portrait import SourcePortrait, prepare_source
from ..backends.liveportrait.reference import live_source
from ..backends.liveportrait.types import LiveSource
from ..errors import FaceError
from ..faces.crop import Crop, FaceDetector, choose_face, crop_image, portrait_crop, whole_frame
from ..media.picture import Picture


@dataclass(frozen=True, eq=False)
class LiveReference:
    """A reference, read."""

    source: LiveSource  # [1], on the model's device
    portrait: Picture  # [S, S, 3] what is shown of it
    paste: LivePaste | None  # puts the animated face into the portrait; None: all of the portrait is animated


def read_live_reference(
    model: LivePortrait,
    picture: Picture,
    size: int,
    detector: FaceDetector | None,
    landmarks: Landmarks | None = None,
) -> LiveReference:
    """Reads any picture [H, W, 3] as a reference that is shown with `size` pixels a side.

    A square picture is shown whole, of others the square around the largest face; the centred one without a detector.
    Its face is animated, cropped as the published code crops it, and pasted back; where none was looked for, or a
    square picture shows none, the whole picture. How open eyes and lips are is known with `landmarks` alone.
    Raises FaceError if a picture that is not square shows no face.
    """
    picture = limited(picture)
    frame_size = picture.shape[:2]
    is_square = frame_size[0] == frame_size[1]
    face = choose_face(detector(picture) if detector else (), "largest", None)
    if face is None and detector and not is_square:
        raise FaceError("no face was found in the new portrait: use a picture with one clear face")
    if face is not None:
        return shown_source(prepare_source(model, picture, detected_face(picture, face, landmarks)), size, model)
    shown = whole_frame(frame_size)
    source = live_source(model, [crop_image(picture, shown, INPUT_SIDE)]).to(model.device, model.dtype)
    return LiveReference(source, crop_image(picture, shown, size), None)


def shown_source(source: SourcePortrait, size: int, model: LivePortrait) -> LiveReference:
    """A source picture that was read already as a reference that is shown with `size` pixels a side.

    Its face is pasted back into the picture, of which a square is shown: all of it, else the one around the face.
    Without a face its centred square is animated, and shown alone.
    """
    frame_size, found = source.whole.shape[:2], source.found
    is_square = frame_size[0] == frame_size[1]
    shown = whole_frame(frame_size) if is_square or found is None else portrait_crop(found.box, frame_size)
    portrait, paste = crop_image(source.whole, shown, size), None
    if found is not None:
        paste = prepare_live_paste(portrait, _to_shown(shown, size) @ source.crop.matrix)
    return LiveReference(source.source.to(model.device, model.dtype), portrait, paste)


def _to_shown(shown: Crop, size: int) -> CropMatrix:
    """From pixels of the picture to those of its part `shown`, resized to `size` a side; pixel centres at integers."""
    scale = size / shown.size
    x, y = ((0.5 - edge) * scale - 0.5 for edge in (shown.left, shown.top))
    return np.array([[scale, 0, x], [0, scale, y], [0, 0, 1]], np.float64)
