"""The training loop: resumed to the same bits, interrupted, refused, and what it leaves behind."""

import os
import signal
import subprocess
import sys
import types
from dataclasses import replace

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState
from PIL import Image
from safetensors.torch import load_file
from torch import nn
from torch.optim import AdamW

from personalive_core.backends.personalive.files import FACTS, FILES
from personalive_core.backends.personalive.loader import load_model
from personalive_core.errors import InputError, NumericalError, OutputError, WeightsError
from personalive_core.media.chart import DETAIL, ORANGE, TITLE
from personalive_core.media.tensors import to_signed
from personalive_core.training import loop
from personalive_core.training.checkpoint import STATE_FILE, RunProgress, load_run, save_run
from personalive_core.training.data import open_dataset, save_clip
from personalive_core.training.loop import Run, rate_at, train
from personalive_core.training.networks import SHAPES, fresh, networks_of, save_networks
from personalive_core.training.recipe import stage_of
from personalive_core.training.report import append_metrics, draw_losses, read_metrics
from personalive_core.training.source import Source
from personalive_core.weights.convert import convert
from tests.training.toy import BLUE, RED, UNETS, row_of, speaking, toy_clip, toy_source, twin

CPU = torch.device("cpu")
ROW = row_of(steps=4, clips=1, frames=1, accumulation=2, ema=0.9, warmup=3, cosine=True, trains=("pose_guider",))
ROWS = {"1": replace(ROW, trains=UNETS), "2": replace(ROW, trains=UNETS, accumulation=1, adversarial=0.05)}


@pytest.fixture(scope="module", autouse=True)
def _one_thread(one_thread):
    pass


@pytest.fixture(autouse=True)
def _alone(monkeypatch):
    """Each run as if it were its process's only one, with every step in its metrics."""
    monkeypatch.setattr(loop, "LOG_EVERY", 1)
    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


def go_on(folder, stage="1", row=ROW, around=lambda objective: objective, **changed):
    """Begins a run, or goes on with it, with nothing left of what ran before but `folder`."""
    source = toy_source(speaking(twin()), toy_clip(RED, 4), toy_clip(BLUE, 4))
    made = stage_of(stage, row, source.model, 0)
    run = Run(folder, stage, row, **{"seed": 0, "export": lambda *_: None, "quiet": True, **changed})
    return train(run, replace(made, objective=around(made.objective)), source, networks_of(source.model, row.trains))


def state_of(folder):
    return load_file(folder / STATE_FILE)


def same(one, two):
    return one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one)


def pressed(at, times=1):
    """Somebody presses Ctrl-C in the middle of step `at`."""

    def around(objective):
        def losses(source, row, seed, step, micro, rank):
            for _ in range(times if (step, micro) == (at, 0) else 0):
                signal.raise_signal(signal.SIGINT)
            return objective(source, row, seed, step, micro, rank)

        return losses

    return around


def spoiled(at, error=None):
    """The loss of step `at` is no number, or raises `error`."""

    def around(objective):
        def losses(source, row, *numbers):
            if numbers[1] == at and error:
                raise error
            terms = objective(source, row, *numbers)
            return {name: term * torch.nan for name, term in terms.items()} if numbers[1] == at else terms

        return losses

    return around


def test_layers_of_a_network_can_learn_alone(tmp_path):
    before = speaking(twin()).denoising_unet.state_dict()
    row = replace(ROW, trains=("denoising_unet",), layers="attn", ema=0.0)
    go_on(tmp_path, row=row)
    start = "weight/networks.denoising_unet."
    after = {key.removeprefix(start): value for key, value in state_of(tmp_path).items()}
    moved = {key for key, value in before.items() if not torch.equal(value, after[key])}
    assert moved
    assert all("attn" in key for key in moved)


