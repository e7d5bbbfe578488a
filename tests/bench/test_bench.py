"""bench: networks of any width, FLOPs on the meta device, the report, and flat memory over a long stream."""

import dataclasses
import json
import subprocess
import sys
from functools import partial

import pytest
import torch
from torch import nn

from personalive_core.backends.personalive.speed.choice import GRAPHS
from personalive_core.backends.personalive.speed.runner import with_speed
from personalive_core.bench import run as bench
from personalive_core.bench.measure import count_flops, median_seconds, on_meta, size_of
from personalive_core.bench.networks import empty_model, random_model
from personalive_core.bench.report import BenchReport, StageCost, compare, read_report
from personalive_core.bench.run import BenchOptions, count_stages, frame_rates, run_bench
from personalive_core.bench.tables import report_table
from personalive_core.device import peak_memory, reset_peak_memory, synchronize
from personalive_core.errors import InputError
from personalive_core.modules.unet import UNetConfig

CPU = torch.device("cpu")
SMALL = (32, 64, 64, 64)
STAGES = ["reference", "crop", "motion", "step_0", "step_3", "decode_full", "decode_tiny"]


@pytest.fixture(scope="module")
def model():
    return random_model(SMALL, CPU, torch.float32)


@pytest.fixture(scope="module")
def report(model):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # on busy cores small networks wait for each other's threads longer than they compute
    try:
        return run_bench(BenchOptions(size=64, frames=22, repeats=1), model)
    finally:
        torch.set_num_threads(threads)


def example():
    stage = StageCost("step_0", 4, 0.5, 2 * 10**12, 3 * 2**20)
    return BenchReport(
        widths=SMALL,
        size=64,
        precision="float32",
        device="cpu, 2 threads",
        decoder="full",
        compiled=False,
        frames=20,
        torch="2.0",
        parameters=5,
        weight_bytes=20,
        stages=(stage,),
        first_frame_seconds=1.5,
        fps=8.0,
        fps_whole=6.0,
        peak_memory=7 * 2**20,
    )


@pytest.mark.slow
def test_one_published_step_costs_no_more_than_promised():
    flops = count_stages(empty_model(UNetConfig().widths), 512)
    assert 20e12 < flops["step_0"] <= 23.3e12
    assert 26e12 < flops["step_3"] <= 29.2e12
    assert flops["decode_full"] == pytest.approx(10.1e12, rel=0.02)
    assert flops["decode_tiny"] == pytest.approx(0.57e12, rel=0.02)


@pytest.mark.slow
def test_flops_are_those_of_the_real_step(model):
    """Counted without memory, the same number as while the networks really run."""
    latents = torch.zeros(1, 4, 4, 8, 8)
    with torch.inference_mode():
        real = count_flops(lambda: model.decode(latents))  # without attention, which the CPU fuses unseen
    assert count_stages(model, 64)["decode_tiny"] == real > 0


@pytest.mark.slow
def test_report_holds_every_stage(report):
    assert [stage.name for stage in report.stages] == STAGES
    assert all(stage.seconds > 0 for stage in report.stages)
    assert [stage.name for stage in report.stages if not stage.flops] == ["crop"]
    assert {stage.name: stage.frames for stage in report.stages} == {
        name: 1 if name == "reference" else 4 for name in STAGES
    }
    flops = {stage.name: stage.flops for stage in report.stages}
    assert flops["step_3"] > flops["step_0"]
    assert flops["decode_full"] > flops["decode_tiny"]


@pytest.mark.slow
def test_report_says_what_was_measured(report, model):
    assert (report.widths, report.size, report.precision, report.frames) == (SMALL, 64, "float32", 22)
    assert report.device.startswith("cpu")
    assert report.parameters == sum(t.numel() for net in vars(model).values() if net for t in net.parameters())
    assert report.fps > 0
    assert report.first_frame_seconds > 0


def test_rates_of_a_stream_and_of_its_middle():
    """A step a second: four pass before the first four frames; the end, without new frames, is twice as fast."""
    arrivals = [float(second) for second in (4, 5, 6, 7, 7.5, 8, 8.5) for _ in range(4)]
    assert frame_rates(0.0, arrivals) == (28 / 8.5, 4.0)


def test_json_and_back(tmp_path):
    path = tmp_path / "report.json"
    path.write_text(example().to_json(), encoding="utf-8")
    assert read_report(path) == example()
    assert json.loads(path.read_text(encoding="utf-8"))["stages"][0]["flops_per_frame"] == 5e11


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"stages": [1]}', '{"stages": [], "widths": []}'])
def test_a_file_that_is_no_report(tmp_path, content):
    path = tmp_path / "report.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match="report.json is not a report of bench"):
        read_report(path)


