"""Networks that stand in for HunyuanPortrait's and take no time, and a face for them."""

from types import SimpleNamespace

import torch

from personalive_core.faces.crop import Box, Face

CPU = torch.device("cpu")
POINTS = ((28.0, 26.0), (36.0, 26.0), (32.0, 31.0), (29.0, 36.0), (35.0, 36.0))
FACE = (Face(Box(22, 20, 42, 44), 1.0, POINTS),)


def standin():
    """Networks whose pictures show each frame's motion, with a little of its neighbours' and of the noise."""

    def velocity(x, _time, look, moves, _pose):
        target = moves.mean((2, 3))[..., None, None, None].expand(*x.shape[:2], 4, *x.shape[3:])
        return torch.tanh(x[:, :, :4]) * 0.3 - target + 0.01 * look.mean()

    return SimpleNamespace(
        device=CPU,
        dtype=torch.float32,
        motion_tokens=lambda part: part.expression[:, None, :8].expand(-1, 2, -1),
        velocity=velocity,
        decode=lambda latents: latents[:, :3].repeat_interleave(8, 2).repeat_interleave(8, 3).sigmoid(),
        read=lambda faces, heads: (faces.mean((1, 2, 3))[:, None].expand(-1, 512), heads.mean((2, 3))),
        encode=lambda picture: torch.nn.functional.avg_pool2d(picture, 8)[0].repeat(2, 1, 1)[:4],
        look=lambda portrait, _: portrait.mean((2, 3))[:, :, None].expand(1, 3, 8),
        pose=lambda height, width: torch.zeros(1, 4, height // 8, width // 8),
    )
