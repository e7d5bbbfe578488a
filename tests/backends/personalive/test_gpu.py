"""On a CUDA device: half precision against the recorded float32 outputs, and a whole stream."""

from fractions import Fraction

import numpy as np
import pytest
import torch

from personalive_core.animation.pipeline import AnimateOptions, MotionOptions, animate
from personalive_core.backends.personalive.loader import load_model
from personalive_core.backends.personalive.reference import encode_reference
from personalive_core.bench.standin import write_standin
from personalive_core.drawn.canvas import FaceMotion
from personalive_core.drawn.person import draw_portrait
from personalive_core.drawn.sample import DRIVER, SITTER, sample_motion
from personalive_core.media.video import Frame
from personalive_core.modules.inputs import MotionFeatures
from personalive_core.modules.unet import UNet, UNetConfig

pytestmark = pytest.mark.gpu
SIZE = 256


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-3), (torch.float16, 0.02), (torch.bfloat16, 0.1)])
@torch.inference_mode()
def test_unet_in_half_precision(synth, cases, parity, dtype, bound):
    """noise_pred of unet_small.npz: root mean square error relative to the output's standard deviation."""
    place = {"device": "cuda", "dtype": dtype}
    widths, side = cases.SMALL_WIDTHS, 16
    reference = synth.load_synth(UNet(UNetConfig(widths, denoises=False)), "reference_unet.").to(**place)
    unet = synth.load_synth(UNet(UNetConfig(widths)), "denoising_unet.").to(**place)
    draw = synth.synth_input
    clip = draw("clip", (1, 1, 768)).to(**place)
    tokens = reference.reference_tokens(draw("ref_latents", (1, 4, side, side)).to(**place), clip)
    pose = 0.5 * draw("pose", (1, widths[0], 16, side, side)).transpose(1, 2)
    motion = MotionFeatures(draw("motion", (1, 16, 32, 16)).to(**place), pose.to(**place))
    latents = draw("latents", (1, 4, 16, side, side)).transpose(1, 2).to(**place)
    image, features = unet.project_image(clip), unet.project_reference(tokens)
    ours = unet(latents, cases.TIMESTEPS.cuda(), image, motion, features).transpose(1, 2).float().cpu().numpy()
    stored = np.load(parity / "unet_small.npz")["noise_pred"]
    assert np.sqrt(np.mean((ours - stored) ** 2)) / stored.std() < bound


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_stream_in_half_precision(tmp_path, dtype):
    """As many pictures as frames, none of them NaN or black (the pipeline would raise)."""
    model = load_model(write_standin(tmp_path / "weights"), torch.device("cuda"), dtype)
    reference = encode_reference(model, draw_portrait(SITTER, FaceMotion(), SIZE), SIZE)
    pictures = [draw_portrait(DRIVER, sample_motion(i, 25.0), SIZE) for i in range(6)]
    frames = [Frame(picture, Fraction(i, 25)) for i, picture in enumerate(pictures)]
    results = list(animate(model, reference, frames, AnimateOptions(motion=MotionOptions(size=SIZE))))
    assert [frame.index for frame in results] == list(range(6))
    assert all(frame.picture.std() > 1 for frame in results)
