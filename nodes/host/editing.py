"""The Expression Editor's preview: pictures of an edit, and the route that draws them while a page asks."""

from __future__ import annotations

import asyncio
import json
import secrets
import threading
import weakref
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from io import BytesIO
from typing import Any

import numpy as np
import torch
from aiohttp import web
from PIL import Image
from server import PromptServer

from ...personalive_core.backends.liveportrait.editor import EditorEdit, edited, limits, slider_edit
from ...personalive_core.backends.liveportrait.expressions import Expression, sampled_expression, written_codes
from ...personalive_core.backends.liveportrait.model import LivePortrait
from ...personalive_core.backends.liveportrait.pasting import LivePaste, prepare_live_paste
from ...personalive_core.backends.liveportrait.portrait import SourcePortrait
from ...personalive_core.backends.liveportrait.sliders import ALL_SLIDERS
from ...personalive_core.backends.liveportrait.stream import drawn_square
from ...personalive_core.backends.liveportrait.types import ImplicitMotion, LiveSource
from ...personalive_core.backends.placement import out_of_memory
from ...personalive_core.errors import InputError, PersonaLiveError, remedy_first
from ...personalive_core.live.access import is_token, why_refused
from ...personalive_core.live.types import DeviceTakenError
from ...personalive_core.media.picture import Picture
from .faces import PAGE_HEADER
from .live import SERVICE as LIVE_ON
from .live_device import PromptGate, whatever_is_cancelled
from .liveportrait_source import roomy
from .sockets import LoadedLivePortrait

EDIT_ROUTE = "/personalive/expression"
MOST_SITTINGS = 8  # kept; each holds a volume of 8 MB and a small picture
MOST_REQUEST = 16 << 10  # of a request
PREVIEW_SIDE = 768  # pixels of a preview's longer side
GPU_FULL = "The GPU ran out of memory: close what else uses it, or start ComfyUI with --lowvram"
SAFE = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}

LIMITS: Mapping[str, tuple[float, float, float]] = {one.name: limits(one) for one in ALL_SLIDERS}

# What a page may change besides the sliders, and the type of each.
CHANGEABLE: Mapping[str, type] = {
    "editor": str,
    "stitching": bool,
    "sample_part": str,
    "sample_ratio": float,
    "codes": str,
}
MOST_NUMBER = 1e6


@dataclass(frozen=True, eq=False)
class Choices:
    """What the editor's widgets say, and what is connected to it."""

    values: Mapping[str, float] = field(default_factory=dict)  # of sliders, by name
    editor: str = "advanced"
    stitching: bool = True
    sample_part: str = "OnlyExpression"
    sample_ratio: float = 1.0
    codes: str = ""
    sample: ImplicitMotion | None = None
    added: Expression = field(default_factory=Expression.none)

    def plain(self) -> dict[str, Any]:
        """What a page may change, as it asks for it."""
        return {"values": dict(self.values), **{name: getattr(self, name) for name in CHANGEABLE}}

    def edit(self) -> EditorEdit:
        """The edit. Raises InputError for a value that there is not."""
        added = self.added + Expression(written_codes(self.codes), torch.zeros(3))
        if self.sample is not None:
            added = added + sampled_expression(self.sample, self.sample_part, self.sample_ratio)
        return slider_edit(self.values, self.editor, added, self.stitching)


def draw_edit(model: LivePortrait, source: LiveSource, edit: EditorEdit) -> Picture:
    """The source's square [512, 512, 3] as an edit moves it. Raises NumericalError for NaN or only black."""
    with torch.inference_mode():
        return drawn_square(model, source, edited(source.motion, edit, model))


def small_paste(portrait: SourcePortrait, side: int = PREVIEW_SIDE) -> LivePaste:
    """Pastes into a copy of the whole picture whose longer side is at most `side` pixels."""
    picture = Image.fromarray(portrait.whole)
    picture.thumbnail((side, side))
    height, width = portrait.whole.shape[:2]
    smaller = np.diag([picture.width / width, picture.height / height, 1.0])
    return prepare_live_paste(np.asarray(picture), smaller @ portrait.crop.matrix)


def jpeg(picture: Picture) -> bytes:
    """The picture as a JPEG."""
    file = BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=90)
    return file.getvalue()


@dataclass(frozen=True, eq=False)
class Sitting:
    """A picture that a page may edit. It does not keep the model: ComfyUI may drop that, and the sitting is over."""

    model: weakref.ref[LoadedLivePortrait]
    source: LiveSource
    paste: LivePaste
    begun: Choices  # those of the run: what a request leaves out stays so

    def preview(self, edit: EditorEdit) -> bytes:
        """A JPEG of the whole picture, small. Raises PersonaLiveError."""
        model = self.model()
        if model is None:
            raise InputError("the model was unloaded: run the workflow again")
        return jpeg(self.paste(draw_edit(roomy(model), self.source, edit)))


