"""Fixtures shared by all tests, and what the marks need to run."""

import importlib.util
import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def pytest_addoption(parser):
    parser.addoption("--slow", action="store_true", help="run the tests marked slow too")


def has_cuda():
    import torch

    return torch.cuda.is_available()


# mark -> what must hold, and the reason shown where it does not
NEEDS = {
    "slow": (lambda config: config.getoption("--slow"), "slow: run it with `python run.py test --slow`"),
    "gpu": (lambda _: has_cuda(), "no CUDA device: run it on a machine that has one"),
    "comfyui": (lambda _: "COMFYUI_DIR" in os.environ, "set COMFYUI_DIR to a ComfyUI checkout to run it"),
    "weights": (
        lambda _: "PERSONALIVE_WEIGHTS" in os.environ,
        "set PERSONALIVE_WEIGHTS to the folder of the trained weights to run it",
    ),
    "browser": (
        lambda _: "PERSONALIVE_BROWSER" in os.environ,
        "set PERSONALIVE_BROWSER to the path of a Chromium-based browser to run it",
    ),
}


def pytest_collection_modifyitems(config, items):
    for mark, (is_met, reason) in NEEDS.items():
        marked = [item for item in items if item.get_closest_marker(mark)]
        if marked and not is_met(config):
            for item in marked:
                item.add_marker(pytest.mark.skip(reason=reason))


def load_module(name, path):
    """The file `path` as a module of its own: never found on, and never added to, sys.path."""
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, name, module)  # dataclasses look their own module up while it loads
        spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def repository():
    """The root folder of the repository."""
    return ROOT


@pytest.fixture(scope="session")
def demo_folder():
    """The folder of a real portrait, ref_image.png, and a real driving video, driving_video.mp4."""
    folder = Path(os.environ.get("PERSONALIVE_DEMO", ROOT.parent / "shared" / "demo"))
    if not (folder / "ref_image.png").is_file() or not (folder / "driving_video.mp4").is_file():
        pytest.skip("set PERSONALIVE_DEMO to a folder with ref_image.png and driving_video.mp4 to run it")
    return folder


@pytest.fixture(scope="session")
def parity():
    """The folder of the reference outputs."""
    return ROOT / "tests" / "parity"


@pytest.fixture(scope="session")
def synth(parity):
    """tests/parity/synth.py: deterministic stand-in weights and inputs."""
    return load_module("_parity_synth", parity / "synth.py")


@pytest.fixture(scope="session")
def cases(parity, synth):
    """tests/parity/cases.py: the small configurations and the stream cases; it imports its neighbour as `synth`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "synth", synth)
        return load_module("_parity_cases", parity / "cases.py")
