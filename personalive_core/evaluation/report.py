"""Formats an evaluation as a Markdown page: what was measured, how, and which targets are met."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict

from ..device import MIB
from ..drawn.landmarker import SIZE
from ..drawn.sample import RATE
from .ablations import CLEAR, FIRST, OURS, AblationResult
from .adaptation import Adaptation
from .cases import JOURNEY_STRIDE
from .evaluate import ABLATION_PEOPLE, Evaluation, Options, RunOrigin
from .goals import Target
from .pictures import COLUMNS
from .reenactment import DRIVING, Reenactment
from .scores import Scores
from .stability import StreamFigures, spans_of

HEAD = ("PSNR (dB)", "SSIM", "L1", "landmarks (px)", "identity (ΔE)")
CLOSE_HEAD = ("sharpness", "features", "gaze (px)", "jaw", "cheeks")
CLOSE_SAID = """Sharpness is the energy of the pictures' gradients as a share of the truth's; features is the distance
in the keypoint extractor's features. Gaze is the distance of the pupils, the middle of what is dark within the true
eyes; eyes that are closed in truth are left out. Jaw and cheeks are the root of the mean squared error around their
true places. Shares are of means, ± one standard error over people."""
NAMES = {"stability": "a long stream", "ablations": "ablations", "adaptation": "a LoRA for line-art"}
MEGA = 1e6


def page(found: Evaluation) -> str:
    """The evaluation as Markdown, with the command lines that measured it; parts that were not measured are named."""
    parts = [intro(found), targets(found)]
    parts += [reenactment(task) for task in found.tasks]
    parts += [with_origin(found, "stability", stability(found.stability))] if found.stability else []
    parts += [with_origin(found, "ablations", ablations(found.findings, found.options))] if found.findings else []
    parts += [with_origin(found, "adaptation", adaptation(found.adaptation))] if found.adaptation else []
    parts += [with_origin(found, "speed", speed(found))]
    return "\n\n".join(parts) + "\n"


def intro(found: Evaluation) -> str:
    error, size, origin = found.tasks[0].network_error, found.options.size, found.origins.get("tasks", RunOrigin())
    reduced = "" if size == SIZE else f" and reads pictures made {SIZE} pixels a side"
    return f"""# Evaluation of a model of {size} pixels

Written by {named_command(origin)}
({found.parameters / MEGA:.1f} M parameters, float32, torch {origin.torch or "unknown"}).

People and motions are those of the renderer's test split, in the style `{found.options.style}`: no training has seen
them. The model gets pictures alone, a reference and a driving clip, through the pipeline that everyone uses, at
{size}×{size} pixels. It is compared with what the renderer draws for the reference's person: angles and expression of
the driving, and its change of place and size since its first frame.

- **PSNR** and **L1** are of values in 0..1, **SSIM** has an 11×11 Gaussian window (σ 1.5) and is a mean over channels;
  each is computed frame by frame, then averaged.
- **Landmarks**: mean distance in pixels between 31 landmarks that a small network finds in the picture and the true
  ones, in frames that show the whole face. The network was trained on drawn people alone{reduced};
  on the true pictures it is itself off by {error:.2f} pixels.
- **Identity**: distance (ΔE, CIE76) of the mean colours of skin, hair, clothes and background to the true ones, a mean
  over the four, each measured where it is in the true picture.
- Pixels (px) are those of pictures of {size} a side{"" if size == SIZE else f"; {size / SIZE:g} are one of {SIZE}"}."""


def named_command(origin: RunOrigin) -> str:
    """The command of an origin, in words."""
    return f"`{origin.command}`" if origin.command else "a command that was not kept"


def with_origin(found: Evaluation, part: str, text: str) -> str:
    """The text of a part; where another run than the tasks' measured it, a sentence under the heading says which."""
    origin = found.origins.get(part, RunOrigin())
    if origin == found.origins.get("tasks", RunOrigin()):
        return text
    head, body = text.split("\n\n", 1)
    where = ", ".join(filter(None, (origin.device, f"torch {origin.torch}" if origin.torch else "")))
    same = "" if origin.weights else "; that these were the same weights is not recorded"
    return (
        f"{head}\n\nMeasured in another run, by {named_command(origin)} ({where or 'machine unknown'}){same}.\n\n{body}"
    )


def targets(found: Evaluation) -> str:
    table = markdown_table("Targets", ("", "wanted", "measured", ""), [target_line(t) for t in found.targets])
    missing = [name for part, name in NAMES.items() if not found.has(part)]
    said = f"\n\nNot measured: {', '.join(missing)}." if missing else ""
    return f"{table}\n\nThe targets are those of {found.goals.said}.{said}"


def target_line(target: Target) -> str:
    return f"| {target.name} | {target.wanted} | {target.found} | {'met' if target.met else '**NOT met**'} |"


