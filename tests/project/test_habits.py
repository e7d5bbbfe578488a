"""The habits of CONTRIBUTING.md that a machine can check: imports, spellings, lengths, requirements, linters."""

import ast
import importlib.util
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
CORE = ROOT / "personalive_core"
PACK = [ROOT / "__init__.py", *(ROOT / "nodes").rglob("*.py")]
FILES = sorted([*CORE.rglob("*.py"), *PACK])
TREES = {path.relative_to(ROOT).as_posix(): ast.parse(path.read_text(encoding="utf-8")) for path in FILES}

COMFYUI = {"comfy", "comfy_api", "comfy_execution", "comfy_extras", "execution", "folder_paths", "nodes", "server"}
UNSAFE_IMPORTS = {"pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "subprocess"}
UNSAFE_CALLS = {"eval", "exec", "compile", "__import__", "os.system", "os.popen", "os.execv", "os.spawnv"}
HEAVY = (
    "aiohttp",
    "av",
    "cv2",
    "diffusers",
    "huggingface_hub",
    "insightface",
    "ray",
    "transformers",
)  # imported where they are used

MOST_FILE_LINES, MOST_FUNCTION_LINES, MOST_PARAMETERS = 300, 40, 6
# Longer or wider than the ceilings, and why: (file, or file:function) -> reason.
EXCEPTIONS: dict[str, str] = {}


def imported(tree):
    """Every absolutely imported module, dotted."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module
            yield from (f"{node.module}.{name.name}" for name in node.names)


def calls(tree):
    """(what is called, dotted as written; the call)."""
    return ((ast.unparse(node.func), node) for node in ast.walk(tree) if isinstance(node, ast.Call))


def functions(tree):
    return [node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]


def assigned_attributes(tree):
    """Every attribute that something is assigned to."""
    for node in ast.walk(tree):
        targets = getattr(node, "targets", [getattr(node, "target", None)])
        if isinstance(node, (ast.Assign, ast.AnnAssign, ast.AugAssign)):
            yield from (part for target in targets for part in ast.walk(target) if isinstance(part, ast.Attribute))


def hooks(tree):
    """The spellings of habit 3: behaviour put into an object from outside."""
    for name, call in calls(tree):
        method = name.rsplit(".", 1)[-1]
        if re.fullmatch(r"register_\w*hook|__get__|MethodType", method):
            yield f"line {call.lineno}: {name}"
        if name in ("setattr", "object.__setattr__"):
            yield f"line {call.lineno}: {name}"
    for attribute in assigned_attributes(tree):
        if attribute.attr in ("forward", "__call__", "__class__", "__dict__"):
            yield f"line {attribute.lineno}: assignment to {ast.unparse(attribute)}"


def unsafe(tree):
    for module in imported(tree):
        if module.split(".")[0] in UNSAFE_IMPORTS or module in UNSAFE_CALLS:
            yield f"import of {module}"
    for name, call in calls(tree):
        if name in UNSAFE_CALLS:
            yield f"line {call.lineno}: {name}"
        words = {word.arg: ast.unparse(word.value) for word in call.keywords}
        if name == "torch.load" and words.get("weights_only") != "True":
            yield f"line {call.lineno}: torch.load without weights_only=True"
        if name.endswith(("load", "save")) and words.get("allow_pickle", "False") != "False":
            yield f"line {call.lineno}: allow_pickle"


def global_randomness(tree):
    """Draws that no argument seeds (habit 5)."""
    for name, call in calls(tree):
        words = {word.arg for word in call.keywords}
        if re.fullmatch(r"torch\.(rand|randn|randint|normal|randperm)(_like)?", name) and "generator" not in words:
            yield f"line {call.lineno}: {name} without a generator"
        if re.fullmatch(r"torch\.(manual_)?seed|random\.\w+|np\.random\.(?!Generator|default_rng|Philox|PCG)\w+", name):
            yield f"line {call.lineno}: {name}"


def too_long(name, tree):
    lines = max((getattr(node, "end_lineno", 0) or 0 for node in ast.walk(tree)), default=0)
    if lines > MOST_FILE_LINES:
        yield name, f"{lines} lines"
    for function in functions(tree):
        length = function.end_lineno - function.lineno + 1
        listed = function.args.posonlyargs + function.args.args + function.args.kwonlyargs
        count = len([argument for argument in listed if argument.arg not in ("self", "cls")])
        if name.startswith("nodes/") and function.name in ("define_schema", "execute"):
            continue  # a node's list of widgets and sockets, and the arguments that are their values
        if name.startswith("personalive_core/modules/kernels/") and function.name.startswith("_"):
            count = 0  # a Triton kernel: each pointer and size is an argument, and so is each constant of the compiler
        if length > MOST_FUNCTION_LINES:
            yield f"{name}:{function.name}", f"{length} lines"
        if count > MOST_PARAMETERS:
            yield f"{name}:{function.name}", f"{count} parameters"


CORE_TREES = {name: tree for name, tree in TREES.items() if name.startswith("personalive_core/")}


def offenders(check, trees=TREES):
    """Every file in which `check` finds something, and what."""
    return {name: found for name, tree in trees.items() if (found := list(check(tree)))}


def test_first_line_says_the_files_one_job():
    """A docstring whose first line is the file's job."""
    firsts = {name: (ROOT / name).read_text(encoding="utf-8").splitlines()[0] for name in TREES}
    assert not {name: first for name, first in firsts.items() if not re.match(r'r?"""\w', first)}


def test_core_imports_no_comfyui():
    def of_comfyui(tree):
        return (module for module in imported(tree) if module.split(".")[0] in COMFYUI)

    assert not offenders(of_comfyui, CORE_TREES)


def test_the_pack_imports_itself_relatively():
    """Its folder may have any name, and `nodes` is a module of ComfyUI's."""

    def absolute(tree):
        return (module for module in imported(tree) if module.split(".")[0] in ("personalive_core", "nodes"))

    assert not offenders(absolute)


def test_no_hooks():
    """Behaviour is passed in as an argument."""
    assert not offenders(hooks)


def test_nothing_unsafe():
    assert not offenders(unsafe)


def test_randomness_is_passed_in():
    assert not offenders(global_randomness)


def test_heavy_libraries_are_imported_where_they_are_used():
    def heavy(tree):
        top = ast.Module([node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))], [])
        return (root for module in imported(top) if (root := module.split(".")[0]) in HEAVY)

    nodes = {name: tree for name, tree in TREES.items() if name not in CORE_TREES}
    assert not offenders(heavy, CORE_TREES)
    loaded_by_comfyui = {"aiohttp"}  # ComfyUI itself runs on it
    assert not {
        name: rest for name, found in offenders(heavy, nodes).items() if (rest := set(found) - loaded_by_comfyui)
    }


