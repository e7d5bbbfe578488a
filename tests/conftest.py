"""Fixtures shared by all tests, and what the marks need to run."""

import importlib.util
import os
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent

if "PYTEST_XDIST_WORKER" in os.environ:  # one of several test processes: more threads than cores are many times slower
    os.environ.setdefault("OMP_NUM_THREADS", "1")


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
        lambda _: "PERSONALIVE_BROWSER" in os.environ and importlib.util.find_spec("playwright"),
        "set PERSONALIVE_BROWSER to the path of a Chromium-based browser, and install playwright, to run it",
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
def yunet_model():
    """The file of the face detector YuNet."""
    path = Path(os.environ.get("PERSONALIVE_YUNET", ""))
    if not path.is_file():
        pytest.skip("set PERSONALIVE_YUNET to the path of face_detection_yunet_2026may.onnx to run it")
    return path


@pytest.fixture
def haar():
    """The Haar detector, which OpenCV 4 has."""
    from personalive_core.faces.detectors import HaarDetector

    cv2 = pytest.importorskip("cv2", reason="needs OpenCV: pip install opencv-python")
    if not hasattr(cv2, "CascadeClassifier"):
        pytest.skip("OpenCV 5 has no Haar cascades: pip install 'opencv-python<5' to run it")
    return HaarDetector()


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


@pytest.fixture(scope="session")
def live_cases(parity, synth, cases):
    """tests/parity/liveportrait_cases.py: the inputs behind liveportrait_pipeline.npz."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "synth", synth)
        patch.setitem(sys.modules, "cases", cases)
        return load_module("_parity_liveportrait_cases", parity / "liveportrait_cases.py")


@pytest.fixture(scope="module")
def one_thread():
    """On busy cores small networks wait for each other's threads much longer than they compute."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def standin_folder(tmp_path_factory):
    """The stand-in checkpoint in the published layout: link or read its files, never write to them."""
    from personalive_core.bench.standin import write_standin

    return write_standin(tmp_path_factory.mktemp("standin"))


@pytest.fixture(scope="session")
def standin(standin_folder):
    """The stand-in's networks in float32 on the CPU, with the tiny decoder."""
    import torch

    from personalive_core.backends.personalive.loader import load_model

    return load_model(standin_folder, torch.device("cpu"), torch.float32, "tiny")


@pytest.fixture
def twins(synth, cases):
    """The networks behind stream_a.npz and stream_b.npz."""
    import torch
    from diffusers import AutoencoderKL
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    from personalive_core.backends.personalive.model import PersonaLive
    from personalive_core.modules.face_encoder import FaceEncoder
    from personalive_core.modules.keypoints import KeypointExtractor
    from personalive_core.modules.pose_guider import PoseGuider, PoseGuiderConfig
    from personalive_core.modules.unet import UNet, UNetConfig

    widths, load = cases.SMALL_WIDTHS, synth.load_synth
    with torch.no_grad():
        extractor = load(KeypointExtractor(), "motion_extractor.")
        cases.keep_on_canvas(extractor.detector)
        encoder = CLIPVisionModelWithProjection(CLIPVisionConfig(**cases.SMALL_IMAGE_ENCODER))
        return PersonaLive(
            reference_unet=load(UNet(UNetConfig(widths, denoises=False)), "tiny.reference_unet."),
            denoising_unet=load(UNet(UNetConfig(widths)), "tiny.denoising_unet."),
            pose_guider=load(PoseGuider(PoseGuiderConfig(widths[0])), "tiny.pose_guider."),
            motion_encoder=load(FaceEncoder(), "motion_encoder."),
            motion_extractor=extractor,
            vae=load(AutoencoderKL(**cases.SMALL_VAE), "tiny.vae."),
            image_encoder=load(encoder, "tiny.image_encoder."),
        )


class Outcome(NamedTuple):
    """What became of one command line."""

    code: int
    out: str
    err: str


@pytest.fixture
def personalive(capsys):
    """Runs one command line in this process."""
    from personalive_core.cli import main

    def run(*arguments):
        capsys.readouterr()
        return Outcome(main([str(argument) for argument in arguments]), *capsys.readouterr())

    return run


@pytest.fixture
def loaded(monkeypatch, standin):
    """Commands find the stand-in's networks loaded already, whatever folder, device and precision they ask for."""
    from personalive_core.animation import engine

    monkeypatch.setattr(engine, "load_model", lambda *_: standin)


@pytest.fixture(scope="session")
def sample(tmp_path_factory):
    """The drawn portrait and 5 frames of the drawn film, both 64 pixels a side; not to be written to."""
    from personalive_core.drawn.sample import write_sample

    return write_sample(tmp_path_factory.mktemp("sample"), seconds=0.2, size=64)
