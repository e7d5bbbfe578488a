"""CUDA graphs with static buffers: inputs are copied in, outputs are copied out, so nobody sees a buffer change."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor

from .values import tensors_of, with_tensors

WARM_UP = 2  # runs before the capture: libraries choose kernels and allocate workspaces in them


class GraphRecorder(Protocol):
    """Records the device's work of a function, to be replayed; the recordings of one recorder share memory."""

    def record(self, run: Callable[[], Any]) -> tuple[Callable[[], None], Any]:
        """(a function that does the same work on the same tensors, the outputs it writes into). May raise anything."""

    def in_turn(self) -> Any:  # noqa: ANN401 - a context manager
        """A block in which one recording is used, after all earlier uses, whatever stream or thread they are in."""


class CudaRecorder:
    """Records CUDA graphs into one memory pool."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.lock = device, threading.Lock()
        self.pool, self.done = torch.cuda.graph_pool_handle(), torch.cuda.Event()

    def record(self, run: Callable[[], Any]) -> tuple[Callable[[], None], Any]:
        with torch.cuda.device(self.device):
            side = torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                for _ in range(WARM_UP):
                    run()
            torch.cuda.current_stream().wait_stream(side)
            graph = torch.cuda.CUDAGraph()
            # thread_local: other threads may go on using the device meanwhile
            with torch.cuda.graph(graph, pool=self.pool, stream=side, capture_error_mode="thread_local"):
                outputs = run()
        return graph.replay, outputs

    @contextmanager
    def in_turn(self) -> Iterator[None]:
        with self.lock, torch.cuda.device(self.device):
            stream = torch.cuda.current_stream()
            stream.wait_event(self.done)
            yield
            self.done.record(stream)


class Recording:
    """One recorded function for inputs of one shape."""

    def __init__(self, body: Callable[..., Any], inputs: tuple[Any, ...], recorder: GraphRecorder) -> None:
        """Records `body(*inputs)`; `inputs` themselves are not kept. Raises whatever recording raises."""
        self.recorder = recorder
        self.buffers = [torch.empty_like(tensor) for tensor in tensors_of(inputs)]
        static = with_tensors(inputs, iter(self.buffers))
        with recorder.in_turn():
            _copy(self.buffers, tensors_of(inputs))
            self.replay, self.outputs = recorder.record(lambda: body(*static))

    def __call__(self, inputs: tuple[Any, ...]) -> Any:  # noqa: ANN401 - whatever the stage returns
        """The outputs for `inputs`, in memory of their own."""
        with self.recorder.in_turn():
            with torch.inference_mode():
                _copy(self.buffers, tensors_of(inputs))
                self.replay()
            copies = [tensor.clone() for tensor in tensors_of(self.outputs)]
        return with_tensors(self.outputs, iter(copies))


def _copy(buffers: list[Tensor], tensors: list[Tensor]) -> None:
    """One launch for all tensors of a type: there are a hundred, most of them small."""
    for dtype in {buffer.dtype for buffer in buffers}:
        pairs = [(buffer, tensor) for buffer, tensor in zip(buffers, tensors, strict=True) if buffer.dtype == dtype]
        torch._foreach_copy_([buffer for buffer, _ in pairs], [tensor for _, tensor in pairs])