def test_compare():
    slow = dataclasses.replace(example(), stages=(dataclasses.replace(example().stages[0], seconds=1.0),), fps=4.0)
    ratios = {row.name: row.ratio for row in compare(example(), slow)}
    assert ratios["step_0 seconds"] == 0.5
    assert ratios["FPS"] == 2
    assert ratios["peak memory"] == 1


def test_compare_leaves_out_what_one_lacks():
    bare = dataclasses.replace(example(), stages=(), peak_memory=None)
    assert [row.name for row in compare(example(), bare)] == ["first frame seconds", "FPS", "FPS whole"]
    assert [row.name for row in compare(bare, example())] == ["first frame seconds", "FPS", "FPS whole"]


def test_table():
    text = report_table(example())
    assert "widths 32-64-64-64, 64x64, float32" in text
    assert ["step_0", "500.00", "2.000", "0.5000", "4.00", "3"] in [line.split() for line in text.splitlines()]
    assert "8.00 FPS" in text


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"size": 100}, "multiple of 64"),
        ({"decoder": "half"}, "unknown decoder 'half'"),
        ({"frames": 19}, "at least 20 frames"),
        ({"repeats": 0}, "1 repeat"),
        ({"widths": (32, 48)}, "multiples of 32"),
        ({"widths": ()}, "multiples of 32"),
        ({"speeds": ("plain", "warp")}, "unknown speed 'warp': use plain or compiled or fp8 or rtx"),
        ({"decoders": ("half",)}, "unknown decoder 'half'"),
        ({"keyframes": (4,)}, "0 to 3 keyframes"),
    ],
)
def test_options_that_cannot_be_measured(wrong, message):
    with pytest.raises(InputError, match=message):
        BenchOptions(**wrong)


def test_tiny_decoder_must_be_there(model):
    with pytest.raises(InputError, match="no tiny decoder"):
        run_bench(BenchOptions(size=64, decoder="tiny"), dataclasses.replace(model, tiny_vae=None))


def test_random_weights_repeat_and_leave_the_global_generator_alone():
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first, second = (random_model(SMALL, CPU, torch.float32) for _ in range(2))
    assert torch.rand(1) == expected
    for (name, one), other in zip(
        first.denoising_unet.state_dict().items(), second.denoising_unet.state_dict().values(), strict=True
    ):
        assert torch.equal(one, other), name
        assert one.isfinite().all(), name


def test_random_networks_are_of_one_type_but_for_norms_that_stay_float32():
    networks = random_model(SMALL, CPU, torch.bfloat16)
    assert {tensor.dtype for tensor in networks.denoising_unet.parameters()} == {torch.bfloat16}
    assert networks.motion_extractor.detector.norm.weight.dtype == torch.float32


def test_on_meta_leaves_the_module_as_it_is():
    module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    copy = on_meta(module)
    assert all(tensor.is_meta for tensor in copy.state_dict().values())
    assert not any(tensor.is_meta for tensor in module.state_dict().values())
    assert copy(torch.empty(2, 3, device="meta")).shape == (2, 4)


def test_count_flops():
    assert count_flops(lambda: torch.ones(2, 3) @ torch.ones(3, 5)) == 2 * 2 * 3 * 5


def test_size_of():
    assert size_of([nn.Linear(3, 4), nn.Linear(1, 1).bfloat16()]) == (16 + 2, 16 * 4 + 2 * 2)
    assert size_of([nn.BatchNorm1d(4)]) == (8, 4 * 4 * 4 + 8)


def test_the_first_call_is_not_counted(monkeypatch):
    clock = iter([0.0, 100.0, 0.0, 1.0, 0.0, 7.0, 0.0, 2.0])
    monkeypatch.setattr("personalive_core.bench.measure.time.perf_counter", lambda: next(clock))
    assert median_seconds(lambda: None, 3, CPU) == 2.0


@pytest.mark.parametrize(("name", "given"), [("cuda:1", "cuda:1"), ("xpu:1", "xpu:1"), ("cpu", "cpu"), ("mps", None)])
def test_the_device_that_is_measured_is_waited_for(monkeypatch, name, given):
    """Not the thread's current one; MPS takes no device."""
    waited = []
    monkeypatch.setattr(getattr(torch, torch.device(name).type), "synchronize", lambda *device: waited.append(device))
    synchronize(torch.device(name))
    assert waited == [() if given is None else (torch.device(given),)]


