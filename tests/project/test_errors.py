"""Errors turned round for ComfyUI's page, which shows the first line only."""

import pytest

from personalive_core.errors import remedy_first


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("no face in frame 3: set missing faces to hold", "Set missing faces to hold: no face in frame 3."),
        ("The rate is 0: choose 25.", "Choose 25: the rate is 0."),
        ("Holiday: Day 2.MP4 is empty: copy it again", "Copy it again: Holiday: Day 2.MP4 is empty."),
        ("OpenCV 5 lacks haar: choose yunet", "Choose yunet: OpenCV 5 lacks haar."),
        ("files are missing: download them\n- a.pth: here", "Download them: files are missing.\n- a.pth: here"),
        ("nothing to be done about it", "nothing to be done about it."),
    ],
)
def test_remedy_comes_first_and_names_stay_as_they_are(message, shown):
    assert remedy_first(message) == shown
