"""Films measured whole: identical ones give zeros and ones, and each fault moves what it should, by its order."""

import json
import weakref
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from personalive_core.backends.personalive.files import SHIPPED
from personalive_core.backends.personalive.loader import load_model
from personalive_core.cli import main
from personalive_core.drawn.landmarker import SIZE, load_landmarker
from personalive_core.drawn.truth import clip_motion, draw, person
from personalive_core.errors import InputError, WeightsError
from personalive_core.evaluation import catalogue as catalogue_of
from personalive_core.evaluation.cases import cross_case
from personalive_core.evaluation.catalogue import Catalogue, Judges, catalogue, read_fidelity
from personalive_core.evaluation.films import MeasuredFilm, matched, read_numbers
from personalive_core.evaluation.judges import identity
from personalive_core.evaluation.judges.dlib_faces import open_dlib_points
from personalive_core.evaluation.judges.mediapipe_faces import open_mediapipe_expression, open_mediapipe_points
from personalive_core.evaluation.judges.perceptual import open_lpips
from personalive_core.evaluation.judges.points import open_points
from personalive_core.evaluation.judges.pose import open_pose
from personalive_core.evaluation.judges.types import Judge, JudgeOptions
from personalive_core.evaluation.measured_picture import drawable, measured_picture
from personalive_core.evaluation.measured_text import measured_text, measured_values, table_text
from personalive_core.evaluation.measuring import measure_film
from personalive_core.evaluation.reenactment import reenact
from personalive_core.evaluation.scores import score
from personalive_core.metrics.pictures import unit
from personalive_core.metrics.types import FilmWindow, Origin
from personalive_core.metrics.windows import CLIP_FRAMES

FRAMES = 18  # of a film: more than a window


@pytest.fixture(scope="module", autouse=True)
def _one_thread(one_thread):
    pass


