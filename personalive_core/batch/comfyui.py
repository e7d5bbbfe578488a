"""A batch of jobs on several servers: each takes the next when it is free, and a journal makes it resumable."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import uuid4

from ..text import plural
from .answers import JobError, JobInterruptedError, check_ended_well, ended_well, local_names, outputs
from .journal import DONE, FAILED, POSTED, Record, read_journal, write_record
from .rows import BatchJob, node_title
from .server import JobProgress, Server, ServerError, open_session

TELL_EVERY = 10  # seconds between two lines about one running job

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Policy:
    """How patient a batch is."""

    retries: int = 2  # of one job, after what may pass
    silence: float = 600  # seconds that a running job may give no sign of life
    waits: tuple[float, ...] = (1, 2, 4, 8, 15, 30)  # seconds before a lost server is tried again, the last repeated


@dataclass(frozen=True)
class Attempt:
    """One try of a job, under the id that the server knows it by."""

    job: BatchJob
    prompt_id: str
    tries: int = 0  # that went before
    posted: bool = False  # by an earlier run of this program


@dataclass(frozen=True)
class RunningBatch:
    """What the servers' workers share while a batch runs."""

    output: Path
    policy: Policy
    tell: Tell
    total: int  # jobs to run
    servers: int
    queue: asyncio.Queue[Attempt]
    ended: dict[str, Record]  # key -> DONE or FAILED
    down: dict[str, int]  # server -> times in a row that it was not ready
    finished: asyncio.Event

    def end(self, record: Record) -> None:
        """Notes that a job is done or has failed for good."""
        write_record(self.output, record)
        self.ended[record.key] = record
        what = f"failed: {record.reason}" if record.reason else f"done, {plural(len(record.files), 'file')}"
        self.tell(f"[{len(self.ended)}/{self.total}] {record.name} on {record.server}: {what}")
        if len(self.ended) == self.total:
            self.finished.set()


async def run_batch(
    jobs: Sequence[BatchJob], urls: Sequence[str], output: Path, policy: Policy, tell: Tell
) -> tuple[Record, ...]:
    """Runs the jobs that the journal does not show as done; returns how each of `jobs` ended.

    Raises:
        ServerError: no server answers at the start.
        OutputError: a result cannot be written; nothing goes on.
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
    """Jobs, by key, that an earlier run posted and whose servers still have them: waiting, running or done."""
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
        entry = await by_url[record.server].history(record.prompt_id)
        if any(record.prompt_id in jobs for jobs in ids[record.server]) or (entry and ended_well(entry)):
            found[record.key] = record
    return found


async def _serve(batch: RunningBatch, server: Server, own: Iterable[Attempt]) -> None:
    """One server's worker: first its `own` jobs of an earlier run; returns only when every server was lost."""
    given_up: set[str] = set()
    for attempt in own:
        await _attempt(batch, server, attempt, given_up)
    while await _until_ready(batch, server, given_up):
        attempt = await batch.queue.get()
        if await _is_ready(server, given_up):  # it may have died while there was nothing to do
            await _attempt(batch, server, attempt, given_up)
        else:
            batch.queue.put_nowait(attempt)


async def _until_ready(batch: RunningBatch, server: Server, given_up: set[str]) -> bool:
    """Waits for the server; False once every server was waited for long enough."""
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
    """Whether it answers and is not stuck on a job that was given up there."""
    try:
        running, waiting = await server.jobs()
    except ServerError:
        return False
    for job in given_up & (running | waiting):
        await server.cancel(job)
    return not given_up & running


async def _attempt(batch: RunningBatch, server: Server, attempt: Attempt, given_up: set[str]) -> None:
    """One try: ends the job, or puts it back for any server if the failure may pass."""
    job = attempt.job
    posted = Record(job.key, job.name, POSTED, server.url, attempt.prompt_id, {})
    try:
        files = await _result(batch, server, attempt, posted)
    except JobError as error:
        batch.end(replace(posted, state=FAILED, reason=str(error)))
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


async def _result(batch: RunningBatch, server: Server, attempt: Attempt, posted: Record) -> dict[str, int]:
    """Posts the job, waits for its end, fetches its files; returns their sizes by path under the output folder."""
    job = attempt.job
    try:
        if attempt.posted:
            batch.tell(f"{job.name} on {server.url}: picked up again")
        else:
            for name, path in job.uploads.items():
                await server.upload(path, name)
            write_record(batch.output, posted)  # before the server knows of it: a crash between loses no job
            await server.post(attempt.prompt_id, job.prompt)
            batch.tell(f"{job.name} on {server.url}: started")
        entry = await server.follow(attempt.prompt_id, batch.policy.silence, _progress(batch, server, job))
    except (asyncio.CancelledError, ServerError):
        await server.cancel(attempt.prompt_id)
        raise
    check_ended_well(entry, job.prompt)
    files = local_names(outputs(entry))
    if not files:
        raise JobError("the workflow saved no file: add a node that saves, such as Save Image or Save Video")
    folder = batch.output / job.name
    folder.mkdir(exist_ok=True)
    return {f"{job.name}/{name}": await server.fetch(file, folder / name) for name, file in files.items()}


def _progress(batch: RunningBatch, server: Server, job: BatchJob) -> JobProgress:
    """Tells which node is how far, not more often than TELL_EVERY."""
    told = time.monotonic()

    def progress(node: str, done: int, total: int) -> None:
        nonlocal told
        if time.monotonic() - told >= TELL_EVERY:
            told = time.monotonic()
            batch.tell(f"{job.name} on {server.url}: {node_title(job.prompt, node)} {done}/{total}")

    return progress