def test_lengths():
    """Split by job, or argued into EXCEPTIONS."""
    over = [(where, what) for name, tree in TREES.items() for where, what in too_long(name, tree)]
    assert not [(where, what) for where, what in over if where not in EXCEPTIONS]


def test_exceptions_are_still_needed():
    over = {where for name, tree in TREES.items() for where, _ in too_long(name, tree)}
    assert set(EXCEPTIONS) <= over


@pytest.mark.parametrize(
    ("check", "source"),
    [
        (hooks, "net.forward = mine"),
        (hooks, "a, net.forward = 1, mine"),
        (hooks, "net.forward = mine.__get__(net)"),
        (hooks, "net.register_forward_hook(f)"),
        (hooks, "setattr(net, 'bank', [])"),
        (unsafe, "import pickle"),
        (unsafe, "from subprocess import run"),
        (unsafe, "import os\nos.system('ls')"),
        (unsafe, "from os import system"),
        (unsafe, "torch.load(path)"),
        (unsafe, "torch.load(path, weights_only=False)"),
        (unsafe, "np.load(path, allow_pickle=True)"),
        (unsafe, "eval('1')"),
        (global_randomness, "torch.randn(3)"),
        (global_randomness, "np.random.normal(3)"),
        (global_randomness, "torch.manual_seed(0)"),
    ],
)
def test_the_checks_see_what_they_look_for(check, source):
    assert list(check(ast.parse(source)))


@pytest.mark.parametrize(
    ("check", "source"),
    [
        (hooks, "self.register_buffer('pe', pe)"),
        (unsafe, "model.eval()\ntorch.load(path, weights_only=True)"),
        (global_randomness, "torch.randn(3, generator=g)\nnp.random.default_rng(3)"),
    ],
)
def test_the_checks_leave_alone_what_is_fine(check, source):
    assert not list(check(ast.parse(source)))


def test_importing_the_core_is_light_and_silent():
    """In a fresh process that cannot open a socket; what a library loads by itself counts too."""
    program = f"""
import socket, sys
def refuse(*_, **__): raise AssertionError("network at import")
socket.socket.connect = socket.getaddrinfo = refuse
import importlib, pathlib
for path in pathlib.Path("personalive_core").rglob("*.py"):
    if path.stem != "__main__":
        importlib.import_module(".".join(path.with_suffix("").parts).removesuffix(".__init__"))
print(sorted(set({HEAVY!r}) & set(sys.modules)), end="")
"""
    answer = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout == "[]"
    assert answer.stderr == ""


def requirements(name):
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines if line.strip() and not line.startswith("#")]


def test_requirements_are_lower_bounds():
    for requirement in requirements("requirements.txt"):
        assert [part.operator for part in requirement.specifier] == [">="], requirement


def test_constraints_hold_one_version_of_everything_required():
    exact = {}
    for constraint in requirements("constraints.txt"):
        (part,) = constraint.specifier
        assert part.operator == "==", constraint
        exact[constraint.name.lower()] = part.version
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    development = re.search(r"^dev = (\[.*?\])$", project, re.MULTILINE | re.DOTALL).group(1)
    for requirement in [*requirements("requirements.txt"), *map(Requirement, ast.literal_eval(development))]:
        assert requirement.specifier.contains(exact[requirement.name.lower()]), requirement


def test_version_is_said_once_everywhere():
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    said = re.search(r'^version = "(.+)"$', project, re.MULTILINE).group(1)
    assert f'__version__ = "{said}"' in (CORE / "version.py").read_text(encoding="utf-8")
    assert f"## [{said}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def other_versions():
    """The typed libraries that are not here in the version of constraints.txt, in words; empty if all are."""
    held = (one for one in requirements("constraints.txt") if one.marker is None or one.marker.evaluate())
    pins = {one.name.lower(): one.specifier for one in held}
    here = {name: version(name) for name in ("numpy", "av", "pillow", "torch")}
    return ", ".join(
        f"{name} is {found}" for name, found in here.items() if name in pins and not pins[name].contains(found)
    )


@pytest.mark.parametrize("command", [["ruff", "check", "."], ["mypy"]], ids=lambda command: command[0])
def test_linter_passes(command):
    if importlib.util.find_spec(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed: pip install {command[0]}, or python run.py test")
    if command == ["mypy"] and (others := other_versions()):
        pytest.skip(f"mypy judges the types that libraries declare, and {others}: use python run.py test")
    answer = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stdout + answer.stderr
