"""Keys of Stable Diffusion 3.5 Medium, and the loader's refusals, on a tiny file of the same layout."""

import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from personalive_core.backends.svdp.check import PROOF_SIZES, proof_clip, proof_model, with_random_output
from personalive_core.backends.svdp.files import new_shapes, transformer_shapes
from personalive_core.backends.svdp.loader import load_canvas
from personalive_core.backends.svdp.networks import build_canvas, starting_layers
from personalive_core.errors import WeightsError

PLACE = Path("stable-diffusion-3.5-medium", "transformer", "diffusion_pytorch_model.safetensors")
CPU = torch.device("cpu")
TIMESTEP = torch.tensor([700.0, 250.0])


def count(shapes):
    return sum(math.prod(shape) for shape in shapes.values())


@pytest.fixture(scope="module")
def model():
    return with_random_output(proof_model(PROOF_SIZES))


def place(folder, model, change=lambda state: state):
    path = folder / PLACE
    path.parent.mkdir(parents=True)
    save_file(change({key: tensor.contiguous() for key, tensor in model.transformer.state_dict().items()}), path)
    return folder


def added(folder, model, change=lambda state: state):
    path = folder / "added.safetensors"
    new = new_shapes(PROOF_SIZES)
    save_file(change({key: tensor for key, tensor in model.state_dict().items() if key in new}), path)
    return path


def test_sd35_medium_has_2_243_billion_parameters():
    """Its position table is no parameter; what is new is the video attention's and a token."""
    shapes = transformer_shapes()
    assert count(shapes) - count({"": shapes["pos_embed.pos_embed"]}) == 2_243_171_520
    assert count(new_shapes()) == 24 * (4 * (1536 * 1536 + 1536) + 2 * 64) + 4096 + 2048


def test_its_keys_are_accepted_strictly_on_the_meta_device():
    model = build_canvas()
    state = {key: torch.empty(shape, device="meta") for key, shape in transformer_shapes().items()}
    model.transformer.load_state_dict(state, strict=True, assign=True)
    new = {key: torch.empty(shape, device="meta") for key, shape in new_shapes().items()}
    model.load_state_dict({f"transformer.{key}": tensor for key, tensor in state.items()} | new, strict=True)
    with pytest.raises(RuntimeError, match="Missing"):
        model.load_state_dict(new, strict=True)


def test_what_is_loaded_gives_the_same_velocity(tmp_path, model):
    loaded = load_canvas(place(tmp_path, model), CPU, torch.float32, added(tmp_path, model), PROOF_SIZES)
    noisy, conditions = proof_clip(PROOF_SIZES)
    with torch.inference_mode():
        apart = loaded(noisy, TIMESTEP, conditions) - model(noisy, TIMESTEP, conditions)
    assert apart.abs().max() < 1e-4
    state = loaded.state_dict()
    assert all(torch.equal(state[key], tensor) for key, tensor in model.state_dict().items())
    assert not loaded.training


def test_without_new_layers_they_start_from_zero(tmp_path, model):
    loaded = load_canvas(place(tmp_path, model), CPU, torch.bfloat16, sizes=PROOF_SIZES)
    start = starting_layers(PROOF_SIZES)
    state = loaded.state_dict()
    assert all(torch.equal(state[key], tensor.bfloat16()) for key, tensor in start.items())
    assert not any(start[key].any() for key in start if "to_out" in key)
    assert all(start[key].any() for key in start if "to_q.weight" in key)
    assert {tensor.dtype for tensor in state.values()} == {torch.bfloat16}


def test_new_layers_depend_on_the_seed_alone():
    one, two, other = starting_layers(PROOF_SIZES), starting_layers(PROOF_SIZES), starting_layers(PROOF_SIZES, 1)
    assert all(torch.equal(one[key], two[key]) for key in one)
    assert not torch.equal(one["video.0.to_q.weight"], other["video.0.to_q.weight"])
    assert not torch.equal(one["video.0.to_q.weight"], one["video.1.to_q.weight"])


def test_a_missing_file_names_licence_and_place(tmp_path):
    with pytest.raises(WeightsError, match="gated") as error:
        load_canvas(tmp_path, CPU, torch.float32)
    message = str(error.value)
    assert "accept the Stability AI Community License" in message
    assert str(tmp_path / PLACE) in message


TABLE = "pos_embed.pos_embed"
KEY = "transformer_blocks.0.attn2.to_q.weight"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: {key: value for key, value in state.items() if key != KEY}, f"1 missing keys: {KEY}"),
        (lambda state: state | {"other": torch.zeros(1)}, "1 extra keys: other"),
        (lambda state: state | {KEY: torch.zeros(2, 2)}, "1 misshapen keys"),
        (lambda state: {key: value for key, value in state.items() if key != TABLE}, f"1 missing keys: {TABLE}"),
    ],
)
def test_an_incomplete_transformer_is_refused(tmp_path, model, change, message):
    with pytest.raises(WeightsError, match=message):
        load_canvas(place(tmp_path, model, change), CPU, torch.float32, sizes=PROOF_SIZES)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: {key: value for key, value in state.items() if key != "context"}, "1 missing keys: context"),
        (lambda state: state | {"video.9.to_q.bias": torch.zeros(1)}, "1 extra keys"),
    ],
)
def test_incomplete_new_layers_are_refused(tmp_path, model, change, message):
    folder, path = place(tmp_path, model), added(tmp_path, model, change)
    with pytest.raises(WeightsError, match=f"new layers of the canvas model: {message}"):
        load_canvas(folder, CPU, torch.float32, path, PROOF_SIZES)
