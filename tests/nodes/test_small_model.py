"""The small model in the nodes: offered beside the folders, no download, its own size, and the detector elsewhere."""

import pytest

from personalive_core.backends.personalive.files import SHIPPED, own_size

SMALL = "small (drawn people, built in)"


@pytest.fixture
def folders(node_module, tmp_path, monkeypatch):
    """nodes/host/folders.py with one models folder, which is empty."""
    module = node_module("host.folders")
    root = tmp_path / "models"
    root.mkdir()
    monkeypatch.setattr(module, "model_roots", lambda: [root])
    return module


@pytest.fixture
def load(node_module, folders):  # noqa: ARG001 - it makes the folders that load reads
    faces, module = node_module("host.faces"), node_module("load")
    faces.LACKED.clear()
    return module


@pytest.fixture
def told(node_module, monkeypatch):
    """What prepare.py says on nodes: (node, text)."""
    said = []
    monkeypatch.setattr(node_module("prepare"), "notify", lambda *line: said.append(line))
    return said


def test_it_is_offered_after_the_folders(folders, tmp_path):
    assert folders.weight_folders() == {"personalive": tmp_path / "models", SMALL: SHIPPED["small"]}
    assert folders.weights_folder(SMALL) == SHIPPED["small"]


def test_it_is_not_offered_where_the_archive_lacks_it(folders, tmp_path, monkeypatch):
    monkeypatch.setattr(folders, "SHIPPED", {"small": tmp_path / "gone"})
    assert list(folders.weight_folders()) == ["personalive"]


def test_a_folder_with_the_detector_alone_is_not_preferred(folders, tmp_path, monkeypatch):
    """The small model put it there; the weights came later, on another disk: they are not downloaded again."""
    own, disk = tmp_path / "models", tmp_path / "disk"
    for place in (own / "face_detection_yunet", disk / "personalive"):
        place.mkdir(parents=True)
    (own / "face_detection_yunet" / "face_detection_yunet_2026may.onnx").touch()
    monkeypatch.setattr(folders, "model_roots", lambda: [own, disk])
    assert folders.weights_folder("personalive") == own
    (disk / "personalive" / "pose_guider.pth").touch()
    assert folders.weights_folder("personalive") == disk


def test_each_model_has_its_own_size(tmp_path):
    assert (own_size(SHIPPED["small"]), own_size(tmp_path)) == (128, 512)


def test_it_needs_no_download_until_a_node_asked_for_a_detector(load, node_module, tmp_path, monkeypatch):
    fetched = []
    monkeypatch.setattr(load, "fetch", lambda folder, files, _: fetched.append((folder, [f.network for f in files])))
    load.download_missing(SHIPPED["small"], load.DECODERS["full"], True)
    assert not fetched
    faces = node_module("host.faces")
    with pytest.raises(faces.WeightsError, match="turn on download_if_missing"):
        faces.yunet(SHIPPED["small"])
    load.download_missing(SHIPPED["small"], load.DECODERS["full"], True)
    assert fetched == [(tmp_path / "models", ["yunet"])], "never into the pack's own folder"


def test_another_size_is_told_on_the_node(node_module, told, caplog):
    prepare = node_module("prepare")
    prepare.warn_of_size("4", 512, 128)
    prepare.warn_of_size("4", 128, 128)
    text = "Set size to 0: the small model knows 128 pixels alone, at 512 faces fall apart."
    assert told == [("4", text), ("4", "")]
    assert caplog.messages == [text]


@pytest.mark.parametrize("there", [True, False])
def test_missing_weights_begin_with_size_place_and_what_works_now(load, tmp_path, there):
    if not there:
        (tmp_path / "models").rmdir()
    with pytest.raises(load.WeightsError) as caught:
        load.download_missing(tmp_path / "models", load.DECODERS["full"], False)
    first, *rest = load.remedy_first(str(caught.value)).splitlines()
    assert first == (
        f"Turn on download_if_missing to download about 12.1 GB into {tmp_path / 'models'}, or choose {SMALL!r}, which "
        "works now: weights are missing."
    )
    assert "HF_ENDPOINT" in rest[0]
    assert "by hand" in rest[0]
    assert any(line.startswith("- personalive/denoising_unet.pth") for line in rest)
