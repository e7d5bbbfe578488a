"""The motion plot, read back from its pixels."""

import numpy as np
import pytest
import torch

from personalive_core.errors import InputError
from personalive_core.media.chart import KEYFRAME, SHADE, envelope, stretches, ticks
from personalive_core.motion.changes import expression_changes, implicit_plot
from personalive_core.motion.plot import motion_plot
from tests.motion.plot_samples import COLOURS, LEGEND_BOTTOM, implicit_still, places, still


def test_each_angle_has_its_curve_in_its_place():
    plot = motion_plot(still(100, yaw=20, pitch=10, roll=-15), [], 25, 17, [])
    rows = {name: np.median(places(plot, colour)[0]) for name, colour in COLOURS.items()}
    assert rows["yaw"] < rows["pitch"] < rows["roll"]
    assert (rows["roll"] - rows["pitch"]) / (rows["pitch"] - rows["yaw"]) == pytest.approx(2.5, rel=0.05)


def test_a_colour_blind_person_can_tell_the_curves_apart():
    """Machado, Oliveira and Fernandes 2009, severity 1, on linear light."""
    protan = [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    deutan = [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    linear = (np.array(list(COLOURS.values())) / 255) ** 2.2
    for matrix in (protan, deutan):
        seen = np.clip(linear @ np.array(matrix).T, 0, 1) ** (1 / 2.2)
        apart = np.linalg.norm(seen[:, None] - seen[None], axis=2)
        assert apart[np.triu_indices(3, 1)].min() > 0.25


def test_frames_without_a_face_are_shaded():
    motion = still(101)
    motion.valid[50:61] = False
    _, columns = places(motion_plot(motion, [], 25, 17, []), SHADE)
    left, right = 64, 1004  # the panels' sides
    assert (columns.min() - left) / (right - left) == pytest.approx(0.495, abs=0.01)
    assert (columns.max() - left) / (right - left) == pytest.approx(0.605, abs=0.01)
    assert not places(motion_plot(still(101), [], 25, 17, []), SHADE)[0].size


def test_one_frame_without_a_face_is_seen_in_a_long_clip():
    motion = still(20_000)
    motion.valid[7_000] = False
    assert places(motion_plot(motion, [], 25, 17, []), SHADE)[0].size > 100


def test_keyframes_are_marked_where_they_are():
    novelty = [(frame, 30.0 if frame == 40 else 3.0) for frame in range(0, 80, 4)]
    plot, without = (motion_plot(still(81), novelty, 25, 17, keyframes) for keyframes in ([40], []))
    changed = np.nonzero((plot != without).any(2))[1]
    assert changed.mean() == pytest.approx((64 + 1004) / 2, abs=2)
    assert places(plot, KEYFRAME)[0].size > places(without, KEYFRAME)[0].size


def test_threshold_is_a_dashed_line_in_the_scale_of_novelty():
    novelty = [(frame, 30.0) for frame in range(0, 81, 4)]
    low, high = (motion_plot(still(81), novelty, 25, threshold, []) for threshold in (10, 20))
    left, top, right, bottom = 64, 387, 1004, 586  # of the lower panel
    changed = (low != high).any(2)[top:bottom, left:right]
    rows = np.unique(np.nonzero(changed)[0])
    at = [bottom - top - threshold / (1.15 * 30) * (bottom - top) for threshold in (20, 10)]
    assert [rows[rows < 100].mean(), rows[rows >= 100].mean()] == pytest.approx(at, abs=1.5)
    assert 0.4 < changed[rows].any(0).mean() < 0.6


def test_a_peak_of_one_frame_stays_in_a_long_clip():
    motion = still(50_000)
    motion.pose.angles[31_234, 1] = 40
    rows, columns = places(motion_plot(motion, [], 25, 17, []), COLOURS["yaw"])
    peak = 64 + 31_234 / 49_999 * (1004 - 64)
    assert abs(columns[rows == rows.min()].mean() - peak) < 3
    assert rows.max() - rows.min() > 100


def test_envelope_keeps_extremes_and_short_curves():
    curve = np.stack([np.arange(1000.0), np.sin(np.arange(1000.0))], 1)
    assert envelope(curve, 500) is curve
    short = envelope(curve, 10)
    assert short.shape == (20, 2)
    assert (short[:, 1].min(), short[:, 1].max()) == (curve[:, 1].min(), curve[:, 1].max())
    assert (np.diff(short[:, 0]) >= 0).all()


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (-25, 25, [-20, -10, 0, 10, 20]),
        (0, 9.96, [0, 2, 4, 6, 8]),
        (0, 3600, [0, 500, 1000, 1500, 2000, 2500, 3000, 3500]),
        (0, 0.04, [0, 0.01, 0.02, 0.03, 0.04]),
        (-5.5, 5.5, [-5, 0, 5]),
    ],
)
def test_ticks_are_round(low, high, expected):
    assert ticks(low, high, 5 if high != 3600 else 8) == pytest.approx(expected)


def test_stretches():
    assert stretches(np.array([True, True, False, False, True])) == [(0, 1), (4, 4)]
    assert stretches(np.array([False])) == []


@pytest.mark.parametrize(("frames", "rate", "message"), [(0, 25, "no frame to plot"), (3, 0, "frame rate must be")])
def test_nothing_to_plot(frames, rate, message):
    with pytest.raises(InputError, match=message):
        motion_plot(still(frames), [], rate, 17, [])


def test_liveportraits_motion_has_a_plot_of_its_expressions():
    """Its head as of any motion; below the distance to the first frame with a face, in a scale of its own."""
    frames = 41
    motion = implicit_still(frames, yaw=20)
    motion.expression[:3] = 9.0
    motion.valid[:3] = False
    motion.expression[20, 4] = torch.tensor([0.3, 0, 0.4])
    changes = expression_changes(motion)
    assert [frame for frame, value in changes if value > 0] == [0, 1, 2, 20]
    assert changes[20] == (20, pytest.approx(0.5))
    rested = implicit_still(frames, yaw=20)
    assert max(value for _, value in expression_changes(rested)) == 0
    plot, still_plot = implicit_plot(motion, 25), implicit_plot(rested, 25)
    assert places(plot, COLOURS["yaw"])[0].size
    assert not places(plot, KEYFRAME)[0].size
    assert (plot != still_plot)[387:586].any()
    assert not (plot != still_plot)[LEGEND_BOTTOM:380, 64 + 3 * 24 :].any()


def test_liveportraits_plot_shows_small_expressions():
    """A tenth of the usual size is seen: the scale is not that of novelty, whose threshold is 17."""
    motion = implicit_still(41)
    motion.expression[20:] += 0.05 / 63**0.5
    dark = (implicit_plot(motion, 25)[390:580, 600:1000] < 100).all(2)
    assert np.nonzero(dark.any(1))[0].min() < 60


def test_no_frame_has_no_plot():
    with pytest.raises(InputError, match="the motion has no frame to plot"):
        implicit_plot(implicit_still(0), 25)
