"""Inputs and outputs of a stage as lists of tensors, and the weights of networks as they lie in memory."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn


def tensors_of(value: Any) -> list[Tensor]:  # noqa: ANN401 - a tensor, or nested tuples of tensors
    """All tensors in `value`, in order."""
    if isinstance(value, Tensor):
        return [value]
    return [tensor for part in value for tensor in tensors_of(part)] if isinstance(value, (tuple, list)) else []


def with_tensors(value: Any, tensors: Iterator[Tensor]) -> Any:  # noqa: ANN401 - as above
    """`value` with its tensors replaced, in order, by the next of `tensors`."""
    if isinstance(value, Tensor):
        return next(tensors)
    return tuple(with_tensors(part, tensors) for part in value) if isinstance(value, (tuple, list)) else value


def shape_of(value: Any) -> Hashable:  # noqa: ANN401 - as above
    """Shapes, types and devices of the tensors in `value`, and everything else in it as it is."""
    if isinstance(value, Tensor):
        return tuple(value.shape), value.dtype, value.device
    return tuple(shape_of(part) for part in value) if isinstance(value, (tuple, list)) else value


def fewer_frames(inputs: Hashable, others: Hashable) -> bool:
    """True if two `shape_of` differ only in the first size of each tensor, and `inputs` has less of it."""
    pairs = list(zip(_flat(inputs), _flat(others), strict=False))
    sizes = [(one, other) for one, other in pairs if isinstance(one, tuple) and isinstance(other, tuple) and one]
    alike = len(_flat(inputs)) == len(_flat(others)) and all(
        (one[1:] == other[1:] if (one, other) in sizes else one == other) for one, other in pairs
    )
    return alike and bool(sizes) and all(one[0] < other[0] for one, other in sizes)


def _flat(shape: Any) -> list[Any]:  # noqa: ANN401 - nested tuples; a shape is a tuple of numbers
    if isinstance(shape, tuple) and not all(isinstance(part, int) for part in shape):
        return [leaf for part in shape for leaf in _flat(part)]
    return [shape]


@dataclass(frozen=True, eq=False)
class Snapshot:
    """Where the weights of networks lie: (the dict that holds a weight, its name, address, version)."""

    places: tuple[tuple[dict[str, Tensor | None], str, int, int], ...]
    by_value: bool  # True: a change of values in place counts too

    def holds(self) -> bool:
        """True if every weight is where it was; with `by_value`, also as it was, as far as torch counts changes."""
        for holder, name, address, version in self.places:
            tensor = holder.get(name)
            if tensor is None or tensor.data_ptr() != address or (self.by_value and _version(tensor) != version):
                return False
        return True


def snapshot(networks: tuple[nn.Module, ...], by_value: bool = False) -> Snapshot:
    """The present places of all parameters and buffers of `networks`."""
    holders: list[dict[str, Tensor | None]] = []
    for network in networks:
        for module in network.modules():
            holders += [vars(module)["_parameters"], vars(module)["_buffers"]]
    places = [
        (holder, name, tensor.data_ptr(), _version(tensor))
        for holder in holders
        for name, tensor in holder.items()
        if tensor is not None
    ]
    return Snapshot(tuple(places), by_value)


def _version(tensor: Tensor) -> int:
    return 0 if tensor.is_inference() else tensor._version
