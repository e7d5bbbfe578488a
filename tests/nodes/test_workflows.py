"""Every shipped workflow, in both formats, against the stored snapshot of the nodes: no ComfyUI needed."""

import json
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SNAPSHOT = json.loads((ROOT / "tests" / "node_snapshot.json").read_text(encoding="utf-8"))
API = sorted((ROOT / "workflows" / "api").glob("*.json"))
UI = sorted((ROOT / "workflows").glob("*.json"))
ASSETS = ROOT / "nodes" / "assets"
NOT_LISTED = {"batch"}  # for `personalive submit` alone
ORDER = ["try_it", "long_video", "image_to_image", "paste_back", "clip", "motion_blend", "motion_reuse", "live"]
ORDER += [
    "liveportrait_edit",
    "liveportrait_video",
    "liveportrait_source_video",
    "liveportrait_animal",
    "hunyuan_video",
]
WIDGETS = ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO")
FREE = {("LoadPersonaLive", "weights"), ("PersonaLiveLoadMotion", "file")}
FREE |= {("PersonaLiveLoadLivePortrait", "weights"), ("PersonaLiveLoadExpression", "file")}
FREE |= {("PersonaLiveLoadHunyuanPortrait", "weights")}

named = {"ids": lambda path: path.stem}
api_file = pytest.mark.parametrize("path", API, **named)
ui_file = pytest.mark.parametrize("path", UI, **named)


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def inputs_of(node):
    """{name: (type, options, required)}."""
    found = {}
    for group, entries in SNAPSHOT[node]["input"].items():
        if group != "hidden":
            found |= {name: (kind, options, group == "required") for name, (kind, options) in entries.items()}
    return found


def faults(workflow):
    """What an API-format workflow has that our nodes do not take, or lacks."""
    for key, node in workflow.items():
        kind = node["class_type"]
        if kind not in SNAPSHOT:
            continue
        known = inputs_of(kind)
        given = node["inputs"]
        yield from (f"{key}: {kind} has no input {name}" for name in given if name not in known)
        for name, (wanted, options, required) in known.items():
            if name not in given:
                if required:
                    yield f"{key}: {kind} needs {name}"
            elif isinstance(given[name], list):
                yield from link_faults(workflow, f"{key}: {kind}.{name}", given[name], wanted)
            elif (kind, name) not in FREE:
                yield from value_faults(f"{key}: {kind}.{name}", given[name], wanted, options)


def link_faults(workflow, where, link, wanted):
    source = workflow.get(link[0])
    if source is None:
        yield f"{where} is linked to node {link[0]}, which is not there"
    elif source["class_type"] in SNAPSHOT:
        outputs = SNAPSHOT[source["class_type"]]["output"]
        if link[1] >= len(outputs) or outputs[link[1]] not in wanted.split(","):
            yield f"{where} takes {wanted}, not output {link[1]} of {source['class_type']}"


def value_faults(where, value, wanted, options):
    if wanted not in WIDGETS:
        yield f"{where} is a socket and got {value!r}"
    elif wanted == "COMBO" and value not in options["options"]:
        yield f"{where} has no choice {value!r}"
    elif wanted in ("INT", "FLOAT") and not options["min"] <= value <= options["max"]:
        yield f"{where} is {value}, outside {options['min']}..{options['max']}"


@api_file
def test_api_workflows_fit_the_nodes(path):
    assert not list(faults(read(path)))


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda w: w["4"]["inputs"].update(detector="z"), "no choice 'z'"),
        (lambda w: w["4"]["inputs"].update(size=2000), "outside"),
        (lambda w: w["4"]["inputs"].pop("size"), "needs size"),
        (lambda w: w["4"]["inputs"].update(sighs=3), "no input sighs"),
        (lambda w: w["4"]["inputs"].update(model=["4", 1]), "not output 1"),
        (lambda w: w["4"]["inputs"].update(model=["99", 0]), "not there"),
    ],
)
def test_a_broken_workflow_is_seen(change, fault):
    workflow = read(ROOT / "workflows" / "api" / "long_video.json")
    change(workflow)
    assert any(fault in found for found in faults(workflow))


def widget_names(kind):
    """The names of a node's widgets in the order in which the page saves their values; the seed has a second one."""
    for name, (wanted, options, _) in inputs_of(kind).items():
        if wanted in WIDGETS:
            yield name
            if options.get("control_after_generate"):
                yield f"{name}.control"


