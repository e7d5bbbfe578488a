"""A running ComfyUI with stand-in weights, and media to animate."""

import shutil
from pathlib import Path

import pytest

from personalive_core.drawn.sample import write_sample
from tests.comfyui.server import Checkout, ComfyUI, checkouts


def version(checkout):
    return checkout.version if isinstance(checkout, Checkout) else "none"


@pytest.fixture(scope="session", autouse=True, params=checkouts() or ["none"], ids=version)
def checkout(request):
    """Each ComfyUI of COMFYUI_DIR in turn: for a test, COMFYUI_DIR and COMFYUI_PYTHON name one.

    What starts a server for several tests takes this fixture, so that it ends before the next ComfyUI's turn.
    """
    with pytest.MonkeyPatch.context() as patch:
        if isinstance(request.param, Checkout):
            patch.setenv("COMFYUI_DIR", str(request.param.folder))
            patch.setenv("COMFYUI_PYTHON", request.param.python)
        yield request.param


@pytest.fixture(scope="session")
def media(tmp_path_factory, request):
    """portrait.png, expression.png and driving.mp4: real ones where they are, else drawn ones; spoken.mp4 has sound."""
    folder = tmp_path_factory.mktemp("media")
    write_sample(folder, seconds=2.0, size=256)
    shutil.copy(folder / "driving.mp4", folder / "spoken.mp4")
    try:
        demo = request.getfixturevalue("demo_folder")
    except pytest.skip.Exception:
        shutil.copy(folder / "reference.png", folder / "portrait.png")
    else:
        shutil.copy(demo / "ref_image.png", folder / "portrait.png")
        shutil.copy(demo / "driving_video.mp4", folder / "driving.mp4")
    shutil.copy(folder / "portrait.png", folder / "expression.png")
    return folder


@pytest.fixture(scope="session")
def comfyui(tmp_path_factory, standin_folder, media, checkout):  # noqa: ARG001
    """A ComfyUI on the CPU for all tests that leave it as they found it."""
    folder = tmp_path_factory.mktemp("server")
    probe = Path(__file__).parent / "probe"
    with ComfyUI(folder, standin_folder, sorted(media.iterdir()), packs=[probe]) as server:
        yield server
