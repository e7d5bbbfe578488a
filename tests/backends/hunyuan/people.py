"""Pictures of two drawn people whose faces a detector knows by their colours, whatever the crop."""

import numpy as np

from personalive_core.drawn.canvas import FaceMotion
from personalive_core.drawn.person import draw_portrait
from personalive_core.drawn.sample import DRIVER, SITTER
from personalive_core.faces.crop import Box, Face

WIDTH, HEIGHT = 240, 120
COLOURS = ((255, 0, 255), (0, 255, 0))  # of the faces; no drawn person has them
FIVE = ((0.3, 0.4), (0.7, 0.4), (0.5, 0.6), (0.35, 0.8), (0.65, 0.8))  # two eyes, nose, mouth corners in a box
_PEOPLE = tuple(draw_portrait(person, FaceMotion(), HEIGHT) for person in (SITTER, DRIVER))


def picture_of(*boxes):
    """Two people side by side, [120, 240, 3]: the faces are the coloured `boxes`; None: that one is turned away."""
    picture = np.concatenate(_PEOPLE, axis=1).copy()
    for colour, box in zip(COLOURS, boxes, strict=True):
        if box is not None:
            left, top, right, bottom = box
            picture[top:bottom, left:right] = colour
    return picture


def detect(picture):
    """The faces of the two people that are in a picture or in a crop of it."""
    found = []
    for colour in COLOURS:
        rows, columns = (abs(picture.astype(int) - colour).max(-1) < 90).nonzero()
        if len(rows):
            box = Box(float(columns.min()), float(rows.min()), columns.max() + 1.0, rows.max() + 1.0)
            points = tuple((box.left + x * box.width, box.top + y * box.height) for x, y in FIVE)
            found.append(Face(box, 1.0, points))
    return tuple(found)


# The left one is the larger at first, and comes to the middle; the other grows past it, and looks away for two frames.
LEFT = [(40 + 4 * n, 40, 70 + 4 * n, 76) for n in range(10)]
RIGHT = [(170 - n, 44 - 2 * n, 194 + n, 72 + 2 * n) if n not in (6, 7) else None for n in range(10)]
FILM = [picture_of(*boxes) for boxes in zip(LEFT, RIGHT, strict=True)]
PORTRAIT = picture_of(LEFT[0], RIGHT[0])
