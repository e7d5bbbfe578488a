"""run.py with its processes replaced: what it would start, what it remembers, what it says when something fails."""

import ast
import errno
import io
import sys
from types import SimpleNamespace

import pytest

import run


class FakeShell:
    """Stands in for subprocess: notes every command, makes .venv as venv would, fails where told to."""

    def __init__(self, root):
        self.root, self.commands, self.endings = root, [], {}

    def end(self, word, code, output=""):
        """Commands that hold `word` end with `code` after printing `output`."""
        self.endings[word] = (code, output)

    def ending(self, command):
        self.commands.append(" ".join(command))
        return next((end for word, end in self.endings.items() if word in command), (0, ""))

    def run(self, command, **_):
        return SimpleNamespace(returncode=self.ending(command)[0])

    def popen(self, command, **options):
        assert options["cwd"] == self.root
        assert not options.get("shell")
        code, output = self.ending(command)
        if "venv" in command and code == 0:
            python = run.environment_python(self.root, command[-1])
            python.parent.mkdir(parents=True, exist_ok=True)
            python.touch()
        return FakeProcess(code, output)

    def said(self, word):
        return [command for command in self.commands if word in command.split()]


class FakeProcess:
    """Ends with `code`; an exception as code is raised by the first wait."""

    def __init__(self, code, output=""):
        self.code, self.stderr, self.waits, self.killed = code, io.StringIO(output + "\n"), 0, False

    def wait(self):
        self.waits += 1
        if isinstance(self.code, type) and self.waits == 1:
            raise self.code
        return 0 if isinstance(self.code, type) else self.code

    def kill(self):
        self.killed = True


@pytest.fixture
def project(tmp_path):
    for name in run.REQUIREMENT_FILES:
        (tmp_path / name).write_text(name)
    return tmp_path


@pytest.fixture
def shell(project, monkeypatch):
    shell = FakeShell(project)
    monkeypatch.setattr(run, "subprocess", SimpleNamespace(Popen=shell.popen, run=shell.run, PIPE=-1))
    return shell


def test_first_run_makes_installs_and_runs(project, shell):
    assert run.main(["test", "-k", "one"], project) == 0
    python = str(run.environment_python(project))
    making, installing, running = shell.commands
    assert making == f"{sys.executable} -m venv --clear {project / '.venv'}"
    assert installing.startswith(f"{python} -m pip install")
    assert "-c constraints.txt" in installing
    assert installing.endswith("-e .[dev]")
    assert running == f"{python} -m pytest -n auto --maxprocesses 4 --dist loadfile -k one"


def test_newest_packages_go_into_an_environment_of_their_own(project, shell):
    (project / "constraints.txt").write_text("numpy==2.0\ntorch==2.13.0\ntorchvision==1\n")
    assert run.main(["newest", "tests/media"], project) == 0
    python = str(run.environment_python(project, ".venv-newest"))
    _, installing, running = shell.commands
    assert "constraints.txt" not in installing
    assert installing.endswith("--upgrade --upgrade-strategy eager torch==2.13.0 -e .[dev]")
    assert running.startswith(f"{python} -m pytest")
    assert not (project / ".venv").exists()


@pytest.mark.usefixtures("shell")
def test_newest_packages_begin_with_those_that_are_there(project):
    packages = project / ".venv" / "lib" / "python3.11" / "site-packages"
    packages.mkdir(parents=True)
    (packages / "one.py").write_text("one")
    (project / "constraints.txt").write_text("torch==2.13.0\n")
    run.main(["newest"], project)
    borrowed = project / ".venv-newest" / "lib" / "python3.11" / "site-packages" / "one.py"
    assert borrowed.samefile(packages / "one.py")
    borrowed.unlink()
    assert (packages / "one.py").read_text() == "one"


def test_second_run_only_runs(project, shell):
    run.main(["demo"], project)
    shell.commands.clear()
    assert run.main(["demo"], project) == 0
    (only,) = shell.commands
    assert only.endswith("-m personalive_core demo --output output/demo.mp4 --sheet output/demo.png")


def test_live_takes_the_commands_options(project, shell):
    assert run.main(["live", "--camera", "0"], project) == 0
    assert shell.commands[-1].endswith("-m personalive_core live --camera 0")


@pytest.mark.parametrize("name", run.REQUIREMENT_FILES)
def test_changed_requirements_install_again_into_the_same_environment(project, shell, name):
    run.main(["test"], project)
    shell.commands.clear()
    (project / name).write_text("changed")
    run.main(["test"], project)
    assert len(shell.said("install")) == 1
    assert not shell.said("venv")


def test_moved_folder_installs_again(project):
    moved = project / "moved"
    moved.mkdir()
    for name in run.REQUIREMENT_FILES:
        (moved / name).write_text(name)
    assert run.fingerprint(project) != run.fingerprint(moved)


