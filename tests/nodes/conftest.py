"""The nodes without ComfyUI: its modules are stand-ins that do nothing."""

import importlib
import sys
from types import ModuleType, SimpleNamespace
from unittest.mock import MagicMock

import pytest

NAME = "_pack_without_comfyui"
STANDINS = (
    "comfy.cli_args",
    "comfy.ldm.modules.attention",
    "comfy.lora",
    "comfy.model_management",
    "comfy.model_patcher",
    "comfy.ops",
    "comfy.patcher_extension",
    "comfy.utils",
    "comfy_api.v0_0_2",
    "comfy_execution.utils",
    "folder_paths",
    "server",
)


class Standin(ModuleType):
    """A module of which every attribute is there."""

    __path__ = ()

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return MagicMock()


class InterruptError(Exception):
    """ComfyUI's InterruptProcessingException."""


def put_standins(patch):
    for dotted in STANDINS:
        parts = dotted.split(".")
        for end in range(1, len(parts) + 1):
            name = ".".join(parts[:end])
            if name not in sys.modules:
                patch.setitem(sys.modules, name, Standin(name))
                if end > 1:
                    setattr(sys.modules[".".join(parts[: end - 1])], parts[end - 1], sys.modules[name])
    sys.modules["comfy.model_management"].InterruptProcessingException = InterruptError
    sys.modules["comfy.model_patcher"].ModelPatcher = type("ModelPatcher", (), {})
    sys.modules["comfy.ops"].manual_cast = type("manual_cast", (), {"Linear": object})
    sys.modules["comfy_api.v0_0_2"].io = MagicMock(ComfyNode=object)
    sys.modules["server"].PromptServer = SimpleNamespace(instance=None)


@pytest.fixture(scope="session")
def node_module(repository):
    """Imports a module of the folder nodes by its dotted name, such as host.faces."""
    with pytest.MonkeyPatch.context() as patch:
        put_standins(patch)
        for name, folder in ((NAME, repository), (f"{NAME}.nodes", repository / "nodes")):
            package = ModuleType(name)  # without its __init__, which asks for every node
            package.__path__ = [str(folder)]
            patch.setitem(sys.modules, name, package)
        yield lambda name: importlib.import_module(f"{NAME}.nodes.{name}")
        for name in [name for name in sys.modules if name.startswith(f"{NAME}.")]:
            patch.delitem(sys.modules, name)
