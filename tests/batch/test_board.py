"""A cluster's batch without a cluster: order, grouping, retries and what stays on the disk."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from personalive_core.batch.board import BAD, GONE, LOST, OUTPUT, SHORT_OF_MEMORY, TROUBLE, Board, TaskEnd
from personalive_core.batch.drive import NO_WORKER, run_rows
from personalive_core.batch.journal import CLUSTER_JOURNAL, DONE, FAILED, read_journal
from personalive_core.batch.ledger import UNFINISHED, Ledger, names_taken
from personalive_core.errors import OutputError
from tests.batch.fake_pool import FakePool, Silent, row

GRID = [row(face, film, frames) for film, frames in (("nod", 100), ("talk", 400), ("turn", 50)) for face in "abcde"]


@pytest.fixture
def drive(tmp_path):
    """Runs rows on a fake pool in the same output folder; returns (pool, watch, ledger)."""

    def run(rows, workers=("w1", "w2"), script=lambda *_: None, retries=2, **options):
        pool, watch, ledger = FakePool(workers, script, **options), Silent(), Ledger(tmp_path / "out", ".mp4")
        left = ledger.open(rows)
        try:
            if left:
                run_rows(Board(left, retries), pool, ledger, watch, 60, pool.clock)
        finally:
            ledger.close()
        return pool, watch, ledger

    return run


def fails(times, kind=LOST, name=None, exit_code=1, **only):
    """A script in which the first tries of the row `name`, or of any, end like this."""
    count = []

    def script(_, task, number):
        fits = (name is None or task.row.name == name) and all(getattr(task, key) == v for key, v in only.items())
        if not fits or len(count) >= times:
            return None
        count.append(number)
        return TaskEnd(kind, f"{kind} happened", exit_code, seconds=1)

    return script


def results(tmp_path):
    return sorted(path.name for path in (tmp_path / "out").iterdir() if path.suffix == ".mp4")


def test_every_row_is_made_once_and_every_motion_read_once(drive, tmp_path):
    pool, _, ledger = drive(GRID)
    assert sorted(pool.made()) == sorted(row.name for row in GRID)
    assert len(pool.reads()) == 3
    assert results(tmp_path) == sorted(f"{row.name}.mp4" for row in GRID)
    assert {record.state for record in ledger.records.values()} == {DONE}
    assert (tmp_path / "out" / "a__nod.mp4").read_text() == "a__nod"
    assert not (tmp_path / "out" / UNFINISHED).exists()


def test_the_longest_driving_comes_first_and_a_single_row_reads_nothing(drive):
    rows = [*GRID, row("solo", "alone", 5000)]
    pool, _, _ = drive(rows)
    assert pool.log[0][1:] == ("make", "solo__alone")
    assert [name[-4:] for name in pool.reads()] == ["talk", "_nod", "turn"]


def test_a_motion_file_is_not_read_beforehand(drive):
    from dataclasses import replace

    pool, _, _ = drive([replace(row(face, "saved"), is_film=False) for face in "abc"])
    assert not pool.reads()


def test_a_worker_prefers_the_references_that_it_holds(drive):
    """Sixteen references for two workers that keep eight each: in any other order nearly every row encodes its own."""
    rows = [row(face, film, 100 + 7 * i) for i, film in enumerate("uvwxyz") for face in "abcdefghijklmnop"]
    pool, _, _ = drive(rows)
    assert sum(pool.encoded.values()) <= 16 + 8


def test_drivings_are_opened_as_they_are_needed():
    """Back-pressure: the motion of few drivings waits at the same time, however many there are."""
    rows = [row(face, f"film{number}", 100) for number in range(50) for face in "ab"]
    board = Board(rows)
    taken = [board.next(worker, ("w1", "w2")) for worker in ("w1", "w2") * 20]
    assert sum(task is not None for task in taken) == 5  # 2 * workers + 1, none of which is read yet


def test_two_workers_take_half_the_time():
    one = FakePool(["w1"], write=False)
    two = FakePool(["w1", "w2"], write=False)
    for pool in (one, two):
        run_board(GRID, pool)
    assert 1.8 < one.now / two.now <= 2.0


def run_board(rows, pool):
    """A run without a disk."""
    board = Board(rows)
    while board.left:
        for worker in pool.free():
            task = board.next(worker, pool.alive())
            if task:
                pool.start(worker, task, Path("x"))
        running = {worker: task for worker, (_, task, _) in pool.running.items()}
        for event in pool.wait(1):
            if event.outcome:
                board.ended(event.worker, running[event.worker], event.outcome)
    return board


@pytest.mark.parametrize("kind", [LOST, TROUBLE, OUTPUT])
def test_what_may_pass_is_tried_again_by_another(drive, tmp_path, kind):
    pool, watch, _ = drive(GRID, script=fails(1, kind, "a__nod", reads=False))
    tries = [worker for worker, kind, name in pool.log if name == "a__nod" and kind == "make"]
    assert len(tries) == 2
    assert tries[0] != tries[1]
    assert not watch.given_up
    assert len(results(tmp_path)) == len(GRID)


def test_a_motion_whose_worker_is_lost_is_read_again(drive, tmp_path):
    pool, watch, _ = drive(GRID, script=fails(1, reads=True))
    assert len(pool.reads()) == 4
    assert not watch.given_up
    assert len(pool.made()) == len(results(tmp_path)) == len(GRID)


def test_a_lost_motion_is_read_again_and_nothing_else_is_repeated(drive, tmp_path):
    pool, watch, _ = drive(GRID, script=fails(2, GONE, reads=False))
    assert 4 <= len(pool.reads()) <= 5
    assert len(pool.made()) == len(GRID) + 2
    assert not watch.given_up
    assert len(results(tmp_path)) == len(GRID)


def test_a_motion_that_is_always_lost_ends_the_row(drive):
    pool, watch, _ = drive([row("a"), row("b")], script=fails(10**6, GONE, reads=False))
    assert set(watch.given_up) == {"a__nod", "b__nod"}
    assert pool.number < 60


@pytest.mark.parametrize("kind", [LOST, TROUBLE])
def test_a_lost_motion_that_cannot_be_read_again_ends_its_rows(drive, kind):
    """The node that held it is gone, and the driving with it: each try counts, though a row waits for the motion."""
    seen = []

    def script(_, task, number):
        assert number < 60
        seen.append(task.reads)
        if task.reads:
            return TaskEnd(kind, f"{kind} happened", seconds=1) if seen.count(True) > 1 else None
        return TaskEnd(GONE, "gone", seconds=1)

    _, watch, _ = drive([row("a"), row("b")], script=script)
    assert watch.given_up == dict.fromkeys(("a__nod", "b__nod"), f"{kind} happened (3 tries)")


def test_a_bad_row_is_not_tried_again_and_the_others_are_made(drive, tmp_path):
    pool, watch, _ = drive(GRID, script=fails(1, BAD, "a__nod", 3, reads=False))
    assert pool.made().count("a__nod") == 1
    assert watch.given_up == {"a__nod": "bad happened"}
    assert len(results(tmp_path)) == len(GRID) - 1
    assert read_journal(tmp_path / "out", CLUSTER_JOURNAL)["key-a__nod"].state == FAILED


def test_a_film_that_cannot_be_read_fails_all_its_rows_at_once(drive):
    pool, watch, _ = drive(GRID, script=fails(1, BAD, reads=True))
    assert len(watch.given_up) == 5
    assert len(pool.made()) == len(GRID) - 5
    assert len(pool.reads()) == 3


def test_out_of_memory_is_tried_alone_and_then_on_another_worker(drive):
    seen = []

    def script(worker, task, _):
        if task.row.name != "a__nod" or task.reads:
            return None
        seen.append((worker, task.lean))
        return TaskEnd(SHORT_OF_MEMORY, "out of memory", 7, seconds=1) if len(seen) < 3 else None

    _, watch, _ = drive(GRID, script=script)
    (first, lean), (_, again), (other, last) = seen
    assert (lean, again, last) == (False, True, False)
    assert first != other or seen[1][0] != other
    assert not watch.given_up


def test_a_row_that_always_kills_its_worker_is_given_up(drive, tmp_path):
    pool, watch, _ = drive(GRID, script=fails(10**6, LOST, "b__talk", reads=False))
    assert watch.given_up == {"b__talk": "lost happened (3 tries)"}
    assert pool.made().count("b__talk") == 3
    assert len(results(tmp_path)) == len(GRID) - 1


def test_a_full_disk_stops_the_batch_and_the_next_run_goes_on(drive, tmp_path):
    def full(_, __, number):
        return TaskEnd(OUTPUT, "the disk is full: free space", 5, seconds=1) if number > 8 else None

    with pytest.raises(OutputError, match="free space, then run the same command again"):
        drive(GRID, script=full)
    before = results(tmp_path)
    assert 0 < len(before) < len(GRID)
    pool, _, _ = drive(GRID)
    assert not set(pool.made()) & {name.removesuffix(".mp4") for name in before}
    assert len(results(tmp_path)) == len(GRID)


def test_without_any_worker_the_rest_is_left_for_the_next_run(drive, tmp_path):
    _, _, ledger = drive(GRID, script=lambda _w, _t, n: TaskEnd(LOST, "gone") if n > 6 else None, back=None)
    failed = [record for record in ledger.records.values() if record.state == FAILED]
    assert {record.reason for record in failed} == {NO_WORKER}
    assert len(failed) + len(results(tmp_path)) == len(GRID)
    journal = read_journal(tmp_path / "out", CLUSTER_JOURNAL)
    assert {record.state for record in journal.values()} == {DONE}


def test_the_same_command_again_does_nothing_twice(drive, tmp_path):
    drive(GRID)
    (tmp_path / "out" / "c__turn.mp4").unlink()
    pool, _, ledger = drive(GRID)
    assert pool.made() == ["c__turn"]
    assert len(ledger.records) == len(GRID)


def test_a_result_that_a_killed_run_finished_but_did_not_note_is_taken(drive, tmp_path):
    folder = tmp_path / "out" / UNFINISHED
    folder.mkdir(parents=True)
    (folder / "key-a__nod~12345678.mp4").write_text("whole")
    (folder / "key-b__nod~12345678.partial.mp4").write_text("half")
    pool, _, ledger = drive(GRID)
    assert "a__nod" not in pool.made()
    assert "b__nod" in pool.made()
    assert (tmp_path / "out" / "a__nod.mp4").read_text() == "whole"
    assert (tmp_path / "out" / "b__nod.mp4").read_text() == "b__nod"
    assert ledger.records["key-a__nod"].state == DONE


def test_a_row_may_have_its_own_suffix(drive, tmp_path):
    """A finished file of another suffix is not taken for its result."""
    still, other = replace(row("anna", "smile"), suffix=".png"), replace(row("bert", "smile"), suffix=".png")
    folder = tmp_path / "out" / UNFINISHED
    folder.mkdir(parents=True)
    (folder / "key-anna__smile~12345678.png").write_text("whole")
    (folder / "key-bert__smile~12345678.mp4").write_text("another")
    pool, _, ledger = drive([still, other, row("anna", "nod")])
    assert sorted(pool.made()) == ["anna__nod", "bert__smile"]
    assert (tmp_path / "out" / "anna__smile.png").read_text() == "whole"
    assert (tmp_path / "out" / "bert__smile.png").read_text() == "bert__smile"
    assert [*ledger.records["key-anna__nod"].files] == ["anna__nod.mp4"]


def test_another_batch_in_the_same_folder_is_refused(tmp_path):
    pytest.importorskip("fcntl", reason="the system has no such locks")
    first, second = Ledger(tmp_path, ".mp4"), Ledger(tmp_path, ".mp4")
    first.open(GRID)
    with pytest.raises(OutputError, match="another batch writes to"):
        second.open(GRID)
    first.close()
    assert len(second.open(GRID)) == len(GRID)
    second.close()


def test_the_journal_has_the_fields_of_submits(drive, tmp_path):
    drive([row()])
    line = json.loads((tmp_path / "out" / CLUSTER_JOURNAL).read_text().strip())
    assert [*line] == ["key", "name", "state", "server", "prompt_id", "files", "reason"]
    assert line["files"] == {"anna__nod.mp4": 9}
    assert names_taken(tmp_path / "out") == {"key-anna__nod": "anna__nod"}


def test_many_workers_share_many_rows():
    rows = [row(f"f{face}", f"d{film}", 100 + film) for film in range(20) for face in range(40)]
    pool = FakePool([f"w{n}" for n in range(64)], write=False)
    board = run_board(rows, pool)
    assert board.reads == 20
    assert len(pool.made()) == 800
