"""Runs a batch of jobs on several servers: a free server takes the next job; a journal makes it resumable."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

from ..text import plural
from .answers import JobError, JobInterruptedError, check_ended_well, ended_well, local_names, outputs, reason
from .journal import DONE, FAILED, POSTED, Record, read_journal, write_record
from .rows import BatchJob, node_title
from .server import JobProgress, Server, ServerError, open_session

TELL_EVERY = 10  # seconds between two progress lines of one running job

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Policy:
    """Retry limits and waiting times of a batch."""

    retries: int = 2  # of one job, after a failure that may be temporary
    silence: float = 600  # seconds without a message after which a running job counts as stuck
    waits: tuple[float, ...] = (1, 2, 4, 8, 15, 30)  # seconds before each retry of a lost server; the last repeats


@dataclass(frozen=True)
class Attempt:
    """One try of a job, with the id that the job has on the server."""

    job: BatchJob
    prompt_id: str
    tries: int = 0  # number of earlier tries
    posted: bool = False  # already posted by an earlier run of this program


@dataclass(frozen=True)
class RunningBatch:
    """The state that the servers' workers share while a batch runs."""

    output: Path
    policy: Policy
    tell: Tell
    total: int  # jobs to run
    servers: int
    queue: asyncio.Queue[Attempt]
    ended: dict[str, Record]  # key -> record with state DONE or FAILED
    down: dict[str, int]  # server -> consecutive checks that found it not ready
    finished: asyncio.Event

    def end(self, record: Record, journal: bool = True) -> None:
        """Records that a job is done or has finally failed; without `journal` its newest line there stays."""
        if journal:
            write_record(self.output, record)
        self.ended[record.key] = record
        what = f"failed: {record.reason}" if record.reason else f"done, {plural(len(record.files), 'file')}"
        self.tell(f"[{len(self.ended)}/{self.total}] {record.name} on {record.server}: {what}")
        if len(self.ended) == self.total:
            self.finished.set()


async def run_batch(
    jobs: Sequence[BatchJob], urls: Sequence[str], output: Path, policy: Policy, tell: Tell
) -> tuple[Record, ...]:
    """Runs the jobs that the journal does not show as done; returns the final record of each of `jobs`.

    Raises:
        ServerError: no server answers at the start.
        OutputError: a result cannot be written; the whole batch stops.
    """
    output.mkdir(parents=True, exist_ok=True)
    records = read_journal(output)
    kept = {job.key: records[job.key] for job in jobs if job.key in records and records[job.key].is_whole(output)}
    todo = [job for job in jobs if job.key not in kept]
    ended = await _run(todo, records, urls, output, policy, tell) if todo else {}
    lost = "every server was lost: start them and run the same command again"
    return tuple({**kept, **ended}.get(job.key) or Record(job.key, job.name, FAILED, "-", "", {}, lost) for job in jobs)


async def _run(
    jobs: Sequence[BatchJob],
    records: Mapping[str, Record],
    urls: Sequence[str],
    output: Path,
    policy: Policy,
    tell: Tell,
) -> dict[str, Record]:
    batch = RunningBatch(
        output,
        policy,
        tell,
        total=len(jobs),
        servers=len(urls),
        queue=asyncio.Queue(),
        ended={},
        down={},
        finished=asyncio.Event(),
    )
    async with open_session() as session:
        servers = [Server(url, session) for url in urls]
        found = await _found_again(servers, [records[job.key] for job in jobs if job.key in records])
        # A job that a server still has stays there; the others go into the shared queue.
        own: dict[str, list[Attempt]] = {url: [] for url in urls}
        for job in jobs:
            if record := found.get(job.key):
                own[record.server].append(Attempt(job, record.prompt_id, posted=True))
            else:
                batch.queue.put_nowait(Attempt(job, str(uuid4())))
        workers = [asyncio.create_task(_serve(batch, server, own[server.url])) for server in servers]
        finished = asyncio.create_task(batch.finished.wait())
        try:
            ready, _ = await asyncio.wait({finished, *workers}, return_when=asyncio.FIRST_COMPLETED)
            for task in ready:
                task.result()
        finally:
            for task in (finished, *workers):
                task.cancel()
            await asyncio.gather(finished, *workers, return_exceptions=True)
    return batch.ended


async def _found_again(servers: Sequence[Server], records: Iterable[Record]) -> dict[str, Record]:
    """The records, by key, of jobs that an earlier run posted and a server still has: waiting, running or done.

    Raises:
        ServerError: no server answers.
    """
    answers = await asyncio.gather(*(server.jobs() for server in servers), return_exceptions=True)
    problems = [answer for answer in answers if isinstance(answer, BaseException)]
    if len(problems) == len(servers):
        raise problems[0]
    ids = {server.url: answer for server, answer in zip(servers, answers, strict=True) if isinstance(answer, tuple)}
    by_url = {server.url: server for server in servers}
    found = {}
    for record in records:
        if record.state != POSTED or record.server not in ids:
            continue
        try:
            entry = await by_url[record.server].history(record.prompt_id)
        except ServerError:  # it died since
            del ids[record.server]
            continue
        if any(record.prompt_id in jobs for jobs in ids[record.server]) or (entry and ended_well(entry)):
            found[record.key] = record
    return found


