"""LivePortrait's networks in small sizes with stand-in weights, written as the hub or the repack hold them."""

import torch
from safetensors.torch import save_file

from personalive_core.backends.liveportrait.files import BASE_NETWORKS, LIVE_NETWORKS, RETARGETING
from personalive_core.backends.liveportrait.networks import LiveSizes
from personalive_core.modules.appearance import AppearanceConfig, AppearanceExtractor
from personalive_core.modules.dense_motion import WarpingConfig
from personalive_core.modules.keypoints import KeypointConfig, KeypointExtractor
from personalive_core.modules.retargeting import RetargetingConfig, RetargetingNetworks
from personalive_core.modules.spade import SpadeConfig, SpadeDecoder
from personalive_core.modules.warping import WarpingNetwork

CPU = torch.device("cpu")
SIZES = LiveSizes(
    AppearanceConfig(widths=(4, 8, 8), depth=4, channels=4, blocks=2),
    KeypointConfig(widths=(4, 8, 8, 8), depths=(1, 1, 2, 1)),
    WarpingConfig(channels=4, depth=4, compressed=2, width=4, most=16, levels=2, out=8),
    SpadeConfig(features=8, middle=8, blocks=2, widths=(6, 4), hidden=4),
    RetargetingConfig((126, 8, 65), (65, 8, 8, 63), (66, 8, 63)),
)
HUMAN, ANIMAL, OLD_ANIMAL = (
    "liveportrait/base_models",
    "liveportrait_animals/base_models_v1.1",
    "liveportrait_animals/base_models",
)


def tiny_states(synth):
    """The state of every network, as the hub's files hold it."""
    networks = (
        AppearanceExtractor(SIZES.appearance),
        KeypointExtractor(SIZES.keypoints),
        WarpingNetwork(SIZES.warping),
        SpadeDecoder(SIZES.decoder),
        RetargetingNetworks(SIZES.retargeting),
    )
    with torch.no_grad():
        found = {n: synth.load_synth(net, f"{n}.").state_dict() for n, net in zip(LIVE_NETWORKS, networks, strict=True)}
    found["motion_extractor"].pop("idx_tensor")
    return found


def nested(state):
    """The perceptrons as the hub's one file holds them."""
    parts = {}
    for key, tensor in state.items():
        name, _, rest = key.partition(".")
        parts.setdefault(name, {})[f"module.{rest}"] = tensor
    return parts


def write_hub(folder, states, base=HUMAN, change=lambda _, state: state):
    for name in LIVE_NETWORKS:
        place = base if name in BASE_NETWORKS else "liveportrait/retargeting_models"
        path = folder / place / f"{name}.pth"
        path.parent.mkdir(parents=True, exist_ok=True)
        state = change(name, dict(states[name]))
        torch.save(nested(state) if name == RETARGETING else state, path)
    return folder


def write_repack(folder, states, base=""):
    for name in LIVE_NETWORKS:
        path = folder / (base if name in BASE_NETWORKS else "") / f"{name}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        flat = {key.replace(".mlp.", "_module.mlp."): tensor for key, tensor in states[name].items()}
        save_file({key: tensor.contiguous() for key, tensor in flat.items()}, path)
    return folder


def shifted(name, state):
    """Other weights: another kind of subject."""
    return state if name == RETARGETING else {k: v + 0.01 if v.is_floating_point() else v for k, v in state.items()}