def levels(pictures):
    """A network of a few numbers, for the tests: the mean colours of four parts of a picture."""
    height, width = (side // 2 for side in pictures.shape[1:3])
    parts = [pictures[:, y : y + height, x : x + width] for y in (0, height) for x in (0, width)]
    return np.concatenate([part.mean((1, 2)) for part in parts], 1)


def toy(run, name="toy"):
    return Judge(run, Origin(name, "the tests", "0" * 64, "none"))


@pytest.fixture(scope="module")
def judges():
    return Judges(
        lpips=toy(lambda a, b: np.abs(levels(a) - levels(b)).mean(-1) / 255),
        backbone="toy",
        identities={"": "no ArcFace", "dlib": toy(levels)},
        pose=open_pose(SHIPPED["small"]),
        expression=toy(levels),
        clips=toy(lambda pictures: levels(pictures).reshape(1, -1)[:, :5]),
        points=open_points(JudgeOptions(points="drawn")),
    )


@pytest.fixture(scope="module")
def truth():
    return draw(person("test", 0), clip_motion("test", 0, FRAMES), SIZE)


def measured(keys, result, beside, judges, task="self", reference=None):
    """{key: figure} of one film, of these keys alone: what is not asked for is not read."""
    film = MeasuredFilm("film", lambda: iter(result), lambda: iter(beside), task == "self", reference)
    every = catalogue(task, judges, reference is not None)
    chosen = tuple(measure for measure in every.measures if measure.key in keys.split())
    readers = {measure.reader: every.readers[measure.reader] for measure in chosen if not measure.missing}
    return {figure.measure.key: figure for figure in measure_film(film, Catalogue(chosen, readers)).figures}


def values(found, *keys):
    return [found[key].value for key in keys]


def blurred(film, sigma):
    cv2 = pytest.importorskip("cv2")
    return np.stack([cv2.GaussianBlur(picture, (0, 0), sigma) for picture in film])


def tinted(film, share):
    """The red of each picture times one minus its share."""
    factors = np.stack([1 - np.broadcast_to(share, len(film)), *np.ones((2, len(film)))], 1)
    return np.rint(film * factors[:, None, None]).astype(np.uint8)


def shaken(film, most):
    moves = np.random.default_rng(0).integers(-most, most + 1, (len(film), 2))
    return np.stack([np.roll(picture, move, (0, 1)) for picture, move in zip(film, moves, strict=True)])


def test_identical_films_give_zeros_and_ones_exactly(truth, judges):
    zeros = "l1 lpips tlp apd aed_mediapipe colour drift jitter_eyes jitter_head lip_lag"
    found = measured(f"{zeros} psnr ssim sharpness lips id_sim_dlib fvd", truth, truth, judges, reference=truth[0])
    assert values(found, *zeros.split()) == [0] * 10
    assert values(found, "ssim", "sharpness", "lips") == [1, 1, 1]
    assert found["psnr"].value == pytest.approx(100, abs=1e-12)  # the ceiling
    assert found["fvd"].why.startswith("needs 2 clips")
    still = np.repeat(truth[:1], 2 * CLIP_FRAMES, 0)
    assert values(measured("id_sim_dlib", still, still, judges, reference=truth[0]), "id_sim_dlib") == [1]
    long = np.concatenate([truth, truth])
    assert measured("fvd", long, long, judges)["fvd"].value == 0


def test_a_shift_costs_pixels_and_nothing_that_people_feel(truth, judges):
    truth = truth[:5]
    near, far = (
        measured("l1 ssim psnr colour sharpness jitter_head", np.roll(truth, by, 2), truth, judges) for by in (1, 4)
    )
    assert 0 < near["l1"].value < far["l1"].value
    assert 1 > near["ssim"].value > far["ssim"].value
    assert 100 > near["psnr"].value > far["psnr"].value
    assert far["sharpness"].value == pytest.approx(1, abs=0.05)
    assert far["colour"].value < 0.05
    assert abs(far["jitter_head"].value) < 1  # a thousandth of the eye distance


def test_blur_costs_sharpness_and_likeness_of_structure(truth, judges):
    truth = truth[:3]
    little, much = (measured("l1 ssim colour sharpness", blurred(truth, sigma), truth, judges) for sigma in (0.7, 2))
    assert 0.8 > little["sharpness"].value > much["sharpness"].value > 0
    assert 1 > little["ssim"].value > much["ssim"].value
    assert 0 < little["l1"].value < much["l1"].value
    assert much["colour"].value < 0.3


def test_another_colour_is_an_error_and_only_a_changing_one_a_drift(truth, judges):
    copies = (tinted(truth, share) for share in (0.05, 0.2, np.linspace(0, 0.2, FRAMES)))
    little, much, growing = (measured("colour drift", copy, truth, judges) for copy in copies)
    assert 1 < little["colour"].value < much["colour"].value
    assert much["drift"].value < 0.1 * much["colour"].value
    assert growing["drift"].value > 2 > much["drift"].value
    assert growing["drift"].worst[0].frame == FRAMES - 1


def test_a_shaking_copy_jitters_by_its_order(truth, judges):
    little, much = (measured("jitter_head tlp", shaken(truth, most), truth, judges) for most in (1, 3))
    assert 5 < little["jitter_head"].value < much["jitter_head"].value
    assert 0 < little["tlp"].value < much["tlp"].value
    assert (much["tlp"].unseen, much["jitter_head"].unseen) == (1, 2)  # both reach from one window into the next


def test_late_lips_are_found(truth, judges):
    found = measured("lips lip_lag", np.concatenate([truth[[0, 0]], truth[:-2]]), truth, judges)
    assert found["lip_lag"].value == 2
    assert found["lips"].value < 1


def test_cross_reenactment_is_compared_with_portrait_and_driving(truth, judges):
    driving = draw(person("test", 1), clip_motion("test", 1, FRAMES), 2 * SIZE)
    keys = "l1 psnr ssim lpips tlp id_sim_dlib apd colour drift sharpness"
    still = np.repeat(truth[:1], FRAMES, 0)
    found = measured(keys, still, driving, judges, "cross", truth[0])
    for key in ("l1", "psnr", "ssim", "lpips"):
        assert "--truth" in found[key].why
    assert values(found, "colour", "drift", "sharpness", "id_sim_dlib") == [0, 0, 1, 1]
    assert found["tlp"].value > 0
    assert found["apd"].value > 0.01


def test_without_a_reference_or_a_network_there_is_a_dash_and_its_reason(truth, judges):
    keys = "id_sim id_sim_dlib lips tlp lpips aed"
    found = measured(keys, truth, truth, replace(judges, points="no points", lpips="no LPIPS"))
    assert {figure.value for figure in found.values()} == {None}
    assert found["id_sim_dlib"].why == "needs a portrait: give --reference"
    assert (found["lips"].why, found["tlp"].why) == ("no points", "no LPIPS")
    assert "FLAME" in found["aed"].why


@pytest.fixture(scope="module")
def whole(truth, judges):
    """{task: the measurement} of a short film whose third frame is white."""
    broken = truth[:6].copy()
    broken[2] = 255
    films = {task: MeasuredFilm("film", lambda: iter(broken), lambda: iter(truth[:6]), task == "self", truth[0])
             for task in ("self", "cross")}  # fmt: skip
    return films, {task: measure_film(film, catalogue(task, judges, True)) for task, film in films.items()}


def test_every_figure_has_its_network_source_hash_and_licence(whole):
    said = measured_values(whole[1]["self"])["figures"]
    for key in ("lpips", "apd", "id_sim_dlib", "jitter_head"):
        assert said[key]["network"] != "none"
        assert len(said[key]["sha256"]) == 64
        assert said[key]["source"]
        assert said[key]["licence"]
    assert said["ssim"]["network"] == "none"
    assert said["ssim"]["worst"][0]["frame"] == 2
    json.dumps(said, allow_nan=False)
    text = measured_text(whole[1]["self"])
    assert "sha256" in text
    assert "ID-SIM: no ArcFace" in text


def test_table_has_the_papers_columns_and_stand_ins_under_their_own_names(whole):
    found = whole[1]
    head, _, first, second, *_ = table_text({"one": found, "two": {"self": found["self"]}}).splitlines()[2:]
    assert [cell.strip() for cell in head.split("|")[2:-1]] == [
        *("self: L1 ↓", "self: SSIM ↑", "self: LPIPS (toy) ↓", "self: tLP (toy) ↓"),
        *("cross: ID-SIM ↑", "cross: AED ↓", "cross: APD ↓", "cross: FVD ↓", "cross: tLP (toy) ↓"),
        *("cross: ID-SIM (dlib) ↑", "cross: AED (MediaPipe) ↓"),
    ]
    assert "±" in first.split("|")[2]
    assert first.split("|")[6].strip() == "–"
    assert {cell.strip() for cell in second.split("|")[6:-1]} == {"–"}


def test_every_dash_of_a_table_has_its_reason(whole):
    """Whichever system it is of: the last one may have a figure."""
    good = whole[1]
    dashes = tuple(replace(figure, value=None, why="nothing") for figure in good["self"].figures)
    bad = {"self": replace(good["self"], figures=dashes)}
    for systems in ({"bad": bad, "good": good}, {"good": good, "bad": bad}):
        text = table_text(systems)
        assert "- SSIM: nothing" in text
        assert "toy" in text.partition("- ")[2]  # and every figure its network


def test_picture_shows_the_worst_frames_of_both_films(truth, whole):
    films, found = whole
    picture = measured_picture(found["self"], {"film": films["self"]})
    assert picture.shape[1:] == (1024, 3)
    above, below = picture[2:250, 4:252], picture[250:498, 4:252]
    assert (above == np.asarray(Image.fromarray(truth[2]).resize((248, 248)))).all()
    assert (below == 255).all()


def test_the_pictures_titles_have_no_sign_that_its_font_lacks(whole):
    titles = [figure.measure.title for found in whole[1].values() for figure in found.figures]
    assert not [title for title in titles if not drawable(title).isascii()]
    assert [title for title in titles if not title.isascii()]


# --- the networks that may be missing


def test_what_is_not_installed_or_given_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert "pip install" in open_lpips(JudgeOptions())
    assert "pip install" in open_dlib_points()
    assert "--mediapipe FILE" in open_mediapipe_points(None)
    assert "pip install mediapipe" in open_mediapipe_points(tmp_path / "face_landmarker.task")
    assert "--weights" in open_pose(None)
    assert "--weights" in open_pose(tmp_path)
    assert "--yunet" in open_points(JudgeOptions())
    with pytest.raises(InputError, match="one of auto, none"):
        open_points(JudgeOptions(points="nobody"))


def test_a_file_that_is_no_sface_is_named(monkeypatch, tmp_path):
    file = tmp_path / "sface.onnx"
    file.write_bytes(b"no network")
    monkeypatch.setattr(identity, "YuNetDetector", lambda path: path)
    with pytest.raises(WeightsError, match=r"sface\.onnx is no SFace network that OpenCV .* can use: give OpenCV's"):
        identity.open_sface(JudgeOptions(yunet=file, sface=file))


def test_lpips_fetches_nothing_unasked(monkeypatch, tmp_path):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: object())
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path))
    assert "alexnet" in open_lpips(JudgeOptions())
    assert "vgg16" in open_lpips(JudgeOptions(backbone="vgg"))


