"""The page's scripts: their pure parts run under Node.js, and what all of them must keep."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = sorted((ROOT / "web" / "js").rglob("*.js"))
TESTS = sorted((ROOT / "tests" / "web").glob("*.test.mjs"))
PAGE_SCRIPT = "personalive.js"  # the only one that meets ComfyUI's page
FILE_LINES, LINE = 300, 120


def node_or_skip() -> str:
    """Node.js that takes a .js file with `import` in it for a module."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("Node.js is not installed: put node 20.19 or newer on PATH")
    done = subprocess.run(
        [node, "-p", "process.features.require_module"], capture_output=True, text=True, check=True, timeout=30
    )
    if done.stdout.strip() != "true":
        pytest.skip("this Node.js is too old: put node 20.19 or newer on PATH")
    return node


def imports(script: Path) -> list[str]:
    return re.findall(r'^import [^;]*?from "([^"]+)";', script.read_text("utf-8"), re.MULTILINE)


def test_pure_parts_in_node() -> None:
    assert TESTS
    command = [node_or_skip(), "--no-warnings", "--test", *map(str, TESTS)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    passed = re.search(r"^# pass (\d+)$", done.stdout, re.MULTILINE) or re.search(r"pass (\d+)", done.stdout)
    assert passed, done.stdout
    assert int(passed[1]) >= len(TESTS), done.stdout


def name_of(script: Path) -> str:
    return script.relative_to(ROOT / "web" / "js").as_posix()


def test_every_node_that_saves_has_its_panel_and_its_prefix_filled() -> None:
    """A film shows on the node that wrote it, and %Node.widget% in any prefix is filled, as in ComfyUI's own nodes."""
    text = (ROOT / "web" / "js" / PAGE_SCRIPT).read_text("utf-8")
    nodes = json.loads((ROOT / "tests" / "node_snapshot.json").read_text("utf-8"))
    saving = {name for name, node in nodes.items() if "filename_prefix" in json.dumps(node["input_order"])}
    listed = re.search(r"const SAVES = new Set\(\[(.*?)\]\)", text, re.DOTALL)
    assert listed
    assert set(re.findall(r'"(\w+)"', listed[1])) == saving
    shown = set(re.findall(r"^  (\w+): \[[^\n]*COMPARE", text, re.MULTILINE))
    assert {name for name in saving if "VIDEO" in nodes[name]["output"]} <= shown


@pytest.mark.parametrize("script", SCRIPTS, ids=name_of)
def test_habits(script: Path) -> None:
    text = script.read_text("utf-8")
    lines = text.splitlines()
    assert lines[0].startswith("// "), "the first line says the file's one job"
    assert len(lines) <= FILE_LINES
    assert max(map(len, lines)) <= LINE
    assert not re.search(r"\bconsole\.|\beval\(|innerHTML|https?://(?!www\.w3\.org/)", text)


@pytest.mark.parametrize("script", SCRIPTS, ids=name_of)
def test_imports(script: Path) -> None:
    """ComfyUI loads every file as a module of its own: all but one must do without its page."""
    page = {"../../scripts/app.js", "../../scripts/api.js"} if name_of(script) == PAGE_SCRIPT else set()
    ours = [(script.parent / name).resolve() for name in imports(script) if name not in page]
    assert set(ours) <= set(SCRIPTS)
    assert ("registerExtension" in script.read_text("utf-8")) == (name_of(script) == PAGE_SCRIPT)


def test_scripts_do_nothing_when_loaded() -> None:
    """ComfyUI loads them all; in Node.js there is no page that one could touch."""
    rest = [path.as_uri() for path in SCRIPTS if name_of(path) != PAGE_SCRIPT]
    program = f"for (const script of {json.dumps(rest)}) await import(script);"
    command = [node_or_skip(), "--no-warnings", "--input-type=module", "--eval", program]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
