"""Every name of ComfyUI's that the nodes use is there, also where a node uses it seldom."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.comfyui.server import ROOT

pytestmark = pytest.mark.comfyui

COMFYUI = {"comfy", "comfy_api", "comfy_execution", "folder_paths", "server"}


def used(source):
    """The dotted names of ComfyUI's that a module uses; what is asked for by getattr and hasattr is not among them."""
    tree, aliases, names = ast.parse(source), {}, set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.partition(".")[0] in COMFYUI:
                    names.add(alias.name)
                    whole = alias.name if alias.asname else alias.name.partition(".")[0]
                    aliases[alias.asname or whole] = whole
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module.partition(".")[0] in COMFYUI:
            aliases |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    names |= set(aliases.values())
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and (name := dotted(node, aliases)):
            names.add(name)
    return {name.removesuffix(".instance") for name in names if ".instance." not in name}  # a server has its instance


def dotted(node, aliases):
    """The name of a chain of attributes that begins with an alias, else None."""
    if isinstance(node, ast.Name):
        return aliases.get(node.id)
    above = dotted(node.value, aliases) if isinstance(node, ast.Attribute) else None
    return above and f"{above}.{node.attr}"


def test_names_are_found_however_they_are_imported():
    source = "import comfy.a as x, server\nfrom comfy_api.v0_0_2 import io\nx.b(io.C.D()); server.P.instance.e\nother.f"
    assert used(source) == {"comfy.a", "comfy.a.b", "comfy_api.v0_0_2.io", "comfy_api.v0_0_2.io.C"} | {
        "comfy_api.v0_0_2.io.C.D",
        "server",
        "server.P",
    }


def test_this_comfyui_has_every_name_the_nodes_use():
    names = set().union(*(used(path.read_text(encoding="utf-8")) for path in (ROOT / "nodes").rglob("*.py")))
    assert len(names) > 50
    # only where ComfyUI has it, see nodes/host/renames.py
    names -= {"comfy_api.v0_0_2.io.NodeReplace"}
    program = Path(__file__).parent / "symbols.py"
    command = [os.environ.get("COMFYUI_PYTHON", sys.executable), program, os.environ["COMFYUI_DIR"], *sorted(names)]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.split() == []
