"""The face picker's route: pictures and films of any size in little memory, and only for the page."""

import asyncio
import struct
import threading
import zlib

import numpy as np
import pytest
from aiohttp import ClientSession, web
from PIL import Image

from personalive_core.drawn.canvas import FaceMotion
from personalive_core.drawn.person import draw_portrait
from personalive_core.drawn.sample import DRIVER, SITTER
from personalive_core.media.picture import read_image
from personalive_core.media.write import VideoWriter, WriteOptions

PAGE = {"X-PersonaLive": "1"}
LEFT, RIGHT = (draw_portrait(person, FaceMotion(), 128) for person in (SITTER, DRIVER))
WIDE = np.concatenate([LEFT, RIGHT], 1)


@pytest.fixture
def glances(node_module):
    return node_module("host.glance")


@pytest.fixture
def faces(node_module):
    return node_module("host.faces")


@pytest.fixture
def look(faces, tmp_path, monkeypatch):
    """What the page gets for a file of the input folder."""
    monkeypatch.setattr(faces, "weight_folders", lambda: {"personalive": tmp_path / "weights"})
    monkeypatch.setattr(faces, "viewed", lambda name, *_: tmp_path / name)
    return lambda name, **query: faces.look({"filename": name, **query})


def big(side, mode):
    """A picture of four quarters: red, green, blue, white."""
    small = Image.fromarray(np.uint8([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 255]]]))
    large = small.resize((side, side // 2), Image.Resampling.NEAREST)
    return large.quantize(8) if mode == "P" else large.convert(mode)


def png_header(width, height):
    """A PNG that says its size, and holds not one pixel."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(b"")), (b"IEND", b""))
    parts = (struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


# --- small copies


@pytest.mark.parametrize(
    ("suffix", "mode"),
    [("png", "RGB"), ("png", "RGBA"), ("png", "P"), ("png", "L"), ("jpg", "RGB"), ("tif", "CMYK"), ("webp", "RGB")],
)
def test_a_large_picture_is_looked_at_in_a_small_copy(glances, tmp_path, suffix, mode):
    path = tmp_path / f"large.{suffix}"
    big(2400, mode).save(path)
    seen, is_film = glances.glance(path, 0)
    assert not is_film
    assert (seen.width, seen.height) == (2400, 1200)
    height, width = seen.picture.shape[:2]
    assert width * height <= glances.COPY_PIXELS < 2400 * 1200
    whole = read_image(path).astype(int)
    for y, x in ((0.25, 0.25), (0.25, 0.75), (0.75, 0.25), (0.75, 0.75)):
        there = seen.picture[int(y * height), int(x * width)].astype(int)
        assert abs(there - whole[int(y * 1200), int(x * 2400)]).max() <= 8


def test_a_small_picture_is_looked_at_as_it_is(glances, tmp_path):
    Image.fromarray(WIDE).save(tmp_path / "small.png")
    seen, _ = glances.glance(tmp_path / "small.png", 0)
    assert np.array_equal(seen.picture, WIDE)


def test_deep_grey_is_averaged_and_scaled(glances, tmp_path):
    grey = np.full((1300, 2000), 0x8080, np.uint16)
    Image.fromarray(grey).save(tmp_path / "deep.png")
    seen, _ = glances.glance(tmp_path / "deep.png", 0)
    assert (seen.picture == 0x80).all()


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif"])
def test_a_turned_picture_is_seen_upright(glances, tmp_path, suffix):
    path, exif = tmp_path / f"turned.{suffix}", Image.Exif()
    exif[0x0112] = 6  # turn it clockwise
    big(2400, "RGB").save(path, exif=exif)
    seen, _ = glances.glance(path, 0)
    assert (seen.width, seen.height) == (1200, 2400)
    height, width = seen.picture.shape[:2]
    assert height > width
    assert abs(seen.picture[height // 4, width * 3 // 4].astype(int) - [255, 0, 0]).max() < 20  # red comes to the right


def test_an_odd_size_is_covered_to_its_edges(glances, tmp_path):
    picture = np.zeros((1301, 2003, 3), np.uint8)
    picture[-3:], picture[:, -3:] = 255, 255
    Image.fromarray(picture).save(tmp_path / "odd.png")
    seen, _ = glances.glance(tmp_path / "odd.png", 0)
    assert seen.picture.shape == (651, 1002, 3)
    assert seen.picture[-1].min() == seen.picture[:, -1].min() == 255
    assert seen.picture[:600, :900].max() == 0


@pytest.mark.parametrize("size", [(10_100, 10_000), (12_000, 12_000), (60_000, 60_000)])
def test_too_large_a_picture_is_refused_by_its_header(look, tmp_path, size):
    (tmp_path / "bomb.png").write_bytes(png_header(*size))
    with pytest.raises(Exception, match="^bomb.png (has|is too large)[^/]*megapixels"):
        look("bomb.png")


@pytest.mark.parametrize(("suffix", "options"), [("webp", {}), ("tif", {}), ("jpg", {"subsampling": 0})])
def test_kinds_that_cost_more_memory_may_be_less_large(glances, tmp_path, monkeypatch, suffix, options):
    path = tmp_path / f"picture.{suffix}"
    big(2400, "RGB").save(path, **options)
    monkeypatch.setattr(glances, "MEMORY", 2400 * 1200 * 5)  # enough for four bytes a pixel
    with pytest.raises(glances.InputError, match=r"has 2.9 megapixels, the face picker looks at [0-2] at most"):
        glances.glance(path, 0)
    big(2400, "RGB").save(tmp_path / "picture.png")
    glances.glance(tmp_path / "picture.png", 0)


def test_a_damaged_picture_says_so(look, tmp_path):
    big(2400, "RGB").save(tmp_path / "whole.png")
    data = (tmp_path / "whole.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(data[: len(data) // 2])
    with pytest.raises(Exception, match="^cut.png is a damaged picture"):
        look("cut.png")


# --- films


@pytest.fixture
def film(tmp_path):
    with VideoWriter(tmp_path / "film.mp4", (256, 128), WriteOptions(lossless=True)) as writer:
        for index in range(10):
            writer.write(np.roll(WIDE, index, 1))
    return tmp_path / "film.mp4"


@pytest.mark.parametrize(("start", "index"), [("0", 0), ("0.2", 5), ("", 0)])
def test_a_film_shows_the_frame_at_its_start(look, glances, film, start, index):
    answer = look(film.name, start=start, detector="none")
    assert (answer["width"], answer["height"], answer["faces"], answer["detects"]) == (256, 128, [], False)
    assert answer["image"].startswith("data:image/jpeg;base64,")
    seen, is_film = glances.glance(film, float(start or 0))
    assert is_film
    assert np.array_equal(seen.picture, np.roll(WIDE, index, 1))


def test_a_start_after_the_end_is_told(look, film):
    with pytest.raises(Exception, match="^film.mp4 has no frame at 9 s: choose an earlier start$"):
        look(film.name, start="9")


def test_too_large_a_film_is_refused(look, glances, film, monkeypatch):
    monkeypatch.setattr(glances, "FILM_PIXELS", 1000)
    with pytest.raises(Exception, match="^film.mp4 has 0.0 megapixels"):
        look(film.name)


def test_a_file_of_another_kind_is_named_without_its_folder(look, tmp_path):
    (tmp_path / "text.txt").write_text("x" * 999)
    with pytest.raises(Exception, match=r"^text.txt is not a video") as caught:
        look("text.txt")
    assert str(tmp_path) not in str(caught.value)


# --- faces


def test_boxes_are_in_pixels_of_the_full_picture(look, faces, tmp_path, monkeypatch):
    big(2400, "RGB").save(tmp_path / "large.png")
    box = faces.Box(300.0, 100.0, 600.5, 400.0)

    def find(picture, *_):
        assert picture.shape == (600, 1200, 3)
        return (faces.Face(box, 1.0), faces.Face(faces.Box(10, 20, 1300, 700), 1.0))

    monkeypatch.setattr(faces, "helpful_faces", find)
    assert look("large.png")["faces"] == [[600.0, 200.0, 1201.0, 800.0], [20.0, 40.0, 2400.0, 1200.0]]


@pytest.mark.parametrize(("detector", "detects"), [("auto", True), ("none", False), ("yunet", True)])
def test_the_page_learns_whether_the_node_looks_for_faces(look, faces, tmp_path, monkeypatch, detector, detects):
    monkeypatch.setattr(faces, "helpful_faces", lambda *_: ())
    Image.fromarray(WIDE).save(tmp_path / "wide.png")
    assert look("wide.png", detector=detector)["detects"] is detects
    Image.fromarray(LEFT).save(tmp_path / "square.png")
    assert look("square.png")["detects"] is False


# --- the route


def asked(faces, look, requests):
    """What the route answers to requests (headers each) sent at once: (status, JSON)."""

    async def run():
        app = web.Application()
        app.router.add_get(faces.ROUTE, faces.answering(look))
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}{faces.ROUTE}?filename=a.png"

        async def ask(session, headers):
            async with session.get(url, headers=headers) as answer:
                return answer.status, await answer.json()

        try:
            async with ClientSession() as session:
                return await asyncio.gather(*(ask(session, headers) for headers in requests))
        finally:
            await runner.cleanup()

    return asyncio.run(run())


def test_only_the_page_is_answered(faces):
    def look(query):
        assert query == {"filename": "a.png"}
        return {"faces": []}

    page, image, other = asked(faces, look, [PAGE, {}, {"X-PersonaLive": "no"}])
    assert page == (200, {"faces": []})
    for status, answer in (image, other):
        assert status == 403
        assert answer["error"].startswith("Send the header X-PersonaLive with the value 1: only ")


def test_one_picture_is_looked_at_at_a_time(faces):
    inside, most = threading.Semaphore(1), []

    def look(_):
        most.append(inside.acquire(blocking=False))
        threading.Event().wait(0.02)
        inside.release()
        return {}

    answers = asked(faces, look, [PAGE] * 5)
    assert [status for status, _ in answers] == [200] * 5
    assert most == [True] * 5


def test_a_crowd_is_asked_to_wait(faces, monkeypatch):
    """Two wait until two others have been refused."""
    monkeypatch.setattr(faces, "MOST_WAITING", 2)
    refused, said, go = faces.refused, [], threading.Event()

    def noted(*answer):
        said.append(answer)
        if len(said) == 2:
            go.set()
        return refused(*answer)

    def look(_):
        assert go.wait(20)
        return {}

    monkeypatch.setattr(faces, "refused", noted)

    answers = asked(faces, look, [PAGE] * 4)
    assert sorted(status for status, _ in answers) == [200, 200, 429, 429]
    (sentence,) = {answer["error"] for status, answer in answers if status == 429}
    assert sentence.startswith("Wait a moment, then choose it again: 2 pictures are")


def test_what_went_wrong_is_a_sentence(faces):
    def look(_):
        raise faces.InputError("a.png is damaged: copy it again")

    assert asked(faces, look, [PAGE]) == [(200, {"error": "Copy it again: a.png is damaged."})]
