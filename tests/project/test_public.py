"""The promise to other programs: public names, their signatures, and an import that costs nothing."""

import dataclasses
import inspect
import json
import subprocess
import sys
from pathlib import Path

import pytest

import personalive_core

PINNED = Path(__file__).with_name("public_names.json")


def parameters(call):
    """The parameters as written, with their defaults; of a default that is a value of ours only the type."""
    shown = []
    for parameter in inspect.signature(call).parameters.values():
        given = parameter.default
        plain = given is parameter.empty or isinstance(given, (int, float, str, bool, type(None)))
        written = parameter if plain else parameter.replace(default=type(given).__name__)
        by_name = " (by name)" if parameter.kind is parameter.KEYWORD_ONLY else ""
        shown.append(str(written).replace("'", "") + by_name)
    return shown


def signature(name):
    """How `name` is called and what it offers, in one line."""
    thing = getattr(personalive_core, name)
    if not isinstance(thing, type):
        back = str(inspect.signature(thing).return_annotation)
        return f"({', '.join(parameters(thing))}) -> {back}"
    if issubclass(thing, Exception):
        return f"{thing.__base__.__name__}, exit code {thing.exit_code}"
    made = [f.name for f in dataclasses.fields(thing)] if dataclasses.is_dataclass(thing) else parameters(thing)
    methods = [f".{key}" for key in vars(thing) if not key.startswith("_") and key not in made]
    return " ".join([f"({', '.join(made)})", *methods])


def test_the_public_names_and_signatures_are_the_pinned_ones():
    """After a change on purpose write the file anew: python -m tests.project.test_public, and say it in CHANGELOG.md.

    New parameters come last and have a default: whoever calls a name as before gets what they got before.
    """
    assert {name: signature(name) for name in personalive_core.PUBLIC} == json.loads(PINNED.read_text("utf-8"))


def test_every_list_of_public_names_is_the_same():
    assert sorted(personalive_core.__all__) == sorted([*personalive_core.PUBLIC, "__version__"])
    assert set(dir(personalive_core)) >= {*personalive_core.PUBLIC}
    for name in personalive_core.PUBLIC:
        assert getattr(personalive_core, name).__name__ == name


def test_an_unknown_name_is_refused_in_words():
    with pytest.raises(AttributeError, match="no public name 'animates': docs/library.md lists them"):
        _ = personalive_core.animates


@pytest.mark.parametrize(
    "program",
    [
        "import personalive_core",
        "from personalive_core.cli import main\ntry: main(['submit', '--help'])\nexcept SystemExit: pass",
    ],
    ids=["the package", "submit --help"],
)
def test_no_torch_is_loaded(program, repository):
    code = f"{program}\nimport sys; print('torch' in sys.modules, file=sys.stderr)"
    answer = subprocess.run([sys.executable, "-c", code], cwd=repository, capture_output=True, text=True, check=True)
    assert answer.stderr == "False\n"


if __name__ == "__main__":
    PINNED.write_text(json.dumps({name: signature(name) for name in personalive_core.PUBLIC}, indent=1) + "\n", "utf-8")
