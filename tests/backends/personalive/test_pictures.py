"""Pictures made in a second queue, on doubles of torch.cuda: who holds the memory that it reads, and until when."""

import weakref
from contextlib import contextmanager

import numpy as np
import pytest
import torch

from personalive_core.backends.personalive.pictures import Lane, develop

LATENTS = torch.full((1, 2, 4, 3, 3), 0.5)
DECODES = pytest.mark.parametrize("decodes", [True, False])


class Queue:
    """A stream that notes whom it waited for, and whether the memory that is read was held then."""

    def __init__(self, is_held):
        self.is_held, self.waited = is_held, []

    def wait_stream(self, other):
        self.waited.append((other, self.is_held()))

    def record_event(self):
        return "done"

    wait_event = wait_stream


class Model:
    """Its pictures are the latents; notes weakly what the second queue reads."""

    dtype = torch.float32

    def __init__(self, decodes):
        self.decodes, self.read = decodes, None

    def decode(self, latents):
        pictures = latents[:, :, :3].clone()
        self.read = weakref.ref(latents if self.decodes else pictures)
        return pictures

    def is_held(self):
        return self.read is not None and self.read() is not None


@pytest.fixture
def model(decodes):
    return Model(decodes)


@pytest.fixture
def caller(monkeypatch, model):
    queue = Queue(model.is_held)

    @contextmanager
    def stream(_side):
        yield

    monkeypatch.setattr(torch.cuda, "current_stream", lambda _device: queue)
    monkeypatch.setattr(torch.cuda, "stream", stream)
    return queue


@pytest.fixture
def lane(model, decodes):
    return Lane(1, Queue(model.is_held), decodes)


@DECODES
@pytest.mark.usefixtures("caller")
def test_what_the_second_queue_reads_is_held_until_the_pictures_are_read(model, lane):
    read = develop(model, LATENTS, lane)
    assert model.is_held()
    assert np.array_equal(read(), np.full((2, 3, 3, 3), 128, np.uint8))
    del read
    assert not model.is_held()


@DECODES
def test_pictures_that_nobody_reads_are_waited_for_before_their_memory_is_free(model, lane, caller):
    """By the queue, not the program: the allocator gives the memory to the caller's next work."""
    read = develop(model, LATENTS, lane)
    assert caller.waited == []
    del read
    assert caller.waited == [("done", True)]
    assert not model.is_held()


@DECODES
def test_pictures_that_could_not_be_begun_are_waited_for(model, lane, caller, monkeypatch):
    def fails(*_):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("personalive_core.backends.personalive.pictures.copy_down", fails)
    with pytest.raises(torch.cuda.OutOfMemoryError):
        develop(model, LATENTS, lane)
    assert caller.waited == [(lane.side, True)]
