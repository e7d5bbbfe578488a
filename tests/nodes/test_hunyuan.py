"""HunyuanPortrait's nodes without ComfyUI: licence, folders of weights, a run with previews and Cancel, its label."""

import importlib
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tests.backends.hunyuan import people
from tests.backends.hunyuan.standin import standin

CORE = "_pack_without_comfyui.personalive_core"
SAID = "academic, research and education purposes only: never for commercial use, and never in production"


@pytest.fixture(scope="module", autouse=True)
def _one_thread(one_thread):
    pass


@pytest.fixture(scope="module")
def core(node_module):
    node_module("host.systems")
    return lambda name: importlib.import_module(f"{CORE}.{name}")


@pytest.fixture
def folders(node_module, monkeypatch, tmp_path):
    module = node_module("host.folders")
    paths = SimpleNamespace(get_folder_paths=lambda name: [str(tmp_path / name)], models_dir=str(tmp_path))
    monkeypatch.setattr(module, "folder_paths", paths)
    return node_module("host.hunyuan")


def test_weights_are_found_by_their_sets(folders, tmp_path):
    root = tmp_path / "hunyuanportrait"
    assert folders.hunyuan_folders() == {"hunyuanportrait": root}
    for place in ("hyportrait", "mine/hyportrait", "other"):
        (root / place).mkdir(parents=True)
    (root / "hyportrait" / "unet.pth").touch()
    (root / "mine" / "hyportrait" / "unet.pth").touch()
    assert folders.hunyuan_folders() == {"hunyuanportrait": root, "hunyuanportrait/mine": root / "mine"}
    assert [found.file.network for found in folders.hunyuan_files(root)] == ["unet"]
    with pytest.raises(folders.chosen_folder.__globals__["WeightsError"], match="choose hunyuanportrait or"):
        folders.chosen_hunyuan_folder("hunyuanportrait/none")


def test_comfyuis_folder_of_vaes_is_no_set_of_weights(folders, tmp_path):
    """Before the weights are placed: ComfyUI's models would be named as where they belong."""
    root = tmp_path / "hunyuanportrait"
    root.mkdir()
    (tmp_path / "vae").mkdir()
    (tmp_path / "vae" / "diffusion_pytorch_model.safetensors").touch()
    assert folders.hunyuan_folders() == {"hunyuanportrait": root}


def test_nothing_loads_without_the_licence(node_module, folders, monkeypatch, core, tmp_path):
    loader = node_module("load_hunyuan")
    monkeypatch.setattr(loader, "load_hunyuan_placed", lambda *_: pytest.fail("loaded"))
    refused = loader.LoadHunyuan.validate_inputs("hunyuanportrait", False)
    assert refused.startswith("Accept the licence")
    assert SAID in refused
    assert loader.LoadHunyuan.validate_inputs("hunyuanportrait", True) is True
    assert loader.LoadHunyuan.validate_inputs(None, None) is True
    with pytest.raises(Exception, match="Accept the licence"):
        loader.LoadHunyuan.execute("hunyuanportrait", False, "auto")
    with pytest.raises(core("errors").InputError, match=SAID):
        folders.load_hunyuan_placed(tmp_path, torch.float32, None, False)


