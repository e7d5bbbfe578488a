"""Motion files of LivePortrait: the shared format with a schema and values of its own."""

from __future__ import annotations

from ...modules.keypoints import KEYPOINTS
from ...motion.files import MotionKind
from .types import ImplicitMotion

# Read and written by `read_kind`, `part_of` and `save_kind` of motion/files.py; 0.6 kB per frame.
IMPLICIT = MotionKind(
    ImplicitMotion,
    "liveportrait-motion-1",
    {
        "canonical": (KEYPOINTS, 3),
        "expression": (KEYPOINTS, 3),
        "angles": (3,),
        "translation": (3,),
        "scale": (1,),
        "eyes": (2,),
        "lips": (1,),
        "box": (4,),
    },
    head_alone="choose the region pose",
    may_be_nan=("eyes", "lips"),
)
