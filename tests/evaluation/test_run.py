"""The whole evaluation on networks that know nothing, and the shipped model's figures above stored floors."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from personalive_core.animation.pipeline import AnimateOptions, MotionOptions, animate, driving_motion
from personalive_core.backends.personalive.files import SHIPPED
from personalive_core.backends.personalive.loader import load_model
from personalive_core.backends.personalive.reference import encode_reference
from personalive_core.backends.personalive.types import StreamConfig
from personalive_core.bench.standin import calm
from personalive_core.drawn.landmarker import SIZE, load_landmarker
from personalive_core.drawn.truth import draw
from personalive_core.errors import OutputError
from personalive_core.evaluation.adaptation import line_case, run_adaptation
from personalive_core.evaluation.cases import cross_case, self_case
from personalive_core.evaluation.evaluate import Options, Subject, digest, evaluate
from personalive_core.evaluation.pictures import sheet
from personalive_core.evaluation.reenactment import FULL, MODEL, REPEATED, abrupt, interpolated, reenact, run_task
from personalive_core.evaluation.report import page
from personalive_core.evaluation.stored import values
from personalive_core.media.video import Frame
from personalive_core.training.networks import SHAPES, fresh, save_networks

# Of the shipped model on three people and 24 frames, a step below what it reached so far. Not all of its targets
# (docs/evaluation.md) are met yet: a better one raises these.
FLOORS = {"self": {"psnr": 23.4, "ssim": 0.80}, "cross": {"psnr": 22.9, "ssim": 0.80}}
MOST_LANDMARKS, MOST_IDENTITY = 1.6, 4.0  # pixels, Delta E


@pytest.fixture(scope="module", autouse=True)
def _one_thread(one_thread):
    pass


@pytest.fixture(scope="module")
def twin():
    """Untrained networks that see a face in every picture."""
    model = fresh(SHAPES["twin"], 0)
    calm(model.motion_extractor)
    return model


@pytest.fixture(scope="module")
def twin_folder(twin, tmp_path_factory):
    return save_networks(twin, tmp_path_factory.mktemp("twin"), torch.float16)


def test_reenactment_is_the_pipeline_of_everyone(twin):
    case = cross_case(0, 5)
    portrait, driving = case.reference(SIZE), [*case.driving(SIZE)]
    options = AnimateOptions(motion=MotionOptions(size=SIZE), strengths=FULL)
    frames = animate(twin, encode_reference(twin, portrait, SIZE), (Frame(p, 0) for p in driving), options)
    assert (np.concatenate([*reenact(twin, portrait, driving)]) == np.stack([f.picture for f in frames])).all()


def test_reenactment_draws_no_further_ahead_than_the_window(twin):
    case, drawn = cross_case(0, 60), []
    driving = (drawn.append(i) or picture for i, picture in enumerate(case.driving(SIZE)))
    finished = (pictures for pictures in reenact(twin, case.reference(SIZE), driving) if len(pictures))
    assert len(next(finished)) == StreamConfig.window
    assert len(drawn) <= StreamConfig().lookahead + 2 * StreamConfig.window


def test_without_mii_the_first_motion_waits_instead_of_coming(twin):
    case = cross_case(0, 6)
    reference = encode_reference(twin, case.reference(SIZE), SIZE)

    def led(lead):
        motions = driving_motion(twin, case.driving(SIZE), MotionOptions(size=SIZE))
        return [*lead(motions, reference, 12)]

    with_mii, without = led(interpolated), led(abrupt)
    assert [*map(len, without)] == [*map(len, with_mii)]
    assert torch.equal(without[0].keypoints, without[1].keypoints[:1].expand(12, -1, -1))
    assert not torch.equal(with_mii[0].keypoints, without[0].keypoints)
    for a, b in zip(with_mii[1:], without[1:], strict=True):
        assert torch.equal(a.keypoints, b.keypoints)


def test_baselines_are_what_they_are_called(twin):
    """The reference repeated has the truth's figures where the head has hardly moved; the driving is the truth."""
    task, columns = run_task("Self-reenactment", [self_case(1, 3)], twin, load_landmarker())
    assert (task.clips, task.frames) == (1, 2)
    assert task.rows["driving frame"].psnr == 100
    assert task.rows["driving frame"].landmarks == pytest.approx(task.network_error, rel=0.2)
    assert task.rows["mean frame"].psnr > task.rows[REPEATED].psnr > 20 > task.rows[MODEL].psnr
    assert (columns[0].truth == columns[0].driving).all()
    assert columns[0].output.shape == (SIZE, SIZE, 3)


def test_another_size_and_style_is_measured_to_the_page(twin):
    """Fine people of 64 pixels, no long stream, no ablations and no LoRA."""
    options = Options(1, 3, long=0, ablation_frames=0, size=64, style="fine", journeys=True)
    found, views = evaluate(Subject(twin), load_landmarker(), options, lambda items, *_: items, "this command")
    column = views.sheets["cross"][0]
    case = cross_case(0, 3, "fine")
    assert (column.driving == draw(case.actor, case.motions[1:2], 64, "fine")[0]).all()
    assert (column.truth == case.truth(64).pictures[1]).all()
    assert column.output.shape == (64, 64, 3)
    assert (views.trace, found.stability, found.adaptation, found.findings) == (None, None, None, ())
    origin = found.origins["tasks"]
    assert (origin.command, origin.weights) == ("this command", digest(twin))
    other = replace(twin, denoising_unet=fresh(SHAPES["twin"], 1).denoising_unet)
    assert digest(other) != digest(twin)
    json.dumps(values(found), allow_nan=False)
    text = page(found)
    assert "64×64 pixels" in text
    assert "Not measured: a long stream, ablations, a LoRA for line-art." in text


