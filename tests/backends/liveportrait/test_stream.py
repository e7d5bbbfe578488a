"""From driving frames to pictures, in pieces: as many out as in, the same whatever the pieces, faces missing or not."""

import threading
from dataclasses import replace

import numpy as np
import pytest
import torch

from personalive_core.backends.liveportrait.animation import AnimationOptions, animate_picture, animate_video
from personalive_core.backends.liveportrait.crops import (
    DRIVING_CROP,
    crop_matrix,
    driving_square,
    face_square,
    resized_bilinear,
    warped,
)
from personalive_core.backends.liveportrait.driving import (
    DrivingFaces,
    boxed_driving,
    driving_picture,
    find_driving,
    read_driving,
    with_openness,
)
from personalive_core.backends.liveportrait.finding import Finder, FoundFace
from personalive_core.backends.liveportrait.loader import load_live
from personalive_core.backends.liveportrait.pasting import eight_bits, prepare_live_paste
from personalive_core.backends.liveportrait.portrait import prepare_source, read_film
from personalive_core.backends.liveportrait.stream import (
    RenderOptions,
    animate_film,
    animate_portrait,
    film_keypoints,
)
from personalive_core.backends.liveportrait.transfer import TransferOptions
from personalive_core.errors import FaceError, InputError
from personalive_core.faces.crop import Box
from personalive_core.motion.gaps import fill_missing
from personalive_core.motion.types import concat_motion
from tests.backends.liveportrait.test_finding import Network, face_of, full
from tests.backends.liveportrait.tiny import CPU, tiny_states, write_hub

STILL = AnimationOptions(stitching=False)


@pytest.fixture(scope="module", autouse=True)
def _one_thread(one_thread):
    pass


@pytest.fixture(scope="module")
def model(tmp_path_factory, synth):
    return load_live(write_hub(tmp_path_factory.mktemp("hub"), tiny_states(synth)), CPU, torch.float32)


@pytest.fixture(scope="module")
def pictures(live_cases):
    return live_cases.pictures("lp.driving", 4)


@pytest.fixture(scope="module")
def portrait(model, pictures):
    points = full(300, 200, 40)
    return prepare_source(model, pictures[0], FoundFace(points, Box(250, 150, 350, 280), points))


@pytest.fixture(scope="module")
def driving(model, pictures):
    frames = [pictures[index] for index in (0, 1, 2, 3, 1, 0, 2)]
    return concat_motion(read_driving(model, frames))


def shown(frames):
    return np.stack([frame.picture for frame in frames])


def test_pieces_do_not_matter(model, portrait, driving):
    whole = list(animate_portrait(model, portrait, [driving], RenderOptions()))
    pieces = list(animate_portrait(model, portrait, [driving[:1], driving[1:6], driving[6:]], RenderOptions()))
    assert len(whole) == len(driving)
    assert np.array_equal(shown(whole), shown(pieces))
    expected = animate_picture(portrait.source.motion, driving, driving[:1], model)
    own = portrait.source
    rendered = model.render(own.volume, own.motion.keypoints, expected[5:6])[0].permute(1, 2, 0).numpy()
    difference = shown(whole)[5].astype(int) - eight_bits(rendered)
    assert np.abs(difference).max() <= 1
    assert np.abs(difference).mean() < 0.01  # truncated, not rounded
    assert len({picture.tobytes() for picture in shown(whole)[:4]}) == 4


def test_it_works_while_frames_come(model, portrait, driving):
    asked = []

    def coming():
        for index in range(len(driving)):
            asked.append(index)
            yield driving[index : index + 1]

    frames = animate_portrait(model, portrait, coming(), RenderOptions())
    next(frames)
    assert asked == [0, 1, 2, 3]


def test_pasting_back_changes_the_crop_alone(model, portrait, driving):
    crop = shown(animate_portrait(model, portrait, [driving[:2]], RenderOptions()))
    pasted = shown(animate_portrait(model, portrait, [driving[:2]], RenderOptions(paste=True)))
    paste = prepare_live_paste(portrait.whole, portrait.crop.matrix)
    assert np.array_equal(pasted[1], paste(crop[1]))
    outside = paste.mask[..., 0] == 0
    assert outside.any()
    assert np.array_equal(pasted[1][outside], portrait.whole[outside])


