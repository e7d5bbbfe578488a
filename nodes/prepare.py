"""PrepareReference and KeyframeBank: the reference portrait, and the settings and fixed pictures for keyframes."""

from __future__ import annotations

import logging
from pathlib import Path

import torch
from comfy_api.v0_0_2 import io

from ..personalive_core.backends.personalive.files import SHIPPED, own_size
from ..personalive_core.backends.personalive.reference import check_size, encode_reference
from ..personalive_core.errors import PersonaLiveError
from ..personalive_core.faces.crop import Crop, Face, adjusted, crop_image
from ..personalive_core.media.picture import Picture
from .host.errors import readable
from .host.faces import (
    boxes,
    detector_input,
    face_crop,
    face_inputs,
    helpful_faces,
    look_for,
    mask_box,
    parse_box,
    square,
)
from .host.memory import activation_bytes, with_room
from .host.notice import notify
from .host.panel import for_page, picture_for_page
from .host.schema import schema
from .host.sockets import (
    Bank,
    BankSocket,
    LoadedModel,
    ModelSocket,
    PreparedReference,
    ReferenceSocket,
    only_picture,
    to_image,
    to_picture,
)

ENCODING = 4  # frames: a step over this many takes as much memory as encoding one picture (counted: 3.2)

_log = logging.getLogger(__name__)


def crop_inputs() -> list[io.Input]:
    """The widgets that change the crop; optional, so that prompts of before still run."""
    return [
        io.Float.Input(
            "crop_scale",
            default=1.0,
            min=0.2,
            max=3.0,
            step=0.05,
            optional=True,
            tooltip="Size of the square: above 1 shows more around the face. It stays inside the picture.",
        ),
        *(
            io.Float.Input(name, default=0.0, min=-1.0, max=1.0, step=0.01, optional=True, tooltip=tooltip)
            for name, tooltip in (
                ("crop_x", "Moves the square to the right, in parts of its side."),
                ("crop_y", "Moves the square down, in parts of its side."),
            )
        ),
    ]


