"""A node's download: one bar over all bytes, a line of text, Cancel while the network hangs, and what failed told."""

import threading
import time

import pytest

from personalive_core.backends.personalive.files import FILES, about_bytes
from tests.nodes.conftest import InterruptError

ONE, TWO = FILES[0], FILES[2]


@pytest.fixture
def fetching(node_module, monkeypatch):
    """nodes/host/fetching.py, and what it shows: .bar of (value, total), .said of lines, .cancel to press Cancel."""
    module = node_module("host.fetching")
    module.bar, module.said, module.cancel = [], [], threading.Event()

    class Bar:
        def __init__(self, total, node_id=None):
            assert (total, node_id) == (1, "7")

        def update_absolute(self, value, total):
            module.bar.append((value, total))

    def look():
        if module.cancel.is_set():
            raise InterruptError

    monkeypatch.setattr(module.comfy.utils, "ProgressBar", Bar, raising=False)
    monkeypatch.setattr(module, "notify", lambda _, text: module.said.append(text))
    monkeypatch.setattr(module, "check_interrupt", look)
    monkeypatch.setattr(module.mm, "InterruptProcessingException", InterruptError)
    monkeypatch.setattr(module, "LOOK", 0.01)
    return module


def test_one_bar_counts_the_bytes_of_all_files(fetching, tmp_path, monkeypatch):
    seen = threading.Event()

    def download(_folder, _files, progress):
        progress(ONE, 500_000_000, 2_000_000_000)
        wait(lambda: fetching.bar)
        progress(ONE, 2_000_000_000, 2_000_000_000)
        progress(TWO, 1_000_000_000, 4_000_000_000)
        wait(lambda: fetching.bar[-1][0] == 3_000_000_000)
        seen.set()

    monkeypatch.setattr(fetching, "download", download)
    fetching.fetch(tmp_path, (ONE, TWO), "7")
    assert seen.is_set()
    assert fetching.bar[0] == (500_000_000, 2_000_000_000 + about_bytes(TWO))
    assert fetching.bar[-1] == (3_000_000_000, 6_000_000_000)
    assert fetching.said[0] == "Asking the hub for 2 files, about 6.9 GB"
    assert fetching.said[1].startswith("Downloading denoising_unet.pth (1 of 2): 0.50 of 5.44 GB, ")
    assert any(line.startswith("Downloading reference_unet.pth (2 of 2): 3.00 of 6.00 GB, ") for line in fetching.said)
    assert fetching.said[-1] == f"Downloaded 3.00 GB into {tmp_path}"


def test_cancel_does_not_wait_for_the_network(fetching, tmp_path, monkeypatch):
    ended, hanging = threading.Event(), threading.Event()

    def download(_folder, _files, progress):
        progress(ONE, 1, 2)
        fetching.cancel.set()
        hanging.wait(30)
        try:
            progress(ONE, 2, 2)
        finally:
            ended.set()

    monkeypatch.setattr(fetching, "download", download)
    with pytest.raises(InterruptError):
        fetching.fetch(tmp_path, (ONE,), "7")
    assert not ended.is_set()
    hanging.set()
    assert ended.wait(10), "the thread ends with its next bytes"
    assert fetching.said[-1] == "Download cancelled: the next run continues it"


def test_a_failed_download_says_what_works_now(fetching, tmp_path, monkeypatch):
    def download(*_, **__):
        raise fetching.WeightsError("https://huggingface.co/x could not be downloaded (no route): try again")

    monkeypatch.setattr(fetching, "download", download)
    with pytest.raises(fetching.WeightsError) as caught:
        fetching.fetch(tmp_path, (ONE,), "7")
    first, second, third = str(caught.value).splitlines()
    assert first.startswith(f"the weights could not be downloaded, 3.4 GB were to come into {tmp_path}: choose 'small")
    assert "no route" in second
    assert "HF_ENDPOINT" in third


def wait(true):
    """Until `true()`, at most ten seconds."""
    end = time.monotonic() + 10
    while not true() and time.monotonic() < end:
        time.sleep(0.005)
    assert true()
