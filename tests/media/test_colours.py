"""Pictures and films show the colours that a viewer shows; what cannot be converted is refused."""

import logging
import zlib
from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageCms

from personalive_core.errors import InputError
from personalive_core.media import heif, profile
from personalive_core.media.picture import read_image
from personalive_core.media.video import probe
from tests.media.films import COLOUR_BARS, H, W, encode, numbered, read

SKIN = (199, 119, 90)
# The same colour in sRGB, for skin in P3 and BT.2020, computed from the primaries' chromaticities (IEC 61966-2-1).
P3_SKIN, BT2020_SKIN = (212, 114, 83), (235, 103, 83)
P3 = profile.matrix_profile(*profile.GAMUTS[12])
BLUE_YELLOW = np.concatenate([np.full((H // 2, W, 3), (20, 60, 200)), np.full((H // 2, W, 3), (220, 200, 60))])
BLUE_YELLOW = BLUE_YELLOW.astype(np.uint8)


def flat(colour, height=H, width=W):
    return np.full((height, width, 3), colour, np.uint8)


def saved(path, image, **settings):
    image.save(path, **settings)
    return path


# ---------------------------------------------------------------- stills


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp", "a.tif"])
def test_icc_profiles_of_stills(tmp_path, name):
    quality = {} if name.endswith(("png", "tif")) else {"quality": 100}
    path = saved(tmp_path / name, Image.fromarray(flat(SKIN)), icc_profile=P3, **quality)
    assert np.abs(read_image(path)[H // 2, W // 2].astype(int) - P3_SKIN).max() <= 2
    assert np.array_equal(read(path)[0].image, read_image(path))


def test_profile_with_alpha_palette_and_grey(tmp_path, caplog):
    clear = np.dstack([flat(SKIN), np.full((H, W), 255, np.uint8)])
    clear[:, : W // 2, 3] = 0
    shown = read_image(saved(tmp_path / "a.png", Image.fromarray(clear), icc_profile=P3))
    assert shown[:, : W // 2].max() == 0
    assert np.abs(shown[0, -1].astype(int) - P3_SKIN).max() <= 1
    shown = read_image(saved(tmp_path / "b.png", Image.fromarray(flat(SKIN)).quantize(4), icc_profile=P3))
    assert np.abs(shown[0, 0].astype(int) - P3_SKIN).max() <= 1
    assert not caplog.records


def test_gamma_and_primaries_of_png(tmp_path, caplog):
    """Linear light in P3's primaries; an sRGB chunk, and what sRGB's own chunks say, change nothing."""
    linear = np.where(
        flat(SKIN) / 255 <= 0.04045, flat(SKIN) / 255 / 12.92, ((flat(SKIN) / 255 + 0.055) / 1.055) ** 2.4
    )
    picture = Image.fromarray(np.rint(linear * 255).astype(np.uint8))
    p3 = chunk(b"cHRM", *(round(value * 100_000) for value in (0.3127, 0.329, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06)))
    shown = read_image(with_chunks(saved(tmp_path / "a.png", picture), chunk(b"gAMA", 100_000), p3))
    assert np.abs(shown[0, 0].astype(int) - P3_SKIN).max() <= 3
    usual = chunk(b"gAMA", 45_455)
    marked = chunk(b"gAMA", 100_000) + chunk(b"sRGB", data=b"\0")
    for chunks in (usual, marked, chunk(b"gAMA", 0), b""):
        shown = read_image(with_chunks(saved(tmp_path / "a.png", Image.fromarray(flat(SKIN))), chunks))
        assert np.array_equal(shown, flat(SKIN))
    assert not caplog.records


def chunk(kind, *values, data=b""):
    content = kind + b"".join(value.to_bytes(4, "big") for value in values) + data
    return (len(content) - 4).to_bytes(4, "big") + content + zlib.crc32(content).to_bytes(4, "big")


def with_chunks(path, *chunks):
    """The PNG with further chunks behind its header."""
    content = path.read_bytes()
    path.write_bytes(content[:33] + b"".join(chunks) + content[33:])
    return path


def test_press_colours_go_through_their_profile(tmp_path):
    """A profile whose table shows every ink as one colour: only a converted picture has it."""
    inks = Image.fromarray(flat(SKIN)).convert("CMYK")
    plain = read_image(saved(tmp_path / "a.tif", inks))
    assert np.abs(plain[0, 0].astype(int) - SKIN).max() <= 1
    shown = read_image(saved(tmp_path / "b.tif", inks, icc_profile=ink_profile((60.0, 30.0, 20.0))))
    assert np.ptp(shown, (0, 1)).max() == 0
    assert np.abs(shown[0, 0].astype(int) - (201, 123, 111)).max() <= 2  # CIELAB 60, 30, 20 (D50) in sRGB


@pytest.mark.parametrize("bad", [b"nonsense" * 40, P3[:60], ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))])
def test_a_profile_that_cannot_be_used_is_said(tmp_path, caplog, bad):
    content = bad if isinstance(bad, bytes) else bad.tobytes()
    shown = read_image(saved(tmp_path / "a.png", Image.fromarray(flat(SKIN)), icc_profile=content))
    assert np.array_equal(shown, flat(SKIN))
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "The colour profile of" in caplog.text


def test_floating_point_and_deep_pictures(tmp_path):
    ramp = np.tile(np.linspace(0, 1, W, dtype=np.float32), (H, 1))
    shown = read_image(saved(tmp_path / "a.tif", Image.fromarray(ramp)))
    assert np.array_equal(shown[..., 0], np.rint(ramp * 255))
    for wrong in (ramp * 255, ramp - 0.1, np.where(ramp > 0.5, np.nan, ramp).astype(np.float32)):
        with pytest.raises(InputError, match="grey levels from .* but 0 to 1 are known: save it as an 8-bit PNG"):
            read_image(saved(tmp_path / "b.tif", Image.fromarray(wrong)))
    with pytest.raises(InputError, match="grey levels from 0 to 70000, but 0 to 65535 are known"):
        read_image(
            saved(tmp_path / "c.tif", Image.fromarray(np.linspace(0, 70000, W * H, dtype=np.int32).reshape(H, W)))
        )


def test_a_picture_that_is_too_large(tmp_path, monkeypatch, recwarn):
    path = saved(tmp_path / "a.png", Image.fromarray(flat(SKIN, 2000, 2000)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1_500_000)
    with pytest.raises(InputError, match="too large: 4 megapixels, at most 3 are read: make it smaller"):
        read_image(path)
    with pytest.raises(InputError, match="too large"):
        read(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 3_000_000)
    assert read_image(path).shape == (2000, 2000, 3)
    assert not recwarn.list


# ---------------------------------------------------------------- HEIC and AVIF


def box(kind, *parts):
    content = b"".join(parts)
    return (8 + len(content)).to_bytes(4, "big") + kind + content


@pytest.mark.parametrize("brands", [b"heic\0\0\0\0mif1heic", b"mif1\0\0\0\0heicmif1", b"hevc\0\0\0\0hevcmsf1"])
def test_heic_is_refused_where_no_package_reads_it(tmp_path, monkeypatch, brands):
    """FFmpeg would show one tile of the grid that a phone writes."""
    path = tmp_path / "a.heic"
    path.write_bytes(box(b"ftyp", brands) + box(b"meta", bytes(400)))
    monkeypatch.setattr(heif, "_PACKAGES", ("no_such_package",))
    for reader in (read_image, read, probe):
        with pytest.raises(InputError, match="HEIC picture, which needs a package: pip install pi-heif, or save"):
            reader(path)


def test_a_damaged_heic_is_said(tmp_path):
    if heif._reader() is None:
        pytest.skip("pip install pi-heif to run this")
    path = tmp_path / "a.heic"
    path.write_bytes(box(b"ftyp", b"heic\0\0\0\0mif1heic") + box(b"meta", bytes(400)))
    with pytest.raises(InputError, match="is a damaged HEIC picture"):
        read_image(path)


def test_heic_is_whole_upright_and_in_its_colours(tmp_path):
    package = pytest.importorskip("pillow_heif", reason="pip install pillow-heif, which also writes HEIC, to run this")
    path = tmp_path / "a.heic"
    made = package.from_pillow(Image.fromarray(BLUE_YELLOW))
    made.info["icc_profile"] = P3
    made.save(path, quality=100)
    expected = profile.to_srgb(12)(BLUE_YELLOW)
    assert np.abs(read_image(path).astype(int) - expected).mean() < 4


def test_avif_is_read_by_pillow_or_refused(tmp_path, monkeypatch):
    if not heif.has_avif():
        pytest.skip("this Pillow has no AVIF")
    clear = np.dstack([BLUE_YELLOW, np.full((H, W), 255, np.uint8)])
    clear[:, : W // 2, 3] = 0
    path = saved(tmp_path / "a.avif", Image.fromarray(clear), quality=95)
    shown = read_image(path)
    assert shown[:, : W // 2 - 4].max() < 8
    assert np.abs(shown[:, W // 2 + 4 :].astype(int) - BLUE_YELLOW[:, W // 2 + 4 :]).mean() < 6
    pictures = [Image.fromarray(numbered(i)) for i in range(3)]
    pictures[0].save(tmp_path / "b.avif", save_all=True, append_images=pictures[1:], duration=[40, 100, 60])
    assert [float(frame.duration) for frame in read(tmp_path / "b.avif")] == [0.04, 0.1, 0.06]
    monkeypatch.setattr("personalive_core.media.picture.has_avif", lambda: False)
    with pytest.raises(InputError, match=r"needs Pillow 11\.3 or newer: update it, or save it as PNG"):
        read(path)


# ---------------------------------------------------------------- films


@pytest.mark.parametrize("transfer", [1, 13])
@pytest.mark.parametrize(("primaries", "shown"), [(12, P3_SKIN), (9, BT2020_SKIN), (1, SKIN)])
def test_wide_gamuts_of_films(tmp_path, primaries, shown, transfer):
    """The transfer curve stays: what a viewer shows of an ordinary film does not change either."""
    settings = {"colorspace": 1, "color_primaries": primaries, "color_trc": transfer}
    path = encode(tmp_path / "a.mp4", [flat(SKIN)] * 2, options={"qp": "1"}, **settings)
    assert np.abs(read(path)[1].image[H // 2, W // 2].astype(int) - shown).max() <= 3


@pytest.mark.parametrize(("matrix", "name"), [("YCgCo", "YCgCo"), ("ICtCp", "ICtCp"), ("smpte2085", "Y'D'zD'x")])
def test_unknown_matrices_are_refused(tmp_path, matrix, name):
    path = encode(tmp_path / "a.mp4", [COLOUR_BARS], options={"x264-params": f"colormatrix={matrix}"})
    for reader in (read, probe):
        with pytest.raises(InputError, match=f"with the matrix {name}, .*: export it again as BT.709"):
            reader(path)


def test_rgb_film_needs_no_matrix(tmp_path):
    path = encode(tmp_path / "a.mp4", [COLOUR_BARS], "libx264rgb", "rgb24", options={"qp": "0"})
    assert np.array_equal(read(path)[0].image, COLOUR_BARS)


def ink_profile(lab):
    """An ICC profile of CMYK inks that shows every mixture as the one colour `lab` (CIELAB, D50), relatively."""
    level = [round(lab[0] * 655.35), *(round((value + 128) * 257) for value in lab[1:])]
    words = b"".join(value.to_bytes(2, "big") for value in level)
    ramp = b"\0\0\xff\xff"
    table = (
        b"mft2\0\0\0\0"
        + bytes([4, 3, 2, 0])
        + b"".join(value.to_bytes(4, "big") for value in (0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x10000))
    )
    table += b"\0\2\0\2" + ramp * 4 + words * 16 + ramp * 3
    tags = {b"A2B0": table, b"wtpt": b"XYZ \0\0\0\0" + b"".join(v.to_bytes(4, "big") for v in (63190, 65536, 54061))}
    start, head, data = 128 + 4 + 12 * len(tags), len(tags).to_bytes(4, "big"), b""
    for name, content in tags.items():
        head += name + (start + len(data)).to_bytes(4, "big") + len(content).to_bytes(4, "big")
        data += content + bytes(-len(content) % 4)
    front = BytesIO()
    front.write((start + len(data)).to_bytes(4, "big") + bytes(4) + b"\2\x10\0\0prtrCMYKLab " + bytes(12) + b"acsp")
    front.write(bytes(24) + b"\0\0\0\1" + b"".join(v.to_bytes(4, "big") for v in (63190, 65536, 54061)))
    return front.getvalue().ljust(128, b"\0") + head + data