def test_half_made_environment_is_rebuilt(project, shell):
    python = run.environment_python(project)
    python.parent.mkdir(parents=True)
    python.touch()
    shell.end("--version", 1)  # an interpreter, but no pip yet
    run.main(["test"], project)
    assert len(shell.said("venv")) == 1


def test_environment_without_interpreter_is_rebuilt_in_spite_of_its_stamp(project, shell):
    run.main(["test"], project)
    run.environment_python(project).unlink()
    shell.commands.clear()
    run.main(["test"], project)
    assert shell.said("venv")
    assert shell.said("install")


def test_failed_installation_is_tried_again(project, shell):
    shell.end("install", 1, "something odd")
    assert run.main(["test"], project) == 1
    assert not shell.said("pytest")
    shell.endings.clear()
    assert run.main(["test"], project) == 0
    assert len(shell.said("install")) == 2


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("OSError: [Errno 28] No space left on device", "the disk is full"),
        ("NewConnectionError: Failed to establish a new connection\nNo matching distribution found", "network"),
        ("ERROR: No matching distribution found for torch==2.13.0", "3.11"),
        ("PermissionError: [Errno 13] Permission denied: 'x'", "may write"),
        ("Segmentation fault", "code 1"),
    ],
)
def test_failure_is_one_sentence(project, shell, capsys, output, said):
    shell.end("install", 1, output)
    assert run.main(["test"], project) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("run.py: the installation failed: ")
    assert said in last


def test_missing_venv_module_says_what_to_install(project, shell, capsys, monkeypatch):
    monkeypatch.setattr(run.importlib.util, "find_spec", lambda name: name != "ensurepip")
    assert run.main(["test"], project) == 1
    assert "apt install python3-venv" in capsys.readouterr().err
    assert not shell.commands


@pytest.mark.usefixtures("shell")
def test_full_disk_is_one_line(project, capsys, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device", "stamp")

    monkeypatch.setattr(run.Path, "write_text", full)
    assert run.main(["test"], project) == 1
    assert capsys.readouterr().err.splitlines()[-1] == "run.py: No space left on device: stamp"


@pytest.mark.parametrize(("code", "expected"), [(0, 0), (5, 5), (-9, 137), (KeyboardInterrupt, 130)])
def test_exit_code_is_passed_through(project, shell, code, expected):
    shell.end("pytest", code)
    assert run.main(["test"], project) == expected


def test_interrupt_waits_for_the_child_to_save():
    process = FakeProcess(KeyboardInterrupt)
    assert run.finish(process) == 130
    assert process.waits == 2
    assert not process.killed


def test_second_interrupt_ends_the_child(monkeypatch):
    process = FakeProcess(KeyboardInterrupt)
    answers = iter([KeyboardInterrupt, KeyboardInterrupt, None])

    def wait():
        answer = next(answers)
        if answer:
            raise answer

    monkeypatch.setattr(process, "wait", wait)
    assert run.finish(process) == 130
    assert process.killed


def test_interrupted_installation_runs_nothing_and_is_not_remembered(project, shell):
    shell.end("install", KeyboardInterrupt)
    assert run.main(["test"], project) == 130
    assert not shell.said("pytest")
    assert not (project / ".venv" / run.STAMP).exists()


@pytest.mark.parametrize(("arguments", "code"), [([], 0), (["--help"], 0), (["tset"], 2)])
def test_help(project, shell, capsys, arguments, code):
    assert run.main(arguments, project) == code
    said = capsys.readouterr().out
    assert "demo" in said
    assert "live" in said
    assert not shell.commands


def test_old_python_is_told(project, shell, capsys, monkeypatch):
    monkeypatch.setattr(run, "OLDEST_PYTHON", (99, 0))
    assert run.main(["test"], project) == 2
    assert f"needs Python 99.0 or newer, this is {run.THIS_PYTHON}" in capsys.readouterr().err
    assert not shell.commands


def test_standard_library_only_and_readable_by_the_pythons_it_turns_away(repository):
    tree = ast.parse((repository / "run.py").read_text(), feature_version=(3, 7))
    imports = [node for node in ast.walk(tree) if isinstance(node, (ast.Import, ast.ImportFrom))]
    names = {name.name for node in imports if isinstance(node, ast.Import) for name in node.names}
    names |= {node.module for node in imports if isinstance(node, ast.ImportFrom)}
    assert {name.split(".")[0] for name in names} <= sys.stdlib_module_names


def test_interpreter_path_on_windows(project, monkeypatch):
    monkeypatch.setattr(run, "os", SimpleNamespace(name="nt"))
    assert run.environment_python(project) == project / ".venv" / "Scripts" / "python.exe"