@pytest.mark.parametrize("stage", ["1", pytest.param("2", marks=pytest.mark.slow)])
def test_an_interrupted_run_ends_in_the_same_bits(tmp_path, stage, caplog):
    row, whole, parts = ROWS[stage], tmp_path / "whole", tmp_path / "parts"
    half = row.steps // 2
    go_on(whole, stage, row)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        go_on(parts, stage, row, pressed(half - 1))
    assert signal.getsignal(signal.SIGINT) is before
    assert f"kept after {half} steps" in caplog.text
    assert [line["step"] for line in read_metrics(parts)] == list(range(half))
    assert not same(state_of(parts), state_of(whole))
    go_on(parts, stage, row)
    assert same(state_of(parts), state_of(whole))
    assert [line["step"] for line in read_metrics(parts)] == list(range(row.steps))
    assert [line["gradient"] for line in read_metrics(parts)] == [line["gradient"] for line in read_metrics(whole)]


def test_the_state_holds_the_discriminator_the_average_and_both_moments(tmp_path):
    go_on(tmp_path, "2", replace(ROWS["2"], steps=1))
    kept = state_of(tmp_path)
    name = "extra.critic.score.weight"
    assert {f"weight/{name}", f"adam/exp_avg/{name}", f"adam/exp_avg_sq/{name}", f"adam/step/{name}"} <= kept.keys()
    assert not any(key.startswith("mean/") and "critic" in key for key in kept)


@pytest.mark.filterwarnings("ignore:for (weight|bias). copying from a non-meta parameter:UserWarning")
def test_what_is_restored_lies_on_the_parameters_device(tmp_path):
    """The step too, which the fused kernel of a GPU reads there."""
    layer = nn.Linear(2, 2)
    adam = AdamW(layer.parameters())
    layer(torch.ones(1, 2)).sum().backward()
    adam.step()
    save_run(tmp_path, layer, {}, adam, RunProgress(1, "{}"))
    elsewhere = nn.Linear(2, 2, device="meta")
    restored = AdamW(elsewhere.parameters())
    assert load_run(tmp_path, elsewhere, {}, restored, "{}").step == 1
    parts = [part for state in restored.state.values() for part in state.values()]
    assert [part.device.type for part in parts] == ["meta"] * 6


def test_pressed_in_the_last_step_ends_more_than_the_run(tmp_path):
    """A session would go on with the next stage."""
    go_on(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        go_on(tmp_path / "pressed", around=pressed(ROW.steps - 1))
    assert same(state_of(tmp_path / "pressed"), state_of(tmp_path / "whole"))


def test_pressed_twice_stops_at_once(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        go_on(tmp_path, around=pressed(1, times=2))
    assert not (tmp_path / STATE_FILE).exists()


def test_a_run_that_was_killed_repeats_the_steps_since_its_last_state(tmp_path):
    go_on(tmp_path / "whole")
    row = replace(ROW, save_every=2)
    with pytest.raises(MemoryError):
        go_on(tmp_path / "parts", row=row, around=spoiled(3, MemoryError()))
    assert [line["step"] for line in read_metrics(tmp_path / "parts")] == [0, 1, 2]
    go_on(tmp_path / "parts", row=row)
    assert [line["step"] for line in read_metrics(tmp_path / "parts")] == list(range(4))
    assert same(state_of(tmp_path / "parts"), state_of(tmp_path / "whole"))


def test_a_finished_run_stays_as_it_is(tmp_path):
    go_on(tmp_path)
    finished = state_of(tmp_path)
    go_on(tmp_path)
    assert same(state_of(tmp_path), finished)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"seed": 1}, "seed was 0, is 1"),
        ({"row": replace(ROW, rate=1e-4)}, "rate was 0.003, is 0.0001"),
        ({"stage": "2"}, "stage was 1, is 2"),
    ],
)
def test_other_settings_are_refused(tmp_path, changed, said):
    go_on(tmp_path, row=replace(ROW, steps=1) if "row" not in changed else ROW)
    with pytest.raises(InputError, match=f"other settings .*{said}.*another --output"):
        go_on(tmp_path, **{"row": replace(ROW, steps=1), **changed})