def test_mediapipe_gives_eyes_lips_and_blend_shapes(monkeypatch, tmp_path):
    """Its package is played by the test: one face whose iris, lips and mouth corners are known, or none."""
    places = {468: (0.25, 0.5), 473: (0.75, 0.5), 13: (0.5, 0.5), 14: (0.5, 0.75), 78: (0.25, 0.5), 308: (0.75, 0.5)}
    points = [SimpleNamespace(x=places.get(i, (0.5, 0.5))[0], y=places.get(i, (0.5, 0.5))[1]) for i in range(478)]
    shapes = [SimpleNamespace(score=i / 52) for i in range(52)]

    def detect(picture):
        seen = int(picture.data.any())
        return SimpleNamespace(face_landmarks=[points] * seen, face_blendshapes=[shapes] * seen)

    vision = SimpleNamespace(
        FaceLandmarkerOptions=SimpleNamespace,
        FaceLandmarker=SimpleNamespace(create_from_options=lambda _: SimpleNamespace(detect=detect)),
    )
    media = SimpleNamespace(
        Image=lambda **given: SimpleNamespace(data=given["data"]), ImageFormat=SimpleNamespace(SRGB=1)
    )
    modules = {"mediapipe": media, "mediapipe.tasks.python": SimpleNamespace(vision=vision, BaseOptions=dict)}
    monkeypatch.setattr("importlib.util.find_spec", lambda _: object())
    monkeypatch.setattr("importlib.import_module", modules.__getitem__)
    (file := tmp_path / "face_landmarker.task").write_bytes(b"model")
    pictures = np.stack([np.full((40, 80, 3), 9, np.uint8), np.zeros((40, 80, 3), np.uint8)])
    found = open_mediapipe_points(file).run(pictures)
    assert found[0, [0, 3]] == pytest.approx([40, 0.25])  # half of the width apart; 10 pixels open, 40 wide
    assert np.isnan(found[1]).all()
    assert open_mediapipe_expression(file).run(pictures)[0, 26] == 0.5


