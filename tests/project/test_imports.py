"""Who may import whom: read from the imports of core and nodes, in functions and for type checkers too."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CORE = "personalive_core"

# From the bottom up: a package imports itself and what stands in earlier rows. Two in one row do not know each other.
ROWS = (
    ("text", "errors", "version"),
    ("device",),
    ("media", "metrics"),
    ("faces",),
    ("motion",),
    ("modules", "weights"),
    ("backends",),
    ("animation",),
    ("batch", "drawn", "live"),
    ("bench", "training"),
    ("evaluation",),
    ("commands",),
    ("cli",),
    ("__main__",),
)
# Those that may import less than their row allows.
ONLY = {
    "batch": {"text", "errors", "version", "media"},  # and so loads no torch
    "drawn": {"text", "errors", "version", "media", "motion"},
    "evaluation": {name for row in ROWS[:10] for name in row}
    - {"training"},  # it measures bench's way, but trains nothing
}
COMMANDS = {"commands", "cli", "__main__"}  # the command line's own: no node uses them


def modules(*folders):
    """{dotted name: file} of every module below `folders`."""
    files = (path for folder in folders for path in sorted((ROOT / folder).rglob("*.py")))
    return {".".join(p.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): p for p in files}


def imports(tree, module, is_package):
    """(what, line): every name that is imported relatively, dotted; a module, or a name of the module above it."""
    package = module.split(".") if is_package else module.split(".")[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = [*package[: len(package) - node.level + 1], *(node.module.split(".") if node.module else [])]
            yield from ((".".join([*base, alias.name]), node.lineno) for alias in node.names)


def graph(files):
    """{module: {(module imported, name imported)}}."""
    edges = {}
    for module, path in files.items():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        found = set()
        for what, _ in imports(tree, module, path.name == "__init__.py"):
            target = what if what in files else what.rpartition(".")[0]
            assert target in files, f"{module} imports {what}, which is no module: {path}"
            found.add((target, what.removeprefix(f"{target}.")))
        edges[module] = found
    return edges


FILES = modules(CORE, "nodes")
GRAPH = graph(FILES)


def place(module):
    """The package directly below the core that a module is in; empty for the core's own __init__."""
    return module.split(".")[1] if "." in module else ""


def allowed(package):
    """What the modules of a package may import from."""
    row = next(index for index, row in enumerate(ROWS) if package in row)
    below = {name for earlier in ROWS[:row] for name in earlier}
    return {package} | ONLY.get(package, below)


def upward(edges):
    """Imports that run against the rows."""
    for module, targets in edges.items():
        if not module.startswith(f"{CORE}."):
            continue
        for target, name in sorted(targets):
            if place(target) not in allowed(place(module)):
                yield f"{module} imports {name} of {target}"


def circles(edges):
    """Groups of modules that import one another, directly or through others."""
    known = {module: {target for target, _ in targets} - {module} for module, targets in edges.items()}

    def reached(start):
        seen, todo = set(), [start]
        while todo:
            for target in known[todo.pop()] - seen:
                seen.add(target)
                todo.append(target)
        return seen

    behind = {module: reached(module) for module in known}
    return {frozenset(other for other in behind[m] if m in behind[other]) for m in known if m in behind[m]}


def test_every_package_has_a_row():
    assert {place(module) for module in FILES if module.startswith(f"{CORE}.")} == {n for row in ROWS for n in row}


def test_imports_run_downwards():
    assert not list(upward(GRAPH))


def test_no_circles():
    public = {CORE: set()}  # the core's __init__ names every module of a public name, for type checkers alone
    assert not circles(GRAPH | public)


def public_names(files):
    """{public name: the modules that define it at their top}."""
    found = {}
    for module, path in files.items():
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                names = {node.name}
            else:
                targets = getattr(node, "targets", [getattr(node, "target", None)])
                stored = (part for target in targets if target for part in ast.walk(target))
                names = {part.id for part in stored if isinstance(part, ast.Name)}
            for name in names:
                if not name.startswith("_"):
                    found.setdefault(name, set()).add(module)
    return found


def test_one_name_is_one_thing():
    """Readers search by name. The commands share two functions by contract; four nodes are named as what they wrap."""
    twice = {name: modules for name, modules in public_names(FILES).items() if len(modules) > 1}
    commands = {m for m in FILES if m.startswith(f"{CORE}.commands.")}
    assert twice.pop("add_arguments") < commands
    assert twice.pop("run") < commands
    for name in ("KeyframeBank", "LiveSession", "PasteBack", "StreamingSampler"):
        assert {place.partition(".")[0] for place in twice.pop(name)} == {CORE, "nodes"}
    assert not twice


def test_nodes_use_no_commands():
    used = {(m, t) for m, targets in GRAPH.items() if m.startswith("nodes") for t, _ in targets if t.startswith(CORE)}
    assert not [(module, target) for module, target in used if place(target) in COMMANDS]


@pytest.mark.parametrize(
    ("module", "target"),
    [
        ("media.video", "faces.crop"),
        ("weights.index", "backends.personalive.files"),
        ("training.loop", "evaluation.evaluate"),
        ("evaluation.evaluate", "training.loop"),
        ("batch.rows", "animation.job"),
        ("batch.server", "device"),
        ("drawn.truth", "modules.layers"),
        ("animation.job", "commands.animate"),
    ],
)
def test_the_rule_sees_what_it_is_for(module, target):
    assert list(upward({f"{CORE}.{module}": {(f"{CORE}.{target}", "name")}}))


def test_the_circle_is_found():
    assert circles({"a": {("b", "x")}, "b": {("c", "x")}, "c": {("a", "x")}, "d": {("a", "x")}}) == {frozenset("abc")}
