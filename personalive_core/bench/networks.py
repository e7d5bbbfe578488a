"""Networks of any width with random weights, built in memory: `bench` measures them when it has no checkpoint."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..backends.personalive.files import facts_of
from ..backends.personalive.loader import library_ops
from ..backends.personalive.model import PersonaLive
from ..backends.personalive.networks import PUBLISHED, build
from ..modules.keypoints import KeypointExtractor
from ..modules.layers import Ops
from ..weights.fill import is_computed, load_into
from ..weights.read import State, TensorInfo
from .standin import calm, random_tensor, standin_sizes

_DRAWN_NUMBERS = 2**16  # random numbers drawn per weight tensor; its further rows repeat them


def empty_model(widths: tuple[int, ...], ops: Ops = nn) -> PersonaLive:
    """All networks on the meta device: full-size at the published UNet widths, small ones at any other `widths`."""
    with torch.device("meta"):
        return build(PUBLISHED if widths == PUBLISHED.unet.widths else standin_sizes(widths), ops)


def random_model(widths: tuple[int, ...], device: torch.device, dtype: torch.dtype) -> PersonaLive:
    """`empty_model` with weights that depend on their names alone; its extractor finds a face in any picture."""

    def filled(name: str, network: nn.Module) -> nn.Module:
        facts, state = facts_of(name), random_state(name, network)
        if not isinstance(network, KeypointExtractor):
            load_into(network, state, network=name, device=device, dtype=dtype, facts=facts)
            return in_channels_last(network)
        load_into(network, state, network=name, device="cpu", dtype=torch.float32)
        calm(network)
        calmed = {
            key: tensor if facts.stays_float32(key) else tensor.to(dtype)
            for key, tensor in network.state_dict().items()
        }
        network.load_state_dict(calmed, assign=True)
        return in_channels_last(network.to(device))

    return each(empty_model(widths, library_ops(device)), filled)


def in_channels_last(network: nn.Module) -> nn.Module:
    """The network with its weights in the memory format that the loader gives them, in place."""
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]  # not in its stub


class RandomState(State):
    """A state dict without a file: a tensor's values are generated when it is requested."""

    def stream(self, keys: Iterable[str]) -> Iterator[tuple[str, Tensor]]:
        """Yields (key, tensor) in the order of `keys`."""
        for key in keys:
            yield key, _repeating(self.entries[key].name, self.entries[key].shape)


class StandinState(RandomState):
    """Like `RandomState`, but no value repeats: slower to fill, and a network that does not enlarge rounding."""

    def stream(self, keys: Iterable[str]) -> Iterator[tuple[str, Tensor]]:
        """Yields (key, tensor) in the order of `keys`."""
        for key in keys:
            yield key, random_tensor(self.entries[key].name, torch.empty(self.entries[key].shape, device="meta"))


def random_state(name: str, network: nn.Module, kind: type[RandomState] = RandomState) -> RandomState:
    """Random values for every tensor of `network` that it does not compute itself; `name` is the network's name."""
    nowhere = Path()
    return kind(
        {
            key: TensorInfo(nowhere, f"{name}.{key}", tuple(tensor.shape), torch.float32)
            for key, tensor in network.state_dict().items()
            if not is_computed(key)
        }
    )


def _repeating(name: str, shape: tuple[int, ...]) -> Tensor:
    """`random_tensor` of a few rows, repeated to `shape`: fills two billion weights in seconds, with the same gain."""
    if len(shape) < 2:  # noqa: PLR2004 - a vector is short
        return random_tensor(name, torch.empty(shape, device="meta"))
    rows = min(max(_DRAWN_NUMBERS // math.prod(shape[1:]), 1), shape[0])
    block = random_tensor(name, torch.empty(rows, *shape[1:], device="meta"))
    return block.repeat(math.ceil(shape[0] / rows), *[1] * (len(shape) - 1))[: shape[0]]


def each(model: PersonaLive, change: Callable[[str, Any], Any]) -> PersonaLive:
    """The model with each network replaced by `change(name, network)`; networks that are None stay None."""
    networks: dict[str, Any] = {field.name: getattr(model, field.name) for field in fields(model)}
    return replace(
        model, **{name: change(name, network) for name, network in networks.items() if isinstance(network, nn.Module)}
    )
