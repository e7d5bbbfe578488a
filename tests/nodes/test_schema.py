"""A node's schema in newer and older ComfyUI."""

from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest


@dataclass
class OldSchema:
    """As ComfyUI 0.3.64 has it."""

    node_id: str
    category: str = "sd"
    inputs: list = field(default_factory=list)


@dataclass
class NewSchema(OldSchema):
    """As ComfyUI 0.30 has it."""

    search_aliases: list = field(default_factory=list)
    has_intermediate_output: bool = False


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


def test_an_older_comfyui_is_not_asked_for_what_it_does_not_know(make):
    assert make(NewSchema, node_id="a", has_intermediate_output=True).has_intermediate_output
    assert make(OldSchema, node_id="a", has_intermediate_output=True) == OldSchema("a", "PersonaLive")


def test_seldom_changed_widgets_are_marked_where_comfyui_has_the_mark(make):
    older = [SimpleNamespace(id="detector"), SimpleNamespace(id="seed")]
    newer = [SimpleNamespace(id="detector", advanced=None), SimpleNamespace(id="seed", advanced=None)]
    assert make(OldSchema, node_id="a", inputs=older).inputs == older
    assert [part.advanced for part in make(NewSchema, node_id="a", inputs=newer).inputs] == [True, None]
    assert [part.advanced for part in newer] == [None, None]


def test_a_misspelt_argument_is_refused(make):
    with pytest.raises(TypeError):
        make(OldSchema, node_id="a", descriptoin="b")