def markdown_table(title: str, head: Sequence[str], lines: Sequence[str]) -> str:
    return "\n".join([f"## {title}", "", f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}", *lines])


def cells(scores: Scores | None) -> str:
    if scores is None:
        return " | ".join([""] * len(HEAD))
    figures = zip((2, 3, 4, 2, 2), asdict(scores).values(), strict=True)
    return " | ".join(figure(value, digits) for digits, value in figures)


def figure(value: float, digits: int) -> str:
    return "" if math.isnan(value) else f"{value:.{digits}f}"


def reenactment(task: Reenactment) -> str:
    is_self = task.name.startswith("Self")
    rows: dict[str, Scores | None] = {**task.rows, **({DRIVING: None} if is_self else {})}
    lines = [f"| {name} | {cells(scores)} |" for name, scores in rows.items()]
    said = (
        "The reference is the clip's first frame, which is not scored; the driving frame is the truth itself here, so "
        "it has no figures."
        if is_self
        else "The reference is the first frame of another person's own clip."
    )
    said = (
        f"{task.clips} people, {task.frames} frames each. {said} The mean frame is the mean of the clip's true frames: "
        "it knows the answer."
    )
    picture = "self" if is_self else "cross"
    shown = f"![rows: reference, driving, truth, output](evaluation_{picture}.jpg)"
    under = f"Rows: reference, driving, truth, output; the middle frames of the first {min(task.clips, COLUMNS)} clips."
    parts = [markdown_table(task.name, ("", *HEAD), lines), said, *closeness_table(task), shown, under]
    return "\n\n".join(parts)


def closeness_table(task: Reenactment) -> list[str]:
    """The table of what means of pixels do not tell, and a sentence under it; nothing where it was not measured."""
    if not task.close:
        return []
    lines = []
    for name, row in task.close.items():
        figures = zip((2, 3, 2, 3, 3), asdict(row).values(), strict=True)
        lines.append(f"| {name} | {' | '.join(figure(value, digits) for digits, value in figures)} |")
    errors = ["" if math.isinf(s.error) else f" ± {s.error:.3f}" for s in task.shares]
    shares = " | ".join(f"{s.share:.3f}{error}" for s, error in zip(task.shares, errors, strict=True))
    lines.append(f"| PersonaLive, as a share of the reference repeated | | {shares} |")
    table = markdown_table("", ("", *CLOSE_HEAD), lines).removeprefix("## \n\n")
    return [table, CLOSE_SAID]


def stability(found: StreamFigures) -> str:
    frames = found.frames
    (a, b), (c, d) = ((rows.start, rows.stop) for rows in spans_of(frames))
    first, last = found.levels
    drift = ", ".join(f"{name} {value:.2f}" for name, value in found.drift.items())
    memory = " and ".join("unknown" if m is None else f"{m / MIB:.0f} MiB" for m in found.memory)
    return f"""## A long stream

One cross-reenactment of {frames} frames. PSNR of frames {a} to {b - 1}, after a warm-up: {first:.2f} dB; of frames
{c} to {d - 1}: {last:.2f} dB. The motion turns round half way, so that the last frames go back over the motion of the
first ones: a difference is the stream's doing, not the motion's. Between the two the regions' mean colours moved by
{drift} (ΔE). Most memory held in the stream's first fifth and in the rest, networks included: {memory}.

![PSNR over time](evaluation_stability.png)"""


def ablations(rows: Sequence[AblationResult], options: Options) -> str:
    lines = []
    for row in rows:
        change = "" if row.scores is None else f"{row.difference:+.4f}"
        change += f" ± {CLEAR * row.error:.4f}" if math.isfinite(row.error) else ""
        claim = "" if row.how == OURS else "worse"
        lines.append(f"| {row.title} | {row.how} | {cells(row.scores)} | {change} | {claim} | {row.verdict} |")
    full = {row.frames: row.full for row in rows if row.full}
    for frames in sorted(full):
        lines.insert(0, f"| full model, {frames} frames | | {cells(full[frames])} | | | |")
    head = ("", "", *HEAD, "PSNR against full (dB)", "paper", "here")
    return f"""{markdown_table("Ablations", head, lines)}

Cross-reenactment of at most {ABLATION_PEOPLE} people, in the paper's order. {clips_said(options)}*Run*: the full
model's weights, run otherwise; *trained*: weights of their own. The start without MII is compared on the first {FIRST}
frames alone. In the paper each of these is worse than the full model; here an ablation agrees when its PSNR is lower by
more than {CLEAR:g} standard errors of the mean over people (the ± of the table)."""


def clips_said(options: Options) -> str:
    if not options.journeys:
        return ""
    seconds, every = options.ablation_frames * JOURNEY_STRIDE / RATE, JOURNEY_STRIDE
    return (
        f"The films are of {seconds:g} seconds, with large turns, leaving and coming back; every {every}th frame is "
        "taken. Landmarks are of frames that show the whole face. "
    )


def adaptation(found: Adaptation) -> str:
    rows = {"without": found.without, "with the LoRA": found.adapted, "reference repeated": found.repeated}
    lines = [f"| {name} | {level:.2f} |" for name, level in rows.items()]
    return f"""{markdown_table("A LoRA for line-art", ("", "PSNR (dB)"), lines)}

{found.clips} portraits in line-art, led by films of other people, {found.frames} frames each. The motion networks are
the same without and with the LoRA, which is for the UNets alone.

![rows: reference, driving, truth, output without and with the LoRA](evaluation_line.jpg)

Rows: reference, driving, truth, output without and with the LoRA."""


def speed(found: Evaluation) -> str:
    device = found.origins.get("speed", RunOrigin()).device or "device unknown"
    return f"""## Speed

{found.rate:.1f} frames a second ({device}), of a whole short stream: reference, motion extraction, denoising and
decoding. Measured once, on a machine that may have been busy."""