@pytest.fixture
def run(node_module, core, monkeypatch):
    """A run of five frames in two segments, of networks that take no time; and the bar's calls."""
    hunyuan, types = node_module("host.hunyuan"), core("backends.hunyuan.types")
    shown = []

    class Bar:
        def __init__(self, total):
            self.total = total

        def update_absolute(self, done, total, preview):
            shown.append((done, total, preview))

    monkeypatch.setattr(hunyuan.comfy.utils, "ProgressBar", Bar, raising=False)
    monkeypatch.setattr(hunyuan, "check_interrupt", lambda: None)
    pose = core("motion.types").HeadPose(torch.zeros(5, 3), torch.zeros(5, 3), torch.ones(5, 1))
    motion = types.HunyuanMotion(
        torch.rand(5, 512), torch.zeros(5, 2), pose, torch.zeros(5, 4), torch.ones(5, dtype=torch.bool)
    )
    picture = np.full((80, 96, 3), 90, np.uint8)
    reference = types.HunyuanReference(
        picture, (8, 8, 56, 56), torch.zeros(4, 8, 8), torch.ones(1, 2, 8), torch.zeros(1, 4, 8, 8)
    )
    options = types.SamplingOptions(steps=2, segments=types.SegmentRule(4, 2))
    backend = core("backends.hunyuan.backend").HunyuanBackend(standin(), lambda _: (), options, side=64)
    made = hunyuan.HunyuanRun(backend, reference, node_module("host.sockets").Motion(motion, Fraction(25)))
    return SimpleNamespace(made=made, shown=shown, module=hunyuan)


def test_every_frame_has_a_picture_and_every_step_counts(run):
    pictures = list(run.made.pictures(previews=True))
    assert len(pictures) == len(run.made) == 5
    assert pictures[0].shape == (80, 96, 3)
    assert (run.made.size(True), run.made.size(False)) == ((96, 80), (64, 64))
    # segments of 4 and 3 frames, and 30 of padding, are two windows each; two steps
    assert [(done, total) for done, total, _ in run.shown] == [(2, 8), (4, 8), (6, 8), (8, 8)]
    assert {preview[1].size for _, _, preview in run.shown} == {(512, 512)}
    run.shown.clear()
    assert len(list(run.made.pictures())) == 5
    assert {preview for _, _, preview in run.shown} == {None}


def test_cancel_keeps_what_was_made(run, monkeypatch):
    def interrupted():
        if len(run.shown) > 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(run.module, "check_interrupt", interrupted)
    made = []
    with pytest.raises(KeyboardInterrupt):
        made.extend(iter_noting(run.made.pictures(), made))
    assert 0 < len(made) < 5
    assert len(run.shown) == 3  # it ends after the step, not after the segment


def iter_noting(pictures, made):
    for picture in pictures:
        made.append(picture)
    return ()


def test_a_preview_is_brighter_for_brighter_latents(run):
    dark, bright = torch.zeros(3, 4, 8, 8), torch.zeros(3, 4, 8, 8)
    bright[1, 0] = 1
    levels = [np.asarray(run.module.latent_preview(clean)).mean() for clean in (dark, bright)]
    assert levels[1] > levels[0] + 10
    bright[1], bright[0, 0] = 0, 1
    assert np.asarray(run.module.latent_preview(bright)).mean() == levels[0]


def test_the_result_says_how_it_was_made(node_module, core):
    sample = node_module("hunyuan_sample")
    wish = sample.wish_of(7, 12, (1.0, 2.0, 3.0, 4.0), 10, 384, False)
    assert wish.details == {"system": "hunyuan", "seed": "7", "steps": "12", "paste": "square"}
    sampling = wish.sampling
    assert (sampling.appearance.last, sampling.motion.first) == (2.0, 3.0)
    assert (sampling.segments.frames, sampling.segments.overlap) == (10, 5)
    with pytest.raises(core("errors").InputError, match="guidance is 0 or more"):
        sample.wish_of(0, 1, (-1.0, 2.0, 2.0, 2.0), 10, 512, True)


