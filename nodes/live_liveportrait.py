"""LivePortraitSession: begins a live session with LivePortrait, or changes the one that is on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from comfy_api.v0_0_2 import io

from ..personalive_core.backends.liveportrait.animation import MULTIPLIER_RANGE, AnimationOptions
from ..personalive_core.backends.liveportrait.finding import Landmarks
from ..personalive_core.backends.liveportrait.portrait import SourcePortrait
from ..personalive_core.backends.liveportrait.regions import FACE_REGIONS
from ..personalive_core.backends.liveportrait.stream import check_openness
from ..personalive_core.backends.liveportrait.transfer import TRANSFER_MODES, TransferOptions
from ..personalive_core.backends.personalive.motion import Strengths
from ..personalive_core.device import device_name
from ..personalive_core.errors import InputError, WeightsError
from ..personalive_core.faces.crop import FaceDetector
from ..personalive_core.faces.detectors import helpful_detector
from ..personalive_core.live.liveportrait import LIVE_STRENGTHS, LivePortraitPerformer
from ..personalive_core.live.liveportrait_source import shown_source
from ..personalive_core.live.types import Settings
from .fit import strength
from .host.errors import readable
from .host.faces import CHOICES, LARGEST, choice, detector_input, yunet, yunet_if_there
from .host.live import SERVICE, Wanted
from .host.liveportrait import detector_place, draw_bytes
from .host.liveportrait_source import landmarker
from .host.memory import with_room
from .host.panel import for_page
from .host.schema import schema
from .host.sockets import LivePortraitSocket, LoadedLivePortrait, SourceSocket
from .live import PANEL

RESULT_SIDE = 512  # pixels a side that the networks draw
NO_CAMERA_YUNET = (
    "finding the camera's face needs YuNet, which is not downloaded: turn on download_if_missing in Load LivePortrait "
    "and run again, or choose none as detector"
)


def motion_inputs() -> list[io.Input]:
    """The widgets of how the camera's motion is taken over."""
    least, most = MULTIPLIER_RANGE
    whole = "How much of {}. 1: all of it.".format
    return [
        io.Combo.Input(
            "mode",
            options=list(TRANSFER_MODES),
            default=TRANSFER_MODES[0],
            tooltip="relative takes what changes since the camera's first face; absolute the pose itself.",
        ),
        io.Combo.Input(
            "region",
            options=list(FACE_REGIONS),
            default=FACE_REGIONS[0],
            tooltip="What is taken over: all, the expression (exp), the head's pose, the lips (lip), the eyes.",
        ),
        io.Float.Input(
            "multiplier",
            default=1.0,
            min=least,
            max=most,
            step=0.01,
            tooltip="How much of the motion. 0: the picture keeps still. 1.75 is usual for animals.",
        ),
        io.Boolean.Input(
            "stitching",
            default=True,
            tooltip="Moves neck and hair, so that the square joins the picture seamlessly. Animals are never stitched.",
        ),
        strength("rotation", LIVE_STRENGTHS.rotation, whole("the head's turning")),
        strength("translation", LIVE_STRENGTHS.translation, whole("the head's movement")),
        strength("scale", LIVE_STRENGTHS.scale, whole("its growing when it comes nearer")),
        strength("expression", LIVE_STRENGTHS.expression, whole("the expression")),
    ]


def session_inputs() -> list[io.Input]:
    """The other widgets."""
    return [
        io.Float.Input(
            "smoothing",
            default=0.0,
            min=0.0,
            max=30.0,
            step=0.1,
            tooltip="Against trembling: cutoff in Hz of a One-Euro filter, 1 is strong, 5 is light, 0 is off.",
        ),
        detector_input(),
        io.Combo.Input("face", options=list(CHOICES), default=LARGEST, tooltip="Whose face, when there are several."),
        io.Boolean.Input("mark", default=False, tooltip="Put a small mark on every picture that says it is generated."),
        io.Int.Input(
            "size", default=RESULT_SIDE, min=128, max=1024, step=8, tooltip="Pixels a side of the result. 512 is usual."
        ),
    ]


def openness_inputs() -> list[io.Input]:
    """The widgets of what opens as far as the camera's face; they came later."""
    return [
        io.Boolean.Input(
            what,
            default=False,
            optional=True,
            tooltip=f"Opens the {what} as the camera's are; relative motion is then left out. Needs landmark.onnx.",
        )
        for what in ("eyes", "lips")
    ]


