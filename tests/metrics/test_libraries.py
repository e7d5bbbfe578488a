"""The same definitions against other libraries, where they are installed."""

import numpy as np
import pytest
import torch

from personalive_core.evaluation.judges.perceptual import picture_distance
from personalive_core.metrics.pictures import psnr, ssim, unit
from personalive_core.metrics.vectors import frechet_distance


@pytest.fixture(scope="module")
def pair():
    """A smooth picture, and the same with noise: [3, 40, 48, 3] both."""
    y, x = np.mgrid[:40, :48]
    smooth = 127 + 80 * np.sin(x / 5)[..., None] * np.cos(y / np.array([3, 5, 9])[:, None, None]).transpose(1, 2, 0)
    noise = np.random.default_rng(0).normal(0, 1, (3, 40, 48, 3)) * np.array([2, 10, 30])[:, None, None, None]
    return tuple(np.clip(smooth + part, 0, 255).astype(np.uint8) for part in (noise, 0 * noise))


def test_psnr_and_ssim_are_those_of_torchmetrics(pair):
    torchmetrics = pytest.importorskip(
        "torchmetrics.functional.image", reason="needs torchmetrics: pip install torchmetrics", exc_type=ImportError
    )
    shown, true = (unit(pictures) for pictures in pair)
    library = torchmetrics.peak_signal_noise_ratio(shown, true, data_range=1.0, reduction="none", dim=(1, 2, 3))
    assert psnr(shown, true).tolist() == pytest.approx(library.tolist(), abs=1e-5)  # it computes in float32
    _, places = torchmetrics.structural_similarity_index_measure(
        shown, true, sigma=1.5, kernel_size=11, data_range=1.0, reduction="none", return_full_image=True
    )
    # Its own mean takes in the windows that reach over the edge, into reflected pixels; ours, as Wang's, does not.
    inside = places[..., 5:-5, 5:-5].mean((1, 2, 3))
    assert ssim(shown, true).tolist() == pytest.approx(inside.tolist(), abs=1e-6)


def test_ssim_is_that_of_scikit_image(pair):
    metrics = pytest.importorskip(
        "skimage.metrics", reason="needs scikit-image: pip install scikit-image", exc_type=ImportError
    )
    shown, true = pair
    settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}
    library = [
        metrics.structural_similarity(a, b, channel_axis=-1, **settings) for a, b in zip(shown, true, strict=True)
    ]
    assert ssim(unit(shown), unit(true)).tolist() == pytest.approx(library, abs=1e-6)


def test_lpips_is_the_packages_own(pair):
    lpips = pytest.importorskip("lpips", reason="needs lpips: pip install lpips", exc_type=ImportError)
    network = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False).eval()  # random, as the true one is a download
    shown, true = (np.repeat(np.repeat(pictures, 2, 1), 2, 2) for pictures in pair)
    tensors = [torch.from_numpy(p).permute(0, 3, 1, 2).float() / 127.5 - 1 for p in (shown, true)]
    with torch.inference_mode():
        expected = network(*tensors).flatten().tolist()
    assert picture_distance(network)(shown, true).tolist() == pytest.approx(expected, rel=1e-4)
    assert picture_distance(network)(true, true).tolist() == [0, 0, 0]


def test_frechet_distance_is_scipys():
    linalg = pytest.importorskip("scipy.linalg", reason="needs scipy: pip install scipy")
    rng = np.random.default_rng(0)
    a, b = rng.normal(0, 1, (50, 6)) @ rng.normal(0, 1, (6, 6)), rng.normal(1, 2, (40, 6))
    own, other = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    cross = np.trace(np.real(linalg.sqrtm(own @ other)))
    expected = np.square(a.mean(0) - b.mean(0)).sum() + np.trace(own) + np.trace(other) - 2 * cross
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-6)