def test_a_full_gpu_is_answered_in_the_widgets_of_the_system(node_module, tmp_path):
    errors, sockets = node_module("host.errors"), node_module("host.sockets")
    loaded = {
        "fp8 or the tiny decoder in Load PersonaLive, or start": sockets.LoadedModel(None, tmp_path),
        "Choose precision fp16 in Load LivePortrait, or start": sockets.LoadedLivePortrait(None, tmp_path, "human"),
        "Choose precision fp8 in Load HunyuanPortrait or a smaller": sockets.LoadedHunyuan(None, tmp_path),
        "fp8 in Load HunyuanPortrait": node_module("load_hunyuan").LoadHunyuan,
        "Start ComfyUI with --lowvram: the GPU": 3,
    }

    @errors.readable
    def full(*_, **__):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    for words, value in loaded.items():
        for call in (lambda value=value: full(0, value), lambda value=value: full(0, count=5, model=value)):
            with pytest.raises(errors.OutOfMemory) as told:
                call()
            assert words in str(told.value)
            assert str(told.value).endswith(
                "tart ComfyUI with --lowvram: the GPU ran out of memory.\nCUDA out of memory"
            )


# --- faces, and motion that was read before


@pytest.fixture
def begun(node_module, core, monkeypatch, tmp_path):
    """Runs the samplers' reading on two drawn people, whose detector knows them by their colours."""
    hunyuan, sample, sockets = (node_module(name) for name in ("host.hunyuan", "hunyuan_sample", "host.sockets"))
    extract, crop = node_module("hunyuan_motion"), core("faces.crop")

    class Bar:
        def __init__(self, total):
            pass

        def update(self, *_):
            pass

        update_absolute = update

    def detect(picture):
        return tuple(crop.Face(crop.Box(*vars(face.box).values()), 1.0, face.points) for face in people.detect(picture))

    monkeypatch.setattr(hunyuan.comfy.utils, "ProgressBar", Bar, raising=False)
    monkeypatch.setattr(hunyuan, "denoising_room", lambda networks, *_: networks)
    for module in (hunyuan, node_module("host.liveportrait_motion")):
        monkeypatch.setattr(module, "check_interrupt", lambda: None, raising=False)
    monkeypatch.setattr(extract.io, "NodeOutput", lambda *values: values, raising=False)
    monkeypatch.setattr(extract, "sound_of", lambda *_: None)
    for module in (sample, extract):
        monkeypatch.setattr(module, "live_face_detector", lambda *_: detect)
    model = sockets.LoadedHunyuan(standin(), tmp_path)
    driving, image = (sockets.to_image(pictures) for pictures in (people.FILM, [people.PORTRAIT]))

    def run(part=("hold", 0.0, 0, 0.0), face="largest", driving_face="largest", **given):
        wish = sample.choosing(sample.wish_of(0, 2, (2.0,) * 4, 300, 64, True), face, driving_face)
        return sample.run_of(model, image, given.get("driving"), given.get("motion"), part, wish)

    def read(face="largest", part=("hold", 0.0, 0, 25.0)):
        return extract.ExtractHunyuanMotion.execute(model, driving, face, *part, size=64)

    return SimpleNamespace(run=run, read=read, driving=driving, model=model, image=image)


def test_without_yunet_a_way_to_it_is_told(node_module, monkeypatch, tmp_path):
    """Load HunyuanPortrait downloads nothing, and the face is given by no box."""
    source, faces, hunyuan = (node_module(f"host.{name}") for name in ("liveportrait_source", "faces", "hunyuan"))
    monkeypatch.setattr(source, "detector_place", lambda: tmp_path)
    with pytest.raises(faces.WeightsError) as caught:
        source.live_face_detector("yunet", people.PORTRAIT, hunyuan.NO_HUNYUAN_YUNET)
    assert faces.remedy_first(str(caught.value)) == (
        "Run the workflow 01 try it once with download_if_missing on in Load PersonaLive, then this one again: finding "
        "the face needs YuNet, which is not downloaded."
    )
    assert faces.LACKED[tmp_path] == 1, "then the small model's run downloads it"


