"""A pool of Ray actors: a thin adapter, Ray itself places, restarts and watches them. Imports ray when it is used."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..errors import InputError, PersonaLiveError
from .board import GONE, LOST, READ, Task, TaskEnd
from .drive import Event

TIMES = 3  # that an actor may fail to answer its first question before it is given up
STORE = "object store"


@dataclass(frozen=True)
class ClusterOptions:
    """Which cluster, and how many actors of which size."""

    address: str | None = None  # "auto", ray://...; None: a local Ray of this machine alone
    workers: int | None = None  # actors; None: one a GPU, or as many as fit with `cpus` each
    cpus: float = 4  # CPU cores of each actor
    on_cpu: bool = False  # no GPU is asked for, though there are some
    dashboard: bool = False  # a local Ray begins with its dashboard
    store: int | None = None  # bytes of a local Ray's object store; None: Ray's own choice
    local_cpus: int | None = None  # of a local Ray; None: all


@dataclass(frozen=True)
class Cluster:
    """A connected Ray."""

    ray: Any  # the module
    dashboard: str  # address; empty: there is none
    gpus: int  # of each actor
    workers: int


def load_ray() -> Any:  # noqa: ANN401 - an optional library
    """The module ray. Raises InputError that says how to install it."""
    try:
        import ray
    except ImportError as error:
        raise InputError("`personalive batch` runs on Ray, which is not installed: pip install .[cluster]") from error
    return ray


def connect(options: ClusterOptions) -> Cluster:
    """Starts a local Ray, or connects to a running one.

    Raises InputError if ray is not installed, nothing answers at the address, or no actor fits.
    """
    ray = load_ray()
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    try:
        if options.address is None:
            local = {"num_cpus": options.local_cpus, "object_store_memory": options.store}
            context = ray.init("local", include_dashboard=options.dashboard, **local, **quiet)
        else:
            context = ray.init(options.address, **quiet)
    except (ConnectionError, ValueError, RuntimeError) as error:
        first = next(iter(str(error).splitlines()), type(error).__name__)
        raise InputError(f"no Ray answers at {options.address or 'this machine'} ({first}): start it") from error
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    gpus = 0 if options.on_cpu else int(sum(node.get("GPU", 0) for node in nodes))
    fit = gpus or int(sum(node.get("CPU", 0) // options.cpus for node in nodes))
    workers = options.workers or fit
    if not workers:
        ray.shutdown()
        raise InputError(f"no machine has {options.cpus:g} free CPU cores for a worker: give fewer --cpus-per-worker")
    return Cluster(ray, getattr(context, "dashboard_url", "") or "", 1 if gpus else 0, workers)


@dataclass(eq=False)
class RayPool:
    """Ray actors of the class `kind`, made with `arguments`. Close it at the end.

    `kind` has the methods `hello`, which gives the worker's name, `read` and `make`; see RowWorker.
    """

    cluster: Cluster
    kind: type
    arguments: Mapping[str, Any]
    cpus: float
    tell: Callable[[str], None]
    _actors: dict[int, Any] = field(default_factory=dict)
    _names: dict[int, str] = field(default_factory=dict)  # of those that are there
    _asked: dict[Any, int] = field(default_factory=dict)  # the answer to `hello` -> actor
    _silent: dict[int, int] = field(default_factory=dict)  # times that `hello` failed
    _tasks: dict[Any, tuple[int, Any]] = field(default_factory=dict)  # the outcome -> actor, the motion
    _busy: set[int] = field(default_factory=set)
    _reasons: list[str] = field(default_factory=list)  # why actors were left out

    def __post_init__(self) -> None:
        made = self.cluster.ray.remote(self.kind).options(
            num_cpus=self.cpus, num_gpus=self.cluster.gpus, max_restarts=-1, max_task_retries=0
        )
        for number in range(self.cluster.workers):
            self._actors[number] = made.remote(**self.arguments)
            self._ask(number)

    def free(self) -> Sequence[str]:
        return [name for number, name in self._names.items() if number not in self._busy]

    def alive(self) -> Sequence[str]:
        return [*self._names.values()]

    def start(self, worker: str, task: Task, place: Path) -> None:
        number = next(number for number, name in self._names.items() if name == worker)
        actor, call = self._actors[number], _call(task)
        if task.reads:
            outcome, motion = actor.read.options(num_returns=2).remote(call)
        else:
            outcome, motion = actor.make.remote(call, str(place), task.motion, task.lean), None
        self._tasks[outcome] = number, motion
        self._busy.add(number)

    def wait(self, seconds: float) -> Sequence[Event]:
        waiting = [*self._tasks, *self._asked]
        if not waiting and not self._names:
            raise InputError(f"no worker can begin: {self._reasons[-1] if self._reasons else 'none was started'}")
        if not waiting:
            return ()
        ray = self.cluster.ray
        done, rest = ray.wait(waiting, num_returns=1, timeout=seconds)
        if rest and done:
            done += ray.wait(rest, num_returns=len(rest), timeout=0)[0]
        events = [self._answered(ref) if ref in self._asked else self._ended(ref) for ref in done]
        return [event for event in events if event is not None]

    def close(self) -> None:
        """Ends the actors, and a local Ray."""
        for actor in self._actors.values():
            with contextlib.suppress(Exception):
                self.cluster.ray.kill(actor)
        self.cluster.ray.shutdown()

    def _ask(self, number: int) -> None:
        self._asked[self._actors[number].hello.remote(number)] = number

    def _answered(self, ref: Any) -> Event | None:  # noqa: ANN401
        number = self._asked.pop(ref)
        try:
            name = str(self.cluster.ray.get(ref))
        except PersonaLiveError as error:
            self._reasons.append(str(error))
            self.tell(f"worker {number} is left out: {error}")
            return None
        except Exception as error:
            self._silent[number] = self._silent.get(number, 0) + 1
            if self._silent[number] < TIMES:
                self._ask(number)
            else:
                self._reasons.append(_first_line(error))
                self.tell(f"worker {number} is given up: {_first_line(error)}")
            return None
        self._silent.pop(number, None)
        self._names[number] = name
        return Event(name)

    def _ended(self, ref: Any) -> Event:  # noqa: ANN401
        number, motion = self._tasks.pop(ref)
        self._busy.discard(number)
        name = self._names[number]
        try:
            outcome: TaskEnd = self.cluster.ray.get(ref)
        except Exception as error:
            outcome = self._befell(number, error)
        return Event(name, replace(outcome, motion=motion) if outcome.kind == READ else outcome)

    def _befell(self, number: int, error: Exception) -> TaskEnd:
        kinds = self.cluster.ray.exceptions
        if isinstance(getattr(error, "cause", error), kinds.ObjectLostError) or isinstance(
            error, kinds.ObjectLostError
        ):
            return TaskEnd(GONE, "the driving's motion was lost with its node")
        self.tell(f"{self._names.pop(number)} was lost: {_first_line(error)}")
        self._ask(number)  # Ray starts it again, there or on another node; until it answers it gets no work
        return TaskEnd(LOST, f"its worker was lost ({_first_line(error)})")


def _call(task: Task) -> dict[str, Any]:
    row = task.row
    return {"reference": str(row.reference), "driving": str(row.driving), "options": row.options}


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)[:200]
