"""Plans a batch, for `personalive batch --plan`: what it would take on how many cards; nothing is run."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from ..batch.board import Row
from ..batch.plan import CARDS, Costs, Machines, plan, plan_table, scales_to, workload_of
from ..bench.report import BenchReport, read_report
from ..errors import InputError
from ..text import plural
from .readers import number, whole
from .result import Result
from .submit import aligned


def add_plan(parser: argparse.ArgumentParser) -> None:
    """Adds --plan and what it is computed from."""
    group = parser.add_argument_group("plan", "how long it takes on how many cards; nothing is run")
    group.add_argument("--plan", metavar="FPS|FILE", help="frames a second of one card, or a JSON file of `bench`")
    group.add_argument("--cards", type=whole(1), action="append", help="repeat it (default: 1, 8, 64, 1024)")
    machines, costs = Machines(), Costs(1)
    group.add_argument(
        "--cards-per-node", type=whole(1), default=machines.cards_a_node, metavar="N", help="(default: %(default)s)"
    )
    group.add_argument(
        "--disk", type=number(0.001), default=machines.disk / 1e9, metavar="GB/S", help="of the shared file server"
    )
    group.add_argument("--network", type=number(0.001), default=machines.network / 1e9, metavar="GB/S", help="a node's")
    group.add_argument("--load-seconds", type=number(0), default=costs.load_seconds, help="to begin an actor")


def planned(a: argparse.Namespace, rows: Sequence[Row]) -> Result:
    """The plan of these rows. Raises InputError if --plan is neither a number nor a report."""
    costs = replace(costs_of(a.plan), load_seconds=a.load_seconds)
    machines = replace(Machines(), cards_a_node=a.cards_per_node, disk=a.disk * 1e9, network=a.network * 1e9)
    load = workload_of(rows)
    plans = [plan(load, costs, machines, cards) for cards in a.cards or CARDS]
    limits = {name: float(f"{cards:.3g}") for name, cards in scales_to(load, costs, machines).items()}
    heads, *cells = plan_table(plans)
    text = [
        f"{plural(load.rows, 'row')}, {load.frames:,.0f} frames; {plural(load.films, 'motion')} read once, at "
        f"{costs.fps:g} frames a second a card",
        "",
        *aligned(heads, cells),
        "",
        "more cards stop helping at: " + ", ".join(f"{cards:,.0f} ({name})" for name, cards in limits.items()),
    ]
    values = {"load": asdict(load), "costs": asdict(costs), "plans": [asdict(one) for one in plans], "limits": limits}
    return Result("\n".join(text), values)


def costs_of(text: str) -> Costs:
    """The costs that --plan gives. Raises InputError if it is neither a number above 0 nor a report of `bench`."""
    try:
        fps = float(text)
    except ValueError:
        return costs_in(read_report(Path(text)))
    if not 0 < fps < float("inf"):
        raise InputError(f"--plan needs frames a second above 0, got {text}: measure them with `personalive bench`")
    return Costs(fps)


def costs_in(report: BenchReport) -> Costs:
    """The costs that a report of `bench` holds."""
    seconds = {stage.name: stage.seconds / stage.frames for stage in report.stages}
    base = Costs(report.fps)
    motion, reference = seconds.get("motion"), seconds.get("reference")
    return replace(
        base,
        motion_fps=1 / motion if motion else base.motion_fps,
        reference_seconds=reference or base.reference_seconds,
    )
