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


def names_in(nodes):
    """The names of all nodes and inputs in one language."""
    names = {short(node["display_name"]) for node in nodes.values()}
    return names | {text["name"] for node in nodes.values() for text in node["inputs"].values()}


def section(lines, heading):
    """The lines below `## heading`, up to the next one."""
    start = lines.index(f"## {heading}") + 1
    end = next((i for i in range(start, len(lines)) if lines[i].startswith("## ")), len(lines))
    return lines[start:end]


def bullets(lines):
    """The items of a list, each in one line."""
    items = []
    for line in lines:
        if line.startswith("- "):
            items.append(line[2:])
        elif line.startswith("  ") and items:
            items[-1] += f" {line.strip()}"
    return items


def sections(lines):
    """The lines below each `## `, in order."""
    starts = [i for i, line in enumerate(lines) if line.startswith("## ")]
    return [lines[i + 1 : end] for i, end in zip(starts, [*starts[1:], len(lines)], strict=True)]


def quotes(items):
    """The messages that a list of errors quotes, in bold."""
    return [re.match(r"\*\*(\".+?\")\*\*", item)[1].replace('" or "', '" / "') for item in items]


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
    names = names_in(nodes)
    for path, text in leaves(nodes):
        for quoted in QUOTED.findall(text):
            assert "".join(quoted) in names, (path, quoted)


# --- help pages


@pytest.mark.parametrize("language", LANGUAGES[1:])
def test_an_input_is_called_the_same_in_every_node(language, texts):
    """As it is in English: what a node calls driving, all do."""
    called = {}
    for node, words in texts["en"]["nodeDefs"].items():
        for name, text in words["inputs"].items():
            if (node, name) != ("PersonaLiveEditMotion", "size"):  # a head's, the others' is a picture's
                translated = texts[language]["nodeDefs"][node]["inputs"][name]["name"]
                called.setdefault((name, text["name"]), {}).setdefault(translated, []).append(node)
    assert not {name: words for name, words in called.items() if len(words) > 1}


def test_every_node_has_a_help_page(english, pages):
    assert set(pages) == set(english)


def test_pages_are_built_alike(english, pages):
    for node, lines in pages.items():
        assert lines[0] == f"# {english[node]['display_name']}"
        assert [line.removeprefix("## ") for line in lines if line.startswith("## ")] == HEADINGS, node
        assert len(lines) <= LONGEST_PAGE, node
        assert max(map(len, lines)) <= 120, node
        assert not any(line.startswith("|") for line in lines), f"{node}: a table does not fit into the help's side bar"
        assert lines[2], f"{node}: say what it does"
        assert sum(line.startswith("- ") for line in section(lines, "Tips")) >= 4, node
        assert all(quotes(bullets(section(lines, "Errors")))), node


def test_pages_list_every_input_and_output(english, pages):
    for node, words in english.items():
        for heading, expected in (
            ("Inputs", list(words["inputs"])),
            ("Outputs", [text["name"] for text in words.get("outputs", {}).values()]),
        ):
            told = [re.match(r"`(\w+)` \(", item)[1] for item in bullets(section(pages[node], heading))]
            assert told == expected, (node, heading)


def shown(default):
    """A widget's default as the pages write it."""
    if isinstance(default, bool):
        return str(default).lower()
    return f"{default:g}" if isinstance(default, float) else str(default) or "empty"


def test_pages_give_the_defaults(snapshot, pages):
    for node, entry in snapshot.items():
        optional = entry["input"].get("optional", {})
        for item in bullets(section(pages[node], "Inputs")):
            name, default = re.match(r"`(\w+)` \([\w ]+, ([^)]+)\): ", item).groups()
            options = inputs_of(entry)[name]
            if "default" in options:
                assert default == shown(options["default"]), (node, name)
            elif "options" not in options:
                assert default == ("optional" if name in optional else "required"), (node, name)


def test_words_in_code_are_known(english, pages):
    """A renamed input or choice is not left behind in the running text of a page."""
    names = {name for words in english.values() for name in words["inputs"]}
    names |= {text["name"] for words in english.values() for text in words.get("outputs", {}).values()}
    for node, lines in pages.items():
        for word in re.findall(r"`([a-z]+_[a-z_]+)`", "\n".join(lines)):
            assert word in names, (node, word)


@pytest.mark.parametrize("language", LANGUAGES[1:])
def test_every_node_has_a_help_page_in_every_language(language, texts, pages, repository):
    """`docs/<node>/<locale>.md` is what the page asks for first: the same inputs, outputs, defaults and messages."""
    called = names_in(texts[language]["nodeDefs"])
    for node, words in texts[language]["nodeDefs"].items():
        text = (repository / "web" / "js" / "docs" / node / f"{language}.md").read_text(encoding="utf-8")
        lines = text.splitlines()
        assert lines[0] == f"# {words['display_name']}"
        assert not any(line.startswith("|") for line in lines), node
        english, own = sections(pages[node]), sections(lines)
        assert len(own) == len(HEADINGS), node
        assert all(re.search(OWN_SCRIPT[language], "".join(part)) for part in own), node
        for heading, there, here in zip(HEADINGS[1:3], english[1:3], own[1:3], strict=True):
            names = [[re.match(r"`(\w+)`", item)[1] for item in bullets(lines)] for lines in (there, here)]
            assert names[0] == names[1], (node, heading)
        assert set(quotes(bullets(own[4]))) <= set(quotes(bullets(english[4]))), node
        for quoted in QUOTED.findall(text):
            assert "".join(quoted) in called, (node, quoted)
        for there, here in zip(bullets(english[1]), bullets(own[1]), strict=True):
            default = re.match(r"`\w+` \([\w ]+, ([^)]+)\): ", there)[1]
            if default not in ("required", "optional", "empty"):
                assert re.search(rf" / {re.escape(default)}[)\uff09]", here), (node, here)


def test_help_pages_are_of_nodes_and_languages_that_are_there(english, repository):
    folder = repository / "web" / "js" / "docs"
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} == {
        *(f"{node}.md" for node in english),
        *(f"{node}/{language}.md" for node in english for language in LANGUAGES[1:]),
    }
