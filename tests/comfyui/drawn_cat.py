"""A drawn cat for the sample media, and the nine points of its face."""

import numpy as np
from PIL import Image, ImageDraw

FINER = 4  # drawn so much larger, then made smaller: smooth edges
COLOURS = 64  # of the file
WALL, FLOOR, FUR, DARK, PALE, PINK, GREEN, BLACK, WHITE = (
    "#a9c4c9",
    "#8b6f5a",
    "#c98f4e",
    "#9a6630",
    "#f3e3cb",
    "#d98a86",
    "#9cc25a",
    "#1d1a18",
    "#ffffff",
)
# In parts of the picture: right eye's corners (left in the picture), left eye's, nose, mouth's corners, lips.
NINE = (
    (0.345, 0.455),
    (0.455, 0.465),
    (0.545, 0.465),
    (0.655, 0.455),
    (0.5, 0.56),
    (0.43, 0.625),
    (0.57, 0.625),
    (0.5, 0.605),
    (0.5, 0.645),
)


def draw_cat(side):
    """A cat that looks at the viewer: a picture of `side` pixels, of few colours."""
    size = side * FINER
    picture = Image.new("RGB", (size, size), WALL)
    draw = ImageDraw.Draw(picture)

    def place(points):
        return [(x * size, y * size) for x, y in points]

    def mirrored(shape, points, colour):
        for sign in (1, -1):
            shape(place([(0.5 + sign * (x - 0.5), y) for x, y in points]), fill=colour)

    def oval(x, y, wide, high, colour):
        draw.ellipse(place([(x - wide, y - high), (x + wide, y + high)]), fill=colour)

    draw.rectangle(place([(0, 0.88), (1, 1)]), fill=FLOOR)
    oval(0.5, 0.98, 0.3, 0.32, FUR)  # body
    oval(0.5, 0.95, 0.13, 0.22, PALE)
    mirrored(draw.polygon, [(0.2, 0.1), (0.22, 0.44), (0.46, 0.27)], FUR)  # ears
    mirrored(draw.polygon, [(0.235, 0.17), (0.25, 0.36), (0.38, 0.27)], PINK)
    oval(0.5, 0.48, 0.3, 0.265, FUR)  # head
    for x, length in ((0.42, 0.1), (0.5, 0.13), (0.58, 0.1)):  # stripes
        draw.polygon(place([(x - 0.018, 0.225), (x + 0.018, 0.225), (x, 0.235 + length)]), fill=DARK)
    for y in (0.5, 0.57):
        mirrored(draw.polygon, [(0.2, y - 0.02), (0.2, y + 0.02), (0.29, y + 0.01)], DARK)
    oval(0.44, 0.625, 0.085, 0.07, PALE)  # muzzle
    oval(0.56, 0.625, 0.085, 0.07, PALE)
    oval(0.5, 0.69, 0.07, 0.045, PALE)
    for x in (0.4, 0.6):
        _eye(draw, place, x)
    draw.polygon(place([(0.465, 0.545), (0.535, 0.545), (0.5, 0.585)]), fill=PINK)
    _mouth_and_whiskers(draw, place, size)
    small = picture.resize((side, side), Image.Resampling.LANCZOS)
    return small.quantize(COLOURS, dither=Image.Dither.NONE)


def _eye(draw, place, x):
    """An almond with a slit, around (x, 0.46)."""
    along = np.linspace(0, np.pi, 24)
    upper = [(x - 0.055 * np.cos(a), 0.46 - 0.042 * np.sin(a)) for a in along]
    lower = [(x + 0.055 * np.cos(a), 0.46 + 0.034 * np.sin(a)) for a in along]
    draw.polygon(place(upper + lower), fill=GREEN, outline=BLACK, width=6)
    draw.ellipse(place([(x - 0.014, 0.42), (x + 0.014, 0.495)]), fill=BLACK)
    draw.ellipse(place([(x + 0.008, 0.435), (x + 0.024, 0.451)]), fill=WHITE)


def _mouth_and_whiskers(draw, place, size):
    line = {"fill": BLACK, "width": size // 160, "joint": "curve"}
    draw.line(place([(0.5, 0.585), (0.5, 0.61)]), **line)
    for sign in (1, -1):
        arc = [(0.5 + sign * 0.07 * t, 0.61 + 0.05 * np.sin(np.pi * t) * (1 - t / 3)) for t in np.linspace(0, 1, 16)]
        draw.line(place([(x, min(y, 0.645)) for x, y in arc]), **line)
        for y, end in ((0.6, 0.57), (0.625, 0.625), (0.65, 0.68)):
            draw.line(place([(0.5 + sign * 0.08, y), (0.5 + sign * 0.36, end)]), fill=WHITE, width=size // 320)
