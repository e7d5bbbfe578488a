"""ComfyUI loads the pack through this file; for anything else (pytest, tools) it does nothing."""

import sys

if __package__ and "folder_paths" in sys.modules:  # ComfyUI imports folder_paths before it loads packs
    from .nodes import comfy_entrypoint

    WEB_DIRECTORY = "./web/js"
    __all__ = ["WEB_DIRECTORY", "comfy_entrypoint"]
