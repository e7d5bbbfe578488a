"""What is compared with tests/parity/liveportrait_pipeline.npz: ours, by the names of its arrays."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from personalive_core.backends.liveportrait.animation import (
    AnimationOptions,
    animate_animal,
    animate_by_picture,
    animate_picture,
    animate_video,
    animate_video_by_picture,
)
from personalive_core.backends.liveportrait.kalman import kalman_smoothed
from personalive_core.backends.liveportrait.motion import openness_of
from personalive_core.backends.liveportrait.regions import FACE_REGIONS
from personalive_core.backends.liveportrait.transfer import TRANSFER_MODES, TransferOptions
from personalive_core.backends.liveportrait.types import ImplicitMotion
from personalive_core.modules.retargeting import Perceptron, RetargetingConfig
from personalive_core.motion.types import HeadPose

PARITY = Path(__file__).parents[2] / "parity"
MOTION_TOLERANCE = 2e-5


def pipeline():
    return np.load(PARITY / "liveportrait_pipeline.npz")


class Perceptrons:
    """The three perceptrons with the stand-in weights."""

    def __init__(self, synth):
        config, prefix = RetargetingConfig(), "liveportrait.stitching_retargeting_"
        self.stitch = synth.load_synth(frozen(config.stitching), f"{prefix}stitching.")
        self.open_lips = synth.load_synth(frozen(config.lips), f"{prefix}lip.")
        self.open_eyes = synth.load_synth(frozen(config.eyes), f"{prefix}eye.")


def frozen(widths):
    return Perceptron(widths).requires_grad_(False)


def motion_of(live_cases, tag, frames, eyes=None, lips=None):
    """The motion of a tag."""
    told = live_cases.motion(tag, frames)
    return ImplicitMotion(
        told["kp"],
        told["exp"],
        HeadPose(told["angles"], told["t"], told["scale"]),
        torch.full((frames, 2), torch.nan) if eyes is None else eyes,
        torch.full((frames, 1), torch.nan) if lips is None else lips,
        torch.zeros(frames, 4),
        torch.ones(frames, dtype=torch.bool),
    )


@dataclass(frozen=True)
class Inputs:
    """Sources, driving and networks of the motion cases."""

    networks: Perceptrons
    source: ImplicitMotion
    closed: ImplicitMotion  # the source with closed lips
    driving: ImplicitMotion
    video: ImplicitMotion
    squinting: ImplicitMotion  # the source video whose eyes are nearly closed in the first frame
    wander: torch.Tensor


def inputs_of(synth, live_cases):
    def source(**openness):
        return motion_of(live_cases, "lp.source", 1, *openness_of([live_cases.landmarks("lp.source", 203, **openness)]))

    def video(first):
        later = [live_cases.landmarks(f"lp.driving{i}", 203) for i in (1, 2, 3)]
        return motion_of(live_cases, "lp.source_video", 4, *openness_of([first, *later]))

    driving = motion_of(live_cases, "lp.driving", 4, *live_cases.openness("lp.driving", 4))
    first = live_cases.landmarks("lp.driving0", 203)
    squint = live_cases.landmarks("lp.driving0", 203, eye=0.1)
    wander = torch.from_numpy(live_cases.wander("lp.wander"))
    return Inputs(Perceptrons(synth), source(), source(lip=0), driving, video(first), video(squint), wander)


def options(mode="relative", region="all", **more):
    plain = AnimationOptions(TransferOptions(mode, region), expression_friendly=False, stitching=False)
    return replace(plain, **more)


def picture_outputs(x):
    """motion/* of a source picture."""

    def moved(chosen, source=x.source):
        return animate_picture(source, x.driving, x.driving[:1], x.networks, chosen)

    found = {"motion/source_keypoints": x.source.keypoints, "motion/lip_zero/closed/ratio": x.closed.lips}
    for mode in TRANSFER_MODES:
        for region in FACE_REGIONS:
            name = f"motion/{mode}/{region}"
            found[f"{name}/plain"] = moved(options(mode, region))
            found[f"{name}/stitched"] = moved(options(mode, region, stitching=True))
            if mode == "relative":
                found[f"{name}/expression_friendly"] = moved(options(mode, region, expression_friendly=True))
            by_picture = animate_by_picture(x.source, x.driving[:1], x.networks, options(mode, region))
            found[f"motion/image_driven/{mode}/{region}"] = by_picture
        for name, eyes, lips in (("eyes", True, False), ("lips", False, True), ("both", True, True)):
            for end, stitching in (("plain", False), ("stitched", True)):
                chosen = options(mode, stitching=stitching, eyes=eyes, lips=lips)
                found[f"motion/retarget/{mode}/{name}/{end}"] = moved(chosen)
    for name, friendly in (("expression", True), ("pose", False)):
        chosen = options(stitching=True, multiplier=1.4, expression_friendly=friendly)
        found[f"motion/multiplier_1.4/{name}_friendly"] = moved(chosen)
    closing = options(close_lips=True, stitching=True)
    found["motion/lip_zero/open/plain"] = moved(options(close_lips=True))
    found["motion/lip_zero/open/stitched"] = moved(closing)
    found["motion/lip_zero/closed/stitched"] = moved(closing, x.closed)
    found["motion/lip_zero/absolute/stitched"] = moved(options("absolute", close_lips=True, stitching=True))
    return found


def video_outputs(x):
    """motion/animal/*, motion/source_video/* and smooth/*."""
    found = {"motion/source_video/source_keypoints": x.video.keypoints}
    for name, stitching in (("plain", False), ("stitched", True)):
        chosen = options(multiplier=1.4, stitching=stitching, expression_friendly=True)
        animal = animate_animal(x.source, x.driving, x.driving[:1], x.networks, chosen)
        found[f"motion/animal/{name}"] = animal

    def moved(chosen, source=x.video):
        return animate_video(source, x.driving, x.networks, chosen)

    for mode in TRANSFER_MODES:
        name = f"motion/source_video/{mode}"
        for region in FACE_REGIONS:
            found[f"{name}/{region}"] = moved(options(mode, region))
        found[f"{name}/stitched"] = moved(options(mode, stitching=True))
        by_picture = animate_video_by_picture(x.video, x.driving[:1], x.networks, options(mode))
        found[f"{name}/image_driven"] = by_picture
    name = "motion/source_video/relative"
    found[f"{name}/variance_1e-3"] = moved(options(variance=1e-3))
    found[f"{name}/lip_zero_and_eyes"] = moved(options(close_lips=True, even_eyes=True, stitching=True))
    found[f"{name}/eyes_closed_at_first"] = moved(options(even_eyes=True), x.squinting)
    for variance in ("3e-07", "3e-06", "0.001"):
        found[f"smooth/{variance}"] = kalman_smoothed(x.wander, float(variance))
    return found


def motion_outputs(x):
    return {**picture_outputs(x), **video_outputs(x)}


def worst(found, expected, names=None):
    """{name: largest difference} of those that differ by more than the tolerance."""
    over = {}
    for name in names or found:
        difference = np.abs(np.asarray(found[name], np.float64) - expected[name]).max()
        if not difference <= MOTION_TOLERANCE:
            over[name] = float(difference)
    return over