class PrepareReference(io.ComfyNode):
    """Crops the face out of a portrait and encodes it as the reference."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="PersonaLivePrepareReference",
            display_name="Prepare Reference (PersonaLive)",
            description="Cuts the face out of the portrait and reads its appearance. Click a face in the picture to "
            "choose it.",
            inputs=[
                ModelSocket.Input("model", tooltip="From Load PersonaLive."),
                io.Image.Input("image", tooltip="One picture of the person to animate."),
                io.Int.Input(
                    "size",
                    default=0,
                    min=0,
                    max=1024,
                    step=64,
                    tooltip="Side of the animated square in pixels. 0: the model's own, 512 for the published weights, "
                    "128 for the small model.",
                ),
                *face_inputs(),
                io.Mask.Input(
                    "mask", optional=True, tooltip="Painted over the face: an alternative to face_box. Empty: ignored."
                ),
                *crop_inputs(),
            ],
            outputs=[
                ReferenceSocket.Output(
                    "reference", display_name="reference", tooltip="The portrait as the samplers need it."
                ),
                io.Image.Output("portrait", display_name="portrait", tooltip="The square that is animated."),
                io.Mask.Output(
                    "crop_mask", display_name="crop_mask", tooltip="Where that square is in the full picture: white."
                ),
            ],
            has_intermediate_output=True,  # the face picker has its faces again after the page was reloaded
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    @readable
    def execute(
        cls,
        model: LoadedModel,
        image: torch.Tensor,
        size: int,
        detector: str,
        face: str,
        face_box: str,
        mask: torch.Tensor | None = None,
        crop_scale: float = 1.0,
        crop_x: float = 0.0,
        crop_y: float = 0.0,
    ) -> io.NodeOutput:
        own = own_size(model.weights)
        size = size or own
        warn_of_size(str(cls.hidden.unique_id), size, own if model.weights in SHIPPED.values() else size)
        whole = only_picture(image, "Prepare Reference")
        box = parse_box(face_box) or mask_box(mask, whole)
        faces = None if box else look_for(whole, detector, model.weights)
        crop = adjusted(face_crop(whole, box, faces, face), whole.shape[:2], crop_scale, crop_x, crop_y)
        prepared = encode_portrait(model, whole, crop, size)
        if faces is None:
            faces = also_there(whole, detector, model.weights)
        shown = picker(whole, crop, boxes(faces))
        outputs = prepared, to_image([prepared.portrait]), crop_mask(whole, crop)
        return io.NodeOutput(*outputs, ui=for_page("personalive_faces", shown))


def crop_mask(whole: Picture, crop: Crop) -> torch.Tensor:
    """MASK [1, H, W] of the full picture: 1 inside the crop, to the nearest pixel, 0 elsewhere."""
    mask = torch.zeros(1, *whole.shape[:2])
    left, top, right, bottom = (round(edge) for edge in square(crop))
    mask[:, top:bottom, left:right] = 1
    return mask


def warn_of_size(node: str, size: int, known: int) -> None:
    """Says on the node and in the log that the networks only know pictures of `known` pixels a side."""
    text = f"Set size to 0: the small model knows {known} pixels alone, at {size} faces fall apart."
    notify(node, text if size != known else "")
    if size != known:
        _log.warning(text)


def also_there(whole: Picture, detector: str, weights: Path) -> tuple[Face, ...]:
    """Faces for the picker; none if the detector is missing, which is no error as the crop is already chosen."""
    try:
        return helpful_faces(whole, detector, weights)
    except PersonaLiveError as error:
        _log.debug("No faces for the picker: %s", error)
        return ()


def encode_portrait(model: LoadedModel, whole: Picture, crop: Crop, size: int) -> PreparedReference:
    """Encodes the crop as a reference of `size` pixels a side.

    A crop larger than that goes to the core at full resolution, so that it is resized only once. Raises InputError
    for a size that the networks cannot draw, FaceError if the keypoints span no face.
    """
    portrait = crop_image(whole, crop, check_size(size))
    source = crop_image(whole, crop, round(crop.size)) if crop.size > size else portrait
    networks = with_room(model.networks, activation_bytes(size, ENCODING, model.networks.dtype))
    reference = encode_reference(networks, source, size)
    kept = reference.to(torch.device("cpu"), model.networks.dtype)
    return PreparedReference(kept, whole, crop, portrait, model.weights)


def picker(whole: Picture, crop: Crop, faces: list[list[float]]) -> dict[str, object]:
    """Data for the face picker: the full picture as a temporary file, its size in pixels, face boxes, the crop."""
    return {**picture_for_page(whole), "faces": faces, "crop": square(crop)}


class KeyframeBank(io.ComfyNode):
    """Collects the settings for historical keyframes and the pictures of fixed ones."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="KeyframeBank",
            display_name="Keyframe Bank (PersonaLive)",
            description="How the stream remembers: when the motion is new, a finished frame joins the reference as a "
            "keyframe, so that later frames agree with it (historical keyframe mechanism).",
            inputs=[
                io.Float.Input(
                    "threshold",
                    default=Bank.threshold,
                    min=0.0,
                    max=1000.0,
                    step=0.5,
                    tooltip="How new the motion must be: its distance from every keyframe's. 17 is the paper's; lower "
                    "adds keyframes sooner.",
                ),
                io.Int.Input(
                    "maximum",
                    default=Bank.maximum,
                    min=0,
                    max=16,
                    tooltip="Most keyframes that may join. Each makes every step a little slower. 0: none.",
                ),
                io.Int.Input(
                    "warm_up",
                    default=Bank.warm_up,
                    min=3,
                    max=10000,
                    tooltip="Chunks of 4 frames before the first may join, the 3 of the lead-in counted.",
                ),
                detector_input(),
                io.Image.Input(
                    "images",
                    optional=True,
                    tooltip="More pictures of the same person (turned head, smile): fixed keyframes from the start.",
                ),
            ],
            outputs=[BankSocket.Output("bank", display_name="bank", tooltip="For a streaming sampler.")],
        )

    @classmethod
    @readable
    def execute(
        cls, threshold: float, maximum: int, warm_up: int, detector: str, images: torch.Tensor | None = None
    ) -> io.NodeOutput:
        portraits = tuple(to_picture(image) for image in images) if images is not None else ()
        return io.NodeOutput(Bank(threshold, maximum, warm_up, portraits, (None,) * len(portraits), detector))
