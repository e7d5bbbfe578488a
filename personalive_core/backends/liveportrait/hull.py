"""Volume of the convex hull of a few points."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_Floats = NDArray[np.float64]

_FLAT = 1e-12  # of the points' extent, cubed: less volume than rounding makes
_BODY = 4  # corners that a body has at least


def hull_volume(corners: NDArray[np.floating]) -> float:
    """Volume of the convex hull of `corners` [N, 3]; 0 if they lie in a plane.

    Grows a tetrahedron point by point: what a point outside sees is replaced by a cone from its edge to the point.
    """
    if len(corners) < _BODY:
        return 0.0
    points: _Floats = np.array(corners, np.float64)
    points -= points.mean(0)
    size = float(np.abs(points).max())
    first = _tetrahedron(points)
    if first is None or abs(_six_volumes(points[first[:3]][None], points[first[3]])[0]) <= _FLAT * size**3:
        return 0.0
    inside = points[first].mean(0)
    faces = [
        _outward(points, (first[a], first[b], first[c]), inside)
        for a, b, c in ((0, 1, 2), (0, 1, 3), (0, 2, 3), (1, 2, 3))
    ]
    for index in range(len(points)):
        if index in first:
            continue
        height = _six_volumes(points[np.array(faces)], points[index])
        seen = [face for face, above in zip(faces, height, strict=True) if above > _FLAT * size**3]
        if not seen:
            continue
        edges = {edge for face in seen for edge in zip(face, face[1:] + face[:1], strict=True)}
        border = [(a, b) for a, b in edges if (b, a) not in edges]
        faces = [face for face in faces if face not in seen] + [(a, b, index) for a, b in border]
    return float(-_six_volumes(points[np.array(faces)], inside).sum() / 6)


def _six_volumes(triangles: _Floats, point: _Floats) -> _Floats:
    """Six times the volume between each of [N, 3, 3] and a point: above 0 on the side from which corners turn left."""
    a, b, c = triangles.transpose(1, 0, 2)
    volumes: _Floats = np.einsum("ni,ni->n", np.cross(b - a, c - a), point - a)
    return volumes


def _outward(points: _Floats, face: tuple[int, int, int], inside: _Floats) -> tuple[int, int, int]:
    """The face with its corners in the order that puts `inside` below it."""
    above = _six_volumes(points[list(face)][None], inside)[0] > 0
    return (face[0], face[2], face[1]) if above else face


def _tetrahedron(points: _Floats) -> list[int] | None:
    """Four points far from one another, or None if there are not four."""
    first = int(points[:, 0].argmin())
    away = points - points[first]
    second = int(np.linalg.norm(away, axis=1).argmax())
    third = int(np.linalg.norm(np.cross(away, away[second]), axis=1).argmax())
    fourth = int(np.abs(away @ np.cross(away[second], away[third])).argmax())
    found = [first, second, third, fourth]
    return found if len(set(found)) == _BODY else None