class LivePortraitSession(io.ComfyNode):
    """Begins a live session with LivePortrait, or changes the one that is on."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="PersonaLiveLivePortraitSession",
            display_name="Live Session (LivePortrait, PersonaLive)",
            description="A camera drives the picture while it happens, with LivePortrait: frame by frame. Run it, then "
            "press Start on its panel: camera, result, delay, recording. Close the page to end it.",
            inputs=[
                LivePortraitSocket.Input("model", tooltip="From Load LivePortrait."),
                SourceSocket.Input("source", tooltip="The picture, from Prepare Source."),
                *motion_inputs(),
                *session_inputs(),
                *openness_inputs(),
            ],
            outputs=[],
            is_output_node=True,
        )

    @classmethod
    def fingerprint_inputs(cls, **_: object) -> float:
        """Never cached: the session of an earlier run may have ended."""
        return float("nan")

    @classmethod
    @readable
    def execute(
        cls,
        model: LoadedLivePortrait,
        source: Any,
        mode: str,
        region: str,
        multiplier: float,
        stitching: bool,
        smoothing: float,
        detector: str,
        face: str,
        mark: bool,
        size: int,
        eyes: bool = False,
        lips: bool = False,
        **strengths: float,
    ) -> io.NodeOutput:
        animation = opened(live_animation(model.subject, mode, region, multiplier, stitching), model, eyes, lips)
        portrait = only_portrait(source)
        settings = Settings(Strengths(**strengths), smoothing=smoothing or None, face=choice(face), mark=mark)
        run = LiveRun(model, portrait, animation, detector, size)
        made_of = (model, portrait, mode, region, multiplier, stitching, detector, size, eyes, lips)
        names = (model.weights.name, device_name(model.networks.device))
        token = SERVICE.begin(Wanted(partial(live_performer, run), made_of, settings, names, run.room))
        return io.NodeOutput(ui=for_page(PANEL, {"token": token}))


@dataclass(frozen=True, eq=False)
class LiveRun:
    """What a session is made of."""

    model: LoadedLivePortrait
    source: SourcePortrait
    animation: AnimationOptions
    detector: str
    size: int

    @property
    def room(self) -> int:
        """Bytes that a step takes besides the weights."""
        return draw_bytes(self.model.networks.dtype)


def live_animation(subject: str, mode: str, region: str, multiplier: float, stitching: bool) -> AnimationOptions:
    """How motion is taken over. Raises InputError for what animals do not have."""
    animal, transfer = subject == "animal", TransferOptions(mode, region)
    if animal and transfer != TransferOptions():
        raise InputError("animals take all of a person's motion as it is: leave mode at relative and region at all")
    return AnimationOptions(transfer, animal, multiplier, stitching and not animal)


def opened(animation: AnimationOptions, model: LoadedLivePortrait, eyes: bool, lips: bool) -> AnimationOptions:
    """The animation with eyes and lips as open as the camera's. Raises InputError for animals."""
    if (eyes or lips) and model.subject == "animal":
        raise InputError("how open an animal's eyes and lips are is not known: turn eyes and lips off")
    return replace(animation, eyes=eyes, lips=lips)


def only_portrait(source: object) -> SourcePortrait:
    """The source picture. Raises InputError for a source video."""
    if isinstance(source, SourcePortrait):
        return source
    raise InputError("live animates one picture, and the source is a video: give Prepare Source a picture")


def live_performer(run: LiveRun) -> LivePortraitPerformer:
    """The performer of a session. Raises as `camera_detector` and `live_landmarks` do."""
    networks, animal = run.model.networks, run.model.subject == "animal"
    detector = camera_detector(run.detector)
    landmarks = live_landmarks(run, detector)
    read = shown_source(run.source, run.size, networks)
    return LivePortraitPerformer(
        networks,
        read.source,
        read.portrait,
        read.paste,
        detector,
        run.animation,
        animal,
        with_room(networks, run.room),
        landmarks,
    )


def live_landmarks(run: LiveRun, detector: FaceDetector | None) -> Landmarks | None:
    """What says how open the camera's eyes and lips are; None where they are not followed.

    Raises WeightsError or InputError if it, the detector, or the openness of the source's is not there.
    """
    if not run.animation.retargets:
        return None
    landmarks = landmarker(run.model)
    if landmarks is None:
        raise WeightsError(
            f"eyes and lips need landmark.onnx, and {run.model.weights} has none: turn on download_if_missing in Load "
            "LivePortrait, or turn eyes and lips off"
        )
    if detector is None:
        raise InputError(
            "eyes and lips follow the camera's face, and no detector looks for it: choose yunet as detector, or turn "
            "eyes and lips off"
        )
    check_openness(run.source.source.motion, run.animation)
    return landmarks


def camera_detector(name: str) -> FaceDetector | None:
    """The detector called `name` for the camera's pictures; for auto YuNet, else Haar, else None: the centred square.

    Raises InputError and WeightsError as `make_detector` does, for a choice that cannot be had.
    """
    there = yunet_if_there if name == "auto" else partial(yunet, problem=NO_CAMERA_YUNET)
    return helpful_detector(name, lambda: there(detector_place()))
