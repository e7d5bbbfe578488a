"""Compiles a network block kind by block kind: blocks of one class with equal shapes share one compiled function."""

from __future__ import annotations

import copy
import logging
import re
from collections.abc import Callable, Hashable, Iterable
from functools import lru_cache
from types import FunctionType
from typing import Any

import torch
from torch import Tensor, nn

from ....modules.layers import Ops
from ....modules.unet import UNet
from ....text import plural, warn_once
from .values import shape_of, tensors_of

Progress = Callable[[int, int], None]  # (kinds compiled, kinds in all); may raise to cancel
Compile = Callable[[Callable[..., Any]], Callable[..., Any]]  # as torch.compile with its options

# The classes whose instances repeat, by name: those of diffusers are imported only when they are used.
COMPILED_BLOCKS = (
    *("Resnet", "Resample", "SpatialTransformer", "MotionTransformer"),  # modules/unet.py, modules/attention.py
    *("ResnetBlock2D", "Upsample2D", "Attention", "MidAttention"),  # of the VAE's decoder, diffusers' or ours
    *("DecoderTiny", "TinyDecoder"),  # whole: its blocks are small
)

_log = logging.getLogger(__name__)


@lru_cache(maxsize=8)
def opaque(attention: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Any:  # noqa: ANN401 - torch's type of an operator
    """`attention`, [N, H, L, D] -> same, as one operator that a compiler does not look into.

    So the number of keyframes, to which the length of keys and values is proportional, does not enter compiled code.
    """

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return attention(q, k, v).transpose(1, 2).contiguous().transpose(1, 2)  # as most kernels give it: then no copy

    def described(q: Tensor, _k: Tensor, v: Tensor) -> Tensor:
        return q.new_empty(q.shape[0], q.shape[2], q.shape[1], v.shape[3]).transpose(1, 2)

    return _operator(attention, attend, described, "Tensor q, Tensor k, Tensor v")


def opaque_kernels(kernels: Any, attention: Callable[..., Tensor]) -> Any:  # noqa: ANN401 - a set of fused functions
    """The set of `kernels`' type with plain functions, but its `frames` and `attention`, each as one operator.

    A compiler fuses what lies between layers by itself; attention of few tokens it does not make faster.
    """

    def frames(q: Tensor, k: Tensor, v: Tensor, heads: int, count: int) -> Tensor:
        found: Tensor = kernels.frames(q, k, v, heads, count, attention)
        return found.contiguous()

    def attend(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
        found: Tensor = kernels.attention(q, k, v, heads, attention)
        return found.contiguous()

    def described(q: Tensor, *_: object) -> Tensor:
        return q.new_empty(q.shape)

    tokens = "Tensor q, Tensor k, Tensor v, int heads"
    over_frames = _operator(kernels.frames, frames, described, f"{tokens}, int count")
    over_tokens = _operator(kernels.attention, attend, described, tokens)
    return type(kernels)(
        frames=lambda q, k, v, heads, count, _: over_frames(q, k, v, heads, count),
        attention=lambda q, k, v, heads, _: over_tokens(q, k, v, heads),
    )


def _operator(
    named: Callable[..., Any], call: Callable[..., Tensor], described: Callable[..., Tensor], given: str
) -> Any:  # noqa: ANN401 - as above
    """`call` as an operator, whose name is `named`'s: it enters the keys of the compilers' caches."""
    name = re.sub(r"\W", "_", f"{named.__module__}_{named.__qualname__}")
    operator = torch.library.custom_op(f"personalive::{name}", call, mutates_args=(), schema=f"({given}) -> Tensor")
    operator.register_fake(described)
    return operator


class ChangedOps:
    """A namespace of layers that is `base` but for the names in `changes`."""

    def __init__(self, base: Ops, **changes: Any) -> None:  # noqa: ANN401 - layer classes and functions
        self.base, self.changes = base, changes

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - as above
        changes = vars(self)["changes"]
        return changes[name] if name in changes else getattr(vars(self)["base"], name)


class Kinds:
    """The compiled functions of one device and one set of options, by kind."""

    def __init__(self, compile_: Compile, progress: Progress | None = None) -> None:
        self.compile, self.progress = compile_, progress
        self.compiled: dict[Hashable, Callable[..., Any]] = {}
        self.expected: set[Hashable] = set()  # class and weights of every unit: kinds, if each has one size of input

    def expect(self, unit: Hashable) -> None:
        """Counts the kind of a unit in advance, for the progress."""
        self.expected.add(unit)

    def call(self, layer: nn.Module, weights: Hashable, inputs: tuple[Any, ...], named: dict[str, Any]) -> Any:  # noqa: ANN401
        """`layer(*inputs, **named)`, compiled at the first call of its kind; what cannot be compiled runs as it is.

        Later calls too may compile: what the compiler took for granted at the first, such as a length, may change.
        """
        # tuples are keys and values of the bank: their length is left open
        given = (*inputs, *(value for _, value in sorted(named.items())))
        kind = weights, *("bank" if isinstance(one, tuple) else shape_of(one) for one in given), *sorted(named)
        run = self.compiled.get(kind)
        if run is _plain:
            return run(layer, *inputs, **named)
        if run is None:
            if self.progress:
                self.progress(len(self.compiled), max(len(self.expected), len(self.compiled) + 1))
            run = self.compile(_own(len(self.compiled)))
        try:
            result = run(layer, *inputs, **named)
        except Exception as error:  # whatever a compiler raises: the plain layer is right, and says what is wrong
            result = _plain(layer, *inputs, **named)
            name = type(layer).__name__
            warn_once(_log, f"blocks of the kind {name} run without a compiler, which failed: {short_error(error)}")
            run = _plain
        self.compiled[kind] = run
        return result

    def finish(self) -> None:
        """Tells the progress that all is compiled."""
        if self.progress:
            self.progress(len(self.compiled), len(self.compiled))

    def __repr__(self) -> str:
        return f"Kinds({plural(len(self.compiled), 'kind')})"


def _plain(layer: nn.Module, *inputs: Any, **named: Any) -> Any:  # noqa: ANN401 - those of the layer
    return layer(*inputs, **named)


def _own(number: int) -> Callable[..., Any]:
    """`_plain` with code of its own: torch.compile keeps its results by code, and only few for each."""
    return FunctionType(_plain.__code__.replace(co_name=f"kind_{number}"), globals())


def short_error(error: BaseException) -> str:
    """Type and first line of an error, for a message."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0].strip()}" if lines else type(error).__name__


class Unit(nn.Module):
    """A block that is called through `Kinds`."""

    def __init__(self, layer: nn.Module, kinds: Kinds) -> None:
        super().__init__()
        self.layer, self.kinds = layer, kinds
        named = [(name, shape_of(weight)) for name, weight in layer.named_parameters()]
        self.weights = (type(layer).__name__, tuple(named))
        kinds.expect(self.weights)

    def forward(self, *inputs: Any, **named: Any) -> Any:  # noqa: ANN401 - those of the block
        return self.kinds.call(self.layer, self.weights, inputs, named)


def twin(network: nn.Module, ops: Ops, kinds: Kinds) -> nn.Module:
    """A second network on the same weights, whose units are compiled; `network` itself does not change.

    A UNet is built anew, with layers from `ops`: those of a host that moves weights cannot be compiled. Of other
    networks the layers are kept.
    """
    if isinstance(network, UNet):
        with torch.device("meta"):
            built: nn.Module = UNet(network.config, ops)
        built.load_state_dict(network.state_dict(), assign=True)
    else:
        weights: Iterable[Tensor] = (*network.parameters(), *network.buffers())
        built = copy.deepcopy(network, {id(weight): weight for weight in weights})  # the memo: these are not copied
    _wrap(built, kinds)
    return built.eval()


def _wrap(network: nn.Module, kinds: Kinds) -> None:
    """Puts a `Unit` in place of every unit below `network`, which is a twin."""
    for name, child in list(network.named_children()):
        if name == "encoder":
            continue  # of a VAE: not used by a stream
        if type(child).__name__ in COMPILED_BLOCKS:
            network.add_module(name, Unit(child, kinds))
        else:
            _wrap(child, kinds)


def leave_lengths_open(features: Any) -> None:  # noqa: ANN401 - `LayerFeatures`
    """Marks the lengths of keys and values [B, K L, C], so that compiled code holds for any number K of keyframes."""
    for tensor in tensors_of(features):
        torch._dynamo.maybe_mark_dynamic(tensor, 1)
