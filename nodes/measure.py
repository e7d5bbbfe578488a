"""Measure: compares generated frames with the true ones, or with driving and portrait, and names the worst."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from comfy_api.v0_0_2 import io, ui

from ..personalive_core.errors import InputError
from ..personalive_core.evaluation.catalogue import catalogue, open_judges
from ..personalive_core.evaluation.films import MeasuredFilm
from ..personalive_core.evaluation.judges.types import JudgeOptions
from ..personalive_core.evaluation.measured_picture import measured_picture
from ..personalive_core.evaluation.measured_text import measured_text
from ..personalive_core.evaluation.measuring import measure_film
from ..personalive_core.media.picture import Picture
from .host.errors import in_words, readable, told_in
from .host.memory import check_interrupt
from .host.schema import schema
from .host.sockets import LoadedModel, ModelSocket, only_picture, to_image, to_picture

# Phrases of the core that name options of `personalive metrics`, in words of this node; longer ones first.
_COMMAND = "only the command `personalive metrics` takes"
IN_INPUTS: Mapping[str, str] = {
    "give --yunet FILE, or --weights of a folder that holds it": "connect a model whose weights folder holds it",
    "or give --yunet FILE": "or connect a model whose weights folder holds YuNet",
    "give --weights of PersonaLive or LivePortrait": "connect a model that has it",
    "give --size, or choose other --points": "make them square, or choose other points",
    "give --size, which makes them equal": "resize them to one size",
    ", or give --first N to measure the first N of both": "",
    "--points none was chosen": "points is none",
    "give --truth": "connect truth",
    "give --reference": "connect reference",
    ", or give --download": "",
    "give --insightface if you may use them": f"{_COMMAND} them",
    **{f"give --{name} FILE": f"{_COMMAND} it" for name in ("mediapipe", "sface", "i3d")},
}
FINDERS = ("auto", "none", "drawn", "yunet", "dlib")  # those of the core that need no file of their own


def measure(
    video: torch.Tensor, beside: torch.Tensor, reference: Picture | None, is_self: bool, judges: JudgeOptions
) -> tuple[str, Picture]:
    """The table as text, and the picture [H, W, 3], of frames and of those beside them, [F, H, W, C] each.

    Both, and errors, speak of the node's inputs.
    """
    film = MeasuredFilm("video", partial(_frames, video), partial(_frames, beside), is_self, reference,
                        ("the video", "the truth" if is_self else "the driving"))  # fmt: skip
    with told_in(IN_INPUTS):
        kind = "self" if is_self else "cross"
        found = measure_film(film, catalogue(kind, open_judges(judges), reference is not None))
        picture = measured_picture(found, {film.name: film})
    return in_words(measured_text(found), IN_INPUTS), np.zeros((1, 1, 3), np.uint8) if picture is None else picture


def _frames(images: torch.Tensor) -> Iterator[Picture]:
    for image in images:
        check_interrupt()
        yield to_picture(image)


class Measure(io.ComfyNode):
    """Measures generated frames."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="PersonaLiveMeasure",
            display_name="Measure (PersonaLive)",
            description="Compares generated frames with the true ones, or with driving and portrait: a table of "
            "figures, each with its network, and a picture of the worst frames.",
            inputs=[
                io.Image.Input("video", tooltip="The generated frames."),
                io.Image.Input("truth", optional=True, tooltip="The true frames, as many and as large as the video."),
                io.Image.Input(
                    "driving", optional=True, tooltip="Instead of the truth: the driving frames, as many as the video."
                ),
                io.Image.Input("reference", optional=True, tooltip="The portrait; needed beside the driving."),
                ModelSocket.Input(
                    "model", optional=True, tooltip="Its weights folder brings the head pose, and YuNet if it is there."
                ),
                io.Combo.Input(
                    "points",
                    options=list(FINDERS),
                    default="auto",
                    optional=True,
                    tooltip="What finds eyes and lips. auto takes the first that is there, drawn is for drawn people.",
                ),
            ],
            outputs=[
                io.String.Output("table", display_name="table", tooltip="The figures, and why others are missing."),
                io.Image.Output("picture", display_name="picture", tooltip="Worst frames, and curves over time."),
            ],
            is_output_node=True,
        )

    @classmethod
    @readable
    def execute(
        cls,
        video: Any,
        truth: Any = None,
        driving: Any = None,
        reference: Any = None,
        model: LoadedModel | None = None,
        points: str = "auto",
    ) -> io.NodeOutput:
        if (truth is None) == (driving is None):
            raise InputError("Measure compares with the truth or with the driving: connect one of the two")
        if driving is not None and reference is None:
            raise InputError("beside the driving Measure compares with the portrait: connect the reference")
        portrait = None if reference is None else only_picture(reference, "Measure")
        beside = driving if truth is None else truth
        judges = JudgeOptions(points=points, weights=model.weights if model else None)
        table, picture = measure(video, beside, portrait, truth is not None, judges)
        image = to_image([picture])
        return io.NodeOutput(table, image, ui=ui.PreviewImage(image, cls=cls))
