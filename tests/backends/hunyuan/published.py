"""The published program's small case: its networks with stand-in weights, and what the detector and ArcFace answer."""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

from personalive_core.backends.hunyuan.files import OWN_NETWORKS
from personalive_core.backends.hunyuan.model import HunyuanPortrait
from personalive_core.backends.hunyuan.networks import build_video_vae
from personalive_core.faces.crop import Box, Face
from personalive_core.modules.group_resnet import RESNET_WIDTHS, ExpressionEncoder, HeadPoseEncoder
from personalive_core.modules.identity_dino import DinoConfig, IdentityDino
from personalive_core.modules.motion_resampler import MotionResampler, ResamplerConfig
from personalive_core.modules.pose_guider import PoseGuider, PoseGuiderConfig
from personalive_core.modules.video_unet import VideoUNet, VideoUNetConfig
from tests.backends.liveportrait.onnx_file import landmark_onnx

PARITY = Path(__file__).parents[2] / "parity"


def load_cases(synth):
    """tests/parity/hunyuan_cases.py, which imports its neighbour as `synth`."""
    import pytest

    from tests.conftest import load_module

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "synth", synth)
        return load_module("_parity_hunyuan_cases", PARITY / "hunyuan_cases.py")


def small_unet_config(case):
    unet = case.UNET
    return VideoUNetConfig(unet["block_out_channels"], unet["cross_attention_dim"], unet["addition_time_embed_dim"])


def small_dino_config(case):
    dino = case.DINO
    return DinoConfig(dino["embed_dim"], dino["depth"], dino["adapters"], dino["adapter_dim"], dino["position_grid"])


def small_networks(case, widths=RESNET_WIDTHS):
    """{weights file: network} in the case's sizes; `widths` are those of the ResNets."""
    guider = case.POSE_GUIDER
    return {
        "unet": VideoUNet(small_unet_config(case)),
        "dino": IdentityDino(small_dino_config(case)),
        "motion_proj": MotionResampler(ResamplerConfig(**case.MOTION)),
        "image_proj": nn.Linear(*case.IMAGE_PROJ),
        "pose_guider": PoseGuider(PoseGuiderConfig(guider["out"], guider["channels"], "conv_out")),
        "expression": ExpressionEncoder(widths),
        "headpose": HeadPoseEncoder(widths),
        "vae": build_video_vae(case.VAE),
    }


def filled(synth, case, reads=True):
    """The same with the case's weights; those of the two ResNets, which take seconds, only if it `reads`."""
    full, left_out = ("expression", "headpose", "vae"), () if reads else ("expression", "headpose")
    with torch.no_grad():
        networks = {
            name: network.eval()
            if name in left_out
            else synth.load_synth(network, f"hunyuan.{'' if name in full else 'small.'}{name}.")
            for name, network in small_networks(case).items()
        }
        networks["dino"].pos_embed.mul_(case.POSITIONS)
    return networks


def small_model(synth, case, reads=True):
    networks = filled(synth, case, reads)
    identity = synth.synth_input("hunyuan.arcface", (1, 512)).numpy()
    return HunyuanPortrait(
        networks["unet"],
        networks["dino"],
        networks["motion_proj"],
        networks["image_proj"],
        networks["pose_guider"],
        networks["expression"],
        networks["headpose"],
        networks["vae"],
        lambda _: identity,
    )


def as_faces(points, boxes):
    """What our detectors say of the case's answer."""
    return tuple(
        Face(Box(x, y, x + w, y + h), 1.0, tuple(map(tuple, own)))
        for own, (x, y, w, h) in zip(points, boxes, strict=True)
    )


def identity_numbers():
    """What the written ArcFace answers to a black picture, [256, 2]."""
    return np.linspace(-1, 1, 512, dtype=np.float32).reshape(256, 2)


def write_hunyuan(folder, case):
    """The weights as published, small."""
    for place in ("hyportrait", "vae"):
        (folder / place).mkdir(parents=True)
    networks = small_networks(case, (32, 32, 64, 64))
    for name in OWN_NETWORKS:
        state = networks[name].state_dict()
        if name in ("unet", "dino"):  # as converted: many tensors of a .pth are read slowly
            save_file(state, folder / "hyportrait" / f"{name}.safetensors")
        else:
            torch.save(state, folder / "hyportrait" / f"{name}.pth")
    vae = {key: value.half() for key, value in networks["vae"].state_dict().items()}
    save_file(vae, folder / "vae/diffusion_pytorch_model.fp16.safetensors")
    (folder / "vae/config.json").write_text(json.dumps(dict(case.VAE)))
    (folder / "arcface.onnx").write_bytes(landmark_onnx(identity_numbers(), (512,), 112))
    return folder


class Detector:
    """Answers one picture after the other, as the case says."""

    def __init__(self, *answers):
        self.answers = iter(answers)

    def __call__(self, picture):
        assert picture.dtype == np.uint8
        return as_faces(*next(self.answers))
