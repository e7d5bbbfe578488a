"""Loads LivePortrait's networks from a weights folder, strictly, and folds their norms."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ...modules.appearance import AppearanceExtractor
from ...modules.dense_motion import WarpingConfig
from ...modules.folding import fold_masks, folded
from ...modules.keypoints import KeypointExtractor
from ...modules.layers import Ops
from ...modules.retargeting import RetargetingNetworks
from ...modules.spade import SpadeDecoder
from ...modules.spade_folding import fold_decoder
from ...modules.warping import WarpingNetwork
from ...modules.winograd import transform_weights, winograd_ops
from ...weights.fill import NetworkFacts, load_into
from ...weights.index import WeightIndex, read_state
from ...weights.read import State
from ..building import build_on_meta, keypoint_config
from .files import LIVE_FACTS, RETARGETING, locate_live
from .model import LivePortrait
from .networks import TensorShapes, appearance_config, decoder_config, retargeting_config, warping_config

_REPACKED = re.compile(r"^(retarget_\w+?)_module\.")  # the perceptrons' names in the safetensors repack
_FLOAT32 = NetworkFacts(float32=re.compile(""))


@dataclass(frozen=True)
class _Folding:
    """A network whose published form is loaded and checked first, and then folded."""

    network: str
    config: Callable[[TensorShapes], Any]
    build: Callable[[Any, Ops], nn.Module]
    fold: Callable[[Mapping[str, Tensor], Any], dict[str, Tensor]]


def _fold_warping(state: Mapping[str, Tensor], config: WarpingConfig) -> dict[str, Tensor]:
    return fold_masks(folded(state)) if config.fourier else folded(state)


_FOLDINGS = (
    _Folding("appearance_feature_extractor", appearance_config, AppearanceExtractor, lambda state, _: folded(state)),
    _Folding("warping_module", warping_config, WarpingNetwork, _fold_warping),
    _Folding("spade_generator", decoder_config, SpadeDecoder, fold_decoder),
)


def load_live(
    folder: Path, device: torch.device, dtype: torch.dtype, subject: str = "human", ops: Ops = nn
) -> LivePortrait:
    """Loads the networks of `folder` for a `subject` of SUBJECTS onto `device` as `dtype`, in eval mode.

    `ops` are a host's own layer classes. Raises WeightsError that names missing files, or keys that do not fit.
    """
    index = locate_live(folder, subject)
    return assemble_live(lambda network: live_state(index, network), device, dtype, ops)


def assemble_live(
    state_of: Callable[[str], State], device: torch.device, dtype: torch.dtype, ops: Ops = nn
) -> LivePortrait:
    """As `load_live`, from the tensors that `state_of` gives for each network, by the keys of the hub's files."""
    appearance, warping, decoder = (
        _load_folded(state_of(folding.network), folding, device, dtype, ops) for folding in _FOLDINGS
    )
    extractor, retargeting = (
        _load(network, state_of(network), build, device, kind)
        for network, build, kind in (
            ("motion_extractor", lambda shapes: KeypointExtractor(keypoint_config(shapes), ops), dtype),
            (RETARGETING, lambda shapes: RetargetingNetworks(retargeting_config(shapes), ops), torch.float32),
        )
    )
    return LivePortrait(appearance, extractor, warping, decoder, retargeting)


def live_state(index: WeightIndex, network: str) -> State:
    """The tensors of one network, by the keys of the hub's files. Raises WeightsError as `read_state` does."""
    state = read_state(index, network)
    if network != RETARGETING:
        return state
    return State({_REPACKED.sub(r"\1.", key): info for key, info in state.entries.items()})


def _load(
    network: str,
    state: State,
    build: Callable[[TensorShapes], nn.Module],
    device: torch.device,
    dtype: torch.dtype,
) -> Any:  # noqa: ANN401 - each network has its own type
    module = build_on_meta(network, build, state.shapes)
    load_into(module, state, network=network, device=device, dtype=dtype, facts=LIVE_FACTS[network])
    return module.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it


def _load_folded(state: State, folding: _Folding, device: torch.device, dtype: torch.dtype, ops: Ops) -> Any:  # noqa: ANN401 - as above
    module = build_on_meta(folding.network, lambda shapes: folding.build(folding.config(shapes), nn), state.shapes)
    load_into(module, state, network=folding.network, device="cpu", dtype=torch.float32, facts=_FLOAT32)
    config = replace(folding.config(state.shapes), folded=True)
    if ops is nn and device.type == "cpu" and dtype == torch.float32:  # what saves arithmetic where that is what lacks
        ops = winograd_ops()
        config = replace(config, fourier=True) if isinstance(config, WarpingConfig) else config
    with torch.device("meta"):
        runs = folding.build(config, ops)
    runs.load_state_dict(transform_weights(runs, folding.fold(module.state_dict(), config)), assign=True)
    return arranged(runs.eval().requires_grad_(False).to(device, dtype), device)


def arranged(network: nn.Module, device: torch.device) -> nn.Module:
    """A network as its device reads it best: on CUDA the decoder's weights in half have their channels last."""
    half = all(weight.dtype.itemsize < torch.float32.itemsize for weight in network.parameters())
    if device.type == "cuda" and half and isinstance(network, SpadeDecoder):
        return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]  # as above
    return network
