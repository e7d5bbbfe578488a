"""What ComfyUI's registry and Manager read of the pack: pyproject.toml, the icon, the archive's files."""

import json
import re
import shutil
import subprocess

import pytest
from PIL import Image

from personalive_core.backends.personalive.files import FILES, SHIPPED
from personalive_core.weights.index import locate
from tests.comfyui.server import checkouts

tomllib = pytest.importorskip("tomllib", reason="Python's own TOML reader came with 3.11: run it with that or newer")

OLDEST = "0.3.64"
SMALL = SHIPPED["small"]
UNREAD = {"base_unet"}  # only a stand-in for missing training weights: no node reads it


@pytest.fixture(scope="module")
def project(repository):
    return tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def comfy(project):
    return project["tool"]["comfy"]


def test_required_fields(project, comfy):
    """The rules of the registry's specification for names and versions."""
    assert re.fullmatch(r"[a-z]+([-_.][a-z0-9]+)*", project["project"]["name"])
    assert re.fullmatch(r"\d+\.\d+\.\d+", project["project"]["version"])
    assert project["project"]["license"] == "Apache-2.0"
    assert 0 < len(project["project"]["description"]) <= 120
    assert comfy["PublisherId"] == "personalive"
    assert comfy["DisplayName"] == "PersonaLive"
    assert comfy["requires-comfyui"] == f">={OLDEST}"


def test_scripts_are_loaded_once(comfy):
    """`web` here would serve them a second time, besides WEB_DIRECTORY."""
    assert "web" not in comfy


def test_links_lead_to_one_repository(project, comfy):
    urls = project["project"]["urls"]
    assert set(urls) == {"Homepage", "Repository", "Documentation", "Issues"}
    home = urls["Repository"]
    assert re.fullmatch(r"https://github\.com/[\w-]+/[\w-]+", home)
    assert all(url.startswith(home) for url in urls.values())
    owner_and_name = home.removeprefix("https://github.com/")
    assert comfy["Icon"].startswith(f"https://raw.githubusercontent.com/{owner_and_name}/main/")


def test_icon_is_there_and_fits(repository, comfy):
    path = repository / comfy["Icon"].partition("/main/")[2]
    with Image.open(path) as icon:
        assert (icon.format, icon.size) == ("PNG", (400, 400))
    assert path.stat().st_size < 100_000


def test_models_are_the_files_a_node_may_read(comfy):
    expected = {
        f"/personalive/{file.place}": f"https://huggingface.co/{file.repo}/resolve/{file.revision}/{file.path}"
        for file in FILES
        if file.network not in UNREAD
    }
    assert {model["location"]: model["model_url"] for model in comfy["Models"]} == expected


def test_models_are_found_where_the_registry_puts_them(comfy, tmp_path):
    for model in comfy["Models"]:
        path = tmp_path / model["location"].lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    missing = {found.file.network for found in locate(tmp_path / "personalive", FILES).found if not found.paths}
    assert missing == UNREAD


def test_nothing_moves_the_front_end(repository, project):
    """A requirement on it would change the one that a ComfyUI has pinned."""
    texts = [(repository / name).read_text(encoding="utf-8") for name in ("requirements.txt", "constraints.txt")]
    lists = [*project["project"]["optional-dependencies"].values(), project["project"].get("dependencies", [])]
    words = [line for text in texts for line in text.splitlines()] + [entry for entries in lists for entry in entries]
    assert not [word for word in words if word.startswith("comfyui")]


# --- the archive


@pytest.fixture(scope="module")
def archived(repository):
    """The files that the registry packs: those of the repository that .comfyignore does not name."""
    if shutil.which("git") is None or not (repository / ".git").exists():
        pytest.skip("needs the git checkout: .comfyignore is matched by git")

    def listed(*options):
        command = ["git", "ls-files", "-z", "--cached", "--others", *options]
        answer = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=True)
        return {name for name in answer.stdout.split("\0") if name and (repository / name).is_file()}

    return listed("--exclude-standard") - listed("--ignored", "--exclude-from=.comfyignore")


def test_archive_leaves_out_what_is_for_developers(archived):
    places = {name.partition("/")[0] for name in archived}
    assert not places & {"run.py", "tests", "docs", ".ci", ".github", ".gitignore", ".comfyignore", "constraints.txt"}


@pytest.mark.parametrize(
    "name",
    [
        "__init__.py",
        "pyproject.toml",
        "requirements.txt",
        "LICENSE",
        "README.md",
        "nodes/__init__.py",
        "personalive_core/__init__.py",
        "personalive_core/py.typed",
        "web/js/docs/LoadPersonaLive.md",
        "locales/en/nodeDefs.json",
        "locales/ja/main.json",
    ],
)
def test_archive_holds_what_runs(name, archived):
    assert name in archived


def test_archive_holds_the_whole_packages(repository, archived):
    for folder in ("nodes", "personalive_core", "web", "locales"):
        files = [path for path in (repository / folder).rglob("*") if path.suffix in {".py", ".js", ".md", ".json"}]
        assert files
        assert {path.relative_to(repository).as_posix() for path in files} <= archived


def test_archive_carries_the_small_model_and_the_sample_media(repository, archived):
    folders = (SMALL, repository / "nodes" / "assets")
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    assert {"denoising_unet.safetensors", "personalive_portrait.png"} <= {path.name for path in files}
    assert {path.relative_to(repository).as_posix() for path in files} <= archived


def test_archive_is_small(repository, archived):
    """The small model is 36 MB of it."""
    assert sum((repository / name).stat().st_size for name in archived) < 44_000_000


# --- ComfyUI's own reading


@pytest.mark.comfyui
@pytest.mark.parametrize("checkout", checkouts() or [None], ids=lambda checkout: checkout and checkout.version)
def test_comfyui_reads_the_same(repository, project, comfy, checkout):
    """By the parser that a running ComfyUI has, in the interpreter it runs in (COMFYUI_PYTHON)."""
    program = "\n".join(
        [
            "import sys",
            "sys.path.insert(0, sys.argv[1])",
            "from comfy_config.config_parser import extract_node_configuration",
            "print(extract_node_configuration(sys.argv[2]).model_dump_json())",
        ]
    )
    arguments = [checkout.python, "-c", program, str(checkout.folder), str(repository)]
    answer = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    read = json.loads(answer.stdout)
    shown = read["tool_comfy"]
    assert (shown["publisher_id"], shown["display_name"]) == ("personalive", "PersonaLive")
    assert shown["icon"] == comfy["Icon"]
    assert shown["models"] == comfy["Models"]
    assert (shown["web"], shown["includes"]) == (None, [])
    about = read["project"]
    assert about["supported_comfyui_version"] == f">={OLDEST}"
    assert about["supported_os"] == ["OS Independent"]
    assert about["supported_accelerators"] == ["GPU :: NVIDIA CUDA", "GPU :: AMD ROCm", "GPU :: Apple Metal"]
    assert about["license"]["text"] == "Apache-2.0"
    assert about["urls"]["repository"] == project["project"]["urls"]["Repository"]
