"""Evaluations as JSON and back, put together of several runs, and told as a page."""

import json
import math
import shutil
from dataclasses import replace

import pytest

from personalive_core.errors import InputError
from personalive_core.evaluation.ablations import AblationResult
from personalive_core.evaluation.adaptation import Adaptation
from personalive_core.evaluation.closeness import Closeness, Share
from personalive_core.evaluation.evaluate import RUN_PARTS, Evaluation, Options, RunOrigin
from personalive_core.evaluation.goals import CROSS, SELF
from personalive_core.evaluation.reenactment import DRIVING, MEAN, MODEL, REPEATED, Reenactment
from personalive_core.evaluation.report import page
from personalive_core.evaluation.scores import Scores
from personalive_core.evaluation.stability import StreamFigures
from personalive_core.evaluation.stored import combined_runs, evaluation_of, read_evaluation, values

BY = RunOrigin("evaluate --people 2", "cpu, 1 threads", "2.9", "0123456789ab")
LONG = StreamFigures(300, (30.0, 29.5), {"hair": 0.5, "skin": 1.0}, (30.0, 30.0, 29.5), 12.0, (2**20, None))


def task(name, psnr=30.0, landmarks=1.9):
    rows = {MODEL: Scores(psnr, 0.9, 0.01, landmarks, 2.0), REPEATED: Scores(21.0, 0.7, 0.05, 8.0, 6.0),
            DRIVING: Scores(10.0, 0.4, 0.2, 8.0, 30.0), MEAN: Scores(26.5, 0.8, 0.03, 4.0, 4.0)}  # fmt: skip
    close = {MODEL: Closeness(0.9, 0.1, 1.0, 0.02, 0.03), REPEATED: Closeness(1.0, 0.4, 4.0, 0.1, 0.1)}
    shares = (Share("features", 0.25, 0.01), Share("gaze", 0.3, 0.01), Share("jaw", 0.2, math.inf))
    return Reenactment(name, 2, 48, rows, 0.5, close, (*shares, Share("cheeks", 0.5, 0.1)))


SOME = Options(people=2, long=300, ablation_frames=24)


def evaluation(options=SOME, **changed):
    scores = Scores(24.0, 0.8, 0.03, 2.0, 4.0)
    rows = (
        AblationResult("chunk size 2", "run", 24, scores, scores, 0.0, math.inf),
        AblationResult("none", "not trained"),
    )
    found = Evaluation(
        options, 18_300_000, 50.0, (task(SELF), task(CROSS)), LONG, rows, Adaptation(2, 48, 16.0, 17.5, 14.0),
        dict.fromkeys(RUN_PARTS, BY),
    )  # fmt: skip
    return replace(found, **changed)


def test_values_are_json_that_gives_the_same_evaluation():
    found = evaluation()
    told = values(found)
    again = evaluation_of(json.loads(json.dumps(told, allow_nan=False)))
    assert again == found
    assert page(again) == page(found)
    assert told["tasks"][1]["shares"]["jaw"] == {"name": "jaw", "share": 0.2, "error": None}
    assert told["ablations"][0]["verdict"] == "does not agree: no clear difference"
    assert told["origins"]["speed"]["weights"] == "0123456789ab"


def test_a_figure_that_is_not_known_is_null_and_an_empty_cell():
    found = evaluation(tasks=(task(SELF, landmarks=math.nan), task(CROSS)))
    told = json.loads(json.dumps(values(found), allow_nan=False))
    assert told["tasks"][0]["rows"][MODEL]["landmarks"] is None
    assert math.isnan(evaluation_of(told).tasks[0].rows[MODEL].landmarks)
    assert f"| {MODEL} | 30.00 | 0.900 | 0.0100 |  | 2.00 |" in page(found)