# --- files


def write(folder, pictures):
    folder.mkdir(parents=True)
    for i, picture in enumerate(pictures):
        Image.fromarray(picture).save(folder / f"{i:03d}.png")
    return folder


def test_names_say_what_belongs_together(tmp_path):
    for name in ("results/ann__talk.mp4", "results/bob.mp4", "portraits/ann.png", "portraits/bob.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "films").mkdir()
    for name in ("talk.mp4", "bob.webm"):
        (tmp_path / "films" / name).write_bytes(b"x")
    both = matched(tmp_path / "results", tmp_path / "films", tmp_path / "portraits", False)
    assert [(film.reference.name, film.beside.name) for film in both] == [
        ("ann.png", "talk.mp4"), ("bob.jpg", "bob.webm"),
    ]  # fmt: skip
    (tmp_path / "results" / "bob.mkv").write_bytes(b"x")
    more = matched(tmp_path / "results", tmp_path / "films", tmp_path / "portraits", False)
    assert [film.name for film in more] == ["ann__talk", "bob.mkv", "bob.mp4"]  # two films have two names
    (tmp_path / "films" / "talk.mp4").unlink()
    with pytest.raises(InputError, match="holds no driving named ann__talk or talk"):
        matched(tmp_path / "results", tmp_path / "films", tmp_path / "portraits", False)


def test_memory_is_that_of_a_window(truth):
    """However long a film is, no more of its pictures are alive at once."""
    alive, most = [], []

    def film():
        for _ in range(10 * CLIP_FRAMES):
            picture = truth[0].copy()
            alive.append(1)
            weakref.finalize(picture, alive.pop)
            yield picture
            most.append(len(alive))

    read_numbers(MeasuredFilm("film", film, film, True), {"one": lambda window: np.zeros(len(window))})
    assert max(most) <= 4 * CLIP_FRAMES


def test_structure_is_compared_picture_by_picture(truth, monkeypatch):
    """SSIM of a window of 16 pictures of 1920x1080 pixels took 16 GB at once."""
    taken, whole = [], catalogue_of.ssim
    monkeypatch.setattr(catalogue_of, "ssim", lambda shown, true: taken.append(len(shown)) or whole(shown, true))
    window = FilmWindow(0, tinted(truth, np.full(len(truth), 0.1)), truth)
    found = read_fidelity(window)
    assert taken == [1] * len(truth)
    assert (found[:, 2] == whole(unit(window.result), unit(window.beside)).numpy()).all()


def check_against_evaluate(pictures, case, folder, capsys):
    """The command's figures of files are those of `evaluate` on the same frames."""
    true = case.truth(SIZE, slice(len(pictures)))
    expected = score(pictures, true, load_landmarker()).mean()
    result, beside = write(folder / "result", pictures), write(folder / "truth", true.pictures)
    assert main(["metrics", "--result", str(result), "--truth", str(beside), "--points", "none", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["figures"]
    for key in ("l1", "psnr", "ssim"):
        assert found[key]["mean"] == pytest.approx(getattr(expected, key), rel=1e-12)


def test_the_table_is_that_of_evaluate(tmp_path, capsys):
    case = cross_case(0, 3)
    check_against_evaluate(np.repeat(case.reference(SIZE)[None], 3, 0), case, tmp_path, capsys)


@pytest.mark.slow
def test_the_small_models_table_is_that_of_evaluate(tmp_path, capsys):
    case = cross_case(0, 6)
    model = load_model(SHIPPED["small"], torch.device("cpu"), torch.float32)
    pictures = np.concatenate([*reenact(model, case.reference(SIZE), case.driving(SIZE))])
    check_against_evaluate(pictures, case, tmp_path, capsys)
