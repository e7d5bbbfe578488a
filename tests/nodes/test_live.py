"""The live service and ComfyUI's device under it, without ComfyUI: prompts first, one session, and its end."""

import asyncio
import gc
import threading
import time
import weakref
from dataclasses import dataclass, field, make_dataclass, replace
from types import SimpleNamespace

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from personalive_core.errors import NumericalError
from personalive_core.live.types import Settings
from tests.live.doubles import Echo, captured

SECONDS = 20  # to wait for another thread at most; it takes milliseconds


class OldInterruptError(Exception):
    """ComfyUI 0.3.64's InterruptProcessingException."""


class NewInterruptError(BaseException):
    """ComfyUI 0.30's."""


class Queue:
    """ComfyUI's, with so many prompts."""

    def __init__(self):
        self.prompts = 0

    def get_tasks_remaining(self):
        return self.prompts


@dataclass(frozen=True, eq=False)
class Inner(Echo):
    """As much of a PersonaLivePerformer as the host uses: it has a model."""

    model: object = None
    used: list = field(default_factory=list)  # models of the steps
    reading: object = None  # called when a reference is read

    def perform(self, state, frames, settings):
        self.used.append(self.model)
        return super().perform(state, frames, settings)

    def with_reference(self, picture):
        if self.reading is not None:
            self.reading()
        return super().with_reference(picture)


@pytest.fixture(params=[OldInterruptError, NewInterruptError])
def interrupt(request):
    return request.param


@pytest.fixture
def device(node_module, monkeypatch):
    """nodes/host/live_device.py; `brought` counts how often networks were brought, `places` says where they are."""
    module = node_module("host.live_device")
    cancels = []
    monkeypatch.setattr(
        module,
        "mm",
        SimpleNamespace(InterruptProcessingException=OldInterruptError, interrupt_current_processing=cancels.append),
    )
    there = SimpleNamespace(
        module=module, taken=module.DeviceTakenError, brought=0, places=("gpu",), cancels=cancels, queue=Queue()
    )

    def settled(model, _room, reading):
        assert reading
        there.brought += 1
        return (model, there.brought)

    monkeypatch.setattr(module, "settled", settled)
    monkeypatch.setattr(module, "places", lambda _model: there.places)
    monkeypatch.setattr(module, "COMING", 0.0)
    there.gate = module.PromptGate(SimpleNamespace(prompt_queue=there.queue))
    there.host = lambda **more: module.hosted(Inner(model="networks", **more), 7, there.gate)
    return there


def failing(*errors):
    """For `before`: raises one after the other, then none."""
    left = list(errors)

    def step(_number=None):
        if left:
            raise left.pop(0)

    return step


def step(host, state=None):
    return host.perform(state or host.begin(), [captured(0)], Settings())


# --- prompts first


def test_the_gate_is_closed_while_prompts_are_there(device):
    assert device.gate()
    device.queue.prompts = 1
    assert not device.gate()
    with pytest.raises(device.taken), device.gate.used():
        pass
    device.queue.prompts = 0
    assert device.gate()


def test_it_is_closed_from_the_moment_that_a_prompt_is_sent(device, monkeypatch):
    monkeypatch.setattr(device.module, "COMING", 100.0)
    device.gate.close()
    assert not device.gate()


def test_a_prompt_waits_for_the_step_that_is_being_taken_and_no_longer(device):
    begun, go = threading.Event(), threading.Event()

    def slow():
        with device.gate.used(SECONDS):
            begun.set()
            go.wait(SECONDS)

    live = threading.Thread(target=slow)
    live.start()
    begun.wait(SECONDS)
    prompt = threading.Thread(target=device.gate.close)
    prompt.start()
    prompt.join(0.1)
    assert prompt.is_alive()
    go.set()
    prompt.join(SECONDS)
    live.join(SECONDS)
    assert not prompt.is_alive()
    with device.gate.used(0.01):
        prompt = threading.Thread(target=device.gate.close, daemon=True)
        prompt.start()
        prompt.join(SECONDS)
        assert not prompt.is_alive()  # although live still uses it


def test_no_step_begins_while_a_prompt_waits(device):
    refused = []

    def another():
        try:
            with device.gate.used():
                pass
        except device.taken:
            refused.append(True)

    thread = threading.Thread(target=device.gate.close)
    with device.gate.used(SECONDS):
        thread.start()
        while not device.gate._coming:
            time.sleep(0.001)
        other = threading.Thread(target=another)
        other.start()
        other.join(SECONDS)
    thread.join(SECONDS)
    assert refused


