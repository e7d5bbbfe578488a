"""What `personalive live` animates with: the chosen system's defaults, and its performer with the first reference."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from ..animation.driving import find_detector
from ..animation.engine import Engine
from ..animation.liveportrait_engine import LivePortraitEngine
from ..animation.portrait import ReferenceFace, open_portrait, read_portrait
from ..backends.liveportrait.kj_modes import check_kj
from ..backends.liveportrait.landmarker import LiveLandmarker, open_landmarker
from ..backends.liveportrait.stream import check_openness
from ..backends.personalive.files import SHIPPED, own_size, yunet_file
from ..backends.personalive.motion import Strengths
from ..backends.personalive.reference import encode_reference
from ..backends.registry import LIVEPORTRAIT, PERSONALIVE
from ..drawn.canvas import FaceMotion
from ..drawn.person import draw_portrait
from ..drawn.sample import SITTER
from ..errors import InputError, WeightsError
from ..faces.crop import FaceDetector
from ..faces.detectors import helpful_detector
from ..live.liveportrait import LIVE_STRENGTHS, LivePortraitPerformer
from ..live.liveportrait_source import read_live_reference
from ..live.performer import PersonaLivePerformer
from ..live.types import Performer
from ..text import as_argument
from .liveportrait_options import TRANSFER_DEFAULTS, liveportrait_engine_of, transfer_of
from .options import DEFAULT_WEIGHTS, engine_of, loras_of, refuse_options

_NO_YUNET = "the face detector YuNet is not there: run `personalive download --only detector`"
# PersonaLive's own arguments, and what they are where they were not given.
_OWN: Mapping[str, object] = {"decoder": "full", "lora": [], "lora_strength": None, "seed": 0}


def settle_live(a: argparse.Namespace) -> None:
    """Fills in the defaults of the chosen system. Raises InputError for an option of the other."""
    refuse_options(a, (PERSONALIVE,), _OWN)
    refuse_options(a, (LIVEPORTRAIT,), TRANSFER_DEFAULTS)
    is_live = a.system == LIVEPORTRAIT
    transfer_of(a)
    check_kj(a.kj_mode, is_video=False)
    a.weights = a.weights or (DEFAULT_WEIGHTS if is_live else SHIPPED["small"])
    a.size = a.size or own_size(a.weights)
    for name, default in vars(LIVE_STRENGTHS if is_live else Strengths()).items():
        given = getattr(a, name)
        vars(a)[name] = default if given is None else given


def engine_for(a: argparse.Namespace) -> Engine | LivePortraitEngine:
    """The chosen system's networks, not yet loaded. Raises InputError for an unusable device."""
    return liveportrait_engine_of(a, a.animal) if a.system == LIVEPORTRAIT else engine_of(a, loras_of(a))


def performer_of(a: argparse.Namespace, engine: Engine | LivePortraitEngine) -> Performer:
    """Loads the networks and reads the reference. Raises as `open_portrait` and the engine's `load` do."""
    return _liveportrait(a, engine) if isinstance(engine, LivePortraitEngine) else _personalive(a, engine)


def _personalive(a: argparse.Namespace, engine: Engine) -> PersonaLivePerformer:
    if a.reference:
        portrait = open_portrait(a.reference, ReferenceFace(detector=a.detector), engine)
        source, shown = portrait.source, portrait.picture
    else:
        source = shown = draw_portrait(SITTER, FaceMotion(), a.size)
    detector = _detector(a)
    model = engine.load()
    reference = encode_reference(model, source, a.size)
    return PersonaLivePerformer(model, reference, shown, detector, seed=a.seed)


def _liveportrait(a: argparse.Namespace, engine: LivePortraitEngine) -> LivePortraitPerformer:
    detector, finder = _detector(a), None  # all of the drawn portrait is animated, and all of an animal's
    picture = read_portrait(a.reference) if a.reference else draw_portrait(SITTER, FaceMotion(), a.size)
    options = transfer_of(a, expression_friendly=a.animal)
    landmarks = _landmarks(a.weights, detector) if options.retargets else None
    if (a.reference or landmarks) and not a.animal:
        finder = detector or find_detector(a.detector, picture, a.weights)
    model = engine.load()
    read = read_live_reference(model, picture, a.size, finder, landmarks)
    check_openness(read.source.motion, options)
    performer = LivePortraitPerformer(model, read.source, read.portrait, read.paste, detector, options, a.animal)
    return replace(performer, landmarks=landmarks)


def _landmarks(weights: Path, detector: FaceDetector | None) -> LiveLandmarker:
    """What says how open eyes and lips are. Raises WeightsError or InputError if it, or the detector, is not there."""
    landmarks = open_landmarker(weights)
    if landmarks is None:
        raise WeightsError(
            f"--eyes and --lips need LivePortrait's landmark.onnx, and {weights} has none: run `personalive download "
            f"--system liveportrait --weights {as_argument(weights)}`, or leave them out"
        )
    if detector is None:
        raise InputError(
            "--eyes and --lips follow the driving's face, and no detector looks for it: run `personalive download "
            "--only detector`, or choose another --detector"
        )
    return landmarks


def _detector(a: argparse.Namespace) -> FaceDetector | None:
    return helpful_detector(a.detector, partial(yunet_file, a.weights, _NO_YUNET))
