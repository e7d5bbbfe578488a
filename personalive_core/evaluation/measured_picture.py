"""The picture of a measurement: the worst frames beside the truth (or driving), and the figures over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageOps

from ..media.chart import (
    BLUE,
    DETAIL,
    FOOT,
    GREEN,
    INK,
    LEFT,
    ORANGE,
    PAPER,
    RIGHT,
    SMALL_TEXT,
    TITLE,
    Axes,
    draw_curve,
    draw_frame,
    draw_head,
    draw_time,
    font,
)
from ..media.picture import Picture
from ..metrics.pictures import Numbers
from ..metrics.summary import Figure, WorstFrame, readings
from .films import MeasuredFilm, frame_of
from .measuring import Measurement

# Of these, the first that have values over time are shown.
SHOWN = (
    *("ssim", "lpips", "id_sim", "id_sim_dlib", "id_sim_sface", "apd", "aed_mediapipe", "jitter_head", "drift"),
    *("tlp", "l1", "sharpness", "colour"),
)
PANELS, WORST_COLUMNS = 3, 4
WIDTH, THUMB = 1024, 248  # pixels of the picture, and of a frame
PANEL_HEIGHT, CAPTION_HEIGHT = 130, 24
TRACE_COLOURS = (BLUE, ORANGE, GREEN)


def measured_picture(found: Measurement, films: Mapping[str, MeasuredFilm]) -> Picture | None:
    """One picture [H, 1024, 3]: frames, above those of the film beside the result; below, curves of the worst film.

    `films` has every measured film by its name. None where no figure has values over time.
    """
    known = {figure.measure.key: figure for figure in found.figures if figure.worst}
    shown = [known[key] for key in SHOWN if key in known][:PANELS]
    if not shown:
        return None
    return np.concatenate([_frames(shown, films), _curves(shown, found)])


def _frames(shown: Sequence[Figure], films: Mapping[str, MeasuredFilm]) -> Picture:
    """The worst frame of each figure, then the next worst of the first: the other film's, the result's, a caption."""
    chosen: dict[tuple[str, int], tuple[Figure, WorstFrame]] = {}
    for figure, frame in [*((figure, figure.worst[0]) for figure in shown), *((shown[0], w) for w in shown[0].worst)]:
        chosen.setdefault((frame.film, frame.frame), (figure, frame))
    sheet = Image.new("RGB", (WIDTH, 2 * THUMB + CAPTION_HEIGHT), PAPER)
    draw = ImageDraw.Draw(sheet)
    for column, (figure, frame) in enumerate([*chosen.values()][:WORST_COLUMNS]):
        left, film = column * (WIDTH // WORST_COLUMNS), films[frame.film]
        for row, source in enumerate((film.beside, film.result)):
            picture = ImageOps.contain(Image.fromarray(frame_of(source, frame.frame)), (THUMB, THUMB))
            sheet.paste(picture, (left + 4, row * THUMB + 2))
        text = f"{drawable(figure.measure.title)} {frame.value:.{figure.measure.digits}f}, frame {frame.frame}"
        draw.text((left + 4, 2 * THUMB + CAPTION_HEIGHT // 2), text, INK, font(SMALL_TEXT // DETAIL), "lm")
    return np.asarray(sheet)


def _curves(shown: Sequence[Figure], found: Measurement) -> Picture:
    """The values over time of the film that has the first figure's worst frame."""
    name = shown[0].worst[0].film
    (film,) = (film for film in found.numbers if film.name == name)
    height = len(shown) * (TITLE + PANEL_HEIGHT * DETAIL) + FOOT
    sheet = Image.new("RGB", (WIDTH * DETAIL, height), PAPER)
    draw = ImageDraw.Draw(sheet)
    top = TITLE
    for figure, colour in zip(shown, TRACE_COLOURS, strict=False):
        trace = readings(figure.measure, [film])[0].frames
        assert trace is not None  # a figure has worst frames only of such
        panel = Axes(
            LEFT, top, WIDTH * DETAIL - RIGHT, top + PANEL_HEIGHT * DETAIL, max(film.frames - 1, 1), *_limits(trace)
        )
        draw_frame(draw, panel, ~np.isfinite(trace), 1)
        seen = np.flatnonzero(np.isfinite(trace))
        draw_curve(draw, panel, np.stack([seen, trace[seen]], 1), colour)
        draw_head(draw, panel, f"{drawable(figure.measure.title)}: {name}", ())
        top = panel.bottom + TITLE
    draw_time(draw, panel, 1, "frames")
    return np.asarray(sheet.resize((WIDTH, height // DETAIL), Image.Resampling.BOX))


def drawable(title: str) -> str:
    """A title without the signs that Pillow's own font lacks."""
    return title.replace("ΔE", "delta E").replace("‰", "per mille").replace("→", "to ")


def _limits(trace: Numbers) -> tuple[float, float]:
    """A scale somewhat wider than the values, which may all be equal."""
    low, high = float(np.nanmin(trace)), float(np.nanmax(trace))
    room = max(0.08 * (high - low), 1e-3 * max(abs(low), abs(high)), 1e-6)
    return low - room, high + room