# --- networks


def test_networks_are_brought_once_and_again_after_a_prompt(device):
    host = device.host()
    for _ in range(3):
        step(host)
    assert device.brought == 1
    device.queue.prompts = 1
    assert not device.gate()
    device.queue.prompts = 0
    step(host)
    step(host)
    assert device.brought == 2
    assert host.inner.used == [("networks", 1)] * 3 + [("networks", 2)] * 2


def test_networks_are_brought_again_where_comfyui_moved_one(device):
    host = device.host()
    step(host)
    device.places = ("cpu",)  # Unload Models
    step(host)
    step(host)
    assert device.brought == 2


def test_reading_a_reference_goes_on_with_the_same_residence(device):
    host = device.host(reading=lambda: setattr(device, "places", ("elsewhere",)))
    step(host)
    other = host.with_reference(captured(0).picture + 200)
    step(other)
    assert device.brought == 2


def test_what_reads_the_camera_is_brought_with_the_stream(node_module, monkeypatch):
    memory, loaded = node_module("host.memory"), []
    names = ("denoising_unet", "pose_guider", "vae", "motion_extractor", "motion_encoder", "reference_unet")
    networks = {name: SimpleNamespace(name=name) for name in names}
    bring = memory.Patchers({id(network): network.name for network in networks.values()}, None)
    monkeypatch.setattr(memory.mm, "load_models_gpu", lambda patchers, **_: loaded.append(patchers), raising=False)

    Placement = make_dataclass("Placement", ["bring"])
    Model = make_dataclass("Model", ["placement", "tiny_vae", *names])
    model = Model(Placement(bring), None, **networks)
    there = memory.settled(model, 7, reading=True)
    memory.settled(model, 7)
    assert loaded == [list(names[:5]), list(names[:3])]
    there.placement.bring((there.motion_encoder,))
    assert len(loaded) == 2


def test_liveportraits_networks_are_all_brought(device, monkeypatch):
    module = device.module
    monkeypatch.setattr(module, "ready", lambda model: ("all of", model))
    networks = object.__new__(module.LivePortrait)
    assert module.brought(networks, 7) == ("all of", networks)
    assert module.brought("networks", 7) == ("networks", 1)


def test_a_step_that_failed_as_networks_were_moved_is_to_be_taken_again_once(device):
    def moved(_number):
        device.places = (*device.places, "moved")
        raise RuntimeError("Expected all tensors to be on the same device")

    host = device.host(before=moved)
    with pytest.raises(device.taken):
        step(host)
    with pytest.raises(RuntimeError, match="same device"):
        step(host)


def test_a_failure_of_its_own_is_told(device):
    host = device.host(before=failing(NumericalError("NaN: choose fp32")))
    with pytest.raises(NumericalError):
        step(host)
    step(host)
    assert device.brought == 1


# --- Cancel


@pytest.fixture
def cancel(device, monkeypatch, interrupt):
    """Either ComfyUI's exception."""
    monkeypatch.setattr(device.module.mm, "InterruptProcessingException", interrupt)
    return interrupt


def test_cancel_without_a_prompt_ends_nothing(device, cancel):
    done = step(device.host(before=failing(cancel(), cancel())))
    assert done.frames
    assert not device.cancels


def test_cancel_that_a_live_step_took_from_a_prompt_is_given_to_it(device, cancel):
    def cancelled(_number):
        device.queue.prompts = 1
        raise cancel

    with pytest.raises(device.taken):
        step(device.host(before=cancelled))
    assert device.cancels == [True]


def test_a_cancel_while_a_reference_is_read_reads_it_again(device, cancel):
    host = device.host(reading=failing(cancel()))
    assert host.with_reference(captured(0).picture + 200).portrait.mean() == 200


# --- the service


@pytest.fixture
def live(node_module, device, monkeypatch, tmp_path):  # noqa: ARG001 - stands in for the device
    """nodes/host/live.py with a service of its own, whose session ends at the end."""
    module = node_module("host.live")
    service = module.LiveService()
    monkeypatch.setattr(module, "SERVICE", service)
    monkeypatch.setattr(module, "PromptServer", SimpleNamespace(instance=SimpleNamespace(prompt_queue=Queue())))
    folders = {"get_output_directory": lambda: tmp_path / "output", "get_input_directory": lambda: tmp_path / "input"}
    monkeypatch.setattr(module, "folder_paths", SimpleNamespace(**folders))
    yield module
    end(service)


