"""Motion files of HunyuanPortrait: the shared format with a schema and values of its own."""

from __future__ import annotations

from ...modules.group_resnet import EXPRESSION_DIM
from ...motion.files import MotionKind
from .types import HunyuanMotion

# Read and written by `read_kind`, `part_of` and `save_kind` of motion/files.py; 2.1 kB per frame.
HUNYUAN_MOTION = MotionKind(
    HunyuanMotion,
    "hunyuan-motion-1",
    {
        "expression": (EXPRESSION_DIM,),
        "intensity": (2,),
        "angles": (3,),
        "translation": (3,),
        "scale": (1,),
        "box": (4,),
    },
    head_alone="choose another system",
)
