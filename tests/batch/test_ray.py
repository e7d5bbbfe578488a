"""Real Ray actors: each fault provoked, and what was lost. Toy workers, so that Ray is what is tested."""

import threading
import time

import pytest

from personalive_core.batch.board import BAD, SHORT_OF_MEMORY, Board
from personalive_core.batch.drive import run_rows
from personalive_core.batch.journal import CLUSTER_JOURNAL, DONE, FAILED, read_journal
from personalive_core.batch.ledger import Ledger
from personalive_core.batch.ray_pool import ClusterOptions, RayPool, connect
from tests.batch.fake_pool import Silent, row
from tests.batch.toy_worker import ToyWorker

pytest.importorskip("ray", reason="needs Ray: pip install .[cluster]")
pytestmark = pytest.mark.slow
STORE = 100 * 2**20  # bytes: a small object store


class Kept(RayPool):
    """A pool that leaves Ray running for the next test."""

    def close(self):
        for actor in self._actors.values():
            self.cluster.ray.kill(actor)


@pytest.fixture(scope="module")
def nodes():
    """Two machines of one core each, in this one."""
    from ray.cluster_utils import Cluster

    started = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": STORE})
    started.second = started.add_node(num_cpus=1, object_store_memory=STORE)
    yield started
    started.shutdown()


@pytest.fixture(scope="module")
def cluster(nodes):
    """The connection to them."""
    found = connect(ClusterOptions(address=nodes.address, cpus=1))
    yield found
    found.ray.shutdown()


@pytest.fixture
def drive(cluster, tmp_path):
    """Runs rows; returns (watch, ledger, the toy workers' log)."""

    def run(rows, watch=None, **toy):
        watch, ledger = watch or Silent(), Ledger(tmp_path / "out", ".mp4")
        left = ledger.open(rows)
        watch.told = []
        pool = Kept(cluster, ToyWorker, {"folder": str(tmp_path), **toy}, 1, watch.told.append)
        try:
            run_rows(Board(left, retries=1), pool, ledger, watch, 30)
        finally:
            pool.close()
            ledger.close()
        return watch, log(tmp_path)

    return run


def log(folder):
    path = folder / "log.txt"
    return [line.split() for line in path.read_text().splitlines()] if path.exists() else []


def whole(folder, rows):
    """Whether every row's file is there and whole, and nothing else."""
    files = {path.name: path.read_text() for path in (folder / "out").iterdir() if path.suffix == ".mp4"}
    return files == {f"{row.name}.mp4": "whole" for row in rows}


def test_each_fault_of_an_actor_loses_nothing(drive, tmp_path):
    """Two actors are killed, one for ever the same row, one row is bad, one lacks memory: the others are made once."""
    rows = [row(face, film) for film in ("nod", "talk") for face in "abcdefgh"]
    rows += [row("killed", "nod", kill="once"), row("deadly", "nod", kill="always"), row("poison", "talk", fail=BAD)]
    rows += [row("large", "talk", fail=SHORT_OF_MEMORY)]
    watch, lines = drive(rows)
    assert set(watch.given_up) == {"deadly__nod", "poison__talk"}
    assert "2 tries" in watch.given_up["deadly__nod"]
    assert whole(tmp_path, [row for row in rows if row.name not in watch.given_up])
    assert sum(line[0] == "read" for line in lines) == 2  # each motion once, though actors died
    made = [line[1] for line in lines if line[0] == "make"]
    assert (made.count("killed"), made.count("deadly"), made.count("poison"), made.count("large")) == (2, 2, 1, 2)
    assert all(made.count(face) == 2 for face in "abcdefgh")
    assert sum("was lost" in line for line in watch.told) == 3
    journal = read_journal(tmp_path / "out", CLUSTER_JOURNAL)
    assert sorted(record.state for record in journal.values()) == [DONE] * 18 + [FAILED] * 2


def test_two_hundred_short_rows_in_flat_memory(drive, tmp_path):
    rows = [row(f"f{face}", f"d{film}") for film in range(20) for face in range(10)]
    sizes = []

    class Sizes(Silent):
        def ended(self, _, __, outcome, record):
            if record:
                sizes.append(outcome.peak_memory)

    _, lines = drive(rows, Sizes(), bulk=10**6)
    assert whole(tmp_path, rows)
    assert sum(line[0] == "read" for line in lines) == 20
    assert all(line[4] == "True" for line in lines if line[0] == "make")
    assert max(sizes[100:]) < 1.05 * max(sizes[20:100])


def test_a_node_is_removed_while_it_works(drive, nodes, tmp_path):
    """Rows of the lost node run on the other; nothing finished is repeated. The last test: the node stays away."""
    rows = [row(face, film, seconds="0.5") for film in ("nod", "talk", "turn") for face in "abcd"]
    threading.Thread(target=_remove, args=(nodes, tmp_path), daemon=True).start()
    watch, lines = drive(rows, bulk=10**6)
    assert whole(tmp_path, rows)
    assert not watch.given_up
    assert any("was lost" in line for line in watch.told)
    assert len(rows) <= sum(line[0] == "make" for line in lines) <= len(rows) + 2
    assert len({line[3] for line in lines}) == 2  # both nodes worked


def _remove(nodes, folder):
    """Removes the second node when a few rows are begun."""
    while sum(line[0] == "make" for line in log(folder)) < 4:
        time.sleep(0.02)
    nodes.remove_node(nodes.second, allow_graceful=False)
