"""The nodes' words: every node, input and output has text in every language and a help page that tells of it."""

import json
import re

import pytest

LANGUAGES = ("en", "zh", "ja", "ko")
HEADINGS = ["When to use it", "Inputs", "Outputs", "Tips", "Errors"]
LONGEST_PAGE = 110  # lines
SPECIAL = "{}@|"  # the page's translation library reads these as its own syntax
OWN_SCRIPT = {"zh": r"[\u4e00-\u9fff]", "ja": r"[\u3040-\u30ff]", "ko": r"[\uac00-\ud7a3]"}

WORD, NUMBER = re.compile(r"[a-z0-9]+"), re.compile(r"\d+(?:\.\d+)?")
QUOTED = re.compile("\u300c([^\u300d]+)\u300d|\u201c([^\u201d]+)\u201d|\u2018([^\u2019]+)\u2019")  # ja, zh, ko


# **`name`** (TYPE, default): text; of an error: **"what the page shows"** what to do
ITEM = re.compile(r"\*\*(?P<name>.+?)\*\*(?: \((?P<kind>.+?)(?:, (?P<default>.+?))?\):)? (?P<text>.+)")


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def texts(repository):
    """{language: {file: content}}."""
    return {
        language: {name: read(repository / "locales" / language / f"{name}.json") for name in ("nodeDefs", "main")}
        for language in LANGUAGES
    }


@pytest.fixture(scope="module")
def english(texts):
    return texts["en"]["nodeDefs"]


@pytest.fixture(scope="module")
def snapshot(repository):
    """What a server reports of the nodes, {node id: its entry of /object_info}."""
    path = repository / "tests" / "node_snapshot.json"
    if not path.is_file():
        pytest.skip("tests/node_snapshot.json is not there: make it in a ComfyUI")
    return read(path)


@pytest.fixture(scope="module")
def pages(repository):
    """{node id: lines of its help page}."""
    folder = repository / "web" / "js" / "docs"
    return {path.stem: path.read_text(encoding="utf-8").splitlines() for path in folder.glob("*.md")}


def inputs_of(entry):
    """(name, options) of a node's inputs, the hidden ones left out."""
    groups = (entry["input"].get(group, {}) for group in ("required", "optional"))
    return {name: (spec[1] if len(spec) > 1 else {}) for group in groups for name, spec in group.items()}


def leaves(value, path=()):
    """(path, text) of everything in nested mappings."""
    if isinstance(value, dict):
        return [leaf for key, inner in value.items() for leaf in leaves(inner, (*path, key))]
    return [(path, value)]


def tooltip(words, node, name):
    """The tooltip of a node's input in one language's words."""
    return words["nodeDefs"][node]["inputs"][name]["tooltip"]


def short(name):
    """A node's name as other texts say it: "Paste Back" of "Paste Back (PersonaLive)"."""
    return re.sub(r" ?[(\uff08]PersonaLive[)\uff09]|[,\uff0c\u3001] ?PersonaLive(?=[)\uff09])", "", name)


def section(lines, heading):
    """The lines below `## heading`, up to the next one."""
    start = lines.index(f"## {heading}") + 1
    end = next((i for i in range(start, len(lines)) if lines[i].startswith("## ")), len(lines))
    return lines[start:end]


def rows(lines):
    """Parts of a list's items: name, text, then type and default where there are any; an error, what to do."""
    items = re.split(r"^- ", "\n".join(lines), flags=re.MULTILINE)[1:]
    found = [ITEM.fullmatch(" ".join(item.split())) for item in items]
    assert all(found), items
    return [tuple(part for part in match.group("name", "text", "kind", "default") if part) for match in found]


# --- locales


def test_english_is_what_the_nodes_say(snapshot, english):
    said = {}
    for node, entry in snapshot.items():
        inputs = {
            name: {"name": options.get("display_name", name), "tooltip": options["tooltip"]}
            for name, options in inputs_of(entry).items()
        }
        said[node] = {
            "display_name": entry["display_name"],
            "description": entry["description"],
            "inputs": inputs,
        }
    assert {node: {key: text[key] for key in said[node]} for node, text in english.items()} == said


def test_english_outputs_are_those_of_the_nodes(snapshot, english):
    """An output without a name of its own bears its type's; the page then translates the type instead."""
    for node, entry in snapshot.items():
        outputs = english[node].get("outputs", {})
        assert [outputs[str(i)]["tooltip"] for i in range(len(outputs))] == entry["output_tooltips"], node
        for i, (name, kind) in enumerate(zip(entry["output_name"], entry["output"], strict=True)):
            assert name in (kind, outputs[str(i)]["name"]), node


