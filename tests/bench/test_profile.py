"""bench --profile: what the GPU did, loops with a fixed number of keyframes, ceilings, accuracy, their report."""

import argparse
import dataclasses
import json

import pytest
import torch

from personalive_core.bench import live as bench_live
from personalive_core.bench.accuracy import make_case, measure_accuracy
from personalive_core.bench.ceilings import measure_ceilings
from personalive_core.bench.figures import Accuracy, Ceiling, HostStage, KernelFamily, LiveCost, LoopCost
from personalive_core.bench.host import measure_host
from personalive_core.bench.loop import measure_loop, with_decoder
from personalive_core.bench.networks import random_model
from personalive_core.bench.options import BenchOptions
from personalive_core.bench.report import BenchReport, StageCost, compare, read_report
from personalive_core.bench.tables import markdown, report_table
from personalive_core.bench.trace import OTHER, Work, by_family, covered, family_of, trace
from personalive_core.commands.bench import add_arguments, options_of

CPU = torch.device("cpu")
SMALL = (32, 64, 64, 64)
OPTIONS = BenchOptions(widths=SMALL, size=64, frames=20, repeats=1)


@pytest.fixture(autouse=True)
def _one_thread(one_thread):
    pass


def example():
    return BenchReport(
        widths=SMALL,
        size=64,
        precision="float16",
        device="a card",
        decoder="full",
        compiled=False,
        frames=20,
        torch="2.0",
        parameters=5,
        weight_bytes=20,
        stages=(
            StageCost("step_0", 4, 0.5, 10**12, None, "plain"),
            StageCost("step_0", 4, 0.25, 10**12, None, "compiled"),
        ),
        first_frame_seconds=1.5,
        fps=8.0,
        fps_whole=6.0,
        peak_memory=None,
        speed="plain",
        loops=(LoopCost("compiled", "tiny", 3, 40.0, 61.0, 0.5, 0.97, 2.0, 2**30),),
        ceilings=(Ceiling("copy", 4.2e12, "B/s"), Ceiling("product", 5e10, "FLOP/s")),
        kernels=(KernelFamily("plain", "attention", 0.024, 32),),
        host=(HostStage("crop", 0.002), HostStage("encode", None)),
        accuracy=(Accuracy("compiled", "float16", 2.8e-3),),
        command="personalive bench --profile",
        live=(LiveCost("compiled", "tiny", "quick", 25.0, 0.07, 0.08, 0.31, 0.34, None),),
    )


def test_the_report_comes_back_whole(tmp_path):
    path = tmp_path / "report.json"
    path.write_text(example().to_json(), encoding="utf-8")
    assert read_report(path) == example()


def test_a_report_from_before_the_profile_is_read(tmp_path):
    """Its fields end with `peak_memory`, and a stage names no speed."""
    path, values = tmp_path / "report.json", json.loads(example().to_json())
    for name in ("speed", "loops", "ceilings", "kernels", "host", "accuracy", "command"):
        del values[name]
    for stage in values["stages"]:
        del stage["speed"]
    path.write_text(json.dumps(values), encoding="utf-8")
    old = read_report(path)
    assert (old.fps, old.loops, old.command) == (8.0, (), "")
    assert {row.name: row.ratio for row in compare(example(), old)}["FPS"] == 1.0


def test_speeds_are_compared_with_themselves():
    slow = dataclasses.replace(example(), loops=(dataclasses.replace(example().loops[0], fps=20.0),))
    rows = {row.name: row.ratio for row in compare(example(), slow)}
    assert rows["FPS compiled, tiny decoder, 3 keyframes"] == 2.0
    assert {"step_0 seconds", "compiled step_0 seconds", "error compiled float16"} < set(rows)


def test_tables():
    text = report_table(example())
    assert "compiled     tiny          3  40.00       97 %    2.0    61.00" in text
    assert "4.2 TB/s" in text
    assert "50 GFLOP/s" in text
    assert "needs PyAV" in text


