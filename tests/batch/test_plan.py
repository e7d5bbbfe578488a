"""`batch --plan`: by hand, against the board itself on made-up time, and where it says that more cards stop helping."""

import json

import pytest

from personalive_core.batch.plan import Costs, Machines, Workload, clips, plan, scales_to
from tests.batch.fake_pool import FakePool, row
from tests.batch.test_board import run_board

FAST = Machines(disk=1e15, network=1e15, store=1e15, weights=0, driver_rows=1e9)


def test_by_hand():
    load = Workload(rows=10, frames=1000, longest=100, films=2, film_frames=200, faces=5)
    costs = Costs(fps=10, motion_fps=100, reference_seconds=1, load_seconds=7, row_seconds=0.5)
    one = plan(load, costs, FAST, 1)
    assert one.hours * 3600 == pytest.approx(7 + 100 + 2 + 5 * 1 + 10 * 0.5)
    assert (one.motion_hours * 3600, one.reference_hours * 3600) == pytest.approx((2, 5))
    assert one.used == pytest.approx(100 / 119)
    assert plan(load, costs, FAST, 10**6).limit == "longest row"


def test_it_agrees_with_the_board():
    """The fake pool takes a hundredth of a second a frame to read motion, a tenth to make one."""
    rows = [row(face, f"d{film}", 50 + 10 * film) for film in range(12) for face in "abcdefgh"]
    costs = Costs(fps=10, motion_fps=100, reference_seconds=0, load_seconds=0, row_seconds=0)
    load = Workload(len(rows), sum(r.frames for r in rows), 160, 12, sum(50 + 10 * film for film in range(12)), 8)
    for cards in (1, 4, 16):
        pool = FakePool([f"w{number}" for number in range(cards)], write=False)
        run_board(rows, pool)
        assert pool.now <= plan(load, costs, FAST, cards).hours * 3600 * 1.001
        assert pool.now >= 0.8 * plan(load, costs, FAST, cards).hours * 3600


def test_a_million_clips_stop_at_the_disk_or_the_driver():
    load, costs = clips(10**6), Costs(fps=25)
    hours = {cards: plan(load, costs, Machines(), cards) for cards in (1, 8, 64, 1024)}
    assert hours[1].hours == pytest.approx(8 * hours[8].hours, rel=0.02)
    assert hours[1024].used < hours[8].used
    limits = scales_to(load, costs, Machines())
    few = Machines(disk=1e8)
    assert plan(load, costs, few, 1024).limit == "disk"
    assert scales_to(load, costs, few)["disk"] == pytest.approx(limits["disk"] / 20)


def test_long_films_spill_from_the_object_store():
    load = clips(10**4, frames=10**6)
    assert "object store spills" in plan(load, Costs(25), Machines(), 64).limit


def test_the_command_plans_and_runs_nothing(personalive, tmp_path, sample):
    portrait, film = sample
    out = tmp_path / "out"
    words = ("batch", "--references", portrait.parent, "--drivings", film.parent, "--output", out)
    outcome = personalive(*words, "--plan", 25, "--cards", 2, "--json")
    assert outcome.code == 0
    assert [one["cards"] for one in json.loads(outcome.out)["plans"]] == [2]
    assert "more cards stop helping" in outcome.err
    assert not out.exists()
    assert personalive(*words, "--plan", "0").code == personalive(*words, "--plan", "none.json").code == 2
