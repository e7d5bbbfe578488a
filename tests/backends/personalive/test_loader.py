"""Loading a folder: widths read from shapes, errors that name the key, types, and few openings of the files."""

import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from personalive_core.backends.building import keypoint_config
from personalive_core.backends.personalive import loader
from personalive_core.backends.personalive.files import FILES
from personalive_core.backends.personalive.loader import load_model
from personalive_core.bench.standin import WIDTHS
from personalive_core.device import pick_device, pick_precision
from personalive_core.errors import InputError, WeightsError
from personalive_core.modules.face_encoder import FaceEncoderConfig
from personalive_core.modules.keypoints import KeypointConfig
from personalive_core.modules.layers import Float32LayerNorm
from personalive_core.modules.pose_guider import PoseGuiderConfig
from personalive_core.modules.unet import UNetConfig
from personalive_core.weights import read as tensorfile
from personalive_core.weights.index import locate

CPU = torch.device("cpu")
KEYS = Path(__file__).parents[2] / "parity" / "keys"


@pytest.fixture
def folder(standin_folder, tmp_path):
    """A stand-in of the test's own; its files are links: remove one before writing another in its place."""
    return shutil.copytree(standin_folder, tmp_path / "weights", copy_function=os.link)


def rewrite(path, change):
    """The state in `path`, changed in place by `change`, as a new file."""
    state = torch.load(path, weights_only=True)
    change(state)
    path.unlink()
    torch.save(state, path)


# --- a whole folder


def test_widths_come_from_the_checkpoint(standin):
    assert standin.denoising_unet.config == UNetConfig(WIDTHS)
    assert standin.reference_unet.config == UNetConfig(WIDTHS, denoises=False)
    assert standin.pose_guider.conv_out_modify.out_channels == WIDTHS[0]
    assert standin.motion_encoder.tokens == 32
    assert len(standin.motion_extractor.detector.stages[2]) == 2
    assert type(standin.tiny_vae).__name__ == "AutoencoderTiny"


def test_loaded_values_are_those_of_the_files(standin, standin_folder):
    for network in ("denoising_unet", "motion_extractor"):
        ours = getattr(standin, network).state_dict()
        for key, tensor in torch.load(standin_folder / f"personalive/{network}.pth", weights_only=True).items():
            assert torch.equal(ours[key], tensor), key
    assert standin.denoising_unet.training is False


@pytest.fixture(scope="module")
def half(standin_folder):
    """The stand-in in bfloat16 with the full decoder, and how often files were opened for it."""
    opened = []
    open_file = tensorfile._open

    def counted(path):
        opened.append(path)
        return open_file(path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tensorfile, "_open", counted)
        model = load_model(standin_folder, CPU, torch.bfloat16)
    return SimpleNamespace(model=model, opened=opened)


def test_every_parameter_is_of_the_asked_type_but_the_extractors_norms(half):
    networks = {name: getattr(half.model, name) for name in loader.NEEDED}
    wide = {
        (name, key)
        for name, network in networks.items()
        for key, parameter in network.named_parameters()
        if parameter.dtype != torch.bfloat16
    }
    extractor = networks["motion_extractor"]
    norms = {key for key, module in extractor.named_modules() if isinstance(module, Float32LayerNorm)}
    assert wide == {("motion_extractor", f"{key}.{leaf}") for key in norms for leaf in ("weight", "bias")}
    assert {parameter.dtype for key in norms for parameter in extractor.get_submodule(key).parameters()} == {
        torch.float32
    }
    assert half.model.dtype == torch.bfloat16
    assert half.model.tiny_vae is None


def test_nothing_is_left_without_memory(half, standin):
    for model in (half.model, standin):
        for name in loader.NEEDED:
            network = getattr(model, name)
            assert not any(t.is_meta for t in [*network.parameters(), *network.buffers()]), name


def test_files_are_opened_a_few_times_each(half):
    """Once per key, as it was, is a thousand openings and minutes; 17 a file come from closing mapped pages."""
    assert len(half.opened) <= 18 * (len(loader.NEEDED) + 1)  # the denoising UNet lies in two files


