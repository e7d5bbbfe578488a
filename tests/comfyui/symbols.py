"""A program for test_symbols.py: which of the names given, such as comfy.utils.ProgressBar, a ComfyUI does not have.

python symbols.py COMFYUI NAME...
"""

import importlib
import sys

comfyui, *names = sys.argv[1:]
sys.argv[1:] = ["--cpu"]
sys.path.insert(0, comfyui)

import comfy.options  # noqa: E402

comfy.options.enable_args_parsing()

import utils.install_util  # noqa: E402, F401 - before ComfyUI puts another `utils` on the path


def has(name):
    """Whether the longest beginning of the name that is a module has the rest."""
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        for part in parts[end:]:
            if not hasattr(found, part):
                return False
            found = getattr(found, part)
        return True
    return False


if __name__ == "__main__":
    print(*[name for name in names if not has(name)])  # noqa: T201
