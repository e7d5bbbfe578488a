"""History and fusion in the evaluation: measured only for weights that were trained with history."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from personalive_core.backends.personalive.types import STREAM
from personalive_core.evaluation import ablations, reenactment, report
from personalive_core.evaluation.ablations import ABLATIONS, AblationResult, ablations_of, run_ablations
from personalive_core.evaluation.evaluate import Options
from personalive_core.evaluation.reenactment import Setting, abrupt, reenact
from personalive_core.evaluation.scores import FrameScores, Scores
from personalive_core.modules.fusion import Fusion
from personalive_core.modules.unet import UNetConfig


def trained_with(history):
    return SimpleNamespace(denoising_unet=SimpleNamespace(config=UNetConfig(history=history)))


@pytest.fixture
def runs(monkeypatch):
    """The runs of an evaluation's ablations: {key: (model, setting)}."""
    seen = {}
    nothing = FrameScores(*[[0.0] * 4] * 5)

    def scored(given, *_):
        seen.update(given)
        return {key: SimpleNamespace(mean=lambda _: Scores(0, 0, 0, 0, 0), psnr=nothing.psnr) for key in given}

    monkeypatch.setattr(ablations, "_scored", scored)
    return seen


def test_weights_of_before_are_evaluated_as_before(runs):
    model = trained_with(0)
    assert ablations_of(model) is ABLATIONS
    found = run_ablations(model, [None], None, {})
    assert [row.how for row in found] == ["not trained", "run", "run", "run", "not trained"]
    assert runs["full"] == (model, Setting())
    known = {row.key: (model, row.setting) for row in ABLATIONS if not row.trained}
    assert runs == {**known, "full": (model, Setting())}


def test_weights_with_history_run_with_it_and_are_measured_without(runs):
    model, other = trained_with(3), trained_with(0)
    found = run_ablations(model, [None], None, {"sliding": other})
    assert [row.title for row in found[5:]] == ["without history", "with fusion of signals"]
    config = replace(STREAM, history=3)
    assert {key: setting.config for key, (_, setting) in runs.items()} == {
        "full": config,
        "sliding": STREAM,  # weights of its own, without history
        "keyframes": replace(config, max_keyframes=1),
        "lead-in": config,
        "chunk-2": replace(config, window=2),
        "history": STREAM,
        "fusion": replace(config, fusion=Fusion(2.0, 2.5, 1.0)),
    }
    assert runs["lead-in"][1].lead is abrupt
    assert [one is model for one, _ in runs.values()].count(False) == 1


def test_every_stream_of_the_evaluation_has_the_models_history(monkeypatch):
    taken = []
    model = trained_with(3)
    monkeypatch.setattr(reenactment, "encode_reference", lambda *_: None)
    monkeypatch.setattr(reenactment, "driving_motion", lambda *_: ())
    monkeypatch.setattr(reenactment, "stream", lambda _, sampler, __: taken.append(sampler.config) or ())
    for setting in ((), (Setting(),)):
        assert list(reenact(model, SimpleNamespace(shape=(64,)), (), *setting)) == []
    assert taken == [replace(STREAM, history=3), STREAM]


@pytest.mark.parametrize(("difference", "verdict"), [(-1.0, "worse"), (1.0, "better"), (0.1, "no clear difference")])
def test_the_page_says_how_they_are_and_that_the_paper_has_none(difference, verdict):
    nothing = Scores(0, 0, 0, 0, 0)
    row = AblationResult("without history", ablations.OURS, 24, nothing, nothing, difference, 0.1)
    assert row.verdict == verdict
    page = report.ablations([row], Options())
    assert "| without history | run, not of the paper |" in page
    assert f"|  | {verdict} |" in page
