"""PersonaLive's core: published checkpoints in, streamed video out. Never imports ComfyUI."""

__version__ = "0.1.0"