def end(service):
    hub = service.hub
    if hub is not None:
        hub.close()
        until(hub.closed.is_set)


def until(there):
    limit = time.monotonic() + SECONDS
    while not there():
        assert time.monotonic() < limit
        time.sleep(0.005)


def wanted(module, made, *made_of, settings=None, names=("small", "cpu")):
    """`made` collects the performers."""

    def make():
        made.append(Inner(model=object()))
        return made[-1]

    return module.Wanted(make, made_of, settings or Settings(), names, 7)


def test_a_second_run_changes_only_what_is_asked_for_anew(live, monkeypatch):
    """So what a person changed on the panel stays."""
    made, asked, model, other, service = [], [], object(), object(), live.SERVICE
    token = service.begin(wanted(live, made, model, 0))
    session = service.hub.session
    monkeypatch.setattr(session, "change", asked.append)
    smooth = Settings(smoothing=2.0)
    for settings in (Settings(), smooth, smooth):
        assert service.begin(wanted(live, made, model, 0, settings=settings)) == token
    assert (len(made), asked) == (1, [smooth])
    for _ in range(2):
        service.begin(wanted(live, made, other, 0, settings=smooth, names=("personalive", "cuda")))
        until(lambda: session.performer.inner is made[-1])
    assert (len(made), session.model, session.device) == (2, "personalive", "cuda")
    assert service.hub.session is session


def test_nothing_is_left_when_the_session_has_ended(live):
    made, model, service = [], Echo(), live.SERVICE
    first = service.begin(wanted(live, made, model))
    service.begin(wanted(live, made, Echo()))  # changed, and so another record of it
    there = [weakref.ref(one) for one in (model, made[0], made[1], service.hub.session, service.hub)]
    end(service)
    assert service.hub is None
    del model
    made.clear()
    until(lambda: gc.collect() >= 0 and not any(ref() for ref in there))
    assert service.begin(wanted(live, made, Echo())) != first


def test_a_session_that_is_ending_is_not_changed_but_followed_by_another(live):
    made, service = [], live.SERVICE
    token = service.begin(wanted(live, made, 0))
    hub = service.hub
    hub.close()
    assert service.begin(wanted(live, made, 1)) != token
    assert len(made) == 2
    until(hub.closed.is_set)
    assert service.hub is not None
    assert service.hub is not hub


def test_one_that_ends_while_it_is_changed_is_followed_by_another(live):
    made, service = [], live.SERVICE
    token = service.begin(wanted(live, made, 0))

    def make():
        end(service)
        return Inner(model=object())

    assert service.begin(replace(wanted(live, made, 1), make=make)) != token
    assert service.hub.session.alive


def test_a_prompt_closes_the_gate_of_the_session_that_is_on(live, monkeypatch, device):
    service, prompt = live.SERVICE, {"prompt": {}}
    assert service.prompted(prompt) is prompt
    monkeypatch.setattr(device.module, "COMING", 100.0)
    service.begin(wanted(live, []))
    assert service.prompted(prompt) is prompt
    until(lambda: service.hub.session.word.word == "paused_prompt")


def test_the_paths_are_not_there_while_no_session_is_on(live, monkeypatch):
    app, told = web.Application(), []
    server = SimpleNamespace(app=app, add_on_prompt_handler=told.append, prompt_queue=Queue())
    monkeypatch.setattr(live, "PromptServer", SimpleNamespace(instance=server))
    live.add_live_routes()
    assert told == [live.SERVICE.prompted]
    live_path, mjpeg = live.SOCKET_PATH, live.MJPEG_PATH
    paths = [live_path, mjpeg, f"/api{live_path}", f"/api{mjpeg}"]

    async def statuses():
        requests = [make_mocked_request("GET", path, app=app) for path in paths]
        return [(await app.router.resolve(request)).http_exception for request in requests]

    assert [error.status for error in asyncio.run(statuses())] == [404] * 4
    live.SERVICE.begin(wanted(live, []))
    assert asyncio.run(statuses()) == [None] * 4
    end(live.SERVICE)
    assert [error.status for error in asyncio.run(statuses())] == [404] * 4
    with pytest.raises(web.HTTPNotFound):
        asyncio.run(live.handled(lambda hub: hub.socket)(None))


def test_objects_are_compared_by_identity_and_numbers_by_value(live):
    one, other = SimpleNamespace(), SimpleNamespace()
    assert live.same((one, 1, "a", None), (one, 1, "a", None))
    assert not live.same((one,), (other,))
    assert not live.same((1,), (2,))
    assert not live.same((one,), (one, 1))
