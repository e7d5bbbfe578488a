"""The contact sheet: which moments are kept without knowing the length, in what memory, and what is drawn."""

from fractions import Fraction

import numpy as np
import pytest

from personalive_core.animation.sheet import HEADER, THUMBNAIL, SheetCollector, contact_sheet
from personalive_core.media.chart import KEYFRAME, PAPER

GREY = np.full((32, 48, 3), 128, np.uint8)
RED = np.full((40, 40, 3), (255, 0, 0), np.uint8)
BLUE = np.full((40, 40, 3), (0, 0, 255), np.uint8)


def collect(frames, keyframes=()):
    collector, most = SheetCollector(), 0
    for index in range(frames):
        collector = collector.then(index, GREY, GREY, index in keyframes)
        most = max(most, len(collector.even) + len(collector.keyframes))
    return collector, most


def indices(collector):
    return [row.index for row in collector.rows()]


def has_colour(sheet, colour):
    return bool((sheet == np.array(colour, np.uint8)).all(2).any())


@pytest.mark.parametrize("frames", [1, 5, 8])
def test_short_clip_is_shown_whole(frames):
    assert indices(collect(frames)[0]) == list(range(frames))


@pytest.mark.parametrize("frames", [9, 17, 50, 1000, 4097])
def test_long_clip_is_shown_evenly_to_its_end_in_bounded_memory(frames):
    collector, most = collect(frames)
    shown = np.array(indices(collector))
    assert most <= 17
    assert len(shown) == 8
    assert shown[0] == 0
    assert frames - 1 - shown[-1] <= frames / 8
    assert np.diff(shown).max() <= 2.5 * np.diff(shown).min()


def test_keyframes_are_always_shown_in_the_place_of_a_neighbour():
    collector, _ = collect(1000, keyframes=(37, 40, 613))
    rows = collector.rows()
    assert len(rows) == 8
    assert [row.index for row in rows if row.is_keyframe] == [37, 40, 613]
    assert [row.index for row in rows] == sorted(row.index for row in rows)
    assert not {576, 640} <= {row.index for row in rows}


def test_only_the_first_keyframes_are_remembered():
    collector, most = collect(500, keyframes=range(500))
    assert [row.index for row in collector.keyframes] == [0, 1, 2]
    assert most <= 20


def test_keyframe_that_is_also_an_even_frame_appears_once():
    shown = indices(collect(6, keyframes=(2, 4))[0])
    assert shown == [0, 1, 2, 3, 4, 5]


def test_collector_is_a_value():
    before = SheetCollector()
    before.then(0, GREY, GREY)
    assert before == SheetCollector()


def test_kept_pictures_are_small_whatever_their_source():
    huge = np.zeros((1000, 500, 3), np.uint8)
    (row,) = SheetCollector().then(0, huge, huge).rows()
    assert row.driving.shape == (THUMBNAIL, THUMBNAIL // 2, 3)


def test_pictures_stand_side_by_side_in_order():
    rows = SheetCollector().then(0, RED, BLUE).rows()
    sheet = contact_sheet(np.zeros((40, 40, 3), np.uint8), rows, "facts")
    middle = sheet[HEADER + 26 + THUMBNAIL // 2]
    centres = [20 + place * (THUMBNAIL + 10) + THUMBNAIL // 2 for place in range(3)]
    assert middle[centres].tolist() == [[0, 0, 0], [255, 0, 0], [0, 0, 255]]


def test_only_keyframes_are_marked():
    plain = SheetCollector().then(0, RED, BLUE).rows()
    marked = SheetCollector().then(0, RED, BLUE, is_keyframe=True).rows()
    assert not has_colour(contact_sheet(GREY, plain, "facts"), KEYFRAME)
    assert has_colour(contact_sheet(GREY, marked, "facts"), KEYFRAME)


def test_captions_say_frame_time_and_facts():
    rows = SheetCollector().then(7, RED, BLUE).rows()
    timed = SheetCollector().then(7, RED, BLUE, time=Fraction(7, 25)).rows()
    sheet = contact_sheet(GREY, rows, "facts")
    assert not np.array_equal(sheet, contact_sheet(GREY, rows, "other facts"))
    assert not np.array_equal(sheet, contact_sheet(GREY, timed, "facts"))
    later = SheetCollector().then(8, RED, BLUE).rows()
    assert not np.array_equal(sheet, contact_sheet(GREY, later, "facts"))


def test_captions_say_the_frames_own_time(monkeypatch):
    """Of a film with a pause, after which index / rate would be wrong; a frame at 0 has a time too."""
    written = []
    monkeypatch.setattr("personalive_core.animation.sheet.write_text", lambda *a: written.append(a[2]))
    times = (Fraction(0), Fraction(1, 25), Fraction(3001, 300))
    collector = SheetCollector()
    for index, time in enumerate(times):
        collector = collector.then(index, RED, BLUE, time=time)
    contact_sheet(GREY, collector.rows(), "facts")
    assert [text for text in written if text.startswith("frame")] == [
        "frame 0   0.00 s", "frame 1   0.04 s", "frame 2   10.00 s",
    ]  # fmt: skip


def test_long_title_stays_on_the_sheet():
    rows = SheetCollector().then(0, RED, BLUE).rows()
    sheet = contact_sheet(GREY, rows, "a long line of facts " * 6)
    assert (sheet[:HEADER, -15:] == PAPER).all()


def test_no_rows_still_make_a_sheet():
    assert contact_sheet(GREY, (), "nothing").ndim == 3


def test_a_title_of_any_name_is_one_line():
    sheet = contact_sheet(GREY, (), "a\nb \U0001f600 \udce9.mp4: 1 frame")
    assert (sheet[:HEADER] != np.array(PAPER, np.uint8)).any()
    assert sheet.shape == contact_sheet(GREY, (), "a").shape
