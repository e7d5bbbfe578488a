"""Small LivePortrait networks with stand-in weights, as files that ComfyUI's node loads."""

import sys

import pytest
import torch

from personalive_core.backends.liveportrait.files import LIVE_NETWORKS
from personalive_core.modules.appearance import AppearanceExtractor
from personalive_core.modules.keypoints import KeypointExtractor
from personalive_core.modules.retargeting import RetargetingNetworks
from personalive_core.modules.spade import SpadeDecoder
from personalive_core.modules.warping import WarpingNetwork
from tests.backends.liveportrait.tiny import SIZES, write_repack
from tests.comfyui.server import ROOT
from tests.conftest import load_module


def parity_modules():
    """tests/parity/synth.py and liveportrait_cases.py, which imports its neighbours."""
    with pytest.MonkeyPatch.context() as patch:
        for name, file in (("synth", "synth"), ("cases", "cases"), ("liveportrait_cases", "liveportrait_cases")):
            patch.setitem(sys.modules, name, load_module(f"_live_{name}", ROOT / "tests" / "parity" / f"{file}.py"))
        return sys.modules["synth"], sys.modules["liveportrait_cases"]


def write_live_standin(folder, base=""):
    """Writes the weights into `folder`, as the repack has them; keypoints lie in the picture and move with it.

    `base` is "animal" for an animal's networks.
    """
    synth, live_cases = parity_modules()
    kinds = (AppearanceExtractor, KeypointExtractor, WarpingNetwork, SpadeDecoder, RetargetingNetworks)
    configs = (SIZES.appearance, SIZES.keypoints, SIZES.warping, SIZES.decoder, SIZES.retargeting)
    with torch.no_grad():
        networks = {name: kind(config) for name, kind, config in zip(LIVE_NETWORKS, kinds, configs, strict=True)}
        loaded = {name: synth.load_synth(network, f"{name}.") for name, network in networks.items()}
        live_cases.tame_motion_extractor(loaded["motion_extractor"].detector)
    states = {name: network.state_dict() for name, network in loaded.items()}
    states["motion_extractor"].pop("idx_tensor")
    folder.mkdir(parents=True, exist_ok=True)
    write_repack(folder, states, base)
