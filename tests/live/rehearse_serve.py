"""Two real replicas and three visitors: who is let in, what passes, and what a killed replica's page hears.

python -m tests.live.rehearse_serve: needs ray and two cores, and takes about a minute.
"""

import asyncio
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import aiohttp
import psutil

from personalive_core.drawn.sample import write_sample
from personalive_core.media.video import read_frames
from tests.live.serving import encoded
from tests.live.test_front import Browser

COMMAND = [sys.executable, "-m", "personalive_core", "serve", "--replicas", "2", "--cpus-per-replica", "1"]
OPTIONS = ["--port", "0", "--device", "cpu", "--size", "64", "--minutes", "5"]


def say(*words):
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


async def visited(browser):
    """A token, as soon as a replica is ready."""
    while True:
        status, token = await browser.visit()
        if status == 303:
            return token
        await asyncio.sleep(1)


async def drive(page, pictures):
    """Sends the pictures, again and again, until the first result comes."""
    for number in range(10**6):
        await page.send("frame", {"number": number, "time": number / 25}, pictures[number % len(pictures)])
        while (message := await page.next("got", "frame", "bye")).kind != "got":
            if message.kind == "frame":
                return
            raise ConnectionError(message.fields)


async def scene(url, process, began):
    with tempfile.TemporaryDirectory() as folder:
        _, film = write_sample(Path(folder), seconds=1, size=64)
        pictures = [encoded(frame.image) for frame in read_frames(film)]
    async with aiohttp.ClientSession() as http:
        browser = Browser(http, url)
        pages = [await browser.connect(await visited(browser)) for _ in range(2)]
        say(f"two sessions after {time.monotonic() - began:.1f} s:", [page.welcome.kind for page in pages])
        status, _ = await browser.visit()
        say("third visitor:", status, "Retry-After", browser.headers["Retry-After"], browser.text.strip())
        for page in pages:
            start = time.monotonic()
            await asyncio.wait_for(drive(page, pictures), 60)
            say(f"first result after {time.monotonic() - start:.1f} s")
        children = psutil.Process(process.pid).children(recursive=True)
        victim = next(child for child in children if "LiveReplica" in " ".join(child.cmdline()))
        os.kill(victim.pid, signal.SIGKILL)
        killed = time.monotonic()
        byes = [asyncio.ensure_future(page.next("bye")) for page in pages]
        done, _ = await asyncio.wait(byes, return_when=asyncio.FIRST_COMPLETED, timeout=30)
        say(f"after a replica was killed, in {time.monotonic() - killed:.1f} s:", [bye.result().fields for bye in done])
        (left,) = [bye for bye in byes if bye not in done]
        say("the other session goes on:", not left.done())
        token = await visited(browser)
        say(f"another session {time.monotonic() - killed:.1f} s after:", (await browser.connect(token)).welcome.kind)
        left.cancel()


def main():
    began = time.monotonic()
    process = subprocess.Popen([*COMMAND, *OPTIONS], stderr=subprocess.PIPE, text=True)
    try:
        for line in process.stderr:
            say(line.strip())
            if found := re.match(r"serve: (\S+)/ ", line):
                break
        asyncio.run(scene(found[1], process, began))
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)
        say("ended with", process.returncode)


if __name__ == "__main__":
    main()
