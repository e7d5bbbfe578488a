"""Conversion: values, precision, origin in the header, refusals, and peak memory of converting and loading."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from personalive_core.backends.personalive.files import FACTS, FILES
from personalive_core.errors import OutputError, WeightsError
from personalive_core.weights.convert import convert
from personalive_core.weights.index import locate, read_state
from personalive_core.weights.lock import file_digest


def put(path, tensors):
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path) if path.suffix == ".safetensors" else torch.save(tensors, path)
    return path


def put_denoiser(folder):
    put(folder / "personalive/denoising_unet.pth", {"both": torch.tensor([1.5]), "one": torch.tensor([2.5])})
    put(folder / "personalive/temporal_module.pth", {"both": torch.tensor([3.5]), "bins": torch.tensor([7])})


def names(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_one_file_for_each_network_beside_the_sources(tmp_path, dtype):
    put_denoiser(tmp_path)
    put(tmp_path / "sd-image-variations-diffusers/image_encoder/pytorch_model.bin", {"a": torch.ones(2, 2).T})
    (tmp_path / "sd-image-variations-diffusers/image_encoder/config.json").write_text("{}")
    denoiser, encoder = convert(tmp_path, FILES, FACTS, dtype=dtype)
    assert denoiser == tmp_path / "personalive/denoising_unet.safetensors"
    assert encoder == tmp_path / "sd-image-variations-diffusers/image_encoder/model.safetensors"
    tensors = load_file(denoiser)
    assert {key: tensor.item() for key, tensor in tensors.items()} == {"both": 3.5, "one": 2.5, "bins": 7}
    assert {key: tensor.dtype for key, tensor in tensors.items()} == {"both": dtype, "one": dtype, "bins": torch.int64}
    assert not [name for name in names(tmp_path) if name.endswith(".tmp")]


def test_the_header_tells_the_origin(tmp_path):
    put_denoiser(tmp_path)
    with safe_open(convert(tmp_path, FILES, FACTS)[0], "pt") as file:
        metadata = file.metadata()
    assert (metadata["format"], metadata["personalive_format"], metadata["dtype"]) == ("pt", "1", "float16")
    sources = json.loads(metadata["personalive_sources"])
    assert set(sources) == {"denoising_unet.pth", "temporal_module.pth"}
    source = tmp_path / "personalive/temporal_module.pth"
    assert sources[source.name]["size"] == source.stat().st_size
    assert sources[source.name]["digest"] == file_digest(source)


def test_the_converted_file_is_read_with_and_without_its_sources(tmp_path):
    put_denoiser(tmp_path)
    convert(tmp_path, FILES, FACTS)
    assert read_state(locate(tmp_path, FILES), "denoising_unet")["both"].dtype == torch.float16
    (tmp_path / "personalive/denoising_unet.pth").unlink()
    (tmp_path / "personalive/temporal_module.pth").unlink()
    state = read_state(locate(tmp_path, FILES), "denoising_unet")
    assert (state["both"].item(), sorted(state)) == (3.5, ["bins", "both", "one"])


@pytest.mark.parametrize("network", ["motion_extractor", "motion_encoder", "reference_unet"])
def test_float32_is_kept_where_half_precision_would_hurt(tmp_path, parity, network):
    shapes = json.loads((parity / f"keys/{network}.json").read_text())
    types = {key: torch.int64 if key.endswith("num_batches_tracked") else torch.float32 for key in shapes}
    put(tmp_path / f"{network}.pth", {key: torch.zeros(1, dtype=dtype) for key, dtype in types.items()})
    norms = [".norm.", "layers.0.1.", "layers.1.0.", "layers.2.0.", "layers.3.0."]
    expected = {
        "motion_extractor": {key for key in shapes if any(norm in key for norm in norms)},
        "motion_encoder": {key for key in shapes if "running_" in key},
        "reference_unet": set(),
    }[network]
    kept = {
        key for key, tensor in load_file(convert(tmp_path, FILES, FACTS)[0]).items() if tensor.dtype == torch.float32
    }
    assert kept == expected
    assert all(len(shapes[key]) == 1 for key in kept)
    assert len(kept) == {"motion_extractor": 46, "motion_encoder": 112, "reference_unet": 0}[network]


def test_converting_again_uses_the_sources_and_the_new_precision(tmp_path):
    put(tmp_path / "pose_guider.pth", {"a": torch.tensor([1 + 2**-20])})
    convert(tmp_path, FILES, FACTS)
    (path,) = convert(tmp_path, FILES, FACTS, dtype=torch.float32)
    assert load_file(path)["a"].item() == 1 + 2**-20


def test_a_changed_source_makes_the_converted_file_stale(tmp_path):
    put_denoiser(tmp_path)
    convert(tmp_path, FILES, FACTS)
    put(tmp_path / "personalive/temporal_module.pth", {"both": torch.tensor([4.5]), "bins": torch.tensor([7])})
    with pytest.raises(WeightsError, match=r"converted from files other than the .*temporal_module"):
        read_state(locate(tmp_path, FILES), "denoising_unet")
    convert(tmp_path, FILES, FACTS)
    assert read_state(locate(tmp_path, FILES), "denoising_unet")["both"] == 4.5


def test_a_touched_source_is_the_same_source(tmp_path):
    put_denoiser(tmp_path)
    convert(tmp_path, FILES, FACTS)
    os.utime(tmp_path / "personalive/denoising_unet.pth", (1, 1))
    assert read_state(locate(tmp_path, FILES), "denoising_unet")["one"] == 2.5


def test_output_becomes_a_whole_weights_folder(tmp_path):
    source, output = tmp_path / "in", tmp_path / "out"
    put_denoiser(source)
    put(source / "stabilityai/sd-vae-ft-mse/diffusion_pytorch_model.safetensors", {"a": torch.ones(1)})
    (source / "stabilityai/sd-vae-ft-mse/config.json").write_text('{"b": 1}')
    (source / "face_detection_yunet_2023mar.onnx").write_bytes(b"onnx")  # an earlier version keeps its name
    before = names(source)
    written = convert(source, FILES, FACTS, output)
    assert names(source) == before
    assert {path.relative_to(output).as_posix() for path in written} == {
        "personalive/denoising_unet.safetensors",
        "sd-vae-ft-mse/diffusion_pytorch_model.safetensors",
        "face_detection_yunet/face_detection_yunet_2023mar.onnx",
    }
    index = locate(output, FILES)
    assert index.missing(["denoising_unet", "vae", "yunet"]) == ()
    assert index.config("vae").read_text() == '{"b": 1}'
    assert read_state(index, "vae")["a"].dtype == torch.float16
    assert index.path("yunet").read_bytes() == b"onnx"


def test_what_is_safetensors_already_is_left_alone(tmp_path):
    put(tmp_path / "pose_guider.safetensors", {"a": torch.ones(1)})
    assert convert(tmp_path, FILES, FACTS) == []


def test_the_face_detector_is_no_obstacle(tmp_path):
    put(tmp_path / "pose_guider.pth", {"a": torch.ones(1)})
    (tmp_path / "face_detection_yunet_2026may.onnx").write_bytes(b"onnx")
    assert convert(tmp_path, FILES, FACTS) == [tmp_path / "pose_guider.safetensors"]


def test_a_source_is_never_overwritten(tmp_path):
    put(tmp_path / "denoising_unet.safetensors", {"a": torch.ones(1)})
    put(tmp_path / "temporal_module.pth", {"b": torch.ones(1)})
    with pytest.raises(WeightsError, match="would overwrite the source"):
        convert(tmp_path, FILES, FACTS)
    assert set(load_file(tmp_path / "denoising_unet.safetensors")) == {"a"}


def test_half_a_denoiser_is_not_converted(tmp_path):
    put(tmp_path / "personalive/denoising_unet.pth", {"a": torch.ones(1)})
    with pytest.raises(WeightsError, match=r"temporal_module\.pth"):
        convert(tmp_path, FILES, FACTS)


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_a_pickle_bomb_is_not_converted(tmp_path):
    trace = tmp_path / "executed"
    put(tmp_path / "pose_guider.pth", {"a": Bomb(trace)})
    with pytest.raises(WeightsError, match="nothing in it was executed"):
        convert(tmp_path, FILES, FACTS)
    assert names(tmp_path) == {"pose_guider.pth"}


def test_values_that_overflow_are_named(tmp_path):
    put(tmp_path / "pose_guider.pth", {"a": torch.tensor([1e6])})
    with pytest.raises(WeightsError, match=r"a has values up to 1e\+06, too large for torch.float16: choose bfloat16"):
        convert(tmp_path, FILES, FACTS)
    assert load_file(convert(tmp_path, FILES, FACTS, dtype=torch.bfloat16)[0])["a"] == torch.tensor([1e6]).bfloat16()


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), SafetensorError("I/O error: No space left on device")]
)
def test_a_full_disk_leaves_nothing_half(tmp_path, monkeypatch, error):
    put(tmp_path / "pose_guider.pth", {"a": torch.ones(1)})

    def fill(_tensors, path, _metadata):
        Path(path).write_bytes(b"half")
        raise error

    monkeypatch.setattr("safetensors.torch.save_file", fill)
    with pytest.raises(OutputError, match=r"No space left on device.*: free space and try again"):
        convert(tmp_path, FILES, FACTS)
    assert names(tmp_path) == {"pose_guider.pth"}


def test_an_output_that_is_no_folder_is_refused(tmp_path):
    put(tmp_path / "pose_guider.pth", {"a": torch.ones(1)})
    with pytest.raises(OutputError, match="cannot be made|cannot make"):
        convert(tmp_path, FILES, FACTS, tmp_path / "pose_guider.pth")


MEASURE = """
import re, sys
from pathlib import Path
import torch
from personalive_core.backends.personalive.files import FACTS, FILES
from personalive_core.weights.convert import convert
from personalive_core.weights.fill import load_into
from personalive_core.weights.index import locate, read_state

