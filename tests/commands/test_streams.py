"""Output in any code page: whatever name a file has, printing it fails nowhere."""

import io
import json
import logging
import os
import subprocess
import sys

import pytest

from personalive_core.cli import main
from personalive_core.commands.result import Result
from personalive_core.errors import InputError

OMEGA, BYTES = "\u03a9\u03a9", os.fsdecode(b"caf\xe9") if os.name != "nt" else "caf\ud801"
CODE_PAGES = ("cp1252", "ascii", "utf-8")


@pytest.fixture
def rows(tmp_path):
    """A folder with a workflow and a portrait whose name is in no code page."""
    (tmp_path / "faces").mkdir()
    loader = {"class_type": "LoadImage", "inputs": {"image": "x.png"}}
    (tmp_path / "w.json").write_text(json.dumps({"1": loader}))
    (tmp_path / "faces" / f"{OMEGA}.png").write_text("")
    (tmp_path / "faces" / f"{OMEGA}.txt").write_text("")
    if os.name != "nt":
        (tmp_path / "faces" / f"{BYTES}.png").write_text("")
    return tmp_path


SUBMIT = ("submit", "--server", "http://127.0.0.1:1", "--workflow", "w.json", "--output", OMEGA, "--dry-run")


def apart(folder, repository, code_page, *arguments):
    """One command line in a process of its own, its output through pipes: (exit code, standard output, error)."""
    line = [sys.executable, "-m", "personalive_core", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(repository), "PYTHONIOENCODING": code_page}
    done = subprocess.run(line, cwd=folder, env=environment, capture_output=True, check=False)
    return done.returncode, done.stdout.decode(code_page), done.stderr.decode(code_page)


@pytest.mark.parametrize("code_page", CODE_PAGES)
def test_results_warnings_and_errors_as_a_program(rows, repository, code_page):
    shown = OMEGA if code_page == "utf-8" else "\\u03a9\\u03a9"
    code, out, err = apart(rows, repository, code_page, *SUBMIT, "--references", "faces")
    assert (code, f"{shown}.png" in out) == (0, True)
    assert os.name == "nt" or "caf\\udce9.png" in out
    assert f"faces: 1 file was left out: {shown}.txt (" in err
    code, out, err = apart(rows, repository, code_page, *SUBMIT, "--references", OMEGA)
    assert (code, out) == (2, "")
    assert err.startswith(f"personalive: {shown} is no folder")


def test_json_help_and_version_as_a_program(rows, repository):
    code, out, err = apart(rows, repository, "ascii", *SUBMIT, "--references", "faces", "--json")
    assert OMEGA in [row["row"] for row in json.loads(out)]
    assert (code, out.count("\n"), "\\u03a9\\u03a9.png" in err) == (0, 1, True)
    for asked in (("--help",), ("submit", "--help"), ("--version",)):
        assert apart(rows, repository, "ascii", *asked)[::2] == (0, "")


@pytest.fixture
def info(monkeypatch):
    """Runs `personalive info`, which does `work`, on streams of this encoding; returns what they got, and the code."""

    def run(work, encoding="cp1252", *more):
        monkeypatch.setattr("personalive_core.commands.info.run", work)
        streams = [io.TextIOWrapper(io.BytesIO(), encoding=encoding, newline="") for _ in range(2)]
        monkeypatch.setattr(sys, "stdout", streams[0])
        monkeypatch.setattr(sys, "stderr", streams[1])
        code = main(["info", *more])
        for stream in streams:
            stream.flush()
        return code, *(stream.buffer.getvalue().decode(encoding) for stream in streams)

    return run


@pytest.mark.parametrize("encoding", [*CODE_PAGES, "utf-16"])
def test_progress_bars_log_lines_and_results(info, encoding):
    from personalive_core.animation.job import progress

    def work(_):
        handler = logging.StreamHandler(sys.stderr)
        handler.emit(logging.makeLogRecord({"msg": f"log {OMEGA} {BYTES}"}))
        sys.stdout.write(f"library {OMEGA}\n")
        list(progress([1, 2], 2, OMEGA, False))
        return Result(f"made {OMEGA} {BYTES}", {"output": BYTES})

    code, out, err = info(work, encoding)
    assert code == 0
    shown = OMEGA if encoding.startswith("utf") else "\\u03a9\\u03a9"
    assert out.startswith(f"made {shown} caf\\ud")
    assert f"log {shown} caf\\ud" in err
    assert f"library {shown}" in err
    assert f"{shown} 2/2 frames" in err
    assert "Logging error" not in err
    assert json.loads(info(work, encoding, "--json")[1]) == {"output": BYTES}


def test_errors_and_tracebacks(info):
    def work(_):
        raise InputError(f"{OMEGA} {BYTES}: choose another")

    assert info(work)[::2] == (2, f"personalive: \\u03a9\\u03a9 caf\\u{ord(BYTES[3]):x}: choose another\n")
    assert "Traceback" in info(work, "ascii", "--debug")[2]


def test_streams_that_are_missing_or_cannot_be_changed(monkeypatch):
    from personalive_core.animation.job import progress

    def work(_):
        list(progress([1], 1, "bar", False))
        return Result(f"made {OMEGA}")

    monkeypatch.setattr("personalive_core.commands.info.run", work)
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)  # as under pythonw
    assert main(["info"]) == 0
    assert main(["info", "--size"]) == 2
    kept = io.StringIO()
    monkeypatch.setattr(sys, "stdout", kept)
    assert main(["info"]) == 0
    assert kept.getvalue() == f"made {OMEGA}\n"


def test_run_py(repository, tmp_path):
    line = [sys.executable, str(repository / "run.py"), OMEGA]
    environment = {**os.environ, "PYTHONIOENCODING": "cp1252"}
    done = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (2, b"")
    assert done.stdout.decode("cp1252").startswith(
        "run.py knows demo, live, test, newest, not '\\u03a9\\u03a9'; python run.py"
    )
