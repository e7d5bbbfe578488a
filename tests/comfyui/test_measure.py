"""Measure in a real ComfyUI: a table as text, a picture, and a refusal that says first what to do."""

import pytest
from PIL import Image

from tests.comfyui.test_nodes import first_line, made

pytestmark = [pytest.mark.comfyui, pytest.mark.timeout(300)]


def frames(count, colour):
    return {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": count, "color": colour}}


def workflow(**more):
    return {
        "1": frames(5, 0),
        "2": frames(5, 0xFFFFFF),
        "3": {"class_type": "PersonaLiveMeasure", "inputs": {"video": ["1", 0], "points": "none", **more}},
        "4": {"class_type": "PreviewAny", "inputs": {"source": ["3", 0]}},
    }


def test_a_table_and_a_picture(comfyui):
    run = comfyui.run(workflow(truth=["2", 0]))
    assert not run.error
    (table,) = run.outputs["4"]["text"]
    assert next(line for line in table.splitlines() if line.startswith("L1")).split()[2] == "1.000"
    (picture,) = made(comfyui, run, "images")
    assert Image.open(picture).width == 1024


def test_without_truth_or_driving_it_says_what_to_connect(comfyui):
    assert "Connect one of the two" in first_line(comfyui.run(workflow()))