folder = Path(sys.argv[1])
def status(name):
    return int(re.search(name + r":\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024
def measured(work):
    Path("/proc/self/clear_refs").write_text("5")
    before = status("VmRSS")
    result = work()
    print(status("VmHWM") - before)
    return result
def load(dtype):
    with torch.device("meta"):
        module = torch.nn.ModuleList(torch.nn.Linear(1024, 1024, bias=False) for _ in range(50))
    state = read_state(locate(folder, FILES), "pose_guider")
    return load_into(module, state, network="pose_guider", device="cpu", dtype=dtype)
torch.ones(9).half().isfinite().all()
measured(lambda: load(torch.float32) and None)
measured(lambda: load(torch.float16) and None)
measured(lambda: convert(folder, FILES, FACTS))
measured(lambda: load(torch.float16) and None)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads peak memory from /proc: run it on Linux")
def test_peak_memory_stays_below_a_quarter_above_the_weights(tmp_path, repository):
    put(tmp_path / "pose_guider.pth", {f"{i}.weight": torch.full((1024, 1024), 0.5) for i in range(50)})
    environment = {
        **os.environ,
        "PYTHONPATH": str(repository),
        "MALLOC_MMAP_THRESHOLD_": "100000",
    }  # or freed memory stays
    command = [sys.executable, "-c", MEASURE, str(tmp_path)]
    output = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    peaks = [float(line) for line in output.split()]
    saved = 100 if tuple(map(int, safetensors.__version__.split(".")[:2])) >= (0, 8) else 200  # before 0.8 it copies
    for peak, weights in zip(peaks, (200, 100, saved, 100), strict=True):  # MiB
        assert 0.9 * weights < peak < 1.25 * weights, peaks
