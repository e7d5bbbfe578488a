"""Networks that cost nothing, with LivePortrait's interface: every output depends on every input."""

import torch
from torch.nn import functional

from personalive_core.backends.liveportrait.animation import AnimationOptions
from personalive_core.live.liveportrait import LivePortraitPerformer
from personalive_core.live.liveportrait_source import read_live_reference
from personalive_core.motion.types import HeadPose
from tests.live.toy_networks import SIZE, picture

PLAIN = AnimationOptions(expression_friendly=False, stitching=False)
_POINTS = torch.randn(21, 3, generator=torch.Generator().manual_seed(1)) * 0.3


class ToyLive:
    """In place of the loaded networks. What it draws is the source picture, darker or brighter by the keypoints."""

    device, dtype, placement = torch.device("cpu"), torch.float32, None

    def __init__(self, strength=1.0):
        self.strength = strength

    def appearance(self, pictures):
        return pictures

    def read_motion(self, pictures):
        means = functional.adaptive_avg_pool2d(pictures, (2, 2)).flatten(1) - 0.5
        pose = HeadPose(40 * means[:, :3], means[:, 3:6], 1 + 0.2 * means[:, 6:7])
        expression = 0.1 * means[:, 7:10, None].mT.expand(-1, 21, -1)
        return pose, _POINTS.expand(len(pictures), -1, -1) + 0.1 * means[:, 10:11, None], expression

    def render(self, volume, source, keypoints):
        moved = (keypoints - source) * torch.linspace(0.1, 1, 63).view(21, 3)
        level = 1 + self.strength * moved.mean((1, 2)).tanh()[:, None, None, None]
        return (functional.interpolate(volume, scale_factor=2, mode="bilinear") * level / 2).clamp(0.05, 1)

    def stitch(self, x):
        return 0.01 * torch.cat([x[:, :63] + x[:, 63:], x[:, :2]], 1)


class Blind(ToyLive):
    """The same, whose pictures are not numbers."""

    def render(self, *inputs):
        return super().render(*inputs) * torch.nan


def live_performer(model=None, detector=None, shown=None, **more):
    """A performer on these networks."""
    model, shown = model or ToyLive(), picture(1000) if shown is None else shown
    read = read_live_reference(model, shown, SIZE, detector)
    return LivePortraitPerformer(model, read.source, read.portrait, read.paste, detector, **{"options": PLAIN, **more})
