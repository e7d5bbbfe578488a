"""An evaluation as JSON values and back, and one put together of several runs."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from ..errors import InputError
from .ablations import AblationResult
from .adaptation import Adaptation
from .closeness import Closeness, Share
from .evaluate import RUN_PARTS, Evaluation, Options, RunOrigin
from .reenactment import Reenactment
from .scores import Scores
from .stability import StreamFigures


def values(found: Evaluation) -> dict[str, object]:
    """All figures, in JSON types; what is not finite is None."""
    main = found.origins.get("tasks", RunOrigin())
    told = {
        "options": asdict(found.options),
        "torch": main.torch,
        "device": main.device,
        "parameters": found.parameters,
        "frames_per_second": found.rate,
        "targets": [asdict(target) for target in found.targets],
        "tasks": [{**asdict(task), "shares": {s.name: asdict(s) for s in task.shares}} for task in found.tasks],
        "stability": stability_values(found.stability) if found.stability else None,
        "ablations": [{**asdict(row), "verdict": row.verdict} for row in found.findings],
        "adaptation": asdict(found.adaptation) if found.adaptation else None,
        "origins": {
            part: asdict(found.origins[part]) for part in RUN_PARTS if part in found.origins and found.has(part)
        },
    }
    return {name: finite(value) for name, value in told.items()}


def finite(value: object) -> object:
    """`value` with None for each float in it that is not finite, which JSON has not."""
    if isinstance(value, Mapping):
        return {key: finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def stability_values(found: StreamFigures) -> dict[str, object]:
    return {
        "frames": found.frames,
        "psnr_after_warm_up": found.levels[0],
        "psnr_at_the_end": found.levels[1],
        "psnr_by_hundred": list(found.hundreds),
        "colour_drift": found.drift,
        "seconds": found.seconds,
        "memory": list(found.memory),
    }


def read_evaluation(path: Path) -> Evaluation:
    """The evaluation that a file of `values` holds, also of an earlier version. Raises InputError for anything else."""
    try:
        return evaluation_of(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): name a file that `evaluate` wrote") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f"{type(error).__name__} {error}"
        raise InputError(
            f"{path} is not what `personalive evaluate` writes ({reason}): name its evaluation.json"
        ) from error


def evaluation_of(read: Mapping[str, Any]) -> Evaluation:
    """The evaluation of `values`. Raises KeyError or TypeError for what is none."""
    long, (first, second) = read["stability"], (task_of(task) for task in read["tasks"])
    known = {"device": read["device"], "torch": read["torch"]}  # all that earlier versions kept
    origins = {part: RunOrigin(**kept) for part, kept in read.get("origins", dict.fromkeys(RUN_PARTS, known)).items()}
    return Evaluation(
        Options(**read["options"]),
        read["parameters"],
        read["frames_per_second"],
        (first, second),
        stability_of(long) if long else None,
        tuple(finding_of(row) for row in read["ablations"]),
        Adaptation(**read["adaptation"]) if read["adaptation"] else None,
        origins,
    )


def task_of(read: Mapping[str, Any]) -> Reenactment:
    close = {name: Closeness(**known(row)) for name, row in read.get("close", {}).items()}
    shares = tuple(share_of(name, row) for name, row in read.get("shares", {}).items())
    rows = {name: Scores(**known(row)) for name, row in read["rows"].items()}
    return Reenactment(read["name"], read["clips"], read["frames"], rows, read["network_error"], close, shares)


def known(row: Mapping[str, float | None]) -> dict[str, float]:
    """`row` with NaN for None."""
    return {name: float("nan") if value is None else value for name, value in row.items()}


def share_of(name: str, read: Mapping[str, Any]) -> Share:
    share, error = read["share"], read["error"]
    return Share(name, math.nan if share is None else share, math.inf if error is None else error)


def stability_of(read: Mapping[str, Any]) -> StreamFigures:
    levels, (early, late) = (read["psnr_after_warm_up"], read["psnr_at_the_end"]), read["memory"]
    hundreds = tuple(read["psnr_by_hundred"])
    return StreamFigures(read["frames"], levels, read["colour_drift"], hundreds, read["seconds"], (early, late))


def finding_of(read: Mapping[str, Any]) -> AblationResult:
    kept = {field.name: read[field.name] for field in fields(AblationResult)}
    error = math.inf if kept["error"] is None else kept["error"]
    scores, full = (Scores(**known(kept[key])) if kept[key] else None for key in ("scores", "full"))
    return AblationResult(**{**kept, "scores": scores, "full": full, "error": error})


def combined_runs(runs: Sequence[Evaluation]) -> Evaluation:
    """Each of RUN_PARTS from the last run that measured it; `origins` says how. One run stays as it is.

    Raises InputError for runs of pictures of several sizes or styles, or of several models, as far as that is known.
    """
    first, *others = runs
    for other in others:
        same_model(first, other)
        first = _updated(first, other)
    return first


def same_model(one: Evaluation, other: Evaluation) -> None:
    """Raises InputError where two runs did not measure the same model on the same kind of pictures."""
    kinds = [(run.options.size, run.options.style, run.parameters) for run in (one, other)]
    weights = {origin.weights for run in (one, other) for origin in run.origins.values()} - {""}
    if kinds[0] != kinds[1] or len(weights) > 1:
        told = [f"{size} pixels, style {style}, {parameters} parameters" for size, style, parameters in kinds]
        raise InputError(
            f"a report is of one model on one kind of pictures, got {' and '.join(told)}, weights "
            f"{', '.join(sorted(weights)) or 'unknown'}: give --report the files of one model"
        )


def _updated(one: Evaluation, other: Evaluation) -> Evaluation:
    newer = {part for part in RUN_PARTS if other.has(part)}
    options = replace(
        other.options,
        long=other.options.long or one.options.long,
        ablation_frames=(other if "ablations" in newer else one).options.ablation_frames,
        journeys=(other if "ablations" in newer else one).options.journeys,
    )
    return replace(
        other,
        options=options,
        stability=other.stability or one.stability,
        findings=other.findings or one.findings,
        adaptation=other.adaptation or one.adaptation,
        origins={**one.origins, **{part: other.origins.get(part, RunOrigin()) for part in newer}},
    )