@pytest.mark.slow
def test_the_command_writes_page_figures_and_pictures(personalive, twin_folder, tmp_path):
    given = ["--people", 1, "--frames", 4, "--long", 12, "--ablation-frames", 4, "--journeys", "--quiet", "--json"]
    outcome = personalive(
        "evaluate", "--weights", twin_folder, "--output", tmp_path, "--ablation", f"sliding={twin_folder}", *given
    )
    assert outcome.code == 0, outcome.err
    figures = json.loads(outcome.out)
    assert figures == json.loads((tmp_path / "evaluation.json").read_text(encoding="utf-8"))
    assert [len(figures[name]) for name in ("targets", "tasks", "ablations")] == [7, 2, 5]
    verdicts = {row["title"]: row["verdict"] for row in figures["ablations"]}
    assert verdicts["chunk-wise attention"] == "not trained"
    assert figures["ablations"][0]["difference"] == 0  # the same weights
    page = (tmp_path / "evaluation.md").read_text(encoding="utf-8")
    missed = [target["name"] for target in figures["targets"] if not target["met"]]
    assert any("PSNR above the reference" in name for name in missed)
    assert page.count("**NOT met**") == len(missed)
    assert (
        "--weights DIR --ablation sliding=DIR --people 1 --frames 4 --long 12 --ablation-frames 4 --journeys`" in page
    )
    assert "The films are of 0.64 seconds, with large turns" in page
    assert "| driving frame |  |" in page
    assert str(tmp_path) not in page
    assert str(twin_folder) not in page
    for picture in ("evaluation_self.jpg", "evaluation_cross.jpg", "evaluation_stability.png"):
        assert f"({picture})" in page
        assert (tmp_path / picture).stat().st_size > 1000


def test_a_lora_is_measured_on_portraits_in_line_art(twin):
    """Without it the streams are the model's own, with it the other's: here each is the other's."""
    other = replace(twin, denoising_unet=fresh(SHAPES["twin"], 1).denoising_unet)
    with torch.no_grad():
        other.denoising_unet.conv_out.bias.fill_(0.5)
    found, columns = run_adaptation(twin, other, [line_case(0, 3), line_case(1, 3)])
    turned, _ = run_adaptation(other, twin, [line_case(0, 3), line_case(1, 3)])
    assert (found.clips, found.frames) == (2, 3)
    assert (found.without, found.adapted) == (turned.adapted, turned.without)
    assert found.gain == pytest.approx(found.adapted - found.without)
    assert found.gain != 0
    assert found.repeated > max(found.without, found.adapted)
    assert sheet(columns).shape[0] == 5 * (SIZE + 4)
    colour = [picture.astype(float).std(2).mean() for picture in (columns[0].reference, columns[0].driving)]
    assert colour[0] < 0.5 * colour[1], "the portrait is ink on paper, the film is coloured"


@pytest.mark.parametrize("given", [("--long", 11), ("--ablation-frames", 2), ("--size", 100), ("--style", "line")])
def test_what_cannot_be_measured_is_refused(personalive, given):
    outcome = personalive("evaluate", *given)
    assert outcome.code == 2
    assert given[0] in outcome.err


def test_a_folder_that_cannot_be_written_is_refused_before_anything_is_measured(personalive, monkeypatch, tmp_path):
    def measured(*_):
        raise AssertionError

    monkeypatch.setattr("personalive_core.commands.evaluate.evaluate", measured)
    outcome = personalive("evaluate", "--output", tmp_path / "no" / "such")
    assert outcome.code == OutputError.exit_code
    assert f"{tmp_path / 'no' / 'such'} does not exist" in outcome.err
    personalive("evaluate", "--output", tmp_path / "new", "--lora", tmp_path / "none")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("given", ["sliding", "keyframes=somewhere", "sliding="])
def test_an_ablation_needs_a_name_and_a_folder(personalive, given):
    outcome = personalive("evaluate", "--ablation", given)
    assert outcome.code == 2
    assert "NAME=DIR with a NAME of sliding, chunkwise" in outcome.err


@pytest.mark.slow
@pytest.mark.skipif(not SHIPPED["small"].is_dir(), reason="the small model is not there yet")
@pytest.mark.parametrize(("name", "make"), [("self", self_case), ("cross", cross_case)])
def test_the_shipped_model_stays_above_its_floors(name, make):
    model = load_model(SHIPPED["small"], torch.device("cpu"), torch.float32)
    task, _ = run_task(name, [make(index, 24) for index in range(3)], model, load_landmarker())
    found = task.rows[MODEL]
    assert found.psnr > FLOORS[name]["psnr"]
    assert found.ssim > FLOORS[name]["ssim"]
    assert found.landmarks < MOST_LANDMARKS
    assert found.identity < MOST_IDENTITY
