"""The command `personalive animate`: animates a reference portrait with a driving video."""

from __future__ import annotations

import argparse
from dataclasses import asdict, replace
from pathlib import Path

from ..animation.job import AnimationJob, Summary, animate_to_file
from ..animation.reading import AnyJob, animate_job
from ..backends.hunyuan.types import SamplingOptions
from ..backends.personalive.motion import Strengths
from ..backends.registry import HUNYUAN, LIVEPORTRAIT
from ..faces.paste import PasteOptions
from ..media.encode import CODECS
from ..modules.fusion import Fusion
from ..text import plural
from .hunyuan import add_hunyuan, hunyuan_job
from .liveportrait import add_liveportrait, implicit_job
from .options import add_clip, add_engine, add_loras, add_system, clip_of, engine_of, loras_of
from .readers import box, face_choice, number, numbers, whole
from .result import Result
from .systems import STREAM_STEPS, refuse_others, stream_steps


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `personalive animate`."""
    add_system(parser)
    parser.add_argument(
        "--reference",
        type=Path,
        required=True,
        help="portrait: a picture, or a video (its first frame; with liveportrait every frame)",
    )
    parser.add_argument("--driving", type=Path, required=True, help="video, folder of pictures, or motion file")
    parser.add_argument(
        "--output",
        type=Path,
        required=True,
        help=".mp4, .mov, .mkv or .webm; of a picture driven by a picture, with liveportrait: .png or .jpg",
    )
    add_options(parser)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds all arguments but the system and the files of one animation."""
    add_engine(parser)
    add_loras(parser)
    parser.add_argument(
        "--steps",
        type=whole(1),
        help=f"denoising steps (default: {STREAM_STEPS}, and only multiples of it; hunyuan: {SamplingOptions().steps})",
    )
    parser.add_argument("--seed", type=whole(0), default=0, help="the same seed gives the same video (default: 0)")
    by_hand = parser.add_mutually_exclusive_group()
    by_hand.add_argument(
        "--reference-box", type=box, metavar="L,T,R,B", help="box of the face in the reference, in pixels"
    )
    by_hand.add_argument(
        "--reference-crop", type=box, metavar="L,T,R,B", help="square of the reference to animate, in pixels"
    )
    by_hand.add_argument(
        "--reference-face",
        type=face_choice,
        default="largest",
        metavar="FACE",
        help="which face of the reference: largest, left, or a number from the left, 0 first (default: largest)",
    )
    parser.add_argument(
        "--crop-scale", type=number(0.2, 3), default=1.0, metavar="F", help="above 1 shows more around the face"
    )
    published = Strengths()
    strengths = parser.add_argument_group("strength of the driving motion", "with --system personalive alone")
    for name in ("rotation", "translation", "scale", "expression"):
        default = getattr(published, name)
        strengths.add_argument(f"--{name}", type=number(0, 3), default=default, help="0 to 3 (default: %(default)s)")
    _add_experimental(parser.add_argument_group("experimental", "for models that were trained with history"))
    add_clip(parser)
    add_liveportrait(parser)
    add_hunyuan(parser)
    _add_result(parser.add_argument_group("result"))


def _add_experimental(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--history", type=whole(0), default=0, metavar="N", help="keep the last N frames in sight (default: 0; try 3)"
    )
    group.add_argument(
        "--fusion",
        type=numbers(3),
        metavar="S,D,H",
        help="scales of source, driving and history, such as 2,2.5,1; up to four passes (default: 1,1,1 in one pass)",
    )


def _add_result(result: argparse._ArgumentGroup) -> None:
    result.add_argument("--sheet", type=Path, help="write a contact sheet: .png or .jpg")
    result.add_argument(
        "--paste-back", action="store_true", help="paste the result back into the full-size reference picture"
    )
    result.add_argument(
        "--feather",
        type=number(0, 0.5),
        default=0.1,
        help="width of the soft border of --paste-back, as a share of the crop (default: 0.1)",
    )
    result.add_argument("--no-audio", action="store_true", help="write no sound")
    result.add_argument(
        "--lossless", action="store_true", help="lossless RGB, for further editing; few players show it"
    )
    result.add_argument(
        "--codec", choices=[name for name in CODECS if name != "lossless"], help="default: h264, in .webm vp9"
    )
    result.add_argument(
        "--crf", type=whole(0, 63), metavar="N", help="quality of h264 and vp9, less is better (default: 17 and 20)"
    )
    result.add_argument("--no-label", action="store_true", help="no metadata that says the result is generated")
    result.add_argument(
        "--mark", action="store_true", help="add a small visible mark that says the result is generated"
    )


def run(a: argparse.Namespace) -> Result:
    """Runs `personalive animate`."""
    job = job_of(a)
    if isinstance(job, AnimationJob):
        return result_of(job)
    return _result(animate_job(job), with_keyframes=False)


def job_of(a: argparse.Namespace) -> AnyJob:
    """The job that the arguments ask for. Raises InputError for an option of another system, or an unusable device."""
    refuse_others(a)
    if a.system == HUNYUAN:
        return hunyuan_job(a)
    if a.system == LIVEPORTRAIT:
        return implicit_job(a)
    return AnimationJob(
        reference=a.reference,
        clip=replace(clip_of(a), head_alone=a.expression == 0),
        output=a.output,
        engine=engine_of(a, loras_of(a)),
        reference_box=a.reference_box,
        reference_crop=a.reference_crop,
        steps=stream_steps(a),
        seed=a.seed,
        strengths=Strengths(a.rotation, a.translation, a.scale, a.expression),
        paste=PasteOptions(feather=a.feather) if a.paste_back else None,
        sheet=a.sheet,
        audio=not a.no_audio,
        lossless=a.lossless,
        label=not a.no_label,
        mark=a.mark,
        codec=a.codec,
        crf=a.crf,
        quiet=a.quiet,
        reference_face=a.reference_face,
        crop_scale=a.crop_scale,
        history=a.history,
        fusion=Fusion(*a.fusion) if a.fusion else None,
    )


def result_of(job: AnimationJob) -> Result:
    """Runs the job; returns its summary as a sentence and as values. Raises PersonaLiveError."""
    return _result(animate_to_file(job))


def _result(summary: Summary, with_keyframes: bool = True) -> Result:
    return Result(_sentence(summary, with_keyframes), asdict(summary))


def _sentence(made: Summary, with_keyframes: bool) -> str:
    keyframes = f"{plural(len(made.keyframes), 'keyframe')}, " if with_keyframes else ""
    found = "" if made.detector == "none" else f", faces found by {made.detector}"
    sheet = f"\n{made.sheet}: contact sheet" if made.sheet else ""
    return (
        f"{made.output}: {plural(made.frames, 'frame')} of {made.size[0]}x{made.size[1]} in "
        f"{made.seconds.animation:.1f} s ({made.fps:.2f} a second, the first after {made.seconds.first_frame:.1f} s), "
        f"{keyframes}{made.filled} without a face{found}{sheet}"
    )
