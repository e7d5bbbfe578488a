"""A machine of `personalive serve` without Ray: one session at a time, its end, and a server that cannot begin."""

import argparse
import threading
from types import SimpleNamespace

import pytest

from personalive_core.commands import serve, serve_replica
from personalive_core.commands.serve_replica import LiveReplica
from personalive_core.errors import InputError
from tests.live.serving import PATIENCE, echo


@pytest.fixture
def replica(monkeypatch, tmp_path):
    """A machine whose networks are loaded."""
    ray = SimpleNamespace(util=SimpleNamespace(get_node_ip_address=lambda: "127.0.0.1"))
    monkeypatch.setattr(serve_replica, "load_ray", lambda: ray)
    monkeypatch.setattr(serve_replica, "performer_of", lambda *_: echo())
    parser = argparse.ArgumentParser()
    serve.add_arguments(parser)
    arguments = parser.parse_args(["--output", str(tmp_path), "--size", "64", "--device", "cpu"])
    serve.settle_live(arguments)
    made = LiveReplica(vars(arguments))
    made.ready()
    return made


def test_one_session_after_the_other(replica):
    for token in ("first", "second"):
        assert replica.begin(token).startswith("http://127.0.0.1:")
        ended = threading.Thread(target=replica.ended, daemon=True)
        ended.start()
        replica.end()
        ended.join(PATIENCE)
        assert not ended.is_alive()


def test_a_server_that_cannot_listen_says_so_at_once(replica, monkeypatch):
    async def refused(*_):
        raise InputError("127.0.0.1:0 cannot be used: choose another --port")

    monkeypatch.setattr(serve_replica, "serve", refused)
    with pytest.raises(InputError, match="choose another --port"):
        replica.begin("token")
    replica._thread.join(PATIENCE)
    assert not replica._thread.is_alive()
    replica._hub.close()
