"""Motion made up for tests."""

import torch
from safetensors.torch import save_file

from personalive_core.motion.types import HeadPose, HybridMotion


def motion(frames, seed=0, valid=None):
    """Random motion, every frame different."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(frames, *shape, generator=generator)

    pose = HeadPose(20 * draw(3), 0.1 * draw(3), 1 + 0.1 * draw(1))
    flags = torch.ones(frames, dtype=torch.bool) if valid is None else torch.tensor(valid)
    return HybridMotion(draw(32, 16), draw(21, 3), pose, 100 * draw(4).abs(), flags)


def write_old(path, moved, details='{"rate": "30000/1001", "driving": "talk.mp4"}', **changed):
    """A file as version 1 was written, by safetensors alone."""
    pose = {name: getattr(moved.pose, name) for name in ("angles", "translation", "scale")}
    rest = {name: getattr(moved, name) for name in ("embedding", "keypoints", "box", "valid")}
    save_file({**pose, **rest, **changed}, path, {"schema": "personalive-motion-1", "details": details})
