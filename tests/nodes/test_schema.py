"""A node's schema in newer and older ComfyUI."""

from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest


@dataclass
class OldSchema:
    """As ComfyUI 0.3.64 has it."""

    node_id: str
    category: str = "sd"


@dataclass
class NewSchema(OldSchema):
    """As ComfyUI 0.30 has it."""

    search_aliases: list = field(default_factory=list)


@pytest.fixture
def make(node_module, monkeypatch):
    module = node_module("host.schema")

    def make(kind, **parts):
        monkeypatch.setattr(module, "io", SimpleNamespace(Schema=kind))
        return module.schema(**parts)

    return make


def test_search_words_are_given_where_comfyui_takes_them(make):
    words = make(NewSchema, node_id="a").search_aliases
    for wanted in ("personalive", "live portrait", "face", "talking head"):
        assert any(wanted in word.lower() for word in words), wanted
    assert make(OldSchema, node_id="a") == OldSchema("a", "PersonaLive")


def test_a_misspelt_argument_is_refused(make):
    with pytest.raises(TypeError):
        make(OldSchema, node_id="a", descriptoin="b")
