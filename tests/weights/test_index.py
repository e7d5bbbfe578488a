"""Weights: where they are found, how states are merged, and that loading is strict and refuses hostile files."""

import logging
import os
import pickle
import re
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from personalive_core.backends.personalive.files import FILES, NETWORKS, about_bytes, facts_of
from personalive_core.backends.personalive.loader import complete
from personalive_core.errors import WeightsError
from personalive_core.weights.fill import NetworkFacts, load_into, missing_keys
from personalive_core.weights.index import describe, locate, read_state

PERSONALIVE = [file for file in FILES if file.repo == "huaichang/PersonaLive"]


def put(path, tensors, **wrap):
    """A .pth or .safetensors at `path`, its folders made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".safetensors":
        save_file(tensors, path)
    else:
        torch.save({**wrap, **tensors} if wrap else tensors, path)
    return path


def put_all(folder, place=lambda file: file.place):
    for file in FILES:
        path = folder / place(file)
        if file.is_config or path.suffix == ".onnx":
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("{}")
        else:
            put(path, {"weight": torch.zeros(2)})


def state_of(folder, network, tensors):
    """A state with `tensors`, by way of a file in the published layout."""
    name = {"base_unet": "sd-image-variations-diffusers/unet/diffusion_pytorch_model.bin"}.get(network)
    put(folder / (name or f"personalive/{network}.pth"), tensors)
    if network == "denoising_unet":
        put(folder / "personalive/temporal_module.pth", {})
    return read_state(locate(folder, FILES), network)


def on_meta():
    """Convolution, BatchNorm with its counter, and a buffer of its own."""
    with torch.device("meta"):
        module = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 1), torch.nn.BatchNorm2d(3))
    module.register_buffer("pe", torch.arange(3.0))
    return module


def weights_of(module):
    return {
        key: torch.arange(value.numel()).reshape(value.shape).to(value.dtype) + 0.1
        for key, value in module.state_dict().items()
        if key.rpartition(".")[2] not in {"pe", "num_batches_tracked"}
    }


LAYOUTS = {
    "pretrained_weights": lambda file: file.place,
    "its parent": lambda file: f"pretrained_weights/{file.place}",
    "owner/name": lambda file: f"{file.repo}/{file.path}",
    "name": lambda file: f"{file.repo.partition('/')[2]}/{file.path}",
    "hub cache": lambda file: f"models--{file.repo.replace('/', '--')}/snapshots/c0ffee/{file.path}",
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_locate_finds_every_file_in_each_layout(tmp_path, layout):
    put_all(tmp_path, LAYOUTS[layout])
    if layout == "hub cache":
        for file in FILES:
            ref = tmp_path / f"models--{file.repo.replace('/', '--')}" / "refs/main"
            ref.parent.mkdir(parents=True, exist_ok=True)
            ref.write_text("c0ffee\n")
    index = locate(tmp_path, FILES)
    assert index.missing(NETWORKS) == ()
    assert index.config("vae") == tmp_path / LAYOUTS[layout](next(f for f in FILES if f.network == "vae"))
    assert index.path("yunet").name == "face_detection_yunet_2026may.onnx"


def test_a_hub_cache_without_refs_gives_the_newest_snapshot_that_holds_the_file(tmp_path):
    vae = next(file for file in FILES if file.network == "vae" and file.is_config)
    snapshots = tmp_path / f"models--{vae.repo.replace('/', '--')}" / "snapshots"
    for age, (name, content) in enumerate([("bare", ""), ("aaa", "new"), ("zzz", "old")]):
        (snapshots / name).mkdir(parents=True)
        if content:
            (snapshots / name / vae.path).write_text(content)
        os.utime(snapshots / name, ns=(10**18, 10**18 - age))
    (snapshots / "note.txt").touch()
    (found,) = (found for found in locate(tmp_path, FILES).found if found.file == vae)
    assert [path.parent.name for path in found.paths] == ["aaa"]
    (snapshots.parent / "refs").mkdir()
    (snapshots.parent / "refs/main").write_text("zzz")
    (found,) = (found for found in locate(tmp_path, FILES).found if found.file == vae)
    assert [path.parent.name for path in found.paths] == ["zzz"], "where refs/main names a snapshot, it is that one"


def test_an_older_version_serves_only_where_the_file_is_nowhere(tmp_path):
    older, yunet = tmp_path / "face_detection_yunet/face_detection_yunet_2023mar.onnx", FILES[-1]
    older.parent.mkdir()
    older.touch()
    index = locate(tmp_path, FILES)
    assert index.missing(["yunet"]) == ()
    assert index.path("yunet") == older
    newer = tmp_path / yunet.path  # the last of the places that are searched
    newer.touch()
    assert locate(tmp_path, FILES).path("yunet") == newer


def test_locate_takes_the_folder_of_the_pth_files_and_what_lies_beside_it(tmp_path):
    put_all(tmp_path, lambda file: file.place.replace("personalive/", "mine/"))
    index = locate(tmp_path / "mine", FILES)
    assert index.missing([name for name in NETWORKS if name != "yunet"]) == ()
    assert read_state(index, "vae")["weight"].shape == (2,)


def test_a_folder_of_other_models_does_not_lend_its_neighbours(tmp_path):
    put_all(tmp_path)
    (tmp_path / "empty").mkdir()
    assert len(locate(tmp_path / "empty", FILES).missing(NETWORKS)) == len(FILES)


def test_missing_files_are_listed_with_every_place_and_their_source(tmp_path):
    put(tmp_path / "personalive/denoising_unet.pth", {"conv_in.weight": torch.zeros(1)})
    with pytest.raises(WeightsError) as caught:
        locate(tmp_path, FILES).require(["denoising_unet", "vae"])
    lines = str(caught.value).splitlines()[1:]
    assert [line.split()[1] for line in lines] == [
        "personalive/temporal_module.pth",
        "sd-vae-ft-mse/config.json",
        "sd-vae-ft-mse/diffusion_pytorch_model.safetensors",
    ]
    assert str(tmp_path / "pretrained_weights/personalive/temporal_module.pth") in lines[0]
    assert str(tmp_path / "temporal_module.safetensors") in lines[0]
    assert "huaichang/PersonaLive" in lines[0]
    assert str(tmp_path / "stabilityai/sd-vae-ft-mse/diffusion_pytorch_model.bin") in lines[2]
    assert str(tmp_path / "models--stabilityai--sd-vae-ft-mse" / "snapshots") in lines[2]


def test_folder_and_network_must_exist(tmp_path):
    with pytest.raises(WeightsError, match="does not exist"):
        locate(tmp_path / "nowhere", FILES)
    with pytest.raises(WeightsError, match="no network 'unet'"):
        locate(tmp_path, FILES).of("unet")


def test_the_temporal_file_is_not_needed_when_its_keys_are_elsewhere(tmp_path):
    key = "down_blocks.0.temporal_modules.0.weight"
    put(tmp_path / "personalive/denoising_unet.pth", {key: torch.ones(1)})
    assert locate(tmp_path, FILES).missing(["denoising_unet"]) == ()
    assert read_state(locate(tmp_path, FILES), "denoising_unet")[key] == 1


def test_the_temporal_file_wins_over_the_denoising_file(tmp_path):
    put(tmp_path / "personalive/denoising_unet.pth", {"both": torch.tensor(1.0), "one": torch.tensor(2.0)})
    put(tmp_path / "personalive/temporal_module.pth", {"both": torch.tensor(3.0), "two": torch.tensor(4.0)})
    state = read_state(locate(tmp_path, FILES), "denoising_unet")
    assert {key: float(tensor) for key, tensor in state.items()} == {"both": 3, "one": 2, "two": 4}
    assert dict(state.stream(["two", "both"])) == {"two": torch.tensor(4.0), "both": torch.tensor(3.0)}


def test_safetensors_are_preferred(tmp_path):
    put(tmp_path / "personalive/pose_guider.pth", {"a": torch.zeros(1)})
    put(tmp_path / "personalive/pose_guider.safetensors", {"a": torch.ones(1)})
    assert read_state(locate(tmp_path, FILES), "pose_guider")["a"] == 1


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_module_prefix_is_dropped(tmp_path, suffix):
    put(tmp_path / f"personalive/pose_guider.{suffix}", {"module.a": torch.ones(1), "module.b.c": torch.ones(2)})
    state = read_state(locate(tmp_path, FILES), "pose_guider")
    assert state.shapes == {"a": (1,), "b.c": (2,)}
    assert state["b.c"].tolist() == [1, 1]


@pytest.mark.parametrize("wrapper", ["state_dict", "model"])
def test_one_level_of_wrapping_is_taken_off(tmp_path, wrapper):
    put(tmp_path / "personalive/pose_guider.pth", {wrapper: {"module.a": torch.ones(1)}, "epoch": 3})
    assert read_state(locate(tmp_path, FILES), "pose_guider").shapes == {"a": (1,)}


def test_several_states_in_one_file_keep_their_names(tmp_path):
    put(tmp_path / "personalive/pose_guider.pth", {"a": {"module.x": torch.ones(1)}, "b": {"x": torch.zeros(2)}})
    state = read_state(locate(tmp_path, FILES), "pose_guider")
    assert state.shapes == {"a.x": (1,), "b.x": (2,)}
    assert state["a.x"] == 1


@pytest.mark.parametrize("content", [{"state_dict": {"model": {"a": torch.ones(1)}}}, [torch.ones(1)], {"epoch": 3}])
def test_other_contents_are_refused(tmp_path, content):
    torch.save(content, tmp_path / "pose_guider.pth")
    with pytest.raises(WeightsError, match="should hold tensors by name"):
        read_state(locate(tmp_path, FILES), "pose_guider")


def test_files_of_the_old_torch_format_are_read(tmp_path):
    torch.save({"a": torch.ones(1)}, tmp_path / "pose_guider.pth", _use_new_zipfile_serialization=False)
    assert read_state(locate(tmp_path, FILES), "pose_guider")["a"] == 1


class Bomb:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def dump(content, path):
    path.write_bytes(pickle.dumps(content, 2))


def undump(path):
    return pickle.loads(path.read_bytes())


def unsafe_load(path):
    return torch.load(path, weights_only=False)


@pytest.mark.parametrize(
    ("save", "execute"),
    [
        (torch.save, unsafe_load),
        (partial(torch.save, _use_new_zipfile_serialization=False), unsafe_load),
        (dump, undump),
    ],
    ids=["torch", "old torch", "pickle"],
)
def test_a_pickle_bomb_is_refused_and_not_executed(tmp_path, save, execute):
    trace, path = tmp_path / "executed", tmp_path / "pose_guider.pth"
    save({"a": torch.ones(1), "b": Bomb(trace)}, path)
    with pytest.raises(WeightsError, match=r"not a plain weights file .* nothing in it was executed"):
        read_state(locate(tmp_path, FILES), "pose_guider")
    assert not trace.exists()
    execute(path)
    assert trace.exists(), "this bomb is harmless, so that the test shows nothing"


@pytest.mark.parametrize(("suffix", "bytes_kept"), [("pth", 0), ("pth", 300), ("safetensors", 0), ("safetensors", 90)])
def test_empty_and_truncated_files_are_refused(tmp_path, suffix, bytes_kept):
    path = put(tmp_path / f"pose_guider.{suffix}", {"a": torch.ones(100)})
    path.write_bytes(path.read_bytes()[:bytes_kept])
    with pytest.raises(WeightsError, match="delete it"):
        read_state(locate(tmp_path, FILES), "pose_guider")


def test_text_is_refused(tmp_path):
    (tmp_path / "pose_guider.pth").write_text("<html>sign in first</html>")
    with pytest.raises(WeightsError, match="not a plain weights file"):
        read_state(locate(tmp_path, FILES), "pose_guider")


def test_load_casts_and_fills_every_tensor(tmp_path):
    expected = weights_of(on_meta())
    state = state_of(tmp_path, "motion_encoder", expected)
    module = load_into(
        on_meta(),
        state,
        network="motion_encoder",
        device="cpu",
        dtype=torch.float16,
        facts=NetworkFacts(float32=re.compile(r"running_var$")),
    )
    loaded = module.state_dict()
    for key, value in expected.items():
        assert loaded[key].dtype == (torch.float32 if key == "1.running_var" else torch.float16)
        assert torch.equal(loaded[key], value.to(loaded[key].dtype))
    assert loaded["pe"].tolist() == [0, 1, 2]
    assert loaded["pe"].dtype == torch.float16
    assert loaded["1.num_batches_tracked"].item() == 0


def test_loaded_tensors_do_not_depend_on_the_file(tmp_path):
    expected = weights_of(on_meta())
    state = state_of(tmp_path, "pose_guider", expected)
    module = load_into(on_meta(), state, network="pose_guider", device="cpu", dtype=torch.float32)
    path = tmp_path / "personalive/pose_guider.pth"
    path.write_bytes(bytes(path.stat().st_size))
    assert torch.equal(module.state_dict()["0.weight"], expected["0.weight"])


def test_load_names_missing_extra_and_misshapen_keys(tmp_path):
    tensors = weights_of(on_meta())
    del tensors["0.bias"]
    tensors |= {"1.weight": torch.zeros(7), **{f"surplus.{i}": torch.zeros(1) for i in range(7)}}
    with pytest.raises(WeightsError) as caught:
        load_into(
            on_meta(),
            state_of(tmp_path, "pose_guider", tensors),
            network="pose_guider",
            device="cpu",
            dtype=torch.float32,
        )
    text = str(caught.value)
    assert "1 missing keys: 0.bias" in text
    assert "7 extra keys: surplus.0, surplus.1, surplus.2, surplus.3, surplus.4 and 2 more" in text
    assert "1 misshapen keys: 1.weight (expected [3], came [7])" in text


@pytest.mark.parametrize("fault", ["missing", "extra", "misshapen"])
@pytest.mark.parametrize("network", NETWORKS)
def test_each_fault_alone_is_refused_but_extras_where_upstream_is_lenient(tmp_path, network, fault):
    tensors = weights_of(on_meta())
    if fault == "missing":
        del tensors["0.bias"]
    else:
        tensors["0.bias" if fault == "misshapen" else "fc_more.weight"] = torch.zeros(1)
    state = state_of(tmp_path, "pose_guider", tensors)  # where a state was read from is no matter
    options = {"network": network, "device": "cpu", "dtype": torch.float32, "facts": facts_of(network)}
    if network in {"motion_extractor", "denoising_unet"} and fault == "extra":
        load_into(on_meta(), state, **options)
    else:
        with pytest.raises(WeightsError, match=f"1 {fault} keys"):
            load_into(on_meta(), state, **options)


@pytest.mark.parametrize("network", ["motion_extractor", "denoising_unet"])
def test_extra_keys_are_left_out_with_one_warning(tmp_path, caplog, network):
    surplus = {f"surplus.{i}.weight": torch.zeros(1) for i in range(7)}
    state = state_of(tmp_path, network, {**weights_of(on_meta()), **surplus, "down.0.pe": torch.ones(2)})
    with caplog.at_level(logging.WARNING):
        loaded = load_into(
            on_meta(), state, network=network, device="cpu", dtype=torch.float32, facts=facts_of(network)
        )
    assert set(loaded.state_dict()) == set(on_meta().state_dict())
    (text,) = caplog.messages
    assert f"the weights of {network} hold 7 extra keys: surplus.0.weight, surplus.1.weight," in text
    assert "surplus.4.weight and 2 more; the network has no such keys" in text


def test_nothing_is_said_of_weights_that_fit_or_are_refused(tmp_path, caplog):
    options = {"network": "denoising_unet", "device": "cpu", "dtype": torch.float32}
    options["facts"] = facts_of("denoising_unet")
    load_into(on_meta(), state_of(tmp_path, "denoising_unet", weights_of(on_meta())), **options)
    tensors = {"0.bias": torch.zeros(3), "surplus": torch.zeros(1)}
    with pytest.raises(WeightsError, match="missing keys"):
        load_into(on_meta(), state_of(tmp_path, "denoising_unet", tensors), **options)
    assert caplog.messages == []


def test_computed_buffers_may_be_in_the_file(tmp_path):
    tensors = {**weights_of(on_meta()), "pe": torch.ones(9), "1.num_batches_tracked": torch.tensor(5)}
    state = state_of(tmp_path, "pose_guider", {**tensors, "x.position_ids": torch.arange(3)})
    module = load_into(on_meta(), state, network="pose_guider", device="cpu", dtype=torch.float32)
    assert module.state_dict()["1.num_batches_tracked"] == 5
    assert module.state_dict()["pe"].tolist() == [0, 1, 2]


def test_positions_left_on_the_meta_device_are_counted_anew(tmp_path):
    module = on_meta()
    module.register_buffer("position_ids", torch.zeros(1, 4, dtype=torch.int64, device="meta"), persistent=False)
    state = state_of(tmp_path, "pose_guider", weights_of(on_meta()))
    load_into(module, state, network="pose_guider", device="cpu", dtype=torch.float16)
    assert module.position_ids.tolist() == [[0, 1, 2, 3]]
    assert "position_ids" not in module.state_dict()


def test_a_buffer_left_on_the_meta_device_is_named(tmp_path):
    module = on_meta()
    module.register_buffer("bins", torch.zeros(2, device="meta"), persistent=False)
    state = state_of(tmp_path, "pose_guider", weights_of(on_meta()))
    with pytest.raises(WeightsError, match="buffer bins of pose_guider"):
        load_into(module, state, network="pose_guider", device="cpu", dtype=torch.float32)


def test_the_base_unet_only_fills_what_is_missing(tmp_path, caplog):
    tensors = weights_of(on_meta())
    state = state_of(tmp_path, "denoising_unet", tensors)
    assert complete(state, on_meta(), locate(tmp_path, FILES)) is state

    bias = tensors.pop("0.bias")
    state = state_of(tmp_path, "denoising_unet", tensors)
    assert missing_keys(on_meta(), state) == ("0.bias",)
    with pytest.raises(WeightsError, match=r"sd-image-variations-diffusers/unet/diffusion_pytorch_model\.bin"):
        complete(state, on_meta(), locate(tmp_path, FILES))

    state_of_base = {"0.bias": bias + 1, "0.weight": torch.full((3, 2, 1, 1), 9.0), "conv_extra": torch.zeros(1)}
    (tmp_path / "sd-image-variations-diffusers/unet").mkdir(parents=True)
    (tmp_path / "sd-image-variations-diffusers/unet/config.json").write_text("{}")
    state_of(tmp_path, "base_unet", state_of_base)
    module = load_into(
        on_meta(),
        complete(state, on_meta(), locate(tmp_path, FILES)),
        network="denoising_unet",
        device="cpu",
        dtype=torch.float32,
        facts=facts_of("denoising_unet"),
    ).state_dict()
    assert caplog.messages == [], "the base's other keys are no extras: they are never taken"
    assert torch.equal(module["0.bias"], bias + 1)
    assert torch.equal(module["0.weight"], tensors["0.weight"])


def test_old_attention_names_of_the_vae_are_translated(tmp_path):
    old = {f"encoder.mid_block.attentions.0.{name}.weight": torch.ones(1) for name in ("query", "proj_attn", "to_k")}
    put(tmp_path / "sd-vae-ft-mse/diffusion_pytorch_model.bin", {**old, "decoder.conv_in.bias": torch.ones(1)})
    (tmp_path / "sd-vae-ft-mse/config.json").write_text("{}")
    attention = "encoder.mid_block.attentions.0."
    expected = {attention + "to_q.weight", attention + "to_out.0.weight", attention + "to_k.weight"}
    assert set(read_state(locate(tmp_path, FILES), "vae")) == {*expected, "decoder.conv_in.bias"}


def test_describe_lists_every_file(tmp_path):
    put(tmp_path / "personalive/pose_guider.pth", {"a": torch.ones(2).half(), "b": torch.ones(1)})
    (tmp_path / "personalive/motion_encoder.pth").write_bytes(b"")
    rows = {(row.network, Path(row.file).name): row for row in describe(locate(tmp_path, FILES))}
    assert len(rows) == len([file for file in FILES if not file.is_config])
    guider = rows["pose_guider", "pose_guider.pth"]
    assert (guider.found, guider.dtype) == (True, "float16, float32")
    assert guider.size == (tmp_path / "personalive/pose_guider.pth").stat().st_size
    assert rows["motion_encoder", "motion_encoder.pth"].dtype == "unreadable"
    assert not rows["vae", "diffusion_pytorch_model.safetensors"].found
    assert all(row.licence for row in rows.values())


def test_the_published_networks_are_non_commercial(tmp_path):
    """Their training began from X-NeMo's weights."""
    texts = {row.licence for row in describe(locate(tmp_path, FILES)) if row.network == "denoising_unet"}
    assert all(text.startswith("non-commercial: ") and "CC BY-NC 4.0" in text for text in texts)
    assert texts


def test_sizes_are_told_for_every_file_that_is_large():
    assert {file.place for file in FILES if not about_bytes(file)} == {file.place for file in FILES if file.is_config}