def test_nothing_of_the_motion_is_the_source_itself(model, portrait, driving):
    still = RenderOptions(replace(STILL, multiplier=0.0))
    own = portrait.source
    expected = model.render(own.volume, own.motion.keypoints, own.motion.keypoints)[0].permute(1, 2, 0).numpy()
    for picture in shown(animate_portrait(model, portrait, [driving[:3]], still)):
        assert np.abs(picture.astype(int) - eight_bits(expected)).max() <= 1


def test_driven_by_itself_the_source_stays(model, portrait):
    own, itself = portrait.source.motion, RenderOptions(STILL, paste=True)
    still = shown(animate_portrait(model, portrait, [own], itself))[0]
    outside = prepare_live_paste(portrait.whole, portrait.crop.matrix).mask[..., 0] == 0
    assert np.abs(still.astype(int) - portrait.whole)[outside].max() <= 1
    rest = replace(itself, animation=replace(STILL, multiplier=0.0))
    assert np.abs(still.astype(int) - shown(animate_portrait(model, portrait, [own], rest))[0]).max() <= 1


def test_frames_without_a_face_are_filled(model, portrait, driving):
    missing = replace(driving, valid=torch.tensor([True, True, False, False, True, True, True]))
    frames = list(animate_portrait(model, portrait, fill_missing([missing], "hold"), RenderOptions()))
    assert [frame.valid for frame in frames] == missing.valid.tolist()
    assert np.array_equal(frames[2].picture, frames[1].picture)
    assert not np.array_equal(frames[5].picture, frames[1].picture)
    neutral = list(fill_missing([missing], "neutral", portrait.source.motion))
    assert torch.equal(concat_motion(neutral)[2:3].expression, portrait.source.motion.expression)


def test_animals_and_driving_pictures_take_their_own_way(model, portrait, driving):
    ways = [
        RenderOptions(STILL),
        RenderOptions(STILL, animal=True),
        RenderOptions(STILL, by_picture=True),
        RenderOptions(replace(STILL, transfer=TransferOptions("absolute"))),
    ]
    results = {shown(animate_portrait(model, portrait, [driving[1:3]], way)).tobytes() for way in ways}
    assert len(results) == len(ways)


def test_openness_is_asked_for_only_where_it_is_needed(model, portrait, driving):
    with pytest.raises(InputError, match=r"how open the driving's eyes are .* put landmark.onnx into"):
        next(animate_portrait(model, portrait, [driving], RenderOptions(AnimationOptions(eyes=True))))
    bare = replace(portrait, source=replace(portrait.source, motion=driving[:1]))
    for how in (AnimationOptions(lips=True), AnimationOptions(close_lips=True)):
        with pytest.raises(InputError, match="how open the source's lips are"):
            next(animate_portrait(model, bare, [driving], RenderOptions(how)))
    open_eyes = replace(driving, eyes=torch.linspace(0.1, 0.7, 14).view(7, 2))
    unknown = open_eyes.eyes.clone()
    unknown[[2, 5]] = torch.nan
    held = concat_motion(with_openness([replace(driving, eyes=unknown)], eyes=True, lips=False)).eyes
    assert torch.equal(held[[2, 5]], open_eyes.eyes[[1, 4]])
    assert torch.equal(held[[0, 1, 3, 4, 6]], open_eyes.eyes[[0, 1, 3, 4, 6]])


@pytest.mark.parametrize("what", ["eyes", "lips", "close_lips", "even_eyes"])
def test_an_animals_openness_is_not_asked_for(what):
    """It is told so; landmark.onnx, which other sources lack then, would not help."""
    with pytest.raises(InputError, match="how open an animal's eyes and lips are is not known: leave them as they are"):
        RenderOptions(replace(STILL, **{what: True}), animal=True)


# --- the driving's faces


