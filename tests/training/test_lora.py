"""A LoRA learned by the loop: only it changes, it resumes, and at inference it does what it did in training."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from personalive_core.backends.personalive.loader import load_model
from personalive_core.backends.personalive.lora import read_lora, with_lora
from personalive_core.cli import main
from personalive_core.errors import InputError
from personalive_core.training.adapters import FILE, with_adapters
from personalive_core.training.loop import Run, train
from personalive_core.training.networks import SHAPES, fresh, networks_of, save_networks
from personalive_core.training.prepare import Drawing, drawn_clip
from personalive_core.training.presets import preset
from personalive_core.training.recipe import stage_of
from personalive_core.training.stages import sample_pictures
from tests.training.test_loop import pressed
from tests.training.toy import speaking, toy_source

ROW = replace(preset("small", "1"), size=64, clips=1, frames=2, steps=4, warmup=0, rate=1e-2, ema=0.0, save_every=2)
CLIP = drawn_clip("train", 0, Drawing(64, 3, 2))


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def learned(folder, around=lambda objective: objective):
    """The model in which a LoRA of rank 2 was trained, or went on being trained."""
    model = speaking(fresh(SHAPES["twin"], 0))
    source = toy_source(model, CLIP)
    stage = with_adapters(stage_of("1", ROW, model, 0), model, ROW.trains, 2, 0)
    stage = replace(stage, objective=around(stage.objective))
    train(Run(folder, "1", ROW, 0, quiet=True), stage, source, networks_of(model, ()))
    return source


def test_what_was_trained_is_what_is_added_at_inference(tmp_path):
    trained = learned(tmp_path)
    plain = speaking(fresh(SHAPES["twin"], 0))
    added = with_lora(plain, read_lora(tmp_path / "weights" / FILE), 1.0)
    with torch.no_grad():
        *_, expected = sample_pictures(trained, [0])
        *_, came = sample_pictures(toy_source(added, CLIP), [0])
        *_, before = sample_pictures(toy_source(plain, CLIP), [0])
    assert torch.allclose(came, expected, atol=1e-4)
    assert not torch.allclose(before, expected, atol=1e-3), "four steps at a high rate leave a trace"


def test_only_the_additions_learn_and_are_kept(tmp_path):
    source = learned(tmp_path)
    untouched = speaking(fresh(SHAPES["twin"], 0))
    for name in ("reference_unet", "denoising_unet", "vae", "image_encoder", "pose_guider"):
        before = getattr(untouched, name).state_dict()
        after = {key.replace(".base.", "."): value for key, value in getattr(source.model, name).state_dict().items()}
        assert all(torch.equal(value, after[key]) for key, value in before.items())
    assert {path.name for path in (tmp_path / "weights").iterdir()} == {FILE}
    whole = sum(p.numel() for p in untouched.denoising_unet.parameters()) * 4
    assert (tmp_path / "state.safetensors").stat().st_size < 2 * whole


def test_resumes_to_the_same_bits(tmp_path):
    learned(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        learned(tmp_path / "halves", pressed(1))
    learned(tmp_path / "halves")
    whole, halves = (read_lora(tmp_path / name / "weights" / FILE).pairs for name in ("whole", "halves"))
    for network, pairs in whole.items():
        for path, (a, b) in pairs.items():
            assert torch.equal(a, halves[network][path][0])
            assert torch.equal(b, halves[network][path][1])


def test_networks_without_lora_are_refused():
    model = fresh(SHAPES["twin"], 0)
    row = replace(preset("small", "vae"), size=64)
    with pytest.raises(InputError, match="stage 1, 2 or 3"):
        with_adapters(stage_of("vae", row, model, 0), model, row.trains, 2, 0)


def test_command_line_learns_one(tmp_path, capsys):
    weights = save_networks(fresh(SHAPES["twin"], 0), tmp_path / "twin")
    assert main(["train", "prepare", "--drawn", "1", "--frames", "2", "--output", str(tmp_path / "data")]) == 0
    given = ["train", "--stage", "1", "--data", str(tmp_path / "data"), "--output", str(tmp_path / "run")]
    given += ["--steps", "1", "--clips", "1", "--quiet", "--lora", "2"]
    assert main(given) == 2
    assert "--start" in capsys.readouterr().err
    assert main([*given, "--start", str(weights)]) == 0
    lora = read_lora(tmp_path / "run" / "weights" / FILE)
    assert set(lora.pairs) == {"reference_unet", "denoising_unet"}
    with_lora(load_model(Path(weights), torch.device("cpu"), torch.float32), lora, 1.0)
