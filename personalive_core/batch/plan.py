"""How long a batch takes on how many cards, from measured costs, the rows' lengths and the machines; runs nothing."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .board import FACES_HELD, Row

MOTION_BYTES = 2600  # a frame's motion in the object store
CARDS = (1, 8, 64, 1024)
HOUR = 3600.0
_HEADS = ("cards", "hours", "card hours", "load", "motion", "references", "used", "limited by")


@dataclass(frozen=True)
class Costs:
    """What one card takes, as `personalive bench` measures it."""

    fps: float  # frames of results a second
    motion_fps: float = 200.0  # frames a second whose motion is read
    reference_seconds: float = 0.3  # to encode one
    load_seconds: float = 30.0  # to begin an actor: imports, networks
    row_seconds: float = 0.5  # of every row beside its frames: opening and closing files


@dataclass(frozen=True)
class Machines:
    """What cards share; the defaults are those of a usual cluster and its file server."""

    cards_a_node: int = 8
    disk: float = 2e9  # bytes a second of the file server that all nodes mount
    network: float = 1.25e9  # bytes a second of each node: 10 Gbit
    store: float = 16e9  # bytes of each node's object store
    weights: float = 12e9  # bytes that each node reads once
    driver_rows: float = 300.0  # rows a second that one driver can hand out and note


@dataclass(frozen=True)
class Workload:
    """The rows in numbers."""

    rows: int
    frames: float  # of all results
    longest: float  # frames of the longest row
    films: int  # drivings whose motion is read beforehand
    film_frames: float  # of these in all
    faces: int  # references
    read_bytes: float = 0.0  # of the drivings, each time that a row opens one
    written_bytes: float = 0.0  # of the results


@dataclass(frozen=True)
class Plan:
    """What a batch takes on `cards` cards."""

    cards: int
    hours: float
    load_hours: float  # card hours spent to begin actors
    motion_hours: float  # card hours
    reference_hours: float  # card hours
    used: float  # share of the time in which a card makes frames
    limit: str  # what decides: cards, longest row, disk, network, driver; or the object store, if it overflows to disk


def workload_of(rows: Sequence[Row], bytes_a_frame: float = 12e3) -> Workload:
    """The rows in numbers; `bytes_a_frame` is what a frame of a result takes on the disk."""
    members: dict[str, list[Row]] = {}
    for row in rows:
        members.setdefault(row.motion, []).append(row)
    shared = [group for group in members.values() if len(group) > 1 and group[0].is_film]
    frames = float(sum(row.cost for row in rows))
    sizes = {row.driving: row.driving.stat().st_size for row in rows}
    return Workload(
        rows=len(rows),
        frames=frames,
        longest=float(max(row.cost for row in rows)),
        films=len(shared),
        film_frames=float(sum(max(row.cost for row in group) for group in shared)),
        faces=len({row.face for row in rows}),
        read_bytes=float(sum(sizes[row.driving] for row in rows)),
        written_bytes=frames * bytes_a_frame,
    )


def clips(count: int, frames: float = 250, faces: int = 1000) -> Workload:
    """A made-up batch: so many clips, each of `frames`, from drivings that each drive every one of `faces`."""
    films = math.ceil(count / faces)
    size = 12e3 * frames
    return Workload(count, count * frames, frames, films, films * frames, faces, count * size, count * size)


def plan(load: Workload, costs: Costs, machines: Machines, cards: int) -> Plan:
    """What the batch takes on `cards` cards, if the order is the board's: longest first, references held."""
    nodes = math.ceil(cards / machines.cards_a_node)
    # Where workers can hold all references among them, each is encoded about once; else once a row.
    encoded = load.rows if load.faces > FACES_HELD * cards else min(load.rows, max(load.faces, cards))
    motion = load.film_frames / costs.motion_fps
    references = encoded * costs.reference_seconds
    work = load.frames / costs.fps
    longest = load.longest / costs.fps + costs.row_seconds
    begun = costs.load_seconds + nodes * machines.weights / machines.disk
    total = work + motion + references + load.rows * costs.row_seconds
    moved = load.read_bytes + load.written_bytes
    # Greedy, longest first: at most the even share and, behind it, what is left of one row.
    limits = {
        "cards": begun + total / cards + longest * (1 - 1 / cards),
        "longest row": begun + longest,
        "disk": begun + moved / machines.disk,
        "network": begun + moved / (machines.network * nodes),
        "driver": begun + load.rows / machines.driver_rows,
    }
    limit = max(limits, key=lambda name: limits[name])
    if limit == "cards" and longest * (1 - 1 / cards) > total / cards:
        limit = "longest row"
    kept = (2 * cards + 1) / nodes * load.film_frames / max(load.films, 1) * MOTION_BYTES
    if kept > machines.store:
        limit += ", object store spills"
    seconds = max(limits.values())
    hours = seconds / HOUR
    return Plan(cards, hours, cards * begun / HOUR, motion / HOUR, references / HOUR, work / (cards * seconds), limit)


def scales_to(load: Workload, costs: Costs, machines: Machines) -> dict[str, float]:
    """Up to how many cards each limit lets the batch become faster."""
    total = load.frames / costs.fps + load.film_frames / costs.motion_fps + load.rows * costs.row_seconds
    moved = load.read_bytes + load.written_bytes
    return {
        "disk": total * machines.disk / moved if moved else math.inf,
        "driver": total * machines.driver_rows / load.rows,
        "longest row": total / (load.longest / costs.fps + costs.row_seconds),
    }


def plan_table(plans: Iterable[Plan]) -> list[tuple[str, ...]]:
    """The plans as cells, heads first."""
    return [
        _HEADS,
        *(
            (
                str(one.cards),
                f"{one.hours:,.2f}",
                f"{one.cards * one.hours:,.0f}",
                f"{one.load_hours:,.1f} h",
                f"{one.motion_hours:,.1f} h",
                f"{one.reference_hours:,.1f} h",
                f"{100 * one.used:.0f} %",
                one.limit,
            )
            for one in plans
        ),
    ]
