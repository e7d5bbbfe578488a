"""All systems answer alike: a portrait, motion in pieces, as many pictures as frames."""

import numpy as np
import pytest
import torch

from personalive_core.backends.hunyuan.backend import HunyuanBackend
from personalive_core.backends.hunyuan.types import SamplingOptions
from personalive_core.backends.liveportrait.backend import LivePortraitBackend
from personalive_core.backends.liveportrait.finding import Finder
from personalive_core.backends.personalive.backend import PersonaLiveBackend
from personalive_core.backends.registry import HUNYUAN, SYSTEMS, open_backend
from personalive_core.bench.networks import random_model
from personalive_core.errors import FaceError, InputError, WeightsError
from personalive_core.motion.types import concat_motion
from tests.backends.hunyuan.standin import FACE, standin
from tests.backends.liveportrait.tiny import tiny_states, write_hub

CPU = torch.device("cpu")


@pytest.fixture(scope="module", autouse=True)
def _one_thread(one_thread):
    pass


@pytest.fixture(scope="module")
def liveportrait(synth, tmp_path_factory):
    folder = write_hub(tmp_path_factory.mktemp("weights"), tiny_states(synth))
    return open_backend("liveportrait", folder, CPU, torch.float32)


@pytest.fixture(scope="module")
def personalive_system():
    return PersonaLiveBackend(random_model((32, 64, 64, 64), CPU, torch.float32), size=64)


@pytest.fixture
def hunyuan():
    return HunyuanBackend(standin(), lambda _: FACE, SamplingOptions(steps=2), side=64)


@pytest.fixture(params=SYSTEMS)
def backend(request):
    return request.getfixturevalue("personalive_system" if request.param == "personalive" else request.param)


def pictures(count, side=64):
    y, x = np.mgrid[:side, :side]
    waves = [np.stack([np.sin(x / 9 + i), np.cos(y / 7), np.sin((x + y) / 11 + i / 3)], -1) for i in range(count)]
    return [(127 + 100 * wave).astype(np.uint8) for wave in waves]


def test_as_many_pictures_as_frames_whatever_the_pieces(backend):
    portrait, frames = backend.portrait(pictures(1)[0]), pictures(7)
    motion = concat_motion(backend.read(iter(frames)))
    assert len(motion) == len(frames)
    whole = list(backend.animate(portrait, [motion]))
    pieces = list(backend.animate(portrait, [motion[:3], motion[3:4], motion[4:]]))
    assert len(whole) == len(frames)
    assert whole[0].dtype == np.uint8
    assert whole[0].shape == whole[-1].shape
    assert np.array_equal(np.stack(whole), np.stack(pieces))


def test_a_face_that_is_looked_for_and_not_there(liveportrait):
    looking = LivePortraitBackend(liveportrait.model, Finder(lambda _: ()))
    with pytest.raises(FaceError, match="no face was found in the portrait: use a picture with one clear face"):
        looking.portrait(pictures(1)[0])


def test_an_unknown_system_is_refused(tmp_path):
    with pytest.raises(InputError, match="a system is one of personalive, liveportrait, hunyuan, got 'x': choose"):
        open_backend("x", tmp_path, CPU, torch.float32)


def test_the_third_system_needs_its_licence_and_a_detector(tmp_path):
    with pytest.raises(InputError, match="academic, research and education purposes only.*accept the licence"):
        open_backend(HUNYUAN, tmp_path, CPU, torch.float32)
    with pytest.raises(WeightsError, match="finds faces with YuNet, and .* lacks its file: fetch it"):
        open_backend(HUNYUAN, tmp_path, CPU, torch.float32, license_accepted=True)
