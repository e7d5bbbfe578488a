"""The head pose that PersonaLive's or LivePortrait's keypoint extractor reads, from the weights folder of either."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from ...backends.building import build_on_meta, keypoint_config
from ...backends.liveportrait.files import LIVE_FACTS, best_live
from ...backends.liveportrait.motion import unit_pictures
from ...backends.personalive.files import FILES, SHIPPED, facts_of
from ...faces.crop import crop_image, whole_frame
from ...metrics.pictures import Numbers, Pictures
from ...metrics.types import Origin
from ...modules.keypoints import PICTURE_SIZE, KeypointExtractor
from ...weights.fill import NetworkFacts, load_into
from ...weights.index import Found, WeightIndex, locate, read_state
from .types import Judge, OpenedJudge, PerPicture, sha256_of

EXTRACTOR = "motion_extractor"


def open_pose(folder: Path | None) -> OpenedJudge[PerPicture]:
    """Pitch, yaw and roll [F, 3] in degrees, of the largest square in the middle of each picture.

    Raises WeightsError for a file that is not this network.
    """
    if folder is None:
        return "needs a keypoint extractor: give --weights of PersonaLive or LivePortrait"
    located = _located(folder)
    if located is None:
        return f"{folder} holds no {EXTRACTOR}: give --weights of PersonaLive or LivePortrait"
    system, index, facts = located
    state = read_state(index, EXTRACTOR)
    network = build_on_meta(EXTRACTOR, lambda shapes: KeypointExtractor(keypoint_config(shapes)), state.shapes)
    device = torch.device("cpu")
    network = load_into(network, state, network=EXTRACTOR, device=device, dtype=torch.float32, facts=facts).eval()

    @torch.inference_mode()
    def read(pictures: Pictures) -> Numbers:
        square = whole_frame(pictures.shape[1:3])
        pose, _ = network(unit_pictures([crop_image(picture, square, PICTURE_SIZE) for picture in pictures]))
        return np.asarray(pose.angles.double().numpy())

    found = _found(index)
    path, file = found.paths[0], found.file
    origin = Origin(f"{system}'s keypoint extractor", f"{file.repo}, {path.name}", sha256_of(path), file.licence)
    if folder.resolve() in SHIPPED.values():
        origin = Origin(f"the small model's keypoint extractor ({folder.name})", path.name, origin.sha256, "Apache-2.0")
    return Judge(read, origin)


def _located(folder: Path) -> tuple[str, WeightIndex, NetworkFacts] | None:
    if not folder.is_dir():
        return None
    own, live = locate(folder, FILES), best_live(folder)
    if not own.missing((EXTRACTOR,)):
        return "PersonaLive", own, facts_of(EXTRACTOR)
    return None if live.missing((EXTRACTOR,)) else ("LivePortrait", live, LIVE_FACTS[EXTRACTOR])


def _found(index: WeightIndex) -> Found:
    return next(found for found in index.of(EXTRACTOR) if found.paths)
