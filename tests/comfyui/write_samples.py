"""Draws nodes/assets/, the sample media that come with the pack; needs no ComfyUI.

python -m tests.comfyui.write_samples
"""

import tempfile
from pathlib import Path

import torch
from PIL import Image

from personalive_core.animation.driving import DrivingClip
from personalive_core.animation.engine import Engine
from personalive_core.animation.extracting import extract_to_file
from personalive_core.backends.personalive.files import SHIPPED, SHIPPED_SIZE
from personalive_core.drawn.canvas import FaceMotion
from personalive_core.drawn.person import draw_portrait
from personalive_core.drawn.sample import DRIVER, SITTER, write_driving
from tests.comfyui.drawn_cat import draw_cat
from tests.comfyui.server import ROOT

ASSETS = ROOT / "nodes" / "assets"
SIDE, SECONDS, MOTION_FRAMES = 384, 3.0, 40  # together below 400 KB
GLAD = FaceMotion(yaw=-16, pitch=-5, roll=6, mouth=0.55, smile=0.9, blink=(0.0, 0.0), brow=(0.6, 0.6), gaze=(0.3, 0.0))


def main():
    """Portrait, expression, cat, film with sound, and the small model's motion of that film."""
    ASSETS.mkdir(exist_ok=True)
    for name, person, motion in (("portrait", SITTER, FaceMotion()), ("expression", DRIVER, GLAD)):
        picture = Image.fromarray(draw_portrait(person, motion, SIDE))
        picture.save(ASSETS / f"personalive_{name}.png", optimize=True)
    draw_cat(SIDE).save(ASSETS / "personalive_cat.png", optimize=True)
    film = ASSETS / "personalive_film.mp4"
    write_driving(film, SECONDS, SIDE)
    engine = Engine(SHIPPED["small"], torch.device("cpu"), torch.float32, size=SHIPPED_SIZE)
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "motion.safetensors"
        extract_to_file(DrivingClip(film, count=MOTION_FRAMES), engine, made, True)
        (ASSETS / "personalive_motion.safetensors").write_bytes(made.read_bytes())


if __name__ == "__main__":
    main()