@pytest.mark.parametrize("damage", [lambda data: data[: len(data) // 2], lambda _: b"", lambda _: b"no tensors" * 9])
def test_a_damaged_state_is_refused(tmp_path, damage):
    go_on(tmp_path, row=replace(ROW, steps=1))
    place = tmp_path / STATE_FILE
    place.write_bytes(damage(place.read_bytes()))
    with pytest.raises(WeightsError, match="cannot be read .*delete it"):
        go_on(tmp_path, row=replace(ROW, steps=1))


def test_a_state_of_other_networks_is_refused(tmp_path):
    row = replace(ROW, steps=1)
    go_on(tmp_path, row=row)
    model = fresh(SHAPES["small"], 0)
    source = toy_source(model, toy_clip(RED, 4))
    with pytest.raises(InputError, match="networks of another size"):
        train(Run(tmp_path, "1", row, 0), stage_of("1", row, model, 0), source, networks_of(model, row.trains))


def test_a_loss_that_is_no_number_stops_the_run_before_it_is_learned_from(tmp_path):
    row = replace(ROW, save_every=3)
    with pytest.raises(NumericalError, match="loss of step 3 is no number"):
        go_on(tmp_path, row=row, around=spoiled(3))
    assert all(bool(tensor.isfinite().all()) for tensor in state_of(tmp_path).values())


def test_a_full_disk_leaves_the_older_state(tmp_path):
    resource = pytest.importorskip("resource")
    row = replace(ROW, save_every=2)
    with pytest.raises(MemoryError):
        go_on(tmp_path, row=row, around=spoiled(3, MemoryError()))
    older = state_of(tmp_path)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        with pytest.raises(OutputError, match=f"{STATE_FILE} was not written"):
            go_on(tmp_path, row=row)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert same(state_of(tmp_path), older)


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="choose another --output"):
        go_on(tmp_path / "file" / "run")


def test_only_what_learns_changes_and_the_average_is_exported(tmp_path):
    row, exported = replace(ROW, steps=2, ema=0.5), []
    begun = twin().pose_guider.state_dict()
    go_on(tmp_path, row=row, export=lambda model, _: exported.append(model))
    kept, key = state_of(tmp_path), "pose_guider.conv_out_modify.weight"
    assert {name.split("/")[1].split(".")[1] for name in kept if name.startswith("weight/")} == {"pose_guider"}
    newest, mean = kept[f"weight/networks.{key}"], kept[f"mean/{key}"]
    assert torch.equal(exported[-1].pose_guider.conv_out_modify.weight, mean)
    assert 0 < (mean - begun["conv_out_modify.weight"]).norm() < (newest - begun["conv_out_modify.weight"]).norm()


def test_rate_rises_then_falls_along_a_cosine():
    row = row_of(steps=100, rate=1.0, warmup=4, cosine=True)
    assert [rate_at(replace(row, cosine=False), step) for step in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert rate_at(row, 50) == pytest.approx(0.525)  # halfway between 1 and a twentieth
    assert rate_at(row, 100) == pytest.approx(0.05)


def test_a_run_leaves_a_curve_and_sheets(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "SAMPLE_EVERY", 2)
    go_on(tmp_path, row=replace(ROW, steps=2))
    assert {path.name for path in tmp_path.iterdir()} == {STATE_FILE, "metrics.jsonl", "curve.png", "sheet_000002.jpg"}


def test_the_curve_shows_a_loss_that_begins_later_where_it_is(tmp_path):
    """Such as the adversarial one. It has no value before, which would pull the scale down."""
    for step in range(100):
        append_metrics(tmp_path, {"step": step, "loss/l2": 10.0, **({"loss/late": 1.0} if step >= 50 else {})})
    draw_losses(tmp_path)
    picture = np.asarray(Image.open(tmp_path / "curve.png").convert("RGB"))
    rows, columns = (picture[TITLE // DETAIL :] == ORANGE).all(-1).nonzero()  # below the legend
    assert columns.min() > picture.shape[1] / 2
    assert np.ptp(rows) < 10


def test_bfloat16_learns_in_float32_weights(tmp_path):
    go_on(tmp_path, row=replace(ROW, steps=2), precision="bf16")
    assert {t.dtype for key, t in state_of(tmp_path).items() if key.startswith("weight/")} == {torch.float32}
    assert all(line["loss/noise"] < 100 for line in read_metrics(tmp_path))
    AcceleratorState._reset_state(reset_partial_state=True)
    go_on(tmp_path / "full", row=replace(ROW, steps=2))
    assert read_metrics(tmp_path)[0]["loss/noise"] != read_metrics(tmp_path / "full")[0]["loss/noise"]


def test_a_precision_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InputError, match="--precision fp3 cannot be used here .*use bf16 or fp32"):
        go_on(tmp_path, precision="fp3")


def test_tensorboard_gets_the_same_numbers(tmp_path, monkeypatch):
    given = []

    class Writer:
        def __init__(self, folder, purge_step):
            given.append((folder, purge_step))

        def add_scalar(self, name, value, step):
            given.append((name, value, step))

        def flush(self):
            pass

    module = types.SimpleNamespace(SummaryWriter=Writer)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    go_on(tmp_path, row=replace(ROW, steps=1), tensorboard=True)
    assert given[0] == (tmp_path / "tensorboard", 0)
    (line,) = read_metrics(tmp_path)
    assert ("loss/noise", line["loss/noise"], 0) in given


@pytest.mark.parametrize(
    ("module", "changed", "said"),
    [
        ("torch.utils.tensorboard", {"tensorboard": True}, "pip install tensorboard"),
        ("accelerate", {}, "training needs accelerate"),
    ],
)
def test_a_missing_package_is_named(tmp_path, monkeypatch, module, changed, said):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(InputError, match=said):
        go_on(tmp_path, **changed)


# What is saved


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A fresh model and the folder of its weights."""
    model = fresh(SHAPES["twin"], 5)
    return model, save_networks(model, tmp_path_factory.mktemp("weights"))


def outputs(model):
    """What each network makes of a toy clip."""
    clip = toy_clip(RED, 2)
    pictures = to_signed(clip.pictures.numpy())
    with torch.no_grad():
        latents, motion = model.encode(pictures), model.embed_motion(clip.motion, 64)
        image = model.embed_image(torch.nn.functional.interpolate(pictures, 224)[:1])
        tokens = model.project_tokens(latents[:1], image)
        small = torch.nn.functional.interpolate(pictures, 256) / 2 + 0.5
        noise = model.denoising_unet(latents[None], torch.tensor([333]), model.project_image(image), motion, tokens)
        faces = torch.nn.functional.interpolate(pictures, 224)
        return [noise, model.decode(latents[None]), model.embed_faces(faces), model.detect_keypoints(small)[1]]


@pytest.mark.parametrize("converted", [False, True])
def test_saved_networks_load_and_give_the_same(saved, tmp_path, converted):
    model, folder = saved
    if converted:
        convert(folder, FILES, FACTS, tmp_path, torch.float32)
        folder = tmp_path
    loaded = load_model(folder, CPU, torch.float32)
    assert loaded.denoising_unet.config == model.denoising_unet.config
    assert loaded.reference_unet.config == model.reference_unet.config
    assert loaded.motion_encoder.config == model.motion_encoder.config
    for one, two in zip(outputs(model), outputs(loaded), strict=True):
        assert torch.allclose(one, two, atol=1e-5)  # a loaded network may lie otherwise in memory


def test_fresh_networks_are_a_function_of_their_seed():
    one, same_seed, other = (fresh(SHAPES["twin"], seed) for seed in (0, 0, 1))
    key = "down_blocks.0.resnets.0.conv1.weight"
    assert torch.equal(one.denoising_unet.state_dict()[key], same_seed.denoising_unet.state_dict()[key])
    assert not torch.equal(one.denoising_unet.state_dict()[key], other.denoising_unet.state_dict()[key])
    assert not torch.equal(one.denoising_unet.state_dict()[key], one.reference_unet.state_dict()[key])


def test_an_unknown_network_is_named():
    with pytest.raises(InputError, match="there is no network vea: choose of"):
        networks_of(twin(), ("vea",))


# What is read


@pytest.fixture
def clips(tmp_path):
    """A folder with two good clips, one that is cut off, a short one, and one of another size."""
    folder = tmp_path / "clips"
    folder.mkdir()
    given = {"good_a": toy_clip(RED, 4), "good_b": toy_clip(BLUE, 4), "short": toy_clip(RED, 1)}
    for name, clip in {**given, "large": toy_clip(RED, 4, size=128), "broken": toy_clip(RED, 4)}.items():
        save_clip(folder / f"{name}.clip.safetensors", clip)
    place = folder / "broken.clip.safetensors"
    place.write_bytes(place.read_bytes()[:-100])
    return folder


def test_training_goes_on_without_the_clips_that_do_not_fit_and_names_them(clips, tmp_path, caplog):
    data = open_dataset([clips], 2, 64)
    assert [path.name.partition(".")[0] for path in data.paths] == ["good_a", "good_b"]
    for name, reason in (
        ("broken", "cannot be read"),
        ("short", "has 1 frames"),
        ("large", "has pictures of 128 pixels"),
    ):
        assert f"{name}.clip.safetensors {reason}" in caplog.text
    source, row = Source(data, twin()), replace(ROW, steps=1)
    run = Run(tmp_path / "run", "1", row, 0, export=lambda *_: None, quiet=True)
    train(run, stage_of("1", row, source.model, 0), source, networks_of(source.model, row.trains))


def test_a_clip_is_read_as_it_was_written(clips):
    read, written = open_dataset([clips], 2, 64).clip(0), toy_clip(RED, 4)
    assert same(read.tensors(), written.tensors())


@pytest.mark.parametrize(("frames", "size"), [(9, 64), (2, 192)])
def test_a_folder_without_a_clip_that_fits_is_refused(clips, frames, size):
    with pytest.raises(InputError, match=f"no prepared clip of {frames} frames or more at {size} pixels"):
        open_dataset([clips], frames, size)


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match="holds no prepared clip"):
        open_dataset([tmp_path / "nothing"], 2)


PROGRAM = """
import os, sys
from dataclasses import replace
from pathlib import Path
import torch
torch.set_num_threads(1)
from personalive_core.training.clock import Clock
from personalive_core.training.loop import Run, train
from personalive_core.training.networks import networks_of
from personalive_core.training.recipe import stage_of
from safetensors.torch import save_file
from tests.training.toy import BLUE, RED, row_of, toy_clip, toy_source, twin
row = row_of(steps=3, clips=1, frames=2, ema=0.0, accumulation=2, cosine=True, minutes=1.0)
trained = Clock.trained  # one process's clock is ahead
Clock.trained = lambda clock: trained(clock) + 9.0 * int(os.environ["RANK"])
source = toy_source(twin(), toy_clip(RED, 4), toy_clip(BLUE, 4))
stage, drawn = stage_of("1", row, source.model, 0), []
objective = stage.objective
def losses(source, row, *numbers):
    terms = objective(source, row, *numbers)
    drawn.append(terms["noise"].detach())
    return terms
folder = Path(sys.argv[1])
run = Run(folder / "run", "1", row, 0, export=lambda *_: None, quiet=True)
networks = networks_of(source.model, row.trains)
train(run, replace(stage, objective=losses), source, networks)
rank = os.environ["RANK"]
save_file({**{k: v.contiguous() for k, v in networks.state_dict().items()}, "losses": torch.stack(drawn)},
          folder / f"{rank}.safetensors")
"""


@pytest.mark.slow
def test_two_processes_learn_the_same_from_different_data(tmp_path, repository):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    answer = subprocess.run(
        [sys.executable, *launch, str(program), str(tmp_path)],
        cwd=repository,
        env={**os.environ, "PYTHONPATH": str(repository), "ACCELERATE_USE_CPU": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr[-3000:]
    one, two = (load_file(tmp_path / f"{rank}.safetensors") for rank in (0, 1))
    losses = one.pop("losses"), two.pop("losses")
    assert same(one, two)
    assert bool((losses[0] != losses[1]).all())
    assert (tmp_path / "run" / STATE_FILE).is_file()