def test_markdown_says_the_command_and_has_a_row_for_each_stream():
    lines = markdown(example()).splitlines()
    assert "Made by `personalive bench --profile`." in lines
    assert "| compiled | tiny | 3 | 40.00 | 97 % | 2.0 | 61.00 | 0.50 | 1024 |" in lines
    assert all(line.count("|") == 10 for line in lines if line.startswith("| compiled | tiny"))


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("cudnn_generated_fort_native_sdpa_sm90_flash_fprop_wgmma_f16_knob_32", "attention"),
        ("sm90_xmma_fprop_implicit_gemm_f16f16_nhwckrsc_nhwc_tilesize128x128x64", "convolution"),
        ("void cudnn::engines_precompiled::nchwToNhwcKernel<__half, __half, float>", "layout conversion"),
        ("nvjet_hsh_128x256_64x4_2x1_v_bz_coopA_NNT", "product"),
        ("void at::native::RowwiseMomentsCUDAKernel<c10::Half, float>", "normalisation"),
        ("void at::native::vectorized_elementwise_kernel<4, CUDAFunctor_add<c10::Half>>", "elementwise"),
        ("void at::native::CatArrayBatchedCopy<...>", "copy, concatenation"),
        ("void at::native::vectorized_elementwise_kernel<4, GeluCUDAKernelImpl>", "activation"),
        ("triton_poi_fused_add_gelu_mul_3", "compiled"),
        ("aten::addmm", "product"),
        ("aten::view", OTHER),
    ],
)
def test_kinds_of_kernels(name, family):
    assert family_of(name) == family


def test_kernels_are_summed_by_kind():
    work = [Work("gelu", 0.0, 1.0), Work("nvjet_1", 1.0, 4.0), Work("silu", 0.0, 0.5)]
    assert by_family(work) == {"product": (3.0, 1), "activation": (1.5, 2)}


def test_time_is_covered_once_where_queues_overlap():
    assert covered([]) == 0
    assert covered([Work("b", 5.0, 6.0), Work("a", 0.0, 2.0), Work("c", 1.0, 3.0), Work("d", 1.5, 1.75)]) == 4.0


def test_a_trace_on_the_cpu_names_operations():
    found = trace(lambda: torch.ones(8, 8) @ torch.ones(8, 8), CPU)
    assert by_family(found.work)["product"][1] == 1
    assert found.waits == 0


@pytest.mark.slow
def test_a_loop_keeps_its_keyframes():
    model = random_model(SMALL, CPU, torch.float32)
    loop = measure_loop(with_decoder(model, "tiny"), "plain", 3, OPTIONS)
    assert (loop.speed, loop.decoder, loop.keyframes) == ("plain", "tiny", 3)
    assert loop.fps > 0
    assert loop.busy is loop.waits is None  # a CPU has no queue of its own


@pytest.mark.slow
def test_a_live_session_is_measured_in_its_steady_state(monkeypatch):
    monkeypatch.setattr(bench_live, "SETTLED_AFTER", 1)
    monkeypatch.setattr(bench_live, "FEWEST_WINDOWS", 1)
    model = random_model(SMALL, CPU, torch.float32)
    live = bench_live.measure_live(model, "plain", "quick", 64, 0.5)
    assert (live.speed, live.decoder, live.mode) == ("plain", "tiny", "quick")
    assert live.fps > 0
    assert live.step_p50 <= live.step_p95
    # a result is that of a driving frame three steps and more before it
    assert 3 * live.step_p50 < live.delay_p50 <= live.delay_p95


def test_ceilings_are_of_the_networks_sizes():
    rates = {one.name: one for one in measure_ceilings(OPTIONS)}
    assert {"convolution 32 at 8, channels first", "convolution 64 at 4, channels last"} < set(rates)
    assert "attention 64 to 320, width 4" in rates
    assert all(one.rate > 0 for one in rates.values())


def test_the_host_is_measured_without_pyav(monkeypatch):
    def missing(*_, **__):
        raise ImportError("av")

    monkeypatch.setattr("personalive_core.bench.host.VideoWriter", missing)
    stages = {one.name: one.seconds for one in measure_host(OPTIONS)}
    assert stages["encode"] is stages["decode"] is None
    assert stages["crop, frames of 96 pixels"] > 0


def test_accuracy_is_rounding_for_the_same_arithmetic_and_more_in_half_precision():
    case = make_case(OPTIONS)
    assert measure_accuracy(case, "plain", torch.float32).error < 1e-6
    half = measure_accuracy(case, "plain", torch.bfloat16)
    assert 1e-3 < half.error < 0.1
    assert half.precision == "bfloat16"


def parsed(*arguments):
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return options_of(parser.parse_args(["--device", "cpu", *arguments]))


def test_arguments():
    assert parsed().loops == ()
    assert parsed().measured_speeds == ("plain",)
    assert parsed("--compile").measured_speeds == ("compiled",)
    both = parsed("--speed", "plain,compiled", "--decoder", "full,tiny")
    assert both.measured_speeds == ("plain", "compiled")
    assert both.loops == (("full", 0), ("full", 3), ("tiny", 0), ("tiny", 3))
    assert parsed("--keyframes", "1", "--decoder", "tiny").loops == (("tiny", 1),)


def test_an_unknown_speed_is_refused(capsys):
    with pytest.raises(SystemExit):
        parsed("--speed", "plain,warp")
    assert "expected plain, compiled, fp8, rtx, with commas between, got 'warp'" in capsys.readouterr().err
