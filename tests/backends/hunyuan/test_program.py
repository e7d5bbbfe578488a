"""HunyuanPortrait's program against the published one: every array of hunyuan.npz that is not of a network alone."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from personalive_core.backends.hunyuan import stream
from personalive_core.backends.hunyuan.crops import (
    arcface_picture,
    face_picture,
    head_picture,
    portrait_square,
    square_picture,
)
from personalive_core.backends.hunyuan.intensity import intensities
from personalive_core.backends.hunyuan.motion import largest_face, read_motion_of, unit_planes
from personalive_core.backends.hunyuan.pasting import paster
from personalive_core.backends.hunyuan.reference import dino_picture, prepare_hunyuan
from personalive_core.backends.hunyuan.sampling import (
    branches_of,
    combined,
    denoise,
    noised,
    svd_scheduler,
    window_frames,
    window_starts,
)
from personalive_core.backends.hunyuan.types import VIDEO_LATENT_SCALE, Guidance, SamplingOptions, WindowRule
from personalive_core.motion.types import concat_motion
from tests.backends.hunyuan.published import PARITY, Detector, load_cases, small_model

SIDE = 64
NETWORK, PROGRAM = 2e-5, 1e-3  # of the case's standard deviation


@pytest.fixture(scope="module", autouse=True)
def _one_thread(one_thread):
    pass


@pytest.fixture(scope="module", autouse=True)
def _without_gradients():
    with torch.no_grad():
        yield


@pytest.fixture(scope="module")
def case(synth):
    return load_cases(synth)


@pytest.fixture(scope="module")
def expected():
    return np.load(PARITY / "hunyuan.npz")


@pytest.fixture(scope="module")
def model(synth, case):
    return small_model(synth, case, reads=False)


def check(expected, name, got, tolerance=NETWORK):
    want = torch.from_numpy(expected[name])
    got = torch.as_tensor(got)
    assert got.shape == want.shape
    off = (got - want).abs().max() / want.std()
    assert off < tolerance, f"{name} is off by {off:.1e} standard deviations"


@pytest.mark.parametrize("steps", [4, 25])
def test_schedule(expected, steps):
    scheduler = svd_scheduler(steps)
    check(expected, f"schedule/{steps}/sigmas", scheduler.sigmas)
    check(expected, f"schedule/{steps}/timesteps", scheduler.timesteps)


def test_squares(expected):
    made = [portrait_square(tuple(box), 640, 480) for box in expected["boxes/in"].tolist()]
    assert np.array_equal(made, expected["boxes/square"])


def test_intensities(case, expected):
    assert np.array_equal([intensities(case.intensity_landmarks(k)) for k in range(4)], expected["intensity/ids"])


@pytest.mark.parametrize("frames", [20, 31, 40, 70])
def test_windows(expected, frames):
    prefix = "fusion/" if frames == 40 else f"fusion/{frames}/"
    rule = WindowRule()
    starts = np.stack([window_starts(step, frames, rule) for step in range(25)])
    counts = [window_frames(step, frames, rule).flatten().bincount(minlength=frames) for step in range(25)]
    assert np.array_equal(starts, expected[prefix + "window_starts"])
    assert np.array_equal(np.stack(counts), expected[prefix + "window_counts"])


def test_windows_are_joined_and_guided(case, expected):
    """The loop alone, 25 steps: after the first, the twelfth and the last."""
    options = SamplingOptions(appearance=Guidance(1, 3), motion=Guidance(2, 1.5))
    start = torch.from_numpy(expected["fusion/start"])[0]
    seen = []

    def velocity(asked):
        assert asked.branches == (0, 1, 2)
        if not seen or float(asked.time) != seen[-1]:
            seen.append(float(asked.time))
        return case.stub_velocity(asked.x)

    made = denoise(start, torch.zeros_like(start[0]), velocity, options)
    assert len(seen) == 25
    check(expected, "fusion/latents", made[None])


@pytest.mark.parametrize("steps", [1, 12])
def test_the_loop_on_its_way(case, expected, steps):
    class EnoughError(Exception):
        pass

    options = SamplingOptions(appearance=Guidance(1, 3), motion=Guidance(2, 1.5))
    kept = []

    def velocity(asked):
        kept.append(asked)
        if len(kept) > 2 * steps:  # two windows a step
            raise EnoughError
        return case.stub_velocity(asked.x)

    start = torch.from_numpy(expected["fusion/start"])[0]
    with pytest.raises(EnoughError):
        denoise(start, torch.zeros_like(start[0]), velocity, options)
    asked, sigma = kept[-1], svd_scheduler(25).sigmas[steps]
    latents = asked.x[0, :, :4] * (sigma**2 + 1).sqrt()
    check({"cut": expected[f"fusion/after_{steps}"][0, asked.frames]}, "cut", latents)


def test_equal_scales_leave_out_the_middle_branch(synth):
    assert branches_of(2.0, 2.0) == (0, 2)
    assert branches_of(2.0, 2.5) == (0, 1, 2)
    answers = synth.synth_input("branches", (3, 2, 4, 8, 8))
    assert (combined(answers, 2.0, 2.0) - combined(answers[[0, 2]], 2.0, 2.0)).abs().max() < 1e-5


@pytest.fixture(scope="module")
def step_reference(synth, case, model):
    """The reference of the step cases: the picture is its own square."""
    unit = unit_planes(list(case.picture("step", 1, 64, 64)))
    image = synth.synth_input("hunyuan.image", (1, 3, 224, 224))
    identity = 0.044 * synth.synth_input("hunyuan.identity", (1, 1, 512))
    tokens = model.image_mixer(model.dino(image, identity).mT).mT
    return stream.HunyuanReference(None, (0, 0, 64, 64), model.encode(2 * unit - 1), tokens, model.pose(64, 64))


def test_steps(synth, expected, model, step_reference):
    """Two steps of a clip of two frames in one window: what goes into the UNet, what comes out, and what is made."""
    check(expected, "step/image_latents", step_reference.latents[None, :, ::2, ::2])
    options = SamplingOptions(appearance=Guidance(2, 3), motion=Guidance(2.5, 1.5), windows=WindowRule(2, 0, shift=0))
    conditioned = stream.conditioned(model, step_reference, synth.synth_input("hunyuan.step.motion", (1, 2, 16, 64))[0])
    calls = []

    class EnoughError(Exception):
        pass

    def velocity(asked):
        calls.append((asked, conditioned(asked) if len(calls) < 2 else None))
        if len(calls) > 2:
            raise EnoughError
        return calls[-1][1]

    noise = synth.synth_input("hunyuan.step.noise", (1, 2, 4, 8, 8))[0]
    with pytest.raises(EnoughError):
        denoise(noised(step_reference.latents, noise), step_reference.latents, velocity, options)
    sigmas = svd_scheduler(25).sigmas
    for index, (asked, out) in enumerate(calls[:2]):
        order = asked.frames.argsort()
        assert abs(float(asked.time) - expected[f"step/{index}/t"][0]) < 1e-5
        check(expected, f"step/{index}/input", asked.x[:, order][..., ::2, ::2])
        for branch, name in enumerate(("none", "appearance", "both")):
            check(expected, f"step/{index}/{name}", out[branch, order][None])
        following = calls[index + 1][0]
        latents = following.x[0, following.frames.argsort(), :4] * (sigmas[index + 1] ** 2 + 1).sqrt()
        check(expected, f"step/{index}/latents", latents[None])


FACES = {"source": (1, (50, 60, 48, 56)), "crop": (1, (18, 20, 24, 26)), "driving": (27, (45, 30, 40, 44))}


def answers(case, name):
    return case.faces(name, *FACES[name])


def film_of(case):
    return case.picture("driving", 27, 120, 150)


@pytest.fixture(scope="module")
def prepared(case, model):
    """The reference of the whole program on the small case."""
    detector = Detector(*answers(case, "source"), *answers(case, "crop"))
    return prepare_hunyuan(model, case.picture("source", 1, 200, 160)[0], detector, SIDE)


def test_the_reference_is_prepared_as_published(case, expected, model, prepared):
    assert np.array_equal(prepared.square, expected["animate/crop_bbox"])
    cut = square_picture(prepared.picture, prepared.square, SIDE)
    unit = unit_planes([cut])
    check(expected, "animate/reference", (2 * unit - 1)[..., ::4, ::4], PROGRAM)
    check(expected, "animate/dino_image", dino_picture(unit)[..., ::8, ::8], PROGRAM)
    found = largest_face(cut, Detector(*answers(case, "crop")))
    aligned = arcface_picture(cut, found.points).transpose(2, 0, 1)[None]
    check(expected, "animate/arcface_image", aligned[..., ::8, ::8], PROGRAM)
    identity = torch.from_numpy(model.identify(aligned))
    tokens = model.dino(dino_picture(unit), identity[None] / identity.norm())
    check(expected, "animate/dino_tokens", tokens[:, ::8, ::4], PROGRAM)
    assert torch.allclose(prepared.tokens, model.image_mixer(tokens.mT).mT, atol=1e-5)


def test_the_driving_is_cut_as_published(case, expected):
    film, detector = film_of(case), Detector(*answers(case, "driving"))
    faces = [largest_face(frame, detector) for frame in film]
    bounds, square = faces[0].bounds, portrait_square(faces[0].bounds, 150, 120)
    own = unit_planes([face_picture(frame, face.points, bounds) for frame, face in zip(film, faces, strict=True)])
    heads = unit_planes([head_picture(frame, square, SIDE) for frame in film])
    check(expected, "animate/face_images", own[::5, :, ::16, ::16], PROGRAM)
    check(expected, "animate/head_images", heads[::5, :, ::16, ::16], PROGRAM)


def test_the_driving_is_measured_in_groups(case, expected, model):
    """Read by a model that reads nothing: what is measured is of the points alone."""
    silent = replace(
        model, expression=lambda x: torch.zeros(len(x), 512), head_pose=lambda x: (torch.zeros(len(x), 3),) * 2
    )
    pieces = list(read_motion_of(silent, iter(film_of(case)), Detector(*answers(case, "driving")), SIDE))
    assert [len(piece) for piece in pieces] == [25, 2]
    for piece, levels in zip(pieces, expected["animate/intensities"], strict=True):
        assert np.array_equal(piece.intensity.unique(dim=0)[0], levels)


@pytest.mark.slow
def test_the_program(synth, case, expected, prepared, monkeypatch):
    """From the film to pasted frames: motion, latents before each step, decoded padding and all, video, frames."""
    model = small_model(synth, case)
    noise = synth.synth_input("hunyuan.animate.noise", (1, 57, 4, 8, 8))[0]
    sigmas, seen, clean = svd_scheduler(4).sigmas, torch.zeros(4, 57, 4, 8, 8), []
    conditioned, denoised = stream.conditioned, stream.denoise

    def recorded(*given):
        velocity = conditioned(*given)

        def inner(asked):
            step = int((sigmas[:-1].log() / 4 - asked.time).abs().argmin())
            seen[step, asked.frames] = asked.x[0, :, :4] * (sigmas[step] ** 2 + 1).sqrt()
            return velocity(asked)

        return inner

    def kept(*given):
        clean.append(denoised(*given))
        return clean[0]

    monkeypatch.setattr(stream, "conditioned", recorded)
    monkeypatch.setattr(stream, "denoise", kept)
    motion = concat_motion(read_motion_of(model, iter(film_of(case)), Detector(*answers(case, "driving")), SIDE))
    check(expected, "animate/motion_tokens", stream.padded(model.motion_tokens(motion), 15)[None, ::2, ::4], PROGRAM)
    options = SamplingOptions(steps=4)
    video = torch.cat(list(stream.animate_reference(model, prepared, [motion], lambda place, _: noise[place], options)))
    for step in range(4):
        check(expected, f"animate/latents_before_{step}", seen[step][None, ::4, :, ::2, ::2], PROGRAM)
    chunks = (chunk / VIDEO_LATENT_SCALE for chunk in clean[0].split(8))
    decoded = torch.cat([model.vae.decode(chunk, num_frames=len(chunk)).sample for chunk in chunks])  # in [-1, 1]
    check(expected, "animate/decoded", decoded.transpose(0, 1)[None, :, ::6, ::8, ::8], PROGRAM)
    check(expected, "animate/video", video.transpose(0, 1)[None, :, ::4, ::4, ::4], PROGRAM)
    pasted = paster(prepared, "published", SIDE)
    frames = np.stack([pasted(picture) for picture in video.permute(0, 2, 3, 1).numpy()])
    off = np.abs(frames[::6, ::5, ::5].astype(int) - expected["animate/frames"])
    assert off.max() <= 1
    assert (off > 0).mean() < 0.01
    check(expected, "animate/frames_mean", frames.mean((1, 2)).astype(np.float32), PROGRAM)