def test_one_square_crops_a_whole_driving(model, pictures):
    places = [(200 + 10 * index, 120, 40) for index in range(6)]
    network, seen = Network(), iter(range(6))

    def detector(_):
        index = next(seen)
        network.place = places[index]
        return () if index == 3 else (face_of(*network.place),)

    frames = [pictures[index % 4] for index in range(6)]
    faces = find_driving(frames, Finder(detector, network))
    boxes = [face_square(full(*place), DRIVING_CROP).box for index, place in enumerate(places) if index != 3]
    square = driving_square(boxes)
    assert faces.square.centre == pytest.approx(square.centre)
    assert faces.square.size == pytest.approx(square.size)
    motion = concat_motion(read_driving(model, frames, faces))
    assert motion.valid.tolist() == [True, True, True, False, True, True]
    assert torch.isfinite(motion.eyes[motion.valid]).all()
    assert motion.eyes[3].isnan().all()
    with pytest.raises(FaceError, match="no face in any driving frame"):
        find_driving(frames, Finder(lambda _: ()))


def test_a_square_by_hand_crops_every_frame(model, pictures):
    faces = boxed_driving(Box(100, 50, 300, 200))
    expected = warped(pictures[0], crop_matrix(faces.square, 512, False), 512, 512)
    assert np.array_equal(driving_picture(pictures[0], faces.square), resized_bilinear(expected, 256, 256))
    motion = concat_motion(read_driving(model, pictures, faces))
    assert motion.box.tolist() == [[100, 25, 300, 225]] * 4
    assert motion.valid.all()


def test_without_faces_the_largest_square_is_read(pictures):
    height, width = pictures[0].shape[:2]
    side = min(height, width)
    left, top = (width - side) // 2, (height - side) // 2
    square = pictures[0][top : top + side, left : left + side]
    difference = driving_picture(pictures[0], None).astype(int) - driving_picture(square, None)
    assert np.abs(difference).mean() < 8
    assert DrivingFaces().square is None


# --- source videos


def test_a_thread_takes_and_crops_the_next_frames(model, pictures):
    """While the networks read four frames, at most four more are cropped; an error comes where it was made."""
    takers, read = [], []

    def coming():
        for index in range(10):
            takers.append((threading.current_thread().name, len(read)))
            yield pictures[index % 4]
        raise InputError("the film ends here: it is damaged")

    with pytest.raises(InputError, match="the film ends here"):
        read.extend(len(motion) for motion in read_driving(model, coming()))
    assert read == [4, 4]
    assert {name.rpartition("_")[0] for name, _ in takers} == {"personalive-ahead"}
    assert all(index < 4 * (done + 3) for index, (_, done) in enumerate(takers))
    assert not [one for one in threading.enumerate() if one.name.startswith("personalive-ahead")]


def test_a_thread_crops_the_source_video_again(model, pictures, driving):
    takers = []

    def coming():
        for index in range(8):
            takers.append(threading.current_thread().name)
            yield pictures[index % 4]

    film = read_film(model, list(coming()), Finder())
    takers.clear()
    keypoints = film_keypoints(model, film, driving, RenderOptions(STILL))
    frames = animate_film(model, film, coming(), keypoints, RenderOptions(STILL))
    next(frames)
    frames.close()
    assert takers
    assert {name.rpartition("_")[0] for name in takers} == {"personalive-ahead"}
    assert not [one for one in threading.enumerate() if one.name.startswith("personalive-ahead")]


def test_a_source_video_is_animated_frame_for_frame(model, pictures, driving):
    network, seen = Network(), iter(range(99))

    def detector(_):
        index = next(seen)
        network.place = (300 + 2 * index, 200, 40)
        return () if index == 2 else (face_of(*network.place),)

    frames = [pictures[index % 4] for index in range(6)]
    film = read_film(model, frames, Finder(detector, network))
    options = RenderOptions(STILL, paste=True)
    keypoints = film_keypoints(model, film, driving, options)
    assert torch.equal(keypoints, animate_video(film.motion, driving, model, STILL))
    results = list(animate_film(model, film, iter(frames), keypoints, options))
    assert len(results) == 6
    assert [one.valid for one in results] == [True, True, False, True, True, True]
    assert np.array_equal(results[2].picture, frames[2])
    plain = list(animate_film(model, film, iter(frames), keypoints, RenderOptions(STILL)))
    for index in (0, 5):
        pasted = prepare_live_paste(frames[index], film.matrices[index])(plain[index].picture)
        assert np.array_equal(results[index].picture, pasted)
    by_picture = film_keypoints(model, film, driving[:1], RenderOptions(STILL, by_picture=True))
    assert len(by_picture) == 6
    short = film_keypoints(model, film, driving[:5], options)
    assert len(list(animate_film(model, film, iter(frames), short, options))) == 5
