"""A canvas for drawn people: sharp and blurred shapes, placed in the scene or on a turning head."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..media.chart import Colour
from ..media.picture import Picture

Points = NDArray[np.float64]  # [N, 2] in the scene, x right, y down; [N, 3] in head units, z towards the viewer

HEAD_CENTRE = np.array([0.0, -0.1])  # in the scene
LENS, AIM = 1.15, np.array([0.0, 0.0])  # half pictures per scene unit; scene point in the picture's middle
SUBPIXEL_BITS = 4  # OpenCV gets polygons in sixteenths of a pixel
FEATHER = 1.4  # smallest sigma of a large blur, in pixels of the coarser grid on which it is computed
LIGHT_GRID = 4  # canvas pixels per sample of the light on a ball, in each direction
SHADE_TINT = np.array([0.93, 1.02, 1.06])  # RGB; shadows on skin and hair are warm: red fades least


@dataclass(frozen=True)
class FaceMotion:
    """Head pose and facial expression of one frame; the defaults are a neutral face that looks into the camera."""

    yaw: float = 0.0  # degrees, positive turns to the picture's right
    pitch: float = 0.0  # degrees, positive looks up
    roll: float = 0.0  # degrees, positive tilts the crown to the picture's right
    shift: tuple[float, float] = (0.0, 0.0)  # of the head in the scene: right, down
    scale: float = 1.0  # of the head
    mouth: float = 0.0  # 0 closed .. 1 wide open
    smile: float = 0.0  # -1 corners down .. 1 wide smile
    pucker: float = 0.0  # 0 .. 1 lips narrow and forward
    jaw: float = 0.0  # -1 to the picture's left .. 1 to its right
    blink: tuple[float, float] = (0.0, 0.0)  # of the eyes on the picture's left and right: 0 open .. 1 closed
    brow: tuple[float, float] = (0.0, 0.0)  # of the brows on the picture's left and right: -1 lowered .. 1 raised
    gaze: tuple[float, float] = (0.0, 0.0)  # -1 .. 1: to the picture's right, down
    cheek: float = 0.0  # 0 .. 1 puffed


def framed(scene: Points) -> Points:
    """Scene points [N, 2] -> picture coordinates [N, 2]: 0 is the middle, -1 and 1 are the edges."""
    return np.asarray(LENS * (scene - AIM))


@dataclass(frozen=True)
class View:
    """Projects a head's points into the scene: orthographic, rotated by pitch, then yaw, then roll."""

    rotation: NDArray[np.float64]  # [3, 3] for column vectors
    scale: float
    centre: NDArray[np.float64]  # [2] in the scene

    def place(self, points: Points) -> Points:
        """Head points [N, 3] -> scene points [N, 2]."""
        placed: Points = points @ (self.scale * self.rotation[:2].T) + self.centre
        return placed


def view_of(motion: FaceMotion) -> View:
    """The view of a head with this motion; the same projection as `pose_keypoints` of modules/keypoints.py."""
    pitch, yaw, roll = np.radians([motion.pitch, motion.yaw, motion.roll])
    (a, b, c), (d, e, f) = np.cos([pitch, yaw, roll]), np.sin([pitch, yaw, roll])
    about_x = np.array([[1, 0, 0], [0, a, -d], [0, d, a]])
    about_y = np.array([[b, 0, e], [0, 1, 0], [-e, 0, b]])
    about_z = np.array([[c, -f, 0], [f, c, 0], [0, 0, 1]])
    return View(about_z @ about_y @ about_x, motion.scale, HEAD_CENTRE + np.array(motion.shift))


@dataclass(frozen=True)
class Ball:
    """An ellipsoid in head units, used to shade the head; `axes` are its half axes."""

    centre: tuple[float, float, float]
    axes: tuple[float, float, float]