@pytest.mark.parametrize("language", LANGUAGES[1:])
@pytest.mark.parametrize("name", ["nodeDefs", "main"])
def test_every_language_says_everything(name, language, texts):
    paths = [[path for path, _ in leaves(texts[which][name])] for which in ("en", language)]
    assert paths[0] == paths[1]


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_node_is_found_by_the_packs_name(language, texts):
    """ComfyUI's search looks at the names that it shows; two nodes of other packs may have the same short name."""
    assert not [
        n["display_name"] for n in texts[language]["nodeDefs"].values() if "PersonaLive" not in n["display_name"]
    ]


@pytest.mark.parametrize("language", LANGUAGES)
def test_texts_are_whole_and_have_no_special_characters(language, texts):
    for path, text in leaves(texts[language]):
        assert text.strip() == text != "", path
        assert not set(SPECIAL) & set(text), path
        if path[-1] in ("tooltip", "description"):
            assert text[-1] in ".。", path


@pytest.mark.parametrize("language", LANGUAGES[1:])
def test_sentences_are_translated(language, texts):
    for path, text in leaves(texts[language]["nodeDefs"]):
        if path[-1] in ("tooltip", "description"):
            assert re.search(OWN_SCRIPT[language], text), path


@pytest.mark.parametrize("language", LANGUAGES[1:])
def test_choices_are_the_same_words_in_every_language(language, texts, snapshot):
    """The page does not translate a widget's choices."""
    for node, entry in snapshot.items():
        for name, options in inputs_of(entry).items():
            told, other = (set(WORD.findall(tooltip(texts[which], node, name))) for which in ("en", language))
            assert told & set(options.get("options", [])) <= other, (node, name)


@pytest.mark.parametrize("language", LANGUAGES)
def test_numbers_are_the_same_in_every_language(language, texts, english):
    """Defaults and limits that a tooltip gives."""
    for node, words in english.items():
        for name, text in words["inputs"].items():
            other = tooltip(texts[language], node, name)
            assert set(NUMBER.findall(text["tooltip"])) <= set(NUMBER.findall(other)), (node, name)


@pytest.mark.parametrize("language", LANGUAGES[1:])
def test_nodes_are_called_by_their_names_in_that_language(language, texts):
    """What stands in quotes in a tooltip is the name of a node or an input."""
    nodes = texts[language]["nodeDefs"]
    names = {short(node["display_name"]) for node in nodes.values()}
    names |= {text["name"] for node in nodes.values() for text in node["inputs"].values()}
    for path, text in leaves(nodes):
        for quoted in QUOTED.findall(text):
            assert "".join(quoted) in names, (path, quoted)


# --- help pages


def test_every_node_has_a_help_page(english, pages):
    assert set(pages) == set(english)


def test_pages_are_built_alike(english, pages):
    for node, lines in pages.items():
        assert lines[0] == f"# {english[node]['display_name']}"
        assert [line.removeprefix("## ") for line in lines if line.startswith("## ")] == HEADINGS, node
        assert len(lines) <= LONGEST_PAGE, node
        assert max(map(len, lines)) <= 120, node
        assert not any(line.startswith("|") for line in lines), f"{node}: a table is wider than the sidebar"
        assert lines[2], f"{node}: say what it does"
        assert sum(line.startswith("- ") for line in section(lines, "Tips")) >= 4, node
        assert rows(section(lines, "Errors")), node


def test_pages_list_every_input_and_output(english, pages):
    for node, words in english.items():
        for heading, expected in (
            ("Inputs", list(words["inputs"])),
            ("Outputs", [text["name"] for text in words.get("outputs", {}).values()]),
        ):
            assert [row[0].strip("`") for row in rows(section(pages[node], heading))] == expected, (node, heading)


def shown(default):
    """A widget's default as the pages write it."""
    if isinstance(default, bool):
        return str(default).lower()
    return f"{default:g}" if isinstance(default, float) else str(default) or "(empty)"


def test_pages_give_the_defaults(snapshot, pages):
    for node, entry in snapshot.items():
        optional = entry["input"].get("optional", {})
        for name, _, _, default in rows(section(pages[node], "Inputs")):
            options = inputs_of(entry)[name.strip("`")]
            if "default" in options:
                assert default == shown(options["default"]), (node, name)
            elif "options" not in options:
                assert default == ("optional" if name.strip("`") in optional else "required"), (node, name)


def test_words_in_code_are_known(english, pages):
    """A renamed input or choice is not left behind in the running text of a page."""
    names = {name for words in english.values() for name in words["inputs"]}
    names |= {text["name"] for words in english.values() for text in words.get("outputs", {}).values()}
    for node, lines in pages.items():
        for word in re.findall(r"`([a-z]+_[a-z_]+)`", "\n".join(lines)):
            assert word in names, (node, word)
