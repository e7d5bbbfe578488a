"""The page's messages of the live connection are the server's, byte for byte."""

import json

from personalive_core.live.protocol import Message, unpack
from tests.web.write_live_messages import PATH, recorded


def test_the_bytes_that_the_page_is_tested_with_are_the_servers():
    stored = json.loads(PATH.read_text("utf-8"))
    assert stored == recorded()
    for one in stored:
        expected = Message(one["kind"], one["fields"], bytes.fromhex(one["payload"]))
        assert unpack(bytes.fromhex(one["bytes"])) == expected
