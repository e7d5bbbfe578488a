"""Small copies for the page's face picker, of a picture or of one frame of a film, in bounded memory."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from PIL import ExifTags, Image

from ...personalive_core.errors import InputError
from ...personalive_core.media.decode import open_media, video_stream
from ...personalive_core.media.heif import heif_kind
from ...personalive_core.media.picture import Picture, check_file, check_side, open_picture, to_rgb
from ...personalive_core.media.video import is_pictures, read_frames

COPY_PIXELS = 2_000_000  # most pixels of a copy: the detectors look at fewer
MOST_PIXELS = 100_000_000  # of a source that is looked at
MEMORY = 420_000_000  # bytes that a source may take while it is decoded
# Bytes per pixel while Pillow decodes, measured; JPEG by its sampling. All others: Pillow's own four.
WHILE_DECODED = {"WEBP": 16, "AVIF": 16, "TIFF": 12}
OTHERS = 4
COEFFICIENT = 2  # bytes of one of libjpeg's, which holds those of a whole progressive picture
FILM_PIXELS = 10_000_000  # of a frame, as a decoder holds dozens: up to 4096x2304
TILE = 1024  # pixels a side of the parts in which a picture is shrunk: Pillow copies what it shrinks
TURNED = (5, 6, 7, 8)  # EXIF orientations that swap width and height
ADVICE = "draw the box by hand, or make the file smaller"


@dataclass(frozen=True, eq=False)
class Glance:
    """A small copy of a picture, and the full picture's size in pixels, both upright."""

    picture: Picture  # [h, w, 3], at most COPY_PIXELS pixels
    width: int
    height: int


def glance(path: Path, start: float) -> tuple[Glance, bool]:
    """A look at the picture at `path`, or at a film's frame `start` seconds after its first; True for a film.

    Raises InputError for a file that is no picture or film, damaged, or too large: seen before any pixel is decoded.
    """
    if is_pictures(path):
        return still(path), False
    return film_frame(path, start), True


def still(path: Path) -> Glance:
    """A look at the picture at `path`; of an animation the first frame. Raises InputError as `glance` does."""
    check_file(path)
    image = None if heif_kind(path) == "HEIC" else open_picture(path)  # a HEIC would be decoded already when opened
    if image is None:
        raise InputError(f"{path} is not a picture that the face picker reads: save it as PNG or JPEG")
    with image:
        width, height = image.size
        check_side(path, width, height)
        check_pixels(path, width * height, most_pixels(image))
        factor = math.sqrt(max(1, width * height / COPY_PIXELS))
        image.draft(None, (int(width / factor), int(height / factor)))  # a JPEG is decoded small
        try:
            small = shrunk(image)
            turned = small.getexif().get(ExifTags.Base.Orientation) in TURNED
            picture = to_rgb(small, path)
        except (OSError, EOFError, SyntaxError, ValueError) as error:
            raise InputError(f"{path} is a damaged picture ({error}): copy or export it again") from error
    return Glance(picture, *((height, width) if turned else (width, height)))


def film_frame(path: Path, start: float) -> Glance:
    """A look at the frame of a film `start` seconds after its first. Raises InputError as `glance` does."""
    with open_media(path) as container:
        stream = video_stream(container, path)
        check_pixels(path, stream.width * stream.height, FILM_PIXELS)
    frame = next(read_frames(path, start, 1), None)
    if frame is None:
        raise InputError(f"{path} has no frame at {start:g} s: choose an earlier start")
    height, width = frame.image.shape[:2]
    return Glance(to_rgb(shrunk(Image.fromarray(frame.image)), path), width, height)


def check_pixels(path: Path, pixels: int, most: int) -> None:
    """Raises InputError if a source has more than `most` pixels."""
    if pixels > most:
        raise InputError(
            f"{path} has {pixels / 1e6:.1f} megapixels, the face picker looks at {most / 1e6:.0f} at most: {ADVICE}"
        )


def most_pixels(image: Image.Image) -> int:
    """The most pixels that a picture of this kind may have, so that decoding it stays within MEMORY."""
    each: float = WHILE_DECODED.get(image.format or "", OTHERS)
    layers = getattr(image, "layer", ())  # of a JPEG: (id, samples across, samples down, table) of each component
    if layers:
        across, down = (max(layer[axis] for layer in layers) for axis in (1, 2))
        each = COEFFICIENT * sum(layer[1] * layer[2] for layer in layers) / (across * down)
    return min(MOST_PIXELS, int(MEMORY / each))


def shrunk(image: Image.Image) -> Image.Image:
    """The picture with at most COPY_PIXELS pixels, shrunk by a whole factor in tiles; orientation and profile stay."""
    image.load()
    factor = math.ceil(math.sqrt(image.width * image.height / COPY_PIXELS))
    if factor <= 1:
        return image
    side = max(1, TILE // factor)  # pixels of the copy
    small = None
    for top in range(0, image.height, side * factor):
        for left in range(0, image.width, side * factor):
            right, bottom = min(left + side * factor, image.width), min(top + side * factor, image.height)
            tile = reducible(image.crop((left, top, right, bottom))).reduce(factor)
            if small is None:
                small = Image.new(tile.mode, (-(-image.width // factor), -(-image.height // factor)))
                small.info = dict(tile.info)
            small.paste(tile, (left // factor, top // factor))
    assert small is not None
    return small


def reducible(tile: Image.Image) -> Image.Image:
    """A tile in a mode that Pillow averages: colours instead of a palette's indices, 32 bits instead of 16."""
    if tile.mode in ("1", "P", "PA"):
        return tile.convert("RGBA" if tile.has_transparency_data else "RGB")
    return tile.convert("I") if tile.mode.startswith("I;16") else tile
