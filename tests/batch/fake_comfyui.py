"""A server that answers as ComfyUI's API does, in a thread of the test process, and misbehaves on demand."""

import asyncio
import contextlib
import itertools
import socket
import threading
import time
from pathlib import PurePosixPath

from aiohttp import WSMsgType, web

LOADERS = {"LoadImage": "image", "LoadVideo": "file"}
KNOWN = {*LOADERS, "ImageScale", "SaveImage", "SaveVideo", "PreviewImage", "Sampler"}
PATIENCE = 60  # seconds that a wait may take
MUTE = 10  # seconds that a mute server says nothing: longer than anybody waits


class FakeComfyUI:
    """One server. `script` says what becomes of each posted job in turn; after its end all jobs run.

    run        events, files, history
    fail       a node raises
    interrupt  somebody on the page cancels it
    partial    another output node is refused
    hold       it goes on until `release` is set
    hang       no sign of life until it is interrupted
    stuck      no sign of life, and nothing stops it
    drop       its socket is closed and the next two are refused, then it runs
    die        the whole server breaks off in the middle
    mute       the whole server takes connections and requests, and answers none
    """

    def __init__(self, *script, largest=10**6):
        self.script, self.largest = list(script), largest
        self.inputs, self.files, self.uploads, self.posted, self.cancelled = {}, {}, [], [], []
        self.release, self.refusals, self.port = threading.Event(), 0, 0
        self.start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def start(self):
        """Begins to listen, after `stop` or "die" on the same port, with an empty queue as a new process would."""
        self.running, self.pending, self.history, self.sockets = None, [], {}, {}
        self.interrupted, self.muted, self.loop = False, False, asyncio.new_event_loop()
        up = threading.Event()
        self.thread = threading.Thread(target=self._live, args=(up,), daemon=True)
        self.thread.start()
        assert up.wait(PATIENCE)

    def stop(self):
        """Breaks off every connection at once."""
        if self.thread.is_alive():
            self.loop.call_soon_threadsafe(self.dead.set)
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive()

    def wait_for(self, condition):
        """Until `condition()` holds; it is called in the test's thread."""
        end = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < end
            time.sleep(0.01)

    def _live(self, up):
        asyncio.set_event_loop(self.loop)
        self.loop.run_until_complete(self._serve(up))
        self.loop.close()

    async def _serve(self, up):
        self.dead = asyncio.Event()
        app = web.Application(client_max_size=self.largest)
        app.add_routes(
            [
                web.post("/upload/image", self.upload),
                web.post("/prompt", self.prompt),
                web.get("/queue", self.queue),
                web.post("/queue", self.delete),
                web.post("/interrupt", self.interrupt),
                web.get("/history/{id}", self.show_history),
                web.get("/view", self.view),
                web.get("/ws", self.talk),
            ]
        )
        runner = web.AppRunner(app, shutdown_timeout=0.01)  # 0 would wait for ever
        await runner.setup()
        listener = socket.create_server(("127.0.0.1", self.port))
        self.port = listener.getsockname()[1]
        site = web.SockSite(runner, listener)
        await site.start()
        worker = asyncio.create_task(self.work())
        up.set()
        await self.dead.wait()
        await site.stop()
        for _ in range(3):  # a connection just taken is attached some rounds later: none may stay open for ever
            await asyncio.sleep(0)
        for connection in list(runner.server.connections):
            if connection.transport:
                connection.transport.abort()
        worker.cancel()
        await asyncio.gather(worker, return_exceptions=True)
        await runner.cleanup()

    # --- routes

    async def upload(self, request):
        form = await request.post()
        name, place = form["image"].filename, form.get("subfolder", "")
        if "overwrite" not in form:
            numbered = (f"{name} ({i})" if i else name for i in itertools.count())
            name = next(n for n in numbered if (place, n) not in self.inputs)
        self.inputs[place, name] = form["image"].file.read()
        self.uploads.append(f"{place}/{name}")
        return web.json_response({"name": name, "subfolder": place, "type": "input"})

    async def prompt(self, request):
        body = await request.json()
        missing = [node["class_type"] for node in body["prompt"].values() if node["class_type"] not in KNOWN]
        if missing:
            error = {"type": "invalid_prompt", "message": f"Cannot execute because node {missing[0]} does not exist."}
            return web.json_response({"error": error, "node_errors": {}}, status=400)
        errors = {node: self.complaint(found) for node, found in body["prompt"].items() if self.is_bad(found)}
        if errors:
            error = {"type": "prompt_outputs_failed_validation", "message": "Prompt outputs failed validation"}
            return web.json_response({"error": error, "node_errors": errors}, status=400)
        self.posted.append(body)
        fate = self.script.pop(0) if self.script else "run"
        self.pending.append((body, fate))
        errors = {"7": self.complaint({"class_type": "SaveVideo"})} if fate == "partial" else {}
        return web.json_response({"prompt_id": body["prompt_id"], "number": 1, "node_errors": errors})

    def is_bad(self, node):
        name = node["inputs"].get(LOADERS.get(node["class_type"]))
        return name is not None and tuple(name.rsplit("/", 1)) not in self.inputs

    @staticmethod
    def complaint(node):
        first = {"type": "custom_validation_failed", "message": "Invalid file", "details": "file: no\nsuch file"}
        return {"errors": [first], "class_type": node["class_type"], "dependent_outputs": []}

    async def queue(self, _):
        if self.muted:
            await asyncio.sleep(MUTE)
        rows = [[[1, body["prompt_id"], body["prompt"], {}, []] for body, _ in jobs] for jobs in self.jobs()]
        return web.json_response(dict(zip(("queue_running", "queue_pending"), rows, strict=True)))

    def jobs(self):
        return [self.running] if self.running else [], self.pending

    async def delete(self, request):
        ids = (await request.json())["delete"]
        self.cancelled += [body["prompt_id"] for body, _ in self.pending if body["prompt_id"] in ids]
        self.pending[:] = [job for job in self.pending if job[0]["prompt_id"] not in ids]
        return web.Response()

    async def interrupt(self, request):
        wanted = (await request.json())["prompt_id"]
        if self.running and self.running[0]["prompt_id"] == wanted:
            self.interrupted = True
            self.cancelled.append(wanted)
        return web.Response()

    async def show_history(self, request):
        if self.muted:
            await asyncio.sleep(MUTE)
        wanted = request.match_info["id"]
        return web.json_response({wanted: self.history[wanted]} if wanted in self.history else {})

    async def view(self, request):
        asked = request.query
        place = (asked["subfolder"], asked["filename"])
        content = self.inputs.get(place) if asked["type"] == "input" else self.files.get((asked["type"], *place))
        return web.Response(status=404) if content is None else web.Response(body=content)

    async def talk(self, request):
        if self.muted:
            await asyncio.sleep(MUTE)
        if self.refusals:
            self.refusals -= 1
            return web.Response(status=503)
        line = web.WebSocketResponse()
        await line.prepare(request)
        self.sockets[request.query["clientId"]] = line
        await line.send_json({"type": "status", "data": {"status": {}, "sid": "x"}})
        async for message in line:
            if message.type is WSMsgType.ERROR:
                break
        return line

    # --- execution

    async def work(self):
        while True:
            while not self.pending:
                await asyncio.sleep(0.005)
            self.running, self.interrupted = self.pending.pop(0), False
            body, fate = self.running
            await self.run(body, fate)
            self.running = None
            await self.send(body, "executing", node=None)

    async def run(self, body, fate):
        await self.send(body, "execution_start")
        await self.send(body, "progress", value=1, max=4, node="5")
        if fate == "mute":
            self.muted = True
            await asyncio.sleep(MUTE)
        if fate == "die":
            self.dead.set()
            await asyncio.sleep(PATIENCE)
        if fate == "drop":
            while body["client_id"] not in self.sockets:
                await asyncio.sleep(0.005)
            self.refusals = 2
            await self.sockets.pop(body["client_id"]).close()
            while self.refusals:
                await asyncio.sleep(0.005)
        while fate == "hold" and not self.release.is_set() and not self.interrupted:
            await self.send(body, "progress", value=2, max=4, node="5")
            await asyncio.sleep(0.05)
        while fate == "stuck" or (fate in ("hang", "partial") and not self.interrupted):
            await asyncio.sleep(0.005)
        if self.interrupted or fate == "interrupt":
            return self.end(body, {}, "execution_interrupted")
        if fate == "fail":
            said = {"exception_message": "Use a larger picture.\nTraceback: line 3", "exception_type": "ValueError"}
            return self.end(body, {}, "execution_error", node_id="5", node_type="ImageScale", **said)
        return self.end(body, self.make_files(body["prompt"]), "execution_success")

    def end(self, body, outputs, event, **data):
        status = {"status_str": "success" if event == "execution_success" else "error", "messages": [[event, data]]}
        self.history[body["prompt_id"]] = {"prompt": [], "outputs": outputs, "status": status}

    def make_files(self, prompt):
        """Every saving node writes what all loaders loaded and every seed: a test sees whose result it got."""
        loaded = [
            self.inputs[tuple(node["inputs"][LOADERS[node["class_type"]]].rsplit("/", 1))]
            for node in prompt.values()
            if node["class_type"] in LOADERS
        ]
        content = b"|".join(
            [*loaded, *(str(n["inputs"]["seed"]).encode() for n in prompt.values() if "seed" in n["inputs"])]
        )
        shown = {}
        for node, found in prompt.items():
            if found["class_type"] == "PreviewImage":
                shown[node] = {"images": [self.save("temp", "", "preview.png", b"preview")]}
            if "filename_prefix" in found["inputs"]:
                prefix = PurePosixPath(found["inputs"]["filename_prefix"])
                folder = "" if str(prefix.parent) == "." else str(prefix.parent)
                item = self.save("output", folder, f"{prefix.name}_00001_.png", content)
                # one node in ComfyUI's own way, one as packs with a player of their own nest it
                shown[node] = {"images": [item]} if found["class_type"] == "SaveImage" else {"pair": [{"result": item}]}
        return shown

    def save(self, kind, folder, name, content):
        self.files[kind, folder, name] = content
        return {"filename": name, "subfolder": folder, "type": kind}

    async def send(self, body, kind, **data):
        line = self.sockets.get(body["client_id"])
        if line is not None and not line.closed:
            with contextlib.suppress(ConnectionError):  # its client was killed
                await line.send_json({"type": kind, "data": {"prompt_id": body["prompt_id"], **data}})
