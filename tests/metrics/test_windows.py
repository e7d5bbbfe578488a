"""Two films side by side: in pieces, of one length, and in self-reenactment of one size."""

import numpy as np
import pytest

from personalive_core.errors import InputError
from personalive_core.metrics.windows import CLIP_FRAMES, same_size, side_by_side


def film(count, side=4):
    return (np.full((side, side, 3), i % 256, np.uint8) for i in range(count))


def test_every_frame_comes_once_with_the_one_before():
    windows = [
        *side_by_side(film(2 * CLIP_FRAMES + 3), film(2 * CLIP_FRAMES + 3), "a", "b", np.zeros((4, 4, 3), np.uint8))
    ]
    assert [window.first for window in windows] == [0, CLIP_FRAMES, 2 * CLIP_FRAMES]
    assert np.concatenate([w.result[:, 0, 0, 0] for w in windows]).tolist() == [*range(2 * CLIP_FRAMES + 3)]
    assert windows[0].before is None
    assert [w.before[1][0, 0, 0, 0] for w in windows[1:]] == [CLIP_FRAMES - 1, 2 * CLIP_FRAMES - 1]
    assert windows[0].reference.shape == (1, 4, 4, 3)


def test_no_more_is_read_than_a_window():
    read = []
    frames = (read.append(1) or frame for frame in film(100))
    next(side_by_side(frames, film(100), "a", "b"))
    assert len(read) == CLIP_FRAMES


@pytest.mark.parametrize(("shown", "true"), [(20, 19), (CLIP_FRAMES, CLIP_FRAMES + 5), (3 * CLIP_FRAMES, 1)])
def test_unequal_lengths_are_refused_with_both(shown, true):
    with pytest.raises(InputError, match=rf"a\.mp4 has {shown} frames and b\.mp4 {true}.*: make .*--first"):
        list(side_by_side(film(shown), film(true), "a.mp4", "b.mp4"))


def test_empty_films_are_refused():
    with pytest.raises(InputError, match="no frame"):
        list(side_by_side(film(0), film(0), "a", "b"))


def test_sizes():
    (window,) = side_by_side(film(3), film(3, side=6), "a", "b")
    with pytest.raises(InputError, match="a is 4x4 pixels and b 6x6.*--size"):
        same_size(window, "a", "b")
    with pytest.raises(InputError, match="change their size"):
        list(side_by_side([*film(1), *film(1, side=6)], film(2), "a", "b"))
