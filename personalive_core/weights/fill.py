"""Loads the tensors of a state into a network: every key must fit, and one tensor is copied at a time."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import WeightsError
from .read import State

# Buffers that a network computes itself (sinusoidal positions, bin numbers, a training counter, token positions). Some
# files hold them and some do not, depending on their age; the values are the same.
_COMPUTED = ("pe", "idx_tensor", "num_batches_tracked", "position_ids")


_NAMED = 5  # a message lists at most this many keys of each kind
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class NetworkFacts:
    """Loading options of one network; the defaults suit most networks."""

    extra_allowed: bool = False  # keys that the network does not have are left out, with a warning
    float32: re.Pattern[str] | None = None  # matches keys of floating-point tensors that are always float32

    def stays_float32(self, key: str) -> bool:
        """True if the floating-point tensor of this key must be float32."""
        return bool(self.float32 and self.float32.search(key))


def is_computed(key: str) -> bool:
    """True if the key names a buffer that networks compute themselves; a file may hold it or not."""
    return key.rpartition(".")[2] in _COMPUTED


def missing_keys(module: torch.nn.Module, state: State) -> tuple[str, ...]:
    """The keys that `module` needs and `state` lacks."""
    return tuple(key for key in module.state_dict() if key not in state and not is_computed(key))


def load_into(
    module: torch.nn.Module,
    state: State,
    *,
    network: str,
    device: torch.device | str,
    dtype: torch.dtype,
    facts: NetworkFacts = NetworkFacts(),
) -> torch.nn.Module:
    """Loads `state` into `module`, usually built on the meta device, and returns it.

    Tensors are copied out of their files one at a time, so that peak memory stays near the size of the weights.
    Floating-point tensors become `dtype`, or float32 where the `facts` say so. The same holds for buffers that the
    module computed itself. Raises WeightsError that names missing or extra keys, keys with another shape, or a buffer
    that is still on the meta device. Where the `facts` allow extra keys, one warning names them instead.
    """
    _check_fit(module, state, network, facts.extra_allowed)

    def settled(key: str, tensor: Tensor) -> Tensor:
        floating = torch.float32 if facts.stays_float32(key) else dtype
        return tensor.to(device, floating if tensor.is_floating_point() else tensor.dtype, copy=True)

    needed = module.state_dict()
    keys = [key for key, own in needed.items() if key in state and (own.is_meta or not is_computed(key))]
    tensors = {key: settled(key, tensor) for key, tensor in state.stream(keys)}
    module.load_state_dict(tensors, strict=False, assign=True)
    for key, buffer in list(module.named_buffers()):
        if key not in tensors:
            owner, _, leaf = key.rpartition(".")
            value = settled(key, _materialised(key, buffer, network))
            module.get_submodule(owner).register_buffer(leaf, value, persistent=key in needed)
    return module


def hold_in(module: torch.nn.Module, storage: torch.dtype) -> torch.nn.Module:
    """Stores parameters with two or more dimensions in the dtype `storage` (fp8), in place; others keep their dtype."""
    held = {key: value.to(storage) for key, value in module.named_parameters() if value.dim() > 1}
    module.load_state_dict(held, strict=False, assign=True)
    return module


def _materialised(key: str, buffer: Tensor, network: str) -> Tensor:
    if not buffer.is_meta:
        return buffer
    if key.endswith("num_batches_tracked"):  # only counts training steps
        return torch.zeros(buffer.shape, dtype=buffer.dtype)
    if key.endswith("position_ids"):
        return torch.arange(buffer.shape[-1]).expand(buffer.shape)
    raise WeightsError(
        f"the buffer {key} of {network} is in no file and was not computed: build the network so that this buffer is "
        "not on the meta device"
    )


def _check_fit(module: torch.nn.Module, state: State, network: str, extra_allowed: bool) -> None:
    needed = {key: tuple(tensor.shape) for key, tensor in module.state_dict().items()}
    shapes = state.shapes
    extra = [key for key in shapes if key not in needed and not is_computed(key)]
    misshapen = [
        f"{key} (expected {list(needed[key])}, came {list(shapes[key])})"
        for key in needed
        if key in shapes and shapes[key] != needed[key] and not is_computed(key)
    ]
    faults = [
        _listed("missing", missing_keys(module, state)),
        _listed("extra", [] if extra_allowed else extra),
        _listed("misshapen", misshapen),
    ]
    if any(faults):
        raise WeightsError(
            f"the weights do not fit {network}: {'; '.join(filter(None, faults))}: use the published files, and "
            "convert them again if they were converted"
        )
    if extra:
        _log.warning(
            "the weights of %s hold %s; the network has no such keys, so they are left out",
            network,
            _listed("extra", extra),
        )


def _listed(kind: str, keys: Sequence[str]) -> str:
    if not keys:
        return ""
    rest = f" and {len(keys) - _NAMED} more" if len(keys) > _NAMED else ""
    return f"{len(keys)} {kind} keys: {', '.join(keys[:_NAMED])}{rest}"
