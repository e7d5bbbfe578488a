"""The pages for people: tables that render, links that lead somewhere, commands that parse, packages that exist."""

import argparse
import re
import shlex
from urllib.parse import unquote

import pytest

from personalive_core.cli import COMMANDS, build_parser
from personalive_core.training.presets import PRESETS

PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", *(f"docs/{name}.md" for name in (
    "benchmark", "cluster", "evaluation", "files", "library", "live", "small_model", "speed", "systems",
)))  # fmt: skip
TEXTS = (".py", ".md", ".js", ".json")
COMMAND = re.compile(r"(?:python -m personalive_core|personalive|.*\$\(which personalive\)) (.*)")


@pytest.fixture(params=PAGES)
def page(request, repository):
    return repository / request.param


def anchors(path):
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_page_is_checked(repository):
    assert {f"docs/{path.name}" for path in (repository / "docs").glob("*.md")} < set(PAGES)


def test_tables_have_a_head(page):
    """A line of dashes in second place: rows after an empty line are no table, and show their bars."""
    text = page.read_text(encoding="utf-8")
    tables = re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)
    assert [table for table in tables if not re.match(r"\|.*\n\|(?: -+ \|)+\n", table)] == []


def test_links_lead_to_files_and_headings(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if not link.startswith("http"):
            name, _, anchor = link.partition("#")
            target = page.parent / unquote(name) if name else page
            assert target.exists(), link
            assert not anchor or anchor in anchors(target), link


def test_commands_parse(page):
    """In fenced blocks; argparse refuses an unknown command, option or value."""
    for block in re.findall(r"^```\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
        for line in block.splitlines():
            if found := COMMAND.match(line):
                words = shlex.split(found[1], comments=True)
                assert build_parser(words).parse_args(words).command == words[0]


def test_no_text_asks_pip_for_this_project(repository):
    """It is in no package index, and in ComfyUI not installed: extras are named by their packages, or by the folder."""
    folders = ("personalive_core", "nodes", "web", "locales", "docs", "workflows", "subgraphs")
    files = [path for folder in folders for path in (repository / folder).rglob("*") if path.suffix in TEXTS]
    found = [path for path in files if "pip install personalive" in path.read_text(encoding="utf-8")]
    assert found == []


def test_help_names_every_preset(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "1000")  # no name is broken at its hyphen
    with pytest.raises(SystemExit):
        build_parser(["train"]).parse_args(["train", "--help"])
    words = set(re.findall(r"[\w-]+", capsys.readouterr().out))
    assert {name for name, _ in PRESETS} <= words


def without_help(parser):
    """The options of a parser and its subcommands that no text says."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for other in action.choices.values():
                yield from without_help(other)
        elif not action.help:
            yield f"{parser.prog} {action.dest}"


def test_help_says_what_each_option_is():
    assert list(without_help(build_parser(list(COMMANDS)))) == []
