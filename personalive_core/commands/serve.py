"""The command `personalive serve`: live sessions for many visitors, one a GPU, on a Ray cluster behind one address."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
from collections.abc import Callable
from pathlib import Path

from ..backends.registry import LIVE_SYSTEMS
from ..batch.ray_pool import ClusterOptions, connect
from ..errors import InputError
from ..live.app import LAST_WORDS, on_loopback, shown_host
from ..live.desk import Desk, DeskRules
from ..live.front import Front
from ..live.types import MODES, QUALITY
from ..text import plural
from .live import add_live_motion
from .live_performers import settle_live
from .liveportrait_options import add_transfer
from .options import add_decoder, add_device, add_loras, add_precision, add_reporting, add_speed, add_system
from .readers import number, picture_size, whole
from .result import Result
from .serve_replica import RayReplicas

SERVE_PORT = 8191


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `personalive serve`."""
    rules = DeskRules()
    cluster = parser.add_argument_group("cluster")
    cluster.add_argument("--address", help="of a running Ray: auto or ray://... (default: this machine alone)")
    cluster.add_argument("--replicas", type=whole(1), default=1, metavar="N", help="sessions always ready (default: 1)")
    cluster.add_argument(
        "--most-replicas", type=whole(1), metavar="N", help="in all, as they are needed (default: --replicas)"
    )
    cluster.add_argument(
        "--idle", type=number(0), default=rules.idle, metavar="SECONDS", help="then give a free one back (default: 300)"
    )
    cluster.add_argument(
        "--minutes", type=number(0), default=rules.minutes, help="of one session; 0: no limit (default: %(default)g)"
    )
    cluster.add_argument(
        "--cpus-per-replica", type=number(0.1), default=2.0, metavar="N", help="CPU cores (default: 2)"
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at (default: this machine alone)")
    parser.add_argument("--port", type=whole(0, 65535), default=SERVE_PORT, help="default: %(default)s")
    parser.add_argument("--reference", type=Path, help="portrait that sessions begin with (default: the drawn one)")
    parser.add_argument("--weights", type=Path, metavar="DIR", help="as of `live`")
    parser.add_argument("--output", type=Path, default=Path("output"), help="folder of recordings, on every machine")
    parser.add_argument("--mode", choices=MODES, default=QUALITY, help="as of `live` (default: %(default)s)")
    parser.add_argument("--size", type=picture_size, default=0, help="pixels a side (default: the model's own)")
    parser.add_argument(
        "--mark", action="store_true", help="add a small visible mark that says the result is generated"
    )
    for add in (add_device, add_precision, add_decoder, add_speed, add_loras, add_reporting):
        add(parser)
    add_live_motion(parser)
    add_system(parser, LIVE_SYSTEMS)
    add_transfer(parser.add_argument_group("with --system liveportrait alone"))


def run(a: argparse.Namespace) -> Result:
    """Runs `personalive serve` until Ctrl-C."""
    settle_live(a)
    a.weights, a.output = a.weights.absolute(), a.output.absolute()
    a.reference, a.quiet = a.reference and a.reference.absolute(), True
    most = max(a.replicas, a.most_replicas or a.replicas)
    rules = DeskRules(a.replicas, most, a.minutes, a.idle)
    cluster = connect(ClusterOptions(a.address, most, a.cpus_per_replica, a.device == "cpu"))
    replicas = RayReplicas(cluster, vars(a), a.cpus_per_replica)
    front = Front(Desk(rules), replicas, on_loopback(a.host))
    try:
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(serve_front(front, (a.host, a.port), lambda page: _announce(page, rules)))
    finally:
        cluster.ray.shutdown()
    return Result(f"serve: ended with {plural(len(front.desk.seats), 'replica')}", {"replicas": len(front.desk.seats)})


def _announce(page: str, rules: DeskRules) -> None:
    sys.stderr.write(f"serve: {page} ({rules.least} to {plural(rules.most, 'session')})\nCtrl-C ends it.\n")


async def serve_front(front: Front, at: tuple[str, int], ready: Callable[[str], None]) -> None:
    """Serves until it is cancelled. Raises InputError if nothing can listen at `at`, a host and a port."""
    from aiohttp import ClientSession, web

    async with ClientSession() as http:
        runner = web.AppRunner(front.app(http), access_log=None, shutdown_timeout=LAST_WORDS)
        await runner.setup()
        try:
            await web.TCPSite(runner, *at).start()
        except OSError as error:
            await runner.cleanup()
            raise InputError(f"{at[0]}:{at[1]} cannot be used ({error}): choose another --port") from error
        try:
            ready(f"http://{shown_host(at[0])}:{runner.addresses[0][1]}/")
            await front.tend()
        finally:
            await front.close()
            await runner.cleanup()
