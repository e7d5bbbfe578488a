"""Training clips: pictures with their motion, one safetensors file each; sampling depends on (seed, step) alone."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError, WeightsError
from ..media.files import save_tensors
from ..motion.types import HeadPose, HybridMotion

CLIP_SUFFIX = ".clip.safetensors"
# what only drawn clips have, in Clip's order
KNOWN_OF_DRAWN = ("landmarks", "actors", "actor_box", "actor_landmarks", "actor_hidden", "actor_keypoints")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Clip:
    """Consecutive square pictures of one person, with the motion of each."""

    pictures: Tensor  # [F, S, S, 3] uint8
    motion: HybridMotion  # exact in drawn clips; in real ones, and after `as_seen`, as the networks read it
    canonical: Tensor  # [F, 21, 3] canonical keypoints, before pose
    landmarks: Tensor | None = None  # [F, 31, 2] in [-1, 1] of the picture; drawn people only
    actors: Tensor | None = None  # [F, S, S, 3] uint8: another person in the same motion; drawn people only
    actor_box: Tensor | None = None  # [F, 4] face boxes of the actors
    actor_landmarks: Tensor | None = None  # [F, 31, 2] likewise
    actor_hidden: Tensor | None = None  # [F, 3] bool: regions.FEATURES of the actors behind a hand; fine style only
    actor_keypoints: Tensor | None = None  # [F, 21, 3] likewise

    def __len__(self) -> int:
        return len(self.pictures)

    def tensors(self) -> dict[str, Tensor]:
        """All tensors by name, as `save_clip` writes them."""
        motion, pose = self.motion, self.motion.pose
        known = {name: getattr(self, name) for name in KNOWN_OF_DRAWN}
        return {
            **{name: tensor for name, tensor in known.items() if tensor is not None},
            "pictures": self.pictures,
            "embedding": motion.embedding,
            "keypoints": motion.keypoints,
            "angles": pose.angles,
            "translation": pose.translation,
            "scale": pose.scale,
            "box": motion.box,
            "valid": motion.valid,
            "canonical": self.canonical,
        }


def landmarks_of(clip: Clip) -> Tensor:
    """Landmarks [F, 31, 2] of a drawn clip, in [-1, 1] of the picture. Raises InputError for any other clip."""
    if clip.landmarks is None:
        raise InputError("the clips have no landmarks, only drawn people do: prepare some with `train prepare --drawn`")
    return clip.landmarks


def save_clip(path: Path, clip: Clip) -> None:
    """Writes one clip atomically; `open_dataset` finds only names that end with CLIP_SUFFIX. Raises OutputError."""
    save_tensors(path, clip.tensors())


def read_clip(path: Path) -> Clip:
    """Reads one clip. Raises WeightsError for a damaged file, InputError for one that holds something else."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        read = load_file(path)
        pose = HeadPose(read["angles"], read["translation"], read["scale"])
        motion = HybridMotion(read["embedding"], read["keypoints"], pose, read["box"], read["valid"])
        known = (read.get(name) for name in KNOWN_OF_DRAWN)
        return Clip(read["pictures"], motion, read["canonical"], *known)
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path} cannot be read ({error}): prepare it again") from error
    except KeyError as error:
        raise InputError(f"{path} is no prepared clip, it lacks {error.args[0]}: run `train prepare` again") from error


@dataclass(frozen=True)
class Dataset:
    """The readable clips of the prepared folders; each is loaded at its first use and then cached."""

    paths: tuple[Path, ...]
    kept: dict[int, Clip] = field(default_factory=dict, repr=False)  # a cache; it never changes a result

    def __len__(self) -> int:
        return len(self.paths)

    def clip(self, index: int) -> Clip:
        """Clip `index`, from the cache or from its file. Raises as `read_clip` does."""
        if index not in self.kept:
            self.kept[index] = read_clip(self.paths[index])
        return self.kept[index]


def open_dataset(folders: Sequence[Path], frames: int, size: int | None = None) -> Dataset:
    """All clips of `folders` with at least `frames` frames and pictures of `size` pixels a side (None: any size).

    Leaves out the others with a warning. Raises InputError when none is left.
    """
    from safetensors import SafetensorError, safe_open

    usable = []
    for path in (path for folder in folders for path in sorted(folder.glob(f"*{CLIP_SUFFIX}"))):
        try:
            with safe_open(path, framework="pt") as file:
                count, side = file.get_slice("pictures").get_shape()[:2]
        except (SafetensorError, OSError) as error:
            _log.warning("%s cannot be read (%s) and is left out", path, error)
            continue
        if count < frames:
            _log.warning("%s has %d frames, this stage needs %d: it is left out", path, count, frames)
            continue
        if size and side != size:
            _log.warning("%s has pictures of %d pixels a side, not %d: it is left out", path, side, size)
            continue
        usable.append(path)
    if not usable:
        where, large = " and ".join(map(str, folders)), f" at {size} pixels" if size else ""
        raise InputError(
            f"{where} holds no prepared clip of {frames} frames or more{large}: run `personalive train prepare` first"
        )
    return Dataset(tuple(usable))


def generator(*numbers: int) -> np.random.Generator:
    """A random generator for one place in a run; depends on `numbers` alone, such as (seed, step, item)."""
    return np.random.default_rng(numbers)


def normal(shape: Sequence[int], *numbers: int) -> Tensor:
    """Standard normal noise of `shape`, float32 on the CPU; depends on `numbers` alone."""
    seed = int(generator(*numbers).integers(2**62))
    return torch.randn(tuple(shape), generator=torch.Generator("cpu").manual_seed(seed))


@dataclass(frozen=True)
class Pick:
    """The clip and the frames that one batch item takes."""

    clip: int
    reference: int
    driving: tuple[int, ...]


def pick(data: Dataset, frames: int, draws: np.random.Generator, consecutive: bool = False, margin: int = 0) -> Pick:
    """Draws a clip, a reference frame with a face and `frames` driving frames of it, in a row if `consecutive`.

    Single driving frames are at least `margin` frames from the reference, where the clip is that long.
    """
    clip = int(draws.integers(len(data)))
    length, valid = len(data.clip(clip)), data.clip(clip).motion.valid
    reference = int(draws.integers(length))
    if not bool(valid[reference]) and bool(valid.any()):  # nobody is in that frame
        reference = int(draws.choice(valid.nonzero()[:, 0].numpy()))
    if margin and not consecutive:
        far = [i for i in range(length) if abs(i - reference) >= margin] or list(range(length))
        return Pick(clip, reference, tuple(int(i) for i in draws.choice(far, size=frames)))
    if consecutive:
        first = int(draws.integers(length - frames + 1))
        return Pick(clip, reference, tuple(range(first, first + frames)))
    return Pick(clip, reference, tuple(int(i) for i in draws.integers(length, size=frames)))
