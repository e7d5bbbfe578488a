"""Who may import whom in the core: read from the code's own imports, wherever in a file they stand."""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def imports(path, module):
    """Every module of the core that the file at `path`, called `module`, imports, in functions and for types too."""
    names = module.split(".")
    package = names if path.name == "__init__.py" else names[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = [*package[: len(package) - node.level + 1], *(node.module or "").split(".")]
            base = [part for part in base if part]
            for alias in node.names:
                yield ".".join([*base, alias.name])  # a module, or a name in the module above it


def graph():
    """module -> the modules of the core it imports."""
    files = {}
    for path in sorted((ROOT / "personalive_core").rglob("*.py")):
        files[".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")] = path
    found = {}
    for module, path in files.items():
        targets = (name if name in files else name.rpartition(".")[0] for name in imports(path, module))
        found[module] = {target for target in targets if target in files} - {module}
    return found


def reaching(edges, start):
    """Every module that `start` imports, itself or through others."""
    seen, todo = set(), [start]
    while todo:
        for target in edges[todo.pop()] - seen:
            seen.add(target)
            todo.append(target)
    return seen


def test_training_knows_neither_evaluation_nor_the_batch_client():
    edges = graph()
    for module in edges:
        if ".training" in module:
            known = reaching(edges, module)
            assert not [name for name in known if ".evaluation" in name or ".batch" in name]


def test_the_batch_client_knows_no_animation():
    edges = graph()
    for module in edges:
        if ".batch" in module:
            assert not [name for name in reaching(edges, module) if ".animate" in name or ".backends" in name]
