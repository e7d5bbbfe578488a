"""ComfyUI loads the pack through this file; as anything but a package (pytest, tools) it does nothing."""

if __package__:
    from .nodes import comfy_entrypoint

    WEB_DIRECTORY = "./web/js"
    __all__ = ["WEB_DIRECTORY", "comfy_entrypoint"]