# --- widths of the published checkpoints


def published(network):
    return {key: tuple(shape) for key, shape in json.loads((KEYS / f"{network}.json").read_text()).items()}


def test_published_shapes_give_the_default_configurations():
    assert loader.unet_config(published("denoising_unet"), denoises=True) == UNetConfig()
    assert loader.unet_config(published("reference_unet"), denoises=False) == UNetConfig(denoises=False)
    assert loader.pose_guider_config(published("pose_guider")) == PoseGuiderConfig()
    assert loader.face_encoder_config(published("motion_encoder")) == FaceEncoderConfig()
    assert keypoint_config(published("motion_extractor")) == KeypointConfig()


# --- what does not fit


def shorten(key):
    return lambda state: state.update({key: state[key][:-1].clone()})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("mid_block.resnets.0.norm1.bias"), "1 missing keys: mid_block.resnets.0.norm1.bias"),
        (lambda s: s.update(surplus=torch.zeros(1)), "1 extra keys: surplus"),
        (
            shorten("time_embedding.linear_2.bias"),
            r"1 misshapen keys: time_embedding.linear_2.bias \(expected \[128\], came \[127\]\)",
        ),
    ],
    ids=["missing", "extra", "misshapen"],
)
def test_keys_that_do_not_fit_are_named(change, message, folder):
    rewrite(folder / "personalive/reference_unet.pth", change)
    with pytest.raises(WeightsError, match=f"do not fit reference_unet: {message}"):
        load_model(folder, CPU, torch.float32)


@pytest.mark.parametrize("other", ["pose_guider", "motion_encoder", "motion_extractor"])
def test_another_networks_file_in_place_of_one(other, folder):
    path = folder / "personalive/reference_unet.pth"
    path.unlink()
    shutil.copy(folder / f"personalive/{other}.pth", path)
    with pytest.raises(WeightsError, match="weights of reference_unet lack the key .*: the file belongs to another"):
        load_model(folder, CPU, torch.float32)


def test_missing_file_is_named_and_only_if_it_is_needed(folder):
    shutil.rmtree(folder / "taesd")
    with pytest.raises(WeightsError, match="taesd"):
        load_model(folder, CPU, torch.float32, "tiny")
    locate(folder, FILES).require(loader.DECODERS["full"])


def test_unreadable_configuration_is_named(folder):
    path = folder / "sd-vae-ft-mse/config.json"
    path.unlink()
    path.write_text("{")
    with pytest.raises(WeightsError, match=r"config.json is not a readable configuration: delete it"):
        loader.library_config(locate(folder, FILES), "vae")


# --- what the user may ask for


def test_unknown_decoder(folder):
    with pytest.raises(InputError, match="unknown decoder 'half': use full or tiny"):
        load_model(folder, CPU, torch.float32, "half")


@pytest.mark.parametrize("name", ["abacus", "cuda:99", "hpu"])
def test_device_that_is_not_there(name):
    with pytest.raises(InputError, match=f"device '{name}' cannot be used here .*: use --device cpu"):
        pick_device(name)


def test_devices():
    assert pick_device("cpu") == CPU
    assert isinstance(pick_device(), torch.device)


@pytest.mark.parametrize(
    ("device", "native", "expected"),
    [
        ("cpu", True, torch.bfloat16),
        ("cpu", False, torch.float32),
        ("cuda", False, torch.float16),
        ("mps", False, torch.float16),
        ("xpu", False, torch.bfloat16),
    ],
)
def test_automatic_precision(device, native, expected, monkeypatch):
    monkeypatch.setattr("personalive_core.device.cpu_has_bfloat16", lambda: native)
    assert pick_precision("auto", torch.device(device)) == expected


def test_precisions():
    assert [pick_precision(name, CPU) for name in ("fp32", "bf16", "fp16")] == [
        torch.float32,
        torch.bfloat16,
        torch.float16,
    ]
    with pytest.raises(InputError, match="unknown precision 'fp8': use auto, fp32, bf16, fp16"):
        pick_precision("fp8", CPU)
