"""What the server reports of the nodes, reduced to what saved workflows depend on; `python -m` writes it anew.

COMFYUI_DIR=... python -m tests.comfyui.snapshot
"""

import json
import tempfile
from pathlib import Path

from tests.comfyui.server import PACK, ROOT, ComfyUI

FILE = ROOT / "tests" / "node_snapshot.json"
# widgets whose choices are files
ON_DISK = {("LoadPersonaLive", "weights"), ("PersonaLiveLoadMotion", "file"), ("LoadPersonaLiveLoRA", "lora")}
ON_DISK |= {("PersonaLiveLoadLivePortrait", "weights"), ("PersonaLiveLoadExpression", "file")}
ON_DISK |= {("PersonaLiveLoadHunyuanPortrait", "weights")}
KEPT = ("input", "input_order", "output", "output_is_list", "output_name", "output_tooltips")
KEPT += ("name", "display_name", "description", "category", "output_node")
NEWER = {"advanced"}  # options of widgets that ComfyUI 0.3.64 does not tell


def reduce(info):
    """{node id: entry} of the pack's nodes in /object_info, without what depends on the machine."""
    ours = {name: entry for name, entry in info.items() if entry.get("python_module") == f"custom_nodes.{PACK}"}
    reduced = {name: {key: entry[key] for key in KEPT} for name, entry in sorted(ours.items())}
    for node, widget in ON_DISK:
        for inputs in reduced.get(node, {}).get("input", {}).values():
            if widget in inputs:
                kind, options = inputs[widget]
                if isinstance(kind, list):
                    kind = "COMBO"
                inputs[widget] = [kind, {k: v for k, v in options.items() if k != "options"}]
    for entry in reduced.values():
        for inputs in entry["input"].values():
            for name, (kind, *options) in inputs.items():
                inputs[name] = [kind, *({k: v for k, v in some.items() if k not in NEWER} for some in options)]
    return reduced


def stored():
    """The snapshot in the repository."""
    return json.loads(FILE.read_text(encoding="utf-8"))


def main():
    """Starts ComfyUI and writes what it says."""
    with tempfile.TemporaryDirectory() as folder, ComfyUI(Path(folder)) as server:
        text = json.dumps(reduce(server.get("/object_info")), indent=1, ensure_ascii=False)
        FILE.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
