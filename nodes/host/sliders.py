"""The Expression Editor's widgets of sliders: their words, order and steps."""

from __future__ import annotations

from collections.abc import Mapping

from comfy_api.v0_0_2 import io

from ...personalive_core.backends.liveportrait.editor import limits
from ...personalive_core.backends.liveportrait.sliders import slider

# Slider -> its name after the group's, and what it does; in the order of the widgets.
WORDS: Mapping[str, tuple[str, str]] = {
    "wink": ("wink", "Closes one eye, and lifts the cheek below it."),
    "wink_other": ("wink, other eye", "Closes the other eye."),
    "blink": ("lids", "Both lids: below 0 they close, above 0 they open wider."),
    "gaze_x": ("gaze across", "Both eyes look to the side."),
    "gaze_y": ("gaze up and down", "Both eyes look up above 0, down below it; the lids follow."),
    "gaze_x_other": ("gaze across, other eye", "Added for the eye that wink leaves open: a squint."),
    "gaze_y_other": ("gaze up and down, other eye", "Added for the eye that wink leaves open."),
    "eyes_open": ("openness", "How open both eyes are, height over width. Below 0: as they are."),
    "eyebrow": ("up and down", "Lifts the brows above 0, frowns below it."),
    "smile": ("smile", "Smiles, with cheeks and lids."),
    "lip_open": ("jaw", "Opens the mouth (aaa)."),
    "grin": ("grin", "Shows the teeth (eee)."),
    "pursing": ("pursing", "Purses the lips (woo)."),
    "pouting": ("to the side", "Moves the mouth to the side."),
    "lips_open": ("openness", "How open the lips are, height over width. Below 0: as they are."),
    "pitch": ("pitch", "Degrees that are added to the head's nodding."),
    "yaw": ("yaw", "Degrees that are added to the head's turning."),
    "roll": ("roll", "Degrees that are added to the head's tilting."),
    "move_x": ("across", "Moves the head across."),
    "move_y": ("up and down", "Moves the head up and down."),
    "move_z": ("size", "Factor of the head's size."),
    "source_expression": ("own expression", "How much of the picture's own expression stays. 0: none of it."),
}
STEPS = 200  # at least, of a slider from end to end


def slider_inputs() -> list[io.Input]:
    """The widgets, by the sliders' own names, grouped: eyes, brows, mouth, head."""
    return [slider_input(name) for name in WORDS]


def slider_input(name: str) -> io.Input:
    """One widget, which other nodes may drive."""
    least, most, default = limits(slider(name))
    words, tooltip = WORDS[name]
    return io.Float.Input(
        name,
        display_name=f"{slider(name).group}: {words}",
        default=default,
        min=least,
        max=most,
        step=step(most - least),
        round=0.0001,
        display_mode=io.NumberDisplay.slider,
        tooltip=tooltip,
    )


def step(width: float) -> float:
    """The largest of 1, 0.1, 0.01 ... that makes STEPS steps of a range this wide; at most half of it is too coarse."""
    size = 1.0
    while size * STEPS > width:
        size /= 10
    return round(size, 6)
