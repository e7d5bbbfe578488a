"""Trains all stages of a preset in a row, under one limit of minutes, while processes draw the next stages' clips."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import InputError
from .ahead import reading_ahead
from .card import CARD, write_card
from .checkpoint import STATE_FILE, read_progress, refuse_other
from .loop import Run, train
from .networks import networks_of
from .prepare import Drawing, drawing_pool, parts_of, prepare_drawn
from .presets import preset
from .recipe import assemble

YEAR = 365 * 24 * 3600.0  # seconds
LEAST_SECONDS = 20.0  # a stage that has less than this left is not begun
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Shard:
    """Clips that processes draw into one folder."""

    clips: range
    drawing: Drawing


@dataclass(frozen=True)
class SessionPlan:
    """What a session draws, in this order, and the folders that each stage trains on, in this order."""

    shards: Mapping[str, Shard]
    acts: tuple[tuple[str, tuple[str, ...]], ...]  # stage, names of shards


_GLANCE = Drawing(256, frames=8, stride=12, style="fine", actors=True)
_JOURNEY = Drawing(256, frames=40, stride=4, style="fine", journeys=True)
PLANS: dict[str, SessionPlan] = {
    "portrait": SessionPlan(
        {
            "glances": Shard(range(600), _GLANCE),
            "more": Shard(range(600, 2200), _GLANCE),
            "films": Shard(range(2200, 2330), _JOURNEY),
        },
        (
            ("vae", ("glances",)),
            ("keypoints", ("glances", "more")),
            ("face", ("glances", "more")),
            ("1", ("glances", "more")),
            ("2", ("glances", "more")),
            ("3", ("films",)),
        ),
    )
}
PLANS["portrait-history"] = PLANS["portrait"]

_PLAIN = PLANS["portrait"]
_FILMS = _PLAIN.shards["films"]
PLANS["portrait-regions"] = replace(  # the films need actors, too
    _PLAIN, shards={**_PLAIN.shards, "films": replace(_FILMS, drawing=replace(_FILMS.drawing, actors=True))}
)


@dataclass(frozen=True)
class Session:
    """One call: where, for how long, with how many processes and reading threads."""

    preset: str
    folder: Path
    minutes: float  # 0: no limit
    workers: int
    seed: int = 0
    quiet: bool = False

    def left(self, begun: float) -> float:
        """Seconds left of a call that began at `begun`; without a limit a year."""
        return (60 * self.minutes or YEAR) - (time.monotonic() - begun)


def plan_of(name: str) -> SessionPlan:
    """The plan of a preset. Raises InputError, which lists the plans, for a preset without one."""
    if name not in PLANS:
        raise InputError(f"there is no session plan for preset {name!r}: choose one of {', '.join(PLANS)}")
    return PLANS[name]


def train_session(session: Session) -> list[dict[str, object]]:
    """Trains the stages of the plan that are not finished yet, within the minutes; returns the cards of all so far.

    The same call goes on where it was ended. Raises as `loop.train`, `assemble` and `drawing_pool` do.
    """
    plan, begun, cards = plan_of(session.preset), time.monotonic(), list[dict[str, object]]()
    with drawing_pool(max(1, session.workers)) as pool:
        drawn = {name: _drawing(pool, session.folder / name, shard) for name, shard in plan.shards.items()}
        start: Path | None = None
        for stage, names in plan.acts:
            card = _finished(_run(session, stage))
            if card is None:
                parts = [part for name in names for part in drawn[name]]
                most = min(session.left(begun) - LEAST_SECONDS, threading.TIMEOUT_MAX)  # Windows: 49 days
                waiting = wait(parts, max(0.0, most))
                for part in waiting.done:
                    part.result()
                if waiting.not_done or session.left(begun) < LEAST_SECONDS:
                    _log.warning("the session ends before stage %s; the same command goes on from there", stage)
                    break
                card = _act(session, stage, [session.folder / name for name in names], start, begun)
            cards.append(card)
            if not card["finished"]:
                break
            start = session.folder / stage / "weights"
    return cards


def _drawing(pool: ProcessPoolExecutor, folder: Path, shard: Shard) -> list[Future[None]]:
    """Asks the processes for the clips of a shard; those that are there are kept."""
    return [pool.submit(prepare_drawn, folder, "train", part, shard.drawing) for part in parts_of(shard.clips)]


def _run(session: Session, stage: str) -> Run:
    row = preset(session.preset, stage)
    return Run(session.folder / stage, stage, row, session.seed, row.precision, quiet=session.quiet)


def _finished(run: Run) -> dict[str, object] | None:
    """The card of a stage that is finished. Raises InputError for one of other settings, such as another preset's."""
    path = run.folder / CARD
    card = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {"finished": False}
    if not card["finished"]:
        return None
    if (run.folder / STATE_FILE).is_file():
        refuse_other(run.folder, read_progress(run.folder).settings, run.settings)
    return card


def _act(session: Session, stage: str, data: list[Path], start: Path | None, begun: float) -> dict[str, object]:
    """Trains one stage until it is finished or the session's minutes are over; returns its card."""
    run = _run(session, stage)
    source, made = assemble(session.preset, stage, run.row, data, start, session.seed)
    run = replace(run, minutes=session.minutes and session.left(begun) / 60, begun=time.monotonic())
    with reading_ahead(max(1, session.workers // 2)) as ahead:
        train(run, made, replace(source, ahead=ahead), networks_of(source.model, run.row.trains))
    return write_card(run, session.preset, source.model.device)
