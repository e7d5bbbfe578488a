"""A client of one ComfyUI server: uploads files, posts a job, follows it to its end, fetches its output files."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import PersonaLiveError
from ..media.files import whole_file
from .answers import JobError, RemoteFile, reason, refusal
from .rows import REMOTE_FOLDER, Prompt

if TYPE_CHECKING:
    import aiohttp

CONNECT, ANSWER, CLOSE = 10, 60, 5  # timeouts in seconds: to connect, to wait for an answer, to close
SLOWEST = 10_000  # bytes a second that an upload takes at least: aiohttp has no timeout for what nobody reads
HEARTBEAT = 30  # seconds between pings, which detect a silently broken connection
POLL = 5  # seconds after which queue and history are read even without a socket message
RECONNECTS, RECONNECT_WAIT = 4, 1.0  # tries to reach a server that stopped answering; seconds before each
OK, TOO_LARGE, SERVER_ERROR = 200, 413, 500

JobProgress = Callable[[str, int, int], None]  # (node id, steps done, steps in total)


class ServerError(PersonaLiveError):
    """The server does not answer, lost the job or is stuck; another server, or this one later, may run the job."""


class UnreachableError(ServerError):
    """The server cannot be reached, does not answer in time, or fails with HTTP status 500 or above."""


@contextlib.asynccontextmanager
async def open_session() -> AsyncIterator[aiohttp.ClientSession]:
    """Opens the HTTP session of one batch."""
    import aiohttp

    async with aiohttp.ClientSession(timeout=_timeout(None)) as session:
        yield session


def _timeout(total: float | None) -> aiohttp.ClientTimeout:
    """`total` seconds for a request and its answer. None, for files: any time, but no pause of ANSWER seconds."""
    import aiohttp

    return aiohttp.ClientTimeout(total=total, sock_connect=CONNECT, sock_read=ANSWER)


@dataclass(frozen=True)
class Server:
    """A client of one ComfyUI server; `url` is its address as the user gave it."""

    url: str
    session: aiohttp.ClientSession

    async def jobs(self) -> tuple[frozenset[str], frozenset[str]]:
        """The ids of the running jobs and of the waiting jobs.

        Raises:
            ServerError: no answer.
        """
        queue = await self._json("GET", "queue")
        running, waiting = (frozenset(item[1] for item in queue[name]) for name in ("queue_running", "queue_pending"))
        return running, waiting

    async def history(self, job: str) -> dict[str, Any] | None:
        """The server's history entry of a finished job: status and outputs; None if the job is not finished or unknown.

        Raises:
            ServerError: no answer.
        """
        found: dict[str, Any] | None = (await self._json("GET", f"history/{job}")).get(job)
        return found

    async def upload(self, path: Path, name: str) -> None:
        """Uploads `path` to the server's input folder as REMOTE_FOLDER/`name`, unless it is already there.

        Raises:
            ServerError: no answer.
            JobError: the server does not take the file.
            OSError: `path` cannot be read.
        """
        import aiohttp

        query = {"filename": name, "subfolder": REMOTE_FOLDER, "type": "input"}
        async with self._answer("HEAD", "view", params=query) as answer:
            if answer.status == OK and answer.content_length == path.stat().st_size:
                return
        # By its number the file has no name of its own, which aiohttp would send, and cannot if it is no UTF-8.
        with path.open("rb") as opened, os.fdopen(opened.fileno(), "rb", closefd=False) as file:
            form = aiohttp.FormData({"subfolder": REMOTE_FOLDER, "type": "input", "overwrite": "true"})
            form.add_field("image", file, filename=name)
            most = _timeout(ANSWER + path.stat().st_size / SLOWEST)
            async with self._answer("POST", "upload/image", data=form, timeout=most) as answer:
                if answer.status == TOO_LARGE:
                    raise JobError(
                        f"{path} is larger than {self.url} takes: start that ComfyUI with a larger --max-upload-size"
                    )
                if answer.status != OK:
                    raise JobError(f"{self.url} did not take {path} (HTTP {answer.status}): look at its log")

    async def post(self, job: str, prompt: Prompt) -> None:
        """Queues the workflow under the id `job`.

        Raises:
            ServerError: no answer.
            JobError: the server refuses the workflow, or a part of it.
        """
        body = {"prompt": prompt, "prompt_id": job, "client_id": job}
        async with self._answer("POST", "prompt", json=body) as answer:
            reply = await _read_json(answer)
        if answer.status == OK and not reply.get("node_errors"):
            return
        if answer.status == OK:  # ComfyUI runs the valid part: a partial result would look complete
            await self.cancel(job)
        raise JobError(refusal(reply, prompt))

    async def follow(self, job: str, silence: float, progress: JobProgress) -> dict[str, Any]:
        """Waits for the job's end; returns its history entry. The socket only tells when to look: it may miss the end.

        Raises:
            ServerError: the server died or lost the job, or the running job sent no message for `silence` seconds.
        """
        heard, failures = time.monotonic(), 0
        while True:
            try:
                async with self._socket(job) as socket:
                    while not socket.closed:
                        entry, running = await self._look(job)
                        if entry:
                            return entry
                        failures = 0
                        told = await _listen(socket, job, min(POLL, silence), progress)
                        if told or not running:  # a job that waits in the queue is not stuck
                            heard = time.monotonic()
                        if time.monotonic() - heard > silence:
                            raise ServerError(f"no sign of life for {silence:g} s: see what {self.url} is doing")
            except UnreachableError:
                failures += 1
                if failures == RECONNECTS:
                    raise
            await asyncio.sleep(RECONNECT_WAIT)

    async def fetch(self, file: RemoteFile, path: Path) -> int:
        """Downloads the server's file to `path`, completely or not at all; returns its size in bytes.

        Raises:
            ServerError: no answer.
            JobError: the server has no such file.
            OutputError: `path` cannot be written.
        """
        query = {"filename": file.filename, "subfolder": file.subfolder, "type": file.kind}
        with whole_file(path, (path.suffix.lower(),)) as partial, partial.open("wb") as target:
            async with self._answer("GET", "view", params=query, timeout=_timeout(None)) as answer:
                if answer.status != OK:
                    raise JobError(f"{self.url} lists {file.filename} but does not give it (HTTP {answer.status})")
                async for part in answer.content.iter_any():
                    target.write(part)
            return target.tell()

    async def cancel(self, job: str) -> None:
        """Removes the job from the queue, or interrupts it; ignores ServerError: a lost server needs no cancelling."""
        with contextlib.suppress(ServerError):
            for path, body in (("queue", {"delete": [job]}), ("interrupt", {"prompt_id": job})):
                async with self._answer("POST", path, json=body, timeout=_timeout(CLOSE)):
                    pass

    async def _look(self, job: str) -> tuple[dict[str, Any] | None, bool]:
        """The job's history entry (None before its end) and whether it runs. Raises ServerError for an unknown job."""
        if entry := await self.history(job):
            return entry, False
        running, waiting = await self.jobs()
        if job in running | waiting:
            return None, job in running
        if entry := await self.history(job):  # it ended between the two requests
            return entry, False
        raise ServerError(f"{self.url} no longer knows the job: it was started again or its queue was cleared")

    @contextlib.asynccontextmanager
    async def _socket(self, job: str) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        """Opens a websocket with the job's id as client id, so that a later run of this program gets its messages."""
        import aiohttp

        address, parting = f"{self.url}/ws", aiohttp.ClientWSTimeout(ws_close=CLOSE)
        with self._reached():
            opening = self.session.ws_connect(
                address, params={"clientId": job}, heartbeat=HEARTBEAT, max_msg_size=0, timeout=parting
            )
            socket = await asyncio.wait_for(opening, ANSWER)  # a socket has no `total`
            try:
                yield socket
            finally:
                await socket.close()

    @contextlib.contextmanager
    def _reached(self) -> Iterator[None]:
        """Turns every network error and timeout into UnreachableError."""
        import aiohttp

        try:
            yield
        except (aiohttp.ClientError, asyncio.TimeoutError, ConnectionError) as error:
            raise UnreachableError(f"{self.url} does not answer ({reason(error)}): see whether it runs") from error

    @contextlib.asynccontextmanager
    async def _answer(
        self,
        method: str,
        path: str,
        params: Mapping[str, str] | None = None,
        data: aiohttp.FormData | None = None,
        json: object = None,
        timeout: aiohttp.ClientTimeout | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Sends one request; with its answer it may take ANSWER seconds, unless `timeout` says else.

        Raises:
            UnreachableError: no answer comes in time, or its HTTP status is 500 or above.
        """
        with self._reached():
            async with self.session.request(
                method, f"{self.url}/{path}", params=params, data=data, json=json, timeout=timeout or _timeout(ANSWER)
            ) as answer:
                if answer.status >= SERVER_ERROR:
                    raise UnreachableError(f"{self.url} failed at /{path} (HTTP {answer.status}): look at its log")
                yield answer

    async def _json(self, method: str, path: str) -> dict[str, Any]:
        async with self._answer(method, path) as answer:
            if answer.status != OK:
                raise ServerError(f"{self.url}/{path} gave HTTP {answer.status}: is this the address of a ComfyUI?")
            return await _read_json(answer)


async def _read_json(answer: aiohttp.ClientResponse) -> dict[str, Any]:
    try:
        value = json.loads(await answer.text())
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise ServerError(f"{answer.url} answered with something else than JSON: is this the address of a ComfyUI?")
    return value


async def _listen(socket: aiohttp.ClientWebSocketResponse, job: str, seconds: float, progress: JobProgress) -> bool:
    """Reads messages until the job ends, the socket closes or `seconds` pass; returns True if one came from the job."""
    import aiohttp

    heard = False
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        try:
            message = await socket.receive(left)
        except asyncio.TimeoutError:
            break
        if message.type is aiohttp.WSMsgType.BINARY:
            heard = True  # a preview image, sent only to the client of this job
            continue
        if message.type is not aiohttp.WSMsgType.TEXT:
            break
        event = json.loads(message.data)
        data = event.get("data") or {}
        if data.get("prompt_id") != job:
            continue
        heard = True
        if event.get("type") == "progress":
            progress(str(data.get("node")), int(data["value"]), int(data["max"]))
        elif event.get("type") == "executing" and data.get("node") is None:  # sent when the history is written
            break
    return heard
