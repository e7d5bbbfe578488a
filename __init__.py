"""ComfyUI loads the pack through this file; as anything but a package (pytest, tools) it does nothing."""

if __package__:
    pass  # the nodes register here; without the guard pytest, which imports this file as a plain module, would run it