@pytest.mark.parametrize(("face", "driving_face"), [("largest", "2nd from left"), ("2nd from left", "1st from left")])
def test_faces_are_chosen_in_picture_and_driving(begun, core, face, driving_face):
    run = begun.run(face=face, driving_face=driving_face, driving=begun.driving)
    own, other = people.RIGHT if face == "2nd from left" else people.LEFT, people.LEFT
    left, top, right, bottom = own[0]
    square = core("backends.hunyuan.crops").portrait_square((left, top, right, bottom), people.WIDTH, people.HEIGHT)
    assert run.reference.square == square
    followed = people.RIGHT if driving_face == "2nd from left" else other
    boxes = [tuple(box) for box in run.motion.frames.box.tolist()]
    held = [box or followed[5] for box in followed]
    assert boxes == held
    assert bool(run.motion.frames.valid.all())


def test_motion_that_was_read_before_gives_the_same_pictures(begun):
    motion, rate, sound = begun.read("2nd from left")
    assert (len(motion), rate, sound) == (10, 25.0, None)
    assert motion.frames.valid.tolist() == [box is not None for box in people.RIGHT]
    runs = [begun.run(motion=motion), begun.run(driving=begun.driving, driving_face="2nd from left")]
    first, second = (np.stack(list(run.pictures())) for run in runs)
    assert np.array_equal(first, second)
    assert runs[0].motion.times.tolist() == motion.ticks.tolist()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "nothing moves the picture: connect driving, or motion from Extract Motion"),
        ({"driving": 1, "motion": 1}, "driving and motion are both connected, and one is used: disconnect the other"),
        ({"motion": 1, "part": ("hold", 0.0, 3, 0.0)}, "choose in a driving, and motion is connected: set them to 0"),
        ({"motion": 1, "part": ("hold", 0.1, 0, 0.0)}, "choose in a driving, and motion is connected: set them to 0"),
        ({"motion": 1, "driving_face": "2nd from left"}, "choose in a driving, and motion is connected: set them to 0"),
        ({"driving": 1, "face": "5th from left"}, "unknown face '5th from left': choose largest, 1st from left"),
    ],
)
def test_what_moves_the_picture_is_one_thing(begun, core, given, words):
    made = {"driving": begun.driving, "motion": begun.read()[0]}
    given = {name: made[name] if value == 1 else value for name, value in given.items()}
    with pytest.raises(core("errors").InputError, match=words):
        begun.run(**given)


def test_motion_of_another_system_is_refused(node_module, core, begun, tmp_path):
    """And HunyuanPortrait's by the others' nodes; saved and loaded it is the same."""
    systems, sockets, types = node_module("host.systems"), node_module("host.sockets"), core("motion.types")
    pose = types.HeadPose(torch.zeros(2, 3), torch.zeros(2, 3), torch.ones(2, 1))
    hybrid = types.HybridMotion(
        torch.ones(2, 32, 16), torch.ones(2, 21, 3), pose, torch.zeros(2, 4), torch.ones(2, dtype=torch.bool)
    )
    words = "was read by PersonaLive: read the driving with Extract Motion .HunyuanPortrait., or connect it to Keypoint"
    with pytest.raises(core("errors").InputError, match=words):
        begun.run(motion=sockets.Motion(hybrid, Fraction(25)))
    motion, _, _ = begun.read()
    with pytest.raises(core("errors").InputError, match="was read by HunyuanPortrait: connect it to HunyuanPortrait S"):
        systems.hybrid(motion)
    with pytest.raises(core("errors").InputError, match="or connect it to HunyuanPortrait Sample"):
        systems.implicit(motion)
    assert torch.equal(systems.hybrid(motion, alone=True).pose.angles, motion.frames.pose.angles)
    systems.save_any_motion(tmp_path / "a.safetensors", motion)
    part = systems.read_any_part(tmp_path / "a.safetensors", 0.04, None)
    assert type(part.motion) is type(motion.frames)
    assert torch.equal(part.motion.expression, motion.frames.expression[1:])
    assert len(begun.run(motion=sockets.Motion(part.motion, part.rate, ticks=part.times))) == 9
    assert node_module("plot").plot(motion).shape == (640, 1024, 3)