def as_api(workflow):
    """Our nodes of a UI-format workflow as API format, without the page."""
    links = {link[0]: (str(link[1]), link[2]) for link in workflow["links"]}
    for node in workflow["nodes"]:
        if node["type"] in SNAPSHOT:
            saved = node.get("widgets_values", [])
            names = list(widget_names(node["type"]))
            newer = names[len(saved) :]  # the page gives inputs that came later their defaults
            assert not any(inputs_of(node["type"])[name][2] for name in newer), (node["type"], newer)
            values = dict(zip(names, saved, strict=False))
            inputs = {name: value for name, value in values.items() if not name.endswith(".control")}
            linked = {i["name"]: list(links[i["link"]]) for i in node["inputs"] if i.get("link") is not None}
            yield str(node["id"]), {"class_type": node["type"], "inputs": {**inputs, **linked}}


def twin_of(path):
    """The API-format workflow of a template: api/long_video.json of "02 long video.json"."""
    return path.parent / "api" / f"{path.stem.partition(' ')[2].replace(' ', '_')}.json"


@ui_file
def test_ui_workflows_say_the_same_as_their_api_twins(path):
    twin = read(twin_of(path))
    ours = {key: node for key, node in twin.items() if node["class_type"] in SNAPSHOT}
    assert {key: {"class_type": n["class_type"], "inputs": n["inputs"]} for key, n in ours.items()} == dict(
        as_api(read(path))
    )


@ui_file
def test_every_workflow_has_a_twin_a_thumbnail_and_a_note(path):
    assert twin_of(path).is_file()
    assert path.with_suffix(".jpg").read_bytes()[:2] == b"\xff\xd8"
    (note,) = (node["widgets_values"][0] for node in read(path)["nodes"] if node["type"] == "MarkdownNote")
    assert all(f"\n{step}. " in note for step in (1, 2, 3))
    assert "**Download**" in note
    assert "**Licence**" in note


@ui_file
def test_no_node_lies_on_another(path):
    """As saved; what they grow to is measured where they are laid out."""
    boxes = [(*node["pos"], *node["size"]) for node in read(path)["nodes"]]
    for n, (x, y, width, height) in enumerate(boxes):
        for left, top, wide, high in boxes[n + 1 :]:
            assert x + width <= left or left + wide <= x or y + height <= top - 30 or top + high <= y - 30


@api_file
def test_every_file_that_a_workflow_names_comes_with_the_pack(path):
    """So that a template opens without red nodes."""
    for node in read(path).values():
        for name in ("image", "file"):
            if isinstance(value := node["inputs"].get(name), str):
                assert (ASSETS / value).is_file()


def test_the_samples_are_small():
    assert sum(file.stat().st_size for file in ASSETS.iterdir()) < 400_000


def test_only_one_folder_of_examples_and_nothing_else_in_it():
    shown = {"example", "examples", "example_workflows", "workflow", "workflows"}
    assert {path.name for path in ROOT.iterdir()} & shown == {"workflows"}
    assert [twin_of(path).stem for path in UI] == ORDER
    assert {path.stem for path in API} == {*ORDER, *NOT_LISTED}


def test_every_node_input_and_output_has_a_tooltip():
    for name, node in SNAPSHOT.items():
        assert node["description"], name
        assert all(node["output_tooltips"]), name
        for widget, (_, options, _) in inputs_of(name).items():
            assert options.get("tooltip"), f"{name}.{widget}"


def test_the_frozen_ids_are_there():
    assert set(SNAPSHOT) == {
        "LoadPersonaLive",
        "PersonaLivePrepareReference",
        "ExtractHybridMotion",
        "KeypointInterpolate",
        "KeyframeBank",
        "StreamingSampler",
        "PersonaLiveStreamingSamplerVideo",
        "PersonaLivePasteBack",
        "PersonaLiveSaveMotion",
        "PersonaLiveLoadMotion",
        "PersonaLiveBlendMotion",
        "PersonaLiveMotionPlot",
        "PersonaLiveMeasure",
        "PersonaLiveEditMotion",
        "LoadPersonaLiveLoRA",
        "PersonaLiveLiveSession",
        "PersonaLiveLoadLivePortrait",
        "PersonaLiveExpressionEditor",
        "PersonaLiveSaveExpression",
        "PersonaLiveLoadExpression",
        "PersonaLiveBlendExpressions",
        "PersonaLiveExpressionTimeline",
        "PersonaLivePrepareSource",
        "PersonaLiveExtractImplicitMotion",
        "PersonaLiveRetarget",
        "PersonaLiveRender",
        "PersonaLiveRenderVideo",
        "PersonaLiveLivePortraitSession",
        "PersonaLivePrepareSourceVideo",
        "PersonaLiveLoadHunyuanPortrait",
        "PersonaLiveHunyuan",
        "PersonaLiveHunyuanVideo",
        "PersonaLiveExtractHunyuanMotion",
    }
