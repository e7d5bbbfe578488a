"""Folders of files: which are taken, and how those left out are told."""

import pytest

from personalive_core.errors import InputError
from personalive_core.media.folder import folder_files

SUFFIXES = (".png", ".jpg")


@pytest.fixture
def folder(tmp_path):
    """Makes a folder with empty files of these names."""

    def make(*names):
        for name in names:
            path = tmp_path / "films" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"")
        return tmp_path / "films"

    return make


def names(files):
    return [file.name for file in files]


def test_what_is_left_out_is_told_once_with_the_reason(folder, caplog):
    where = folder("b.png", "a.JPG", "a.heic", "notes.txt", "README")
    assert names(folder_files(where, SUFFIXES, "picture")) == ["a.JPG", "b.png"]
    assert caplog.messages == [
        f"{where}: 3 files were left out: README (no suffix says what it is), a.heic (.heic is no picture that can be "
        "read here: save it as PNG or JPEG), notes.txt (.txt is no picture that can be read here)"
    ]


def test_one_file_and_many(folder, caplog):
    where = folder("a.png", "1.mp4")
    folder_files(where, SUFFIXES, "picture or video")
    assert caplog.messages[0].endswith("1 file was left out: 1.mp4 (.mp4 is no picture or video that can be read here)")
    folder_files(folder(*(f"{i}.mp4" for i in range(9))), SUFFIXES, "picture")
    assert "9 files were left out" in caplog.messages[1]
    assert caplog.messages[1].count(".mp4 (") == 5
    assert caplog.messages[1].endswith(" and 4 more")


def test_what_nobody_put_there_is_left_out_without_a_word(folder, caplog):
    where = folder("a.png", ".DS_Store", "._a.png", "Thumbs.db", "desktop.ini", ".cache/b.png", "more/c.png")
    assert names(folder_files(where, SUFFIXES, "picture")) == ["a.png"]
    assert names(folder_files(where, SUFFIXES, "picture", deep=True)) == ["a.png", "c.png"]
    assert not caplog.messages


def test_subfolders_and_a_folder_that_is_listed_twice(folder, caplog):
    where = folder("a.png", "more/c.png", "more/d.txt", "e.png/f.jpg")
    for _ in range(2):
        assert names(folder_files(where, SUFFIXES, "picture", deep=True)) == ["a.png", "f.jpg", "c.png"]
    assert len(caplog.messages) == 1
    assert "more/d.txt (" in caplog.messages[0].replace("\\", "/")


def test_a_link_that_leads_nowhere(folder, caplog):
    where = folder("a.png")
    try:
        (where / "b.png").symlink_to("gone")
    except OSError:
        pytest.skip("this system makes no links")
    assert names(folder_files(where, SUFFIXES, "picture")) == ["a.png"]
    assert "b.png (a link that leads nowhere)" in caplog.messages[0]


def test_nothing_to_take_is_refused_with_what_is_there(folder, tmp_path, caplog):
    where = folder("a.heic")
    with pytest.raises(InputError) as told:
        folder_files(where, SUFFIXES, "picture")
    assert f"The folder {where} holds no pictures (.png, .jpg), only a.heic (.heic is no picture" in str(told.value)
    assert str(told.value).endswith(": choose another.")
    (where / "a.heic").unlink()
    with pytest.raises(InputError, match=r"holds no pictures or videos \(.png, .jpg\): choose another"):
        folder_files(where, SUFFIXES, "picture or video")
    with pytest.raises(InputError, match="gone is no folder: give the folder that holds the videos"):
        folder_files(tmp_path / "gone", SUFFIXES, "video")
    assert not caplog.messages