class EditService:
    """The sittings of the last runs, by token, and the one thread in which previews are drawn, in turn."""

    def __init__(self) -> None:
        self._sittings: dict[str, Sitting] = {}
        self._newest: dict[str, int] = {}  # token -> number of its last request
        self._lock = threading.Lock()
        self._worker = ThreadPoolExecutor(1, "personalive-editor")  # starts its thread at the first request
        self._gate: PromptGate | None = None

    def begin(self, sitting: Sitting) -> str:
        """Lets a page edit; returns the token that it needs."""
        token = secrets.token_urlsafe(24)
        with self._lock:
            self._gate = self._gate or PromptGate(PromptServer.instance)
            self._sittings[token], self._newest[token] = sitting, 0
            for old in list(self._sittings)[:-MOST_SITTINGS]:
                del self._sittings[old], self._newest[old]
        return token

    @property
    def open(self) -> bool:
        """Whether there is anything to edit."""
        with self._lock:
            gone = [token for token, sitting in self._sittings.items() if sitting.model() is None]
            for token in gone:
                del self._sittings[token], self._newest[token]
            return bool(self._sittings)

    def prompted(self, prompt: dict[str, Any]) -> dict[str, Any]:
        """For ComfyUI, which calls it with every prompt that is sent."""
        if self._gate is not None and self._sittings:
            self._gate.close()
        return prompt

    async def answer(self, request: dict[str, Any]) -> bytes | None:
        """The JPEG of a request; None if a newer one of the same page came while it waited.

        Raises PermissionError for a wrong token, DeviceTakenError while prompts run, other PersonaLiveErrors for what
        cannot be drawn.
        """
        token = next((known for known in list(self._sittings) if is_token(request.get("token"), known)), "")
        sitting = self._sittings.get(token)
        if sitting is None:
            raise PermissionError
        edit = asked(request, sitting.begun).edit()
        with self._lock:
            number = self._newest[token] = self._newest.get(token, 0) + 1
        draws = asyncio.get_running_loop().run_in_executor(self._worker, self._drawn, token, number, edit)
        return await draws

    def _drawn(self, token: str, number: int, edit: EditorEdit) -> bytes | None:
        sitting, gate = self._sittings.get(token), self._gate
        if sitting is None or gate is None or self._newest.get(token) != number:
            return None
        if LIVE_ON.hub is not None:
            raise InputError("a live session has the networks' device: end it, then move a slider")
        with gate.used():
            return whatever_is_cancelled(lambda: sitting.preview(edit), gate)


def asked(request: Mapping[str, Any], begun: Choices) -> Choices:
    """The choices of a page's request. Raises InputError for anything that the node's widgets cannot say."""
    given = {name: value for name, value in request.items() if name not in ("token", "values")}
    for name, value in given.items():
        kind = CHANGEABLE.get(name)
        if not (is_number(value, MOST_NUMBER) if kind is float else kind is not None and type(value) is kind):
            raise InputError(f"the page sent {name!r:.40} as {value!r:.40}: reload the page")
    values = request.get("values", {})
    if not isinstance(values, dict):
        raise InputError("the page sent no slider values: reload the page")
    return replace(begun, **given, values={**begun.values, **{n: slider_value(n, v) for n, v in values.items()}})


def is_number(value: Any, most: float) -> bool:
    """Whether a value of JSON is a number, between most and its opposite."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and -most <= value <= most


def slider_value(name: str, value: Any) -> float:
    """The value of a slider. Raises InputError for an unknown slider, or a value out of its range."""
    least, most, _ = LIMITS.get(name, (0.0, -1.0, 0.0))
    if not (is_number(value, MOST_NUMBER) and least <= value <= most):
        raise InputError(f"the page sent {value!r:.40} for the slider {name!r:.40}: move it, or reload the page")
    return float(value)


EDITS = EditService()


class WhileEditing(web.PlainResource):
    """A path that does not exist unless a run has begun an edit: until then it answers as any unknown path does."""

    async def resolve(self, request: web.Request) -> Any:
        """What handles the request, and the methods that are allowed; nothing without an edit."""
        return await super().resolve(request) if EDITS.open else (None, set())


async def answer_preview(request: web.Request) -> web.Response:
    """A JPEG; 204 if a newer request is on its way; JSON {error} or {busy} where there is none."""
    if (refused := not_admitted(request)) is not None:
        return refused
    try:
        body = json.loads(await request.read())
        picture = await EDITS.answer(body if isinstance(body, dict) else {})
    except PermissionError:
        return without_picture(403, "this edit is over: run the workflow again")
    except DeviceTakenError:
        return web.json_response({"busy": True}, headers=SAFE)
    except (PersonaLiveError, ValueError, RuntimeError) as error:  # a body that is no JSON, too
        return without_picture(200, sentence(error))
    if picture is None:
        return web.Response(status=204, headers=SAFE)
    return web.Response(body=picture, content_type="image/jpeg", headers=SAFE)


def not_admitted(request: web.Request) -> web.Response | None:
    """What a request is answered whose body is not read; None for one of the page's own."""
    why = why_refused(request.headers, loopback=False)  # ComfyUI decides which hosts it answers to
    if why is not None or request.headers.get(PAGE_HEADER) != "1":
        return without_picture(403, "only this ComfyUI's page may ask for previews")
    if request.content_length is None or request.content_length > MOST_REQUEST:
        return without_picture(413, f"a request has at most {MOST_REQUEST} bytes")
    return None


def sentence(error: Exception) -> str:
    """What the page says of an error; one that nobody foresaw is raised."""
    if out_of_memory(error):
        return GPU_FULL
    if isinstance(error, RuntimeError) and not isinstance(error, RecursionError):
        raise error
    return remedy_first(str(error))


def without_picture(status: int, why: str) -> web.Response:
    """An answer that says why there is no picture."""
    return web.json_response({"error": why}, status=status, headers=SAFE)


def add_edit_route() -> None:
    """Adds the path, and puts prompts first. aiohttp takes no path once the server runs."""
    server = getattr(PromptServer, "instance", None)
    if server is None:  # ComfyUI's modules are loaded without its server, as in a test
        return
    for place in (EDIT_ROUTE, f"/api{EDIT_ROUTE}"):  # as ComfyUI has each path of its own
        resource = WhileEditing(place)
        resource.add_route("POST", answer_preview)
        server.app.router.register_resource(resource)
    server.add_on_prompt_handler(EDITS.prompted)
