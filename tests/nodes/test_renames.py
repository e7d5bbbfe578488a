"""The nodes' old ids: accepted from programs, told to ComfyUI, and left to packs that have a node of that id."""

import asyncio
import json
import re
import sys
from types import SimpleNamespace

import pytest

OLD = {"class_type": "PasteBack", "inputs": {"images": ["3", 0]}}
NEW = {**OLD, "class_type": "PersonaLivePasteBack"}
OTHER = {"class_type": "LoadImage", "inputs": {"image": "PasteBack"}}


@pytest.fixture
def renames(node_module):
    return node_module("host.renames")


def test_a_prompt_with_old_ids_gets_todays(renames):
    request = {"prompt": {"1": OTHER, "2": OLD}, "client_id": "PasteBack"}
    before = json.dumps(request)
    assert renames.with_new_ids(request, {}) == {**request, "prompt": {"1": OTHER, "2": NEW}}
    assert json.dumps(request) == before


def test_a_node_of_another_pack_stays(renames):
    request = {"prompt": {"2": OLD}}
    assert renames.with_new_ids(request, {"PasteBack"}) == request


@pytest.mark.parametrize(
    "request_body", [{}, {"prompt": None}, {"prompt": {"1": None, "2": {}, "3": {"class_type": ["PasteBack"]}}}]
)
def test_what_is_no_prompt_is_left_to_comfyui(renames, request_body):
    assert renames.with_new_ids(request_body, {}) == request_body


def test_all_new_ids_are_nodes_and_no_old_one_is(renames, repository):
    nodes = json.loads((repository / "tests" / "node_snapshot.json").read_text(encoding="utf-8"))
    assert set(renames.RENAMED.values()) <= set(nodes)
    assert not set(renames.RENAMED) & set(nodes)


def test_the_page_knows_the_same_ids(renames, repository):
    script = (repository / "web" / "js" / "renames.js").read_text(encoding="utf-8")
    listed = re.search(r"RENAMED = \[(.*?)\]", script, re.DOTALL)[1]
    assert re.findall(r'"(\w+)"', listed) == list(renames.RENAMED)


def test_comfyui_is_told_every_input_of_a_replaced_node(renames, monkeypatch):
    """It empties the inputs that it is not told of."""
    told = []

    async def register(replacement):
        told.append(replacement)

    def node(name):
        schema = SimpleNamespace(node_id=name, inputs=[SimpleNamespace(id="motion"), SimpleNamespace(id="bank")])
        return SimpleNamespace(GET_SCHEMA=lambda: schema)

    replace = SimpleNamespace(NodeReplace=lambda new, old, input_mapping: (old, new, input_mapping))
    monkeypatch.setattr(renames, "io", replace)
    monkeypatch.setattr(
        renames, "ComfyAPI", lambda: SimpleNamespace(node_replacement=SimpleNamespace(register=register))
    )
    asyncio.run(renames.tell_replacements([node(name) for name in renames.RENAMED.values()]))
    same = [{"new_id": name, "old_id": name} for name in ("motion", "bank")]
    assert told == [(old, new, same) for old, new in renames.RENAMED.items()]


def test_a_comfyui_without_replacements_is_told_nothing(renames, monkeypatch):
    monkeypatch.setattr(renames, "io", SimpleNamespace())
    asyncio.run(renames.tell_replacements([]))


def test_the_server_asks_whose_an_id_is_when_a_prompt_comes(renames, monkeypatch):
    """Other packs may be loaded after this one."""
    handlers, installed = [], {}
    server = SimpleNamespace(add_on_prompt_handler=handlers.append)
    monkeypatch.setattr(renames, "PromptServer", SimpleNamespace(instance=server))
    monkeypatch.setitem(sys.modules, "nodes", SimpleNamespace(NODE_CLASS_MAPPINGS=installed))
    renames.accept_old_ids()
    (handler,) = handlers
    request = {"prompt": {"2": OLD}}
    assert handler(request) == {"prompt": {"2": NEW}}
    installed["PasteBack"] = object
    assert handler(request) == request
