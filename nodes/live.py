"""LiveSession: begins a live session, whose panel brings the camera, and returns at once."""

from __future__ import annotations

from functools import partial

from comfy_api.v0_0_2 import io

from ..personalive_core.backends.personalive.files import SHIPPED
from ..personalive_core.backends.personalive.motion import Strengths
from ..personalive_core.device import device_name
from ..personalive_core.errors import InputError
from ..personalive_core.faces.crop import FaceDetector
from ..personalive_core.faces.detectors import helpful_detector
from ..personalive_core.live.performer import PersonaLivePerformer
from ..personalive_core.live.types import MODES, Settings
from .fit import DEFAULTS, strength
from .host.errors import readable
from .host.faces import CHOICES, LARGEST, choice, detector_input, yunet, yunet_if_there
from .host.live import SERVICE, Wanted
from .host.memory import activation_bytes, with_room
from .host.panel import for_page
from .host.schema import schema
from .host.sockets import Bank, BankSocket, LoadedModel, ModelSocket, PreparedReference, ReferenceSocket, stream_config
from .host.streaming import BankedRun, fixed_bank, fixed_keyframes

PANEL = "personalive_live"


class LiveSession(io.ComfyNode):
    """Begins a live session with a reference, or changes the one that is on."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="PersonaLiveLiveSession",
            display_name="Live Session (PersonaLive)",
            description="A camera drives the portrait while it happens. Run it, then press Start on its panel: camera, "
            "result, delay, recording. Close the page to end it.",
            inputs=[
                ModelSocket.Input("model", tooltip="From Load PersonaLive. The small model works at once."),
                ReferenceSocket.Input("reference", tooltip="The portrait, from Prepare Reference."),
                io.Combo.Input(
                    "mode",
                    options=list(MODES),
                    default="quality",
                    tooltip="quality takes four captured frames a step, as published. quick interpolates the motion "
                    "between captured frames, for about half the delay.",
                ),
                strength("rotation", DEFAULTS.rotation, "How much of the head's turning is taken over. 1: all of it."),
                strength("translation", DEFAULTS.translation, "How far the head moves. 0.5 is the published value."),
                strength("scale", DEFAULTS.scale, "How much the head grows when it comes nearer. 0: not at all."),
                strength("expression", DEFAULTS.expression, "How much of the expression is taken over. 1: all of it."),
                io.Float.Input(
                    "smoothing",
                    default=0.0,
                    min=0.0,
                    max=30.0,
                    step=0.1,
                    tooltip="Against trembling: cutoff in Hz of a One-Euro filter, 1 is strong, 5 is light, 0 is off.",
                ),
                detector_input(),
                io.Combo.Input(
                    "face", options=list(CHOICES), default=LARGEST, tooltip="Whose face, when there are several."
                ),
                io.Boolean.Input(
                    "mark", default=False, tooltip="Put a small mark on every picture that says it is generated."
                ),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=0xFFFFFFFFFFFFFFFF,
                    control_after_generate=False,  # each run would begin the session anew
                    tooltip="The noise. Another seed begins the session anew.",
                ),
                BankSocket.Input(
                    "bank", optional=True, tooltip="From Keyframe Bank. Nothing connected: the published settings."
                ),
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
        model: LoadedModel,
        reference: PreparedReference,
        mode: str,
        rotation: float,
        translation: float,
        scale: float,
        expression: float,
        smoothing: float,
        detector: str,
        face: str,
        mark: bool,
        seed: int,
        bank: Bank | None = None,
    ) -> io.NodeOutput:
        if reference.weights != model.weights:
            raise InputError(
                "the reference was read by other weights: connect the same Load PersonaLive to Prepare Reference and "
                "to Live Session"
            )
        run = BankedRun(model, reference, bank or Bank())
        strengths = Strengths(rotation, translation, scale, expression)
        settings = Settings(strengths, mode, smoothing or None, choice(face), mark)
        room, names = step_bytes(run), (weights_name(model), device_name(model.networks.device))
        made_of = (model, reference, bank, seed, detector)
        token = SERVICE.begin(Wanted(partial(performer, run, seed, detector, room), made_of, settings, names, room))
        return io.NodeOutput(ui=for_page(PANEL, {"token": token}))


def performer(run: BankedRun, seed: int, detector: str, room: int) -> PersonaLivePerformer:
    """The performer for the node's inputs. Raises FaceError if a fixed keyframe shows no face."""
    model = run.model.networks
    reference = run.prepared.reference.to(model.device, model.dtype)
    pictures = fixed_keyframes(run).pictures
    return PersonaLivePerformer(
        model,
        reference,
        run.prepared.portrait,
        live_detector(detector, run.model),
        stream_config(run.bank),
        seed,
        fixed_bank(run, reference, pictures) if pictures else None,
        encoder=with_room(model, room),
    )


def live_detector(name: str, model: LoadedModel) -> FaceDetector | None:
    """The detector called `name`; for auto YuNet, else Haar, else None: the centred square of the camera's picture.

    Raises InputError and WeightsError as `make_detector` does, for a choice that cannot be had.
    """
    return helpful_detector(name, partial(yunet_if_there if name == "auto" else yunet, model.weights))


def step_bytes(run: BankedRun) -> int:
    """Bytes that a step takes besides the weights."""
    config = stream_config(run.bank)
    return activation_bytes(run.size, config.window * config.windows, run.model.networks.dtype)


def weights_name(model: LoadedModel) -> str:
    """What the panel calls the model: small, or its folder."""
    return next((name for name, folder in SHIPPED.items() if folder == model.weights), model.weights.name)