@dataclass(frozen=True)
class Canvas:
    """A square picture to draw on, the view that projects head points onto it, and the part being drawn."""

    image: Picture
    view: View
    part: str = "background"

    def on(self, part: str) -> Canvas:
        """The same canvas, set to draw `part` of the person."""
        return replace(self, part=part)

    def pixels(self, points: Points) -> Points:
        """Canvas positions [N, 2] of `points` ([N, 2], or [N, 3] of the head); pixel centres are whole numbers."""
        flat = self.view.place(points) if points.shape[1] == len("xyz") else points
        return (framed(flat) + 1) * (len(self.image) / 2) - 0.5

    @property
    def unit(self) -> float:
        """Canvas pixels per unit of the scene."""
        return LENS * len(self.image) / 2

    def outline(self, points: Points) -> Points:
        """The convex outline [M, 2] in the scene of a solid, given by head points [N, 3] on its surface."""
        import cv2

        return cv2.convexHull(self.view.place(points).astype(np.float32))[:, 0].astype(np.float64)

    def fill(self, points: Points, colour: Colour) -> None:
        """Fills the polygon `points`."""
        import cv2

        cv2.fillPoly(self.image, [fixed(self.pixels(points))], colour, cv2.LINE_AA, SUBPIXEL_BITS)

    def line(self, points: Points, colour: Colour, width: float) -> None:
        """Draws an open line, `width` in units of the scene."""
        import cv2

        thick = max(1, round(width * self.unit))
        line = fixed(self.pixels(points))
        cv2.polylines(self.image, [line], False, colour, thick, cv2.LINE_AA, SUBPIXEL_BITS)

    def lines(self, points: NDArray[np.float64], colours: Sequence[Colour], width: float) -> None:
        """Draws many open lines [K, N, 2] or [K, N, 3] at once, each in its colour, all of one `width`."""
        import cv2

        thick = max(1, round(width * self.unit))
        placed = fixed(self.pixels(points.reshape(-1, points.shape[-1]))).reshape(*points.shape[:2], 2)
        for line, colour in zip(placed, colours, strict=True):
            cv2.polylines(self.image, [line], False, colour, thick, cv2.LINE_AA, SUBPIXEL_BITS)

    def soft(self, points: Points, colour: Colour, opacity: float, blur: float) -> None:
        """Draws a filled shape with blurred edges; `blur` is the sigma in units of the scene."""
        import cv2

        spots, sigma, side = self.pixels(points), blur * self.unit, len(self.image)
        grid = max(1, int(sigma / FEATHER))
        first = np.floor(spots.min(0) - 2.5 * sigma)
        across, down = (int(n) for n in (spots.max(0) + 2.5 * sigma - first) // grid + 1)
        left, top = int(first[0]), int(first[1])
        if left >= side or top >= side or left + across * grid <= 0 or top + down * grid <= 0:
            return
        mask = np.zeros((down, across), np.uint8)
        shape = fixed((spots - first + 0.5) / grid - 0.5)
        cv2.fillPoly(mask, [shape], round(255 * min(1.0, opacity)), cv2.LINE_AA, SUBPIXEL_BITS)
        blurred = cv2.GaussianBlur(mask, (0, 0), sigma / grid)
        cover = cv2.resize(blurred, (across * grid, down * grid), interpolation=cv2.INTER_LINEAR)
        x, y = max(0, -left), max(0, -top)
        shown = np.asarray(cover[y : side - top, x : side - left], np.uint8)
        paint(self.image[top + y : top + down * grid, left + x : left + across * grid], colour, shown)

    def within(self, points: Points, draw: Callable[[Canvas], None]) -> None:
        """Draws with `draw`, clipped to the shape `points`."""
        import cv2

        inner = replace(self, image=self.image.copy())
        draw(inner)
        spots, side = self.pixels(points), len(self.image)
        left, top = (int(edge) for edge in (spots.min(0) - 1).clip(0, side))
        right, bottom = (int(edge) for edge in (spots.max(0) + 2).clip(0, side))
        if right <= left or bottom <= top:
            return
        mask = np.zeros((bottom - top, right - left), np.uint8)
        cv2.fillPoly(mask, [fixed(spots - (left, top))], 255, cv2.LINE_AA, SUBPIXEL_BITS)
        paint(self.image[top:bottom, left:right], inner.image[top:bottom, left:right], mask)

    def light(self, points: Points, ball: Ball, source: tuple[float, float, float], contrast: float) -> None:
        """Shades the bounding box of `points` as `ball`, lit from `source` (x right, y down, z to the viewer)."""
        import cv2

        spots, side = self.pixels(points), len(self.image)
        left, top = (int(edge) for edge in (spots.min(0) - 1).clip(0, side))
        right, bottom = (int(edge) for edge in (spots.max(0) + 2).clip(0, side))
        if right <= left or bottom <= top:
            return
        columns = (np.linspace(left, right, max(2, (right - left) // LIGHT_GRID)) - side / 2) / self.unit + AIM[0]
        rows = (np.linspace(top, bottom, max(2, (bottom - top) // LIGHT_GRID)) - side / 2) / self.unit + AIM[1]
        facing = normals(ball, self.view, columns, rows) @ (np.array(source) / np.linalg.norm(source))
        bright = 1.04 + contrast * ((0.5 + 0.5 * facing) ** 1.5 - 0.87)
        factor = (1 + (bright[..., None] - 1) * SHADE_TINT).astype(np.float32)
        factor = cv2.resize(factor, (right - left, bottom - top), interpolation=cv2.INTER_LINEAR)
        part = self.image[top:bottom, left:right]
        cv2.multiply(part, factor, dst=part, dtype=cv2.CV_8U)


def normals(ball: Ball, view: View, columns: NDArray[np.float64], rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Unit normals [H, W, 3] of a posed ball at these scene coordinates; outside the ball, those of its rim."""
    shrink = 1 / np.array(ball.axes)
    across, down, ahead = (axis * shrink for axis in view.rotation)  # the picture's axes in the ball's own space
    x, y = (columns - view.centre[0]) / view.scale, (rows - view.centre[1]) / view.scale
    flat = x[None, :, None] * across + y[:, None, None] * down - np.array(ball.centre) * shrink
    along, size = flat @ ahead, ahead @ ahead
    depth = np.sqrt(np.maximum(along**2 - size * ((flat * flat).sum(-1) - 1), 0.0))
    normal = (flat + ((depth - along) / size)[..., None] * ahead) * shrink
    normal /= np.sqrt((normal * normal).sum(-1, keepdims=True))
    return np.asarray(normal @ view.rotation.T)


def paint(part: Picture, over: Colour | Picture, mask: NDArray[np.uint8]) -> None:
    """Paints `over` on `part` [H, W, 3] in place; `mask` [H, W] is the opacity, 255 is opaque."""
    import cv2

    wide = cv2.merge([mask, mask, mask])
    kept = cv2.multiply(cv2.bitwise_not(wide), part, scale=1 / 255)
    layer: Any = over if isinstance(over, np.ndarray) else (*over, 0)  # OpenCV's stubs do not allow a colour here
    new = cv2.multiply(wide, layer, scale=1 / 255)
    cv2.add(kept, new, dst=part)


def fixed(pixels: Points) -> NDArray[np.int32]:
    """Pixels in the fixed-point integers that OpenCV draws with: whole sub-pixels."""
    return np.rint(pixels * (1 << SUBPIXEL_BITS)).astype(np.int32)


@lru_cache(maxsize=256)
def curve_weights(knots: int, closed: bool, steps: int) -> NDArray[np.float64]:
    """Weights [points, knots] of the knots in each point of a Catmull-Rom curve through them."""
    t = np.linspace(0, 1, steps, endpoint=False)
    share = 0.5 * np.stack([-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, t**3 - t**2], 1)
    pieces = knots if closed else knots - 1
    weights = np.zeros((pieces * steps + (not closed), knots))
    for piece in range(pieces):
        for place in range(4):
            knot = piece + place - 1
            knot = knot % knots if closed else min(max(knot, 0), knots - 1)
            weights[piece * steps : (piece + 1) * steps, knot] += share[:, place]
    if not closed:
        weights[-1, -1] = 1
    return weights


def curve(points: Sequence[Sequence[float]] | Points, closed: bool = False, steps: int = 8) -> Points:
    """A smooth curve through `points` [K, D] (Catmull-Rom): [N, D], `steps` points per piece."""
    knots = np.asarray(points, float)
    smooth: Points = curve_weights(len(knots), closed, steps) @ knots
    return smooth


def mirrored(half: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """The whole outline of a symmetric shape from its right half, listed from top to bottom."""
    return half + [(-x, y) for x, y in reversed(half) if x]


CIRCLE = np.stack([np.cos(np.linspace(0, 2 * np.pi, 32)), np.sin(np.linspace(0, 2 * np.pi, 32))], 1)


def ellipse(x: float, y: float, across: float, down: float) -> Points:
    """The outline [32, 2] of an ellipse around (x, y), with half axes `across` and `down`."""
    points: Points = np.array([x, y]) + CIRCLE * np.array([across, down])
    return points


def at_depth(points: Points, depth: float) -> Points:
    """Head points [N, 2] -> [N, 3] in the plane z = `depth`."""
    return np.column_stack([points, np.full(len(points), depth)])
