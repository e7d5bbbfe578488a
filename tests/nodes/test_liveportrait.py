"""LivePortrait's nodes without ComfyUI: whose motion it is, its files, faces, and the passes over a driving."""

from dataclasses import replace
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from personalive_core.drawn.canvas import FaceMotion
from personalive_core.drawn.person import draw_portrait
from personalive_core.drawn.sample import DRIVER, SITTER
from personalive_core.media.video import Frame
from tests.backends.liveportrait.test_loader import SIZES
from tests.motion.samples import motion as hybrid_motion


@pytest.fixture(scope="module", autouse=True)
def _one_thread(one_thread):
    pass


@pytest.fixture(scope="module")
def pack(node_module):
    """The modules of the pack's own core: its classes are others than those of the tests' imports."""
    node_module("host.systems")
    import sys

    core = "_pack_without_comfyui.personalive_core"
    return SimpleNamespace(
        systems=node_module("host.systems"),
        source=node_module("host.liveportrait_source"),
        motion=node_module("host.liveportrait_motion"),
        types=sys.modules[f"{core}.backends.liveportrait.types"],
        motions=sys.modules[f"{core}.motion.types"],
        networks=__import__("importlib").import_module(f"{core}.backends.liveportrait.networks"),
        errors=sys.modules[f"{core}.errors"],
    )