def test_peak_memory_sees_what_was_freed():
    reset_peak_memory(CPU)
    before = peak_memory(CPU)
    if before is None:
        pytest.skip("this system does not tell a process's peak memory: run it on Linux or macOS")
    torch.ones(2**25)  # 128 MiB
    assert peak_memory(CPU) - before > 100 * 2**20


def test_a_speed_holds_no_memory_of_the_one_before(model, monkeypatch):
    runs = {name: with_speed(model, GRAPHS).run for name in ("compiled", "fp8")}

    def loop(measured, speed, *_):
        assert measured.run is runs[speed]
        assert not any(run.prepared for run in runs.values())
        measured.run.prepared[speed] = "a graph"
        return speed

    variants = {name: partial(dataclasses.replace, run=run) for name, run in runs.items()}
    monkeypatch.setattr(bench, "VARIANTS", variants)
    monkeypatch.setattr(bench, "timed_calls", lambda *_: {})
    monkeypatch.setattr(bench, "time_stream", lambda measured, _: (1.0, 2.0, float(measured.run is runs["compiled"])))
    monkeypatch.setattr(bench, "measure_loop", loop)
    found = run_bench(BenchOptions(size=64, speeds=("compiled", "fp8"), keyframes=(0,)), model)
    assert found.loops == ("compiled", "fp8")
    assert (found.first_frame_seconds, found.fps_whole, found.fps) == (1.0, 2.0, 1.0)
    assert not any(run.prepared for run in runs.values())


class Allocator:
    """Bytes on cuda:1: of tensors, of a captured graph's own, and what is kept of earlier work."""

    tensors, graph, kept, peak = 1, 4, 32, 64

    def empty_cache(self):
        self.kept = 0

    def reset_peak_memory_stats(self, device):
        assert device == torch.device("cuda:1")
        self.peak = self.tensors + self.graph + self.kept

    def max_memory_allocated(self, _device):
        return self.tensors

    def max_memory_reserved(self, device):
        assert device == torch.device("cuda:1")
        return self.peak


def test_peak_memory_sees_what_a_graph_works_in(monkeypatch):
    """Once a graph is captured, torch counts only its results as allocated."""
    allocator, device = Allocator(), torch.device("cuda:1")
    for name in ("empty_cache", "reset_peak_memory_stats", "max_memory_allocated", "max_memory_reserved"):
        monkeypatch.setattr(torch.cuda, name, getattr(allocator, name))
    assert peak_memory(device) == 64
    reset_peak_memory(device)
    assert peak_memory(device) == 1 + 4


STREAM = """
from fractions import Fraction
import torch
from personalive_core.bench.networks import random_model
from personalive_core.drawn.canvas import FaceMotion
from personalive_core.bench.tables import report_table
from personalive_core.device import peak_memory
from personalive_core.animation.pipeline import AnimateOptions, MotionOptions, animate
from personalive_core.drawn.person import draw_portrait
from personalive_core.backends.personalive.reference import encode_reference
from personalive_core.drawn.sample import DRIVER, RATE, SITTER, sample_motion
from personalive_core.media.video import Frame

torch.set_num_threads(1)
model = random_model((32, 64, 64, 64), torch.device("cpu"), torch.float32)
reference = encode_reference(model, draw_portrait(SITTER, FaceMotion(), 64), 64)
drawn = [draw_portrait(DRIVER, sample_motion(i, RATE), 64) for i in range(8)]
film = (Frame(drawn[i % 8].copy(), Fraction(i, RATE)) for i in range(1000))
for count, _ in enumerate(animate(model, reference, film, AnimateOptions(motion=MotionOptions(size=64))), 1):
    if count in (100, 1000):
        print(peak_memory(torch.device("cpu")))
"""


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(sys.platform == "win32", reason="needs a process's peak memory: run it on Linux or macOS")
def test_memory_does_not_grow_with_the_stream(repository):
    """Two limits, for a leak of one picture a frame (11 MB here) would hide in a tenth of the libraries' own memory."""
    command = [sys.executable, "-c", STREAM]
    answer = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=True)
    short, long = map(int, answer.stdout.split())
    assert long <= 1.1 * short
    assert long - short < 8 * 2**20


@pytest.mark.gpu
@pytest.mark.slow
@pytest.mark.parametrize("compiled", [False, True])
def test_on_a_gpu(compiled):
    cuda = torch.device("cuda")
    report = run_bench(
        BenchOptions(size=64, frames=20, repeats=1, precision=torch.float16, device=cuda, compile=compiled)
    )
    assert report.device != "cuda"
    assert 0 < report.peak_memory < torch.cuda.get_device_properties(0).total_memory