async def _serve(batch: RunningBatch, server: Server, own: Iterable[Attempt]) -> None:
    """One server's worker: runs its `own` jobs of an earlier run first; returns only when every server is lost."""
    given_up: set[str] = set()
    for attempt in own:
        await _attempt(batch, server, attempt, given_up)
    while await _until_ready(batch, server, given_up):
        attempt = await batch.queue.get()
        if await _is_ready(server, given_up):  # the server may have died while the queue was empty
            await _attempt(batch, server, attempt, given_up)
        else:
            batch.queue.put_nowait(attempt)


async def _until_ready(batch: RunningBatch, server: Server, given_up: set[str]) -> bool:
    """Waits until the server is ready; returns False when the retries of every server are used up."""
    waits = batch.policy.waits
    while not await _is_ready(server, given_up):
        times = batch.down[server.url] = batch.down.get(server.url, 0) + 1
        if times == 1:
            batch.tell(f"{server.url}: not ready, tried again later")
        if len(batch.down) == batch.servers and min(batch.down.values()) > len(waits):
            return False
        await asyncio.sleep(waits[min(times, len(waits)) - 1])
    if batch.down.pop(server.url, None):
        batch.tell(f"{server.url}: ready again")
    return True


async def _is_ready(server: Server, given_up: set[str]) -> bool:
    """True if the server answers and is not stuck on a job that was given up there; cancels such jobs."""
    try:
        running, waiting = await server.jobs()
    except ServerError:
        return False
    for job in given_up & (running | waiting):
        await server.cancel(job)
    return not given_up & running


async def _attempt(batch: RunningBatch, server: Server, attempt: Attempt, given_up: set[str]) -> None:
    """Runs one try: ends the job, or queues it again for any server if the failure may be temporary."""
    job = attempt.job
    posted = Record(job.key, job.name, POSTED, server.url, attempt.prompt_id, {})
    try:
        files = await _result(batch, server, attempt, posted)
    except JobError as error:
        batch.end(replace(posted, state=FAILED, reason=str(error)))
    except OSError as error:
        # An input cannot be read, or the row's folder cannot be made. What was posted stays so in the journal: a later
        # run fetches it.
        what = f"{error.filename or batch.output} cannot be read or written ({reason(error)}): check it"
        batch.end(replace(posted, state=FAILED, reason=what), journal=False)
    except (ServerError, JobInterruptedError) as error:
        if isinstance(error, ServerError):
            given_up.add(attempt.prompt_id)
        if attempt.tries == batch.policy.retries:
            batch.end(replace(posted, state=FAILED, reason=f"{error} ({attempt.tries + 1} tries)"))
            return
        batch.tell(f"{job.name} on {server.url}: to be tried again ({error})")
        batch.queue.put_nowait(Attempt(job, str(uuid4()), attempt.tries + 1))
    else:
        batch.end(replace(posted, state=DONE, files=files))


async def _to_its_end(work: Coroutine[Any, Any, None]) -> None:
    """Awaits `work` even if cancelled meanwhile: Ctrl-C cancels every task in Python 3.10, and `_run` cancels again."""
    task = asyncio.ensure_future(work)
    while not task.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.shield(task)
    task.result()


async def _result(batch: RunningBatch, server: Server, attempt: Attempt, posted: Record) -> dict[str, int]:
    """Posts the job, waits for its end, fetches its files; returns path under the output folder -> size in bytes."""
    job = attempt.job
    try:
        if attempt.posted:
            batch.tell(f"{job.name} on {server.url}: picked up again")
        else:
            for name, path in job.uploads.items():
                await server.upload(path, name)
            write_record(batch.output, posted)  # before the post, so that a crash in between loses no job
            await server.post(attempt.prompt_id, job.prompt)
            batch.tell(f"{job.name} on {server.url}: started")
        entry = await server.follow(attempt.prompt_id, batch.policy.silence, _progress(batch, server, job))
    except (asyncio.CancelledError, ServerError):
        await _to_its_end(server.cancel(attempt.prompt_id))
        raise
    check_ended_well(entry, job.prompt)
    files = local_names(outputs(entry))
    if not files:
        raise JobError("the workflow saved no file: add a node that saves, such as Save Image or Save Video")
    folder = batch.output / job.name
    folder.mkdir(exist_ok=True)
    return {f"{job.name}/{name}": await server.fetch(file, folder / name) for name, file in files.items()}


def _progress(batch: RunningBatch, server: Server, job: BatchJob) -> JobProgress:
    """The callback that reports the progress of each node, at most once every TELL_EVERY seconds."""
    told = time.monotonic()

    def progress(node: str, done: int, total: int) -> None:
        nonlocal told
        if time.monotonic() - told >= TELL_EVERY:
            told = time.monotonic()
            batch.tell(f"{job.name} on {server.url}: {node_title(job.prompt, node)} {done}/{total}")

    return progress
