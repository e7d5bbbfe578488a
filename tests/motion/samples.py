"""Motion made up for tests."""

import torch

from personalive_core.motion.types import HeadPose, HybridMotion


def motion(frames, seed=0, valid=None):
    """Random motion, every frame different."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(frames, *shape, generator=generator)

    pose = HeadPose(20 * draw(3), 0.1 * draw(3), 1 + 0.1 * draw(1))
    flags = torch.ones(frames, dtype=torch.bool) if valid is None else torch.tensor(valid)
    return HybridMotion(draw(32, 16), draw(21, 3), pose, 100 * draw(4).abs(), flags)
