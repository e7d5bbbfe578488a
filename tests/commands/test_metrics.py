"""`personalive metrics` from the outside: files and folders, tables, JSON, the picture, and what is refused."""

import json

import numpy as np
import pytest
from PIL import Image

from personalive_core.drawn.people import random_identity
from personalive_core.drawn.truth import clip_motion, draw

SIDE, FRAMES = 48, 6


@pytest.fixture(scope="module", autouse=True)
def _one_thread(one_thread):
    pass


def gif(path, pictures):
    path.parent.mkdir(parents=True, exist_ok=True)
    first, *rest = (Image.fromarray(picture) for picture in pictures)
    first.save(path.with_suffix(".png"), save_all=True, append_images=rest, default_image=False, duration=40)
    path.with_suffix(".png").rename(path)


@pytest.fixture(scope="module")
def film():
    return draw(random_identity(np.random.default_rng(0)), clip_motion("test", 0, FRAMES), SIDE)


@pytest.fixture
def folder(tmp_path, film):
    """Two films and noisy results of them; animated PNGs under the suffix of a film, so that no codec changes them."""
    noise = np.random.default_rng(0).integers(0, 20, film.shape, np.uint8)
    for name in ("one", "two"):
        gif(tmp_path / "truth" / f"{name}.gif", film)
        gif(tmp_path / "same" / f"{name}.gif", film)
    gif(tmp_path / "noisy" / "one.gif", np.maximum(film, 20) - noise)
    gif(tmp_path / "noisy" / "two.gif", film)
    return tmp_path


@pytest.fixture
def measure(personalive, folder):
    """Runs the command; words with a slash are paths below the folder."""

    def run(line):
        words = [str(folder / word[1:]) if word.startswith("/") else word for word in line.split()]
        return personalive("metrics", *words, "--points", "none")

    return run


def test_one_film(measure):
    outcome = measure("--result /same/one.gif --truth /truth/one.gif --json")
    assert outcome.code == 0, outcome.err
    found = json.loads(outcome.out)
    assert found["task"] == "self"
    assert found["films"] == [{"film": "one", "frames": FRAMES}]
    assert found["figures"]["l1"]["mean"] == 0
    assert found["figures"]["ssim"]["mean"] == 1
    assert found["figures"]["id_sim"]["note"].startswith("needs a portrait")


def test_folders_are_matched_by_name_and_give_the_mean_over_films(measure):
    found = json.loads(measure("--result /noisy --truth /truth --json").out)["figures"]["l1"]
    assert found["films"] == 2
    assert found["frames"] == 2 * FRAMES
    assert found["mean"] == pytest.approx(found["standard_error"])  # of x and 0
    assert {frame["film"] for frame in found["worst"]} == {"one"}


def test_text_names_worst_frames_and_reasons(measure):
    text = measure("--result /noisy --truth /truth").out
    assert "2 films, 12 frames" in text
    assert "at one, frame" in text
    assert "AED: SMIRK" in text


def test_picture(measure, folder):
    assert measure("--result /noisy --truth /truth --picture /worst.png").code == 0
    assert Image.open(folder / "worst.png").width == 1024
    assert not Image.open(folder / "worst.png").text  # measured, not generated


def test_a_picture_takes_the_place_of_nothing_that_is_measured(measure, folder, film):
    """In a folder, too: the portraits, or a film of pictures, which it would make longer besides."""
    for name in ("one", "two"):
        gif(folder / "portraits" / f"{name}.png", film[:1])
    before = (folder / "portraits" / "two.png").read_bytes()
    outcome = measure("--result /same --reference /portraits --driving /truth --picture /portraits/two.png")
    assert "would overwrite" in outcome.err
    assert "two.png, the reference" in outcome.err
    assert (folder / "portraits" / "two.png").read_bytes() == before
    outcome = measure("--result /portraits --truth /truth/one.gif --picture /portraits/worst.png")
    assert "worst.png, the result" in outcome.err


def test_a_film_of_another_length_is_refused_alone_and_listed_among_others(measure, folder, film):
    gif(folder / "noisy" / "two.gif", film[:4])
    outcome = measure("--result /noisy/two.gif --truth /truth/two.gif")
    assert outcome.code == 2
    assert "has 4 frames and" in outcome.err
    outcome = measure("--result /noisy --truth /truth --json")
    assert outcome.code == 1
    found = json.loads(outcome.out)
    assert [one["film"] for one in found["films"]] == ["one"]
    assert "--first" in found["failed"][0]["reason"]
    assert measure("--result /noisy --truth /truth --first 4").code == 0


def test_sizes_are_made_equal_on_demand(measure, folder, film):
    gif(folder / "large.gif", film.repeat(2, 1).repeat(2, 2))
    outcome = measure("--result /large.gif --truth /truth/one.gif")
    assert outcome.code == 2
    assert "96x96" in outcome.err
    assert measure(f"--result /large.gif --truth /truth/one.gif --size {SIDE}").code == 0
    gif(folder / "wide.gif", film[:, :40])
    assert "crop" in measure(f"--result /wide.gif --truth /truth/one.gif --size {SIDE}").err


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("", "give --result"),
        ("--result /same", "--truth"),
        ("--result /same --driving /truth", "give --reference"),
        ("--result /same --truth /truth --driving /truth", "either --truth"),
        ("--table /same --result /same", "leave out"),
        ("--table /same", "SYSTEM/self"),
        ("--result /same --truth /truth --sface /nothing.onnx", "--sface is the path of a file"),
        ("--result /same --truth /truth --picture /worst.txt", ".png"),
        ("--result /nothing.mp4 --truth /truth/one.gif", "cannot be opened"),
    ],
)
def test_refusals(measure, line, said):
    outcome = measure(line)
    assert outcome.code not in (0, 1)
    assert said in outcome.err


def test_table_compares_systems(measure, folder, film):
    for name in ("bad", "good"):
        for task, film_name in (("self", "one"), ("cross", "ann__talk")):
            copy = film if name == "good" else np.roll(film, 2, 2)
            gif(folder / "set" / "results" / name / task / f"{film_name}.gif", copy)
    gif(folder / "set" / "truth" / "one.gif", film)
    gif(folder / "set" / "driving" / "talk.gif", film)
    gif(folder / "set" / "reference" / "ann.png", film[:1])
    outcome = measure("--table /set")
    assert outcome.code == 0, outcome.err
    rows = [line.split("|")[1:4] for line in outcome.out.splitlines() if line.startswith("|")]
    assert [row[0].strip() for row in rows[2:]] == ["bad", "good"]
    assert rows[3][1].strip() == "0.000 ± 0.000"
    assert float(rows[2][1].split("±")[0]) > 0.01
    assert "- APD: needs a keypoint extractor" in outcome.out
    (folder / "set" / "results" / "empty").mkdir()
    assert "neither a folder self nor a folder cross" in measure("--table /set").err


def test_the_drawn_set_is_what_the_table_reads(measure):
    assert measure("--write-drawn /drawn --people 2 --frames 2").code == 0
    outcome = measure("--table /drawn --json")
    assert outcome.code == 0, outcome.err
    found = json.loads(outcome.out)["systems"]["reference repeated"]
    assert [film["film"] for film in found["cross"]["films"]] == ["p0__p1", "p1__p0"]
    assert found["self"]["figures"]["l1"]["worst"][0]["frame"] == 1  # the first frame is the reference itself
    assert found["cross"]["figures"]["colour"]["mean"] == 0
    assert found["cross"]["figures"]["drift"]["mean"] == 0
