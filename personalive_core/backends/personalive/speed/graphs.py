"""CUDA graphs with static buffers: inputs are copied in, outputs are copied out, so nobody sees a buffer change."""

from __future__ import annotations

import threading
import weakref
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
    """Records CUDA graphs from one queue into one pool: torch gives a pool's memory again to the same queue alone."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.lock = device, threading.Lock()
        self.queue, self.done = torch.cuda.Stream(device), torch.cuda.Event()
        self.pools: weakref.WeakKeyDictionary[torch.cuda.CUDAGraph, Any] = weakref.WeakKeyDictionary()  # of each graph

    def record(self, run: Callable[[], Any]) -> tuple[Callable[[], None], Any]:
        with torch.cuda.device(self.device):
            caller = torch.cuda.current_stream()
            self.queue.wait_stream(caller)
            try:
                with torch.cuda.stream(self.queue):  # torch's own block stays in it where a capture fails
                    for _ in range(WARM_UP):
                        run()
                    return self._captured(run)
            finally:
                caller.wait_stream(self.queue)

    def _captured(self, run: Callable[[], Any]) -> tuple[Callable[[], None], Any]:
        graph = torch.cuda.CUDAGraph()
        # a pool whose graphs are all gone, or in which a capture failed, may be refused
        pool = next(iter(self.pools.values()), None) or torch.cuda.graph_pool_handle()
        try:
            # thread_local: other threads may go on using the device meanwhile
            with (
                own_workspaces(),
                torch.cuda.graph(graph, pool=pool, stream=self.queue, capture_error_mode="thread_local"),
            ):
                outputs = run()
        except BaseException:
            self.pools.clear()
            raise
        self.pools[graph] = pool
        return graph.replay, outputs

    @contextmanager
    def in_turn(self) -> Iterator[None]:
        with self.lock, torch.cuda.device(self.device):
            stream = torch.cuda.current_stream()
            stream.wait_event(self.done)
            try:
                yield
            finally:  # a replay may be under way whose outputs found no memory to be copied to
                self.done.record(stream)


@contextmanager
def own_workspaces() -> Iterator[None]:
    """A block in which cuBLAS takes its workspaces from the captured graph's pool, as torch's own graphs do it.

    Otherwise they are those of the queue: torch shares them with all that runs in it, and frees them with any graph.
    """
    torch._C._cuda_clearCublasWorkspaces()
    try:
        yield
    finally:
        torch._C._cuda_clearCublasWorkspaces()


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
