"""The motion plot, read back from its pixels, and the novelty curve against the sampler itself."""

import numpy as np
import pytest
import torch

from personalive_core.backends.personalive.novelty import novelty_curve
from personalive_core.backends.personalive.sampling import StreamingSampler, first_bank, remember
from personalive_core.backends.personalive.types import Reference, StreamConfig
from personalive_core.errors import InputError
from personalive_core.media.chart import DETAIL, KEYFRAME, SHADE, envelope, stretches, ticks
from personalive_core.modules.inputs import MotionFeatures
from personalive_core.modules.schedule import seeded_noise
from personalive_core.motion.plot import POSE, motion_plot
from personalive_core.motion.types import HeadPose, HybridMotion

COLOURS = {name: colour for name, _, colour in POSE}
LEGEND_BOTTOM = 40  # rows above hold the upper legend


def still(frames, **angles):
    """Motion whose `angles` are constant; all valid, embedding 0."""
    columns = [torch.full((frames,), float(angles.get(name, 0))) for name in ("pitch", "yaw", "roll")]
    pose = HeadPose(torch.stack(columns, 1), torch.zeros(frames, 3), torch.ones(frames, 1))
    valid = torch.ones(frames, dtype=torch.bool)
    return HybridMotion(torch.zeros(frames, 32, 16), torch.zeros(frames, 21, 3), pose, torch.zeros(frames, 4), valid)


def places(plot, colour):
    """Row and column of the pixels of exactly `colour` below the upper legend."""
    rows, columns = np.nonzero((plot == colour).all(2))
    below = rows >= LEGEND_BOTTOM
    return rows[below], columns[below]


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


@pytest.mark.parametrize("frames", [1, 2, 3])
@pytest.mark.parametrize("size", [(1024, 640), (400, 300)])
def test_few_frames_and_sizes(frames, size):
    motion = still(frames, yaw=3)
    plot = motion_plot(motion, novelty_curve(motion.embedding, StreamConfig()).points, 30, 17, [0], size)
    assert (plot.shape, plot.dtype) == ((size[1], size[0], 3), np.uint8)
    assert places(plot, COLOURS["yaw"])[0].size > 3 * DETAIL


@pytest.mark.parametrize(("frames", "rate", "message"), [(0, 25, "no frame to plot"), (3, 0, "frame rate must be")])
def test_nothing_to_plot(frames, rate, message):
    with pytest.raises(InputError, match=message):
        motion_plot(still(frames), [], rate, 17, [])


# --- the novelty curve against the sampler


class Stub:
    """Networks that predict no noise."""

    def denoise(self, x, *_):
        return torch.zeros_like(x)

    def encode_features(self, _latent, _reference):
        return NO_TOKENS


NO_TOKENS = ((torch.zeros(1, 1, 4), torch.zeros(1, 1, 4)),)


def sampled(embedding, config, reference, fixed=()):
    """Driving frames that become keyframes when the sampler itself runs; those of the lead-in left out."""
    own = still(1)
    own.embedding[:] = reference
    stream = StreamingSampler(
        Stub(),
        Reference(torch.zeros(1, 4, 2, 2), torch.zeros(1, 1, 768), (), NO_TOKENS, own, torch.zeros(21, 3)),
        seeded_noise(0),
        config,
    )
    bank = first_bank(stream.reference)
    for keyframe in fixed:
        bank = remember(bank, keyframe[None, None], NO_TOKENS, -1)
    weights = (torch.arange(config.lookahead) / max(config.lookahead, 1))[:, None, None]
    lead = (1 - weights) * reference + weights * embedding[:1]

    def features(part):
        return MotionFeatures(part[None], torch.zeros(1, len(part), 1, 2, 2))

    state = stream.start(features(lead), bank)
    for first in range(0, len(embedding), config.window):
        state, _ = stream.step(state, features(embedding[first : first + config.window]))
    while not stream.drained(state):
        state, _ = stream.step(state, features(embedding[:0]))
    joined = (config.window * (chunk - config.windows + 1) for chunk in state.keyframes.chunks if chunk >= 0)
    return tuple(frame for frame in joined if frame >= 0)


def wandering(frames, seed, stride=2.0):
    """Embeddings that wander off and come back."""
    steps = torch.randn(frames, 32, 16, generator=torch.Generator().manual_seed(seed))
    return steps.cumsum(0) * stride / 10


CONFIGS = {
    "published": StreamConfig(),
    "no warm-up": StreamConfig(keyframe_warmup=0, max_keyframes=6),
    "low threshold": StreamConfig(keyframe_distance=5, keyframe_warmup=4, max_keyframes=9),
    "two windows of 3": StreamConfig(window=3, timesteps=(0, 999), keyframe_warmup=2),
    "one window": StreamConfig(window=2, timesteps=(999,), keyframe_warmup=1),
    "reference alone": StreamConfig(max_keyframes=1),
}


@pytest.mark.parametrize("frames", [1, 5, 61, 120])
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_keyframes_are_those_of_the_sampler(config, frames):
    for seed in range(4):
        embedding, reference = wandering(frames, seed), wandering(1, seed + 100)
        curve = novelty_curve(embedding, config, reference)
        assert curve.keyframes == sampled(embedding, config, reference)
        assert curve.frames == tuple(range(0, frames, config.window))
        assert len(curve.values) == len(curve.frames)


def test_the_comparison_above_has_keyframes_to_compare():
    counts = [len(novelty_curve(wandering(120, 0), config, wandering(1, 100)).keyframes) for config in CONFIGS.values()]
    assert counts[-1] == 0
    assert sum(count > 0 for count in counts[:-1]) >= 4, counts


def test_fixed_keyframes_count_as_the_sampler_counts_them():
    config = StreamConfig(keyframe_warmup=0, keyframe_distance=8, max_keyframes=5)
    embedding, known = wandering(120, 1), wandering(3, 7, stride=10)
    curve = novelty_curve(embedding, config, known)
    assert curve.keyframes == sampled(embedding, config, known[:1], known[1:])
    assert 0 < len(curve.keyframes) <= 2


def test_keyframes_of_the_lead_in_take_their_place():
    """Far from the reference even the way to the first driving frame is new, where no warm-up forbids it."""
    config = StreamConfig(keyframe_warmup=0, keyframe_distance=5, max_keyframes=4)
    embedding, reference = wandering(60, 2), wandering(1, 5) + 1
    keyframes = novelty_curve(embedding, config, reference).keyframes
    assert keyframes == sampled(embedding, config, reference)
    assert keyframes == (0,)


def test_values_are_distances_to_the_nearest_in_the_bank():
    embedding = torch.zeros(24, 32, 16)
    embedding[:, 0, 0] = torch.tensor([0.0, 10, 20, 30, 25, 2]).repeat_interleave(4)
    curve = novelty_curve(embedding, StreamConfig(keyframe_warmup=0))
    assert curve.values == pytest.approx((0, 10, 20, 10, 5, 2))
    assert curve.keyframes == (8,)
    assert curve.points[2] == (8, pytest.approx(20))


def test_without_a_reference_the_first_frame_is_it():
    embedding = wandering(40, 3)
    config = StreamConfig(keyframe_distance=3)
    assert novelty_curve(embedding, config) == novelty_curve(embedding, config, embedding[:1])


def test_no_frames_have_no_novelty():
    with pytest.raises(InputError, match="no frame"):
        novelty_curve(torch.zeros(0, 32, 16), StreamConfig())
