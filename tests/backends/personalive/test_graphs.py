"""The recorder of CUDA graphs, on a double of torch.cuda that keeps count of queues, pools and workspaces."""

from contextlib import contextmanager

import pytest
import torch

from personalive_core.backends.personalive.speed.graphs import CudaRecorder, Recording

CUDA = torch.device("cuda")


class Queue:
    """A stream, which notes whom it waited for."""

    def __init__(self, _device=None):
        self.waited = []

    def wait_stream(self, other):
        self.waited.append(other)

    def wait_event(self, event):
        self.waited.append(event)


class Event:
    def __init__(self):
        self.recorded = []

    def record(self, queue):
        self.recorded.append(queue)


class Graph:
    def replay(self):
        pass


class Device:
    """What of torch.cuda a recorder uses; a pool whose graphs are all gone is refused, as torch may refuse it."""

    def __init__(self):
        self.current, self.handles, self.log = Queue(), 0, []
        self.used = {}  # number of captures in each pool that were not released
        self.fails = False

    def graph_pool_handle(self):
        self.handles += 1
        return (0, self.handles)

    @contextmanager
    def stream(self, queue):
        before, self.current = self.current, queue
        try:
            yield
        finally:
            self.current = before

    @contextmanager
    def graph(self, graph, pool, stream, capture_error_mode):
        """As torch 2.13: where a capture fails, its end raises, and the queue stays the current one."""
        assert capture_error_mode == "thread_local"
        assert self.used.get(pool, 1) > 0, "use_count > 0 INTERNAL ASSERT FAILED"
        before, self.current = self.current, stream
        self.log.append(("capture", pool, stream))
        graph.pool = pool
        self.used[pool] = self.used.get(pool, 0) + 1
        try:
            yield
        finally:
            if self.fails:
                raise RuntimeError("operation failed due to a previous error during capture")
        self.current = before

    def gone(self, pool):
        self.used[pool] -= 1


@pytest.fixture
def cuda(monkeypatch):
    device = Device()

    class Counted(Graph):
        def __del__(self):
            if hasattr(self, "pool"):
                device.gone(self.pool)

    @contextmanager
    def nothing(_device):
        yield

    for name, double in {
        "Stream": Queue,
        "Event": Event,
        "CUDAGraph": Counted,
        "device": nothing,
        "stream": device.stream,
        "current_stream": lambda: device.current,
        "graph": device.graph,
        "graph_pool_handle": device.graph_pool_handle,
    }.items():
        monkeypatch.setattr(torch.cuda, name, double)
    clear = lambda: device.log.append("cleared")  # noqa: E731
    monkeypatch.setattr(torch._C, "_cuda_clearCublasWorkspaces", clear, raising=False)
    return device


def recorded(recorder):
    return Recording(lambda x: (x + 1,), (torch.zeros(2),), recorder)


def test_graphs_of_one_recorder_share_their_memory(cuda):
    """torch gives memory of a pool again only to the queue it was first given to."""
    kept = [recorded(recorder := CudaRecorder(CUDA)), recorded(recorder)]
    captures = [entry for entry in cuda.log if entry != "cleared"]
    assert len(kept) == len(captures) == 2
    assert captures[0] == captures[1] == ("capture", (0, 1), recorder.queue)


def test_workspaces_of_products_belong_to_their_graph(cuda):
    """Otherwise torch 2.13 frees those of one graph with another of the same queue."""
    recorded(CudaRecorder(CUDA))
    assert [entry == "cleared" for entry in cuda.log] == [True, False, True]


def test_a_pool_without_graphs_is_not_used_again(cuda):
    recorder = CudaRecorder(CUDA)
    first, second = recorded(recorder), recorded(recorder)
    del first
    third = recorded(recorder)
    assert cuda.handles == 1
    del second, third
    recorded(recorder)
    assert cuda.handles == 2


def test_a_failed_capture_leaves_the_queue_and_the_pool(cuda):
    """Without memory, too: all that follows would run in the queue of the capture, beside memory of the one before."""
    recorder, caller = CudaRecorder(CUDA), cuda.current
    cuda.fails = True
    with pytest.raises(RuntimeError, match="previous error during capture"):
        recorded(recorder)
    assert cuda.current is caller
    assert caller.waited[-1] is recorder.queue
    assert cuda.log[-1] == "cleared"
    cuda.fails = False
    kept = recorded(recorder)
    assert kept
    assert cuda.handles == 2


def test_a_failed_warm_up_is_waited_for(cuda):
    """It still reads its inputs, whose memory the caller may give to others."""
    recorder, caller = CudaRecorder(CUDA), cuda.current

    def fails(_x):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.cuda.OutOfMemoryError):
        Recording(fails, (torch.zeros(2),), recorder)
    assert cuda.current is caller
    assert caller.waited[-1] is recorder.queue


def test_the_next_use_waits_for_a_replay_that_was_not_copied(cuda):
    recorder = CudaRecorder(CUDA)
    with pytest.raises(torch.cuda.OutOfMemoryError), recorder.in_turn():
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")
    assert recorder.done.recorded == [cuda.current]
    assert not recorder.lock.locked()
