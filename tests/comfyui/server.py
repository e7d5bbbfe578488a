"""A private ComfyUI for tests: its own folders, a free port of the loopback, each prompt followed to its end."""

import asyncio
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

ROOT = Path(__file__).resolve().parents[2]
PACK = "personalive-comfyui"  # the folder the pack has in custom_nodes
FOLDERS = ("custom_nodes", "input", "output", "temp", "user")
OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "PYTHONUNBUFFERED": "1", "no_proxy": "127.0.0.1"}
MEBI = 1 << 20


@dataclass(frozen=True)
class Checkout:
    """A ComfyUI to test with."""

    folder: Path
    python: str  # the interpreter it runs in

    @property
    def version(self):
        """Such as 0.30.0."""
        return re.search(r'"(.+)"', (self.folder / "comfyui_version.py").read_text(encoding="utf-8"))[1]


def checkouts():
    """The ComfyUIs in COMFYUI_DIR, with the Pythons in COMFYUI_PYTHON; both are lists like PATH."""
    folders = [Path(folder) for folder in os.environ.get("COMFYUI_DIR", "").split(os.pathsep) if folder]
    pythons = os.environ.get("COMFYUI_PYTHON", os.pathsep.join([sys.executable] * len(folders))).split(os.pathsep)
    if folders and len(folders) != len(pythons):
        raise ValueError(f"COMFYUI_DIR has {len(folders)} folders, COMFYUI_PYTHON {len(pythons)}: give one for each")
    return [Checkout(folder, python) for folder, python in zip(folders, pythons, strict=False)]


@dataclass
class Run:
    """What happened to one prompt."""

    prompt_id: str = ""
    executed: list = field(default_factory=list)  # ids of nodes that ran
    cached: list = field(default_factory=list)
    previews: int = 0
    progress: list = field(default_factory=list)  # (node, value, max)
    events: list = field(default_factory=list)  # details of personalive.progress
    outputs: dict = field(default_factory=dict)  # node id -> what `executed` shows
    error: str = ""  # the message as the page gets it; of a refused prompt, everything the server said
    interrupted: bool = False
    seconds: float = 0.0


class ComfyUI:
    """A context manager: the server runs inside. It is the first of `checkouts()`."""

    def __init__(self, folder, weights=None, inputs=(), packs=(), arguments=("--cpu",), environment=None):
        self.base, self.arguments, self.process = Path(folder) / "comfyui", list(arguments), None
        self.environment = {**os.environ, **OFFLINE, **(environment or {})}
        for name in FOLDERS:
            (self.base / name).mkdir(parents=True)
        (self.base / "models" / "personalive").mkdir(parents=True)
        if weights:
            shutil.copytree(weights, self.base / "models" / "personalive", dirs_exist_ok=True, copy_function=os.link)
        for file in inputs:
            shutil.copy(file, self.base / "input")
        for name, pack in ((PACK, ROOT), *((pack.name, pack) for pack in packs)):
            (self.base / "custom_nodes" / name).symlink_to(pack)
        self.log = self.base / "log.txt"

    def __enter__(self):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        checkout = checkouts()[0]
        command = [checkout.python, "main.py", "--listen", "127.0.0.1"]
        command += ["--port", str(self.port), "--disable-auto-launch", "--disable-api-nodes", "--base-directory"]
        command += [str(self.base), "--database-url", "sqlite:///:memory:", *self.arguments]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, cwd=checkout.folder, stdout=log, stderr=log, env=self.environment)
        for _ in range(1200):  # busy cores need minutes for its imports
            try:
                self.get("/system_stats")
            except OSError:
                assert self.process.poll() is None, self.log.read_text()[-3000:]
                time.sleep(0.25)
            else:
                return self
        self.__exit__()
        raise AssertionError(f"ComfyUI did not start:\n{self.log.read_text()[-3000:]}")

    def __exit__(self, *_):
        for number, patience in ((signal.SIGINT, 10), (signal.SIGKILL, 10)):
            if self.process.poll() is None:
                self.process.send_signal(number)
                try:
                    self.process.wait(patience)
                except subprocess.TimeoutExpired:
                    continue

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def get(self, path):
        return asyncio.run(self._ask("GET", path))

    def post(self, path, body):
        return asyncio.run(self._ask("POST", path, body))

    async def _ask(self, method, path, body=None):
        async with aiohttp.ClientSession() as session, session.request(method, self.url + path, json=body) as answer:
            text = await answer.text()
            return json.loads(text) if text.startswith(("{", "[")) else text

    def memory(self):
        """Resident MiB of the server."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / MEBI

    def run(self, prompt, limit=240, watch=lambda _run: None):
        """Posts an API-format workflow and follows it; `watch` is called after every message."""
        return asyncio.run(asyncio.wait_for(self._run(prompt, watch), limit))

    async def _run(self, prompt, watch):
        client, run, began = uuid.uuid4().hex, Run(), time.monotonic()
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(f"{self.url}/ws?clientId={client}", max_msg_size=0) as messages,
        ):
            async with session.post(f"{self.url}/prompt", json={"prompt": prompt, "client_id": client}) as answer:
                reply = await answer.json()
            if "prompt_id" not in reply or reply.get("node_errors"):
                run.error = json.dumps(reply)
                return run
            run.prompt_id = reply["prompt_id"]
            async for message in messages:
                if message.type == aiohttp.WSMsgType.BINARY:
                    run.previews += message.data[:4] in (b"\0\0\0\1", b"\0\0\0\4")
                    continue
                if message.type != aiohttp.WSMsgType.TEXT:
                    break
                ended = note(run, json.loads(message.data))
                await asyncio.get_running_loop().run_in_executor(None, watch, run)
                if ended:
                    break
        run.seconds = time.monotonic() - began
        return run


def for_panels(output):
    """Of what a node shows, the pack's own part, as the page reads it (web/js/outputs.js): {name: [value]}."""
    parts = (key.split(" ", 1) for key in output if key.startswith("personalive_"))
    return {name: [json.loads(value)] for name, value in parts}


def note(run, message):
    """Writes one message of the server into `run`; True when the prompt has ended."""
    kind, data = message["type"], message.get("data") or {}
    if kind == "executing" and data.get("node"):
        run.executed.append(data["node"])
    elif kind == "execution_cached":
        run.cached = data["nodes"]
    elif kind == "progress":
        run.progress.append((data["node"], data["value"], data["max"]))
    elif kind == "personalive.progress":
        run.events.append(data)
    elif kind == "executed":
        run.outputs[data["node"]] = {**(data.get("output") or {}), **for_panels(data.get("output") or {})}
    elif kind == "execution_error":
        run.error = data["exception_message"]
    elif kind == "execution_interrupted":
        run.interrupted = True
    return kind in ("execution_success", "execution_error", "execution_interrupted")