def test_the_page_says_size_and_style_and_what_was_not_measured():
    large = Options(size=256, style="fine", long=0, ablation_frames=0)
    text = page(evaluation(large, stability=None, findings=(), adaptation=None))
    assert "in the style `fine`: no training" in text
    assert "uses, at\n256×256 pixels." in text
    assert "reads pictures made 128 pixels a side;\n  on the true pictures it is itself off by 0.50 pixels" in text
    assert "Pixels (px) are those of pictures of 256 a side; 2 are one of 128." in text
    assert "Not measured: a long stream, ablations, a LoRA for line-art." in text
    assert not [name for name in ("## A long stream", "## Ablations", "evaluation_stability") if name in text]
    assert "128-pixel" not in text
    small = page(evaluation())
    assert "of 128 a side." in small
    assert "Not measured" not in small
    assert "films are of" not in small
    journeys = page(evaluation(Options(ablation_frames=100, journeys=True)))
    assert "The films are of 16 seconds, with large turns, leaving and coming back; every 4th frame" in journeys


def test_parts_come_from_the_last_run_that_measured_them():
    older = evaluation(origins=dict.fromkeys(RUN_PARTS, RunOrigin(device="cpu, 2 threads", torch="2.8")))
    newer = evaluation(
        Options(people=16, long=0, ablation_frames=0), stability=None, findings=(), adaptation=None,
        tasks=(task(SELF, 31.0), task(CROSS, 32.0)), rate=60.0,
    )  # fmt: skip
    both = combined_runs([older, newer])
    assert (both.tasks, both.rate) == (newer.tasks, 60.0)
    assert (both.stability, both.findings, both.adaptation) == (LONG, older.findings, older.adaptation)
    assert (both.options.people, both.options.long, both.options.ablation_frames) == (16, 300, 24)
    assert both.origins == {**older.origins, "tasks": BY, "speed": BY}
    text = page(both)
    other_run = "Measured in another run, by a command that was not kept (cpu, 2 threads, torch 2.8); that these were"
    assert text.count(other_run) == 3
    assert f"## Ablations\n\n{other_run}" in text
    assert evaluation_of(json.loads(json.dumps(values(both)))) == both
    assert combined_runs([older]) == older


@pytest.mark.parametrize(
    "changed",
    [
        {"options": Options(size=256)},
        {"options": Options(style="fine")},
        {"parameters": 5},
        {"origins": {"tasks": replace(BY, weights="ba9876543210")}},
    ],
)
def test_runs_of_several_models_are_not_put_together(changed):
    with pytest.raises(InputError, match="one model on one kind of pictures"):
        combined_runs([evaluation(), evaluation(**changed)])


def test_the_command_writes_a_page_from_stored_figures(personalive, repository, tmp_path):
    """Of the stored figures, which docs/evaluation.md tells."""
    outcome = personalive("evaluate", "--report", repository / "docs" / "evaluation.json", "--output", tmp_path)
    assert outcome.code == 0, outcome.err
    assert "Cross-reenactment: PSNR above the reference repeated" in outcome.out
    written, kept = ((folder / "evaluation.md").read_text("utf-8") for folder in (tmp_path, repository / "docs"))
    assert written == kept
    stored = tmp_path / "evaluation.json"
    assert read_evaluation(stored) == read_evaluation(repository / "docs" / "evaluation.json")
    shutil.copy(stored, tmp_path / "again.json")
    outcome = personalive("evaluate", "--report", tmp_path / "again.json", stored, "--output", tmp_path)
    assert outcome.code == 0, outcome.err
    assert (tmp_path / "evaluation.md").read_text("utf-8") == kept


def test_a_file_without_figures_says_so(personalive, tmp_path):
    (tmp_path / "list.json").write_text("[]")
    (tmp_path / "text.json").write_text("figures")
    (tmp_path / "other.json").write_text('{"options": {}}')
    for name in ("list", "text", "other"):
        outcome = personalive("evaluate", "--report", tmp_path / f"{name}.json")
        assert outcome.code == 2
        assert "is not what `personalive evaluate` writes" in outcome.err
    assert "cannot be read" in personalive("evaluate", "--report", tmp_path / "none.json").err
