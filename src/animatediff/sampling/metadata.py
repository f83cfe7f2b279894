"""Metadata of animations: the request for this package, and infotext for other programs."""

from __future__ import annotations

import functools
import importlib.metadata
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from animatediff.errors import FileError, InputError
from animatediff.sampling.inputs import input_digests, input_files
from animatediff.sampling.loaded.loading import files_named
from animatediff.sampling.request import MAX_JSON, AnimationRequest
from animatediff.sampling.steps.free_init import SPATIAL, TEMPORAL
from animatediff.sampling.steps.sampler_kinds import SAMPLERS
from animatediff.sampling.text.keyframes import positions_of
from animatediff.sampling.video_to_video.options import GIVEN_FRAMES, STRENGTH
from animatediff.video import read_metadata
from animatediff.weights.roles import NO_MOTION
from animatediff.weights.storage.files import sha256_of

OURS, INFOTEXT = "animatediff", "parameters"


@dataclass(frozen=True)
class Report:
    """How an animation was made.

    Attributes:
        notes: sentences about deviations from the request.
        family: of the motion module; empty without one.
        device: the device.
        precision: of the denoiser.
        versions: of this package and its libraries.
        template: the prompts before wildcards were resolved, if they had any.
        coverage: used modules of each LoRA, such as ``192/192 modules``.
        sha256s: of the weight files, by role.
        seconds: duration of each stage.
    """

    notes: tuple[str, ...]
    family: str
    device: str
    precision: str
    versions: Mapping[str, str]
    template: Mapping[str, str]
    coverage: Mapping[str, str]
    sha256s: Mapping[str, str]
    seconds: Mapping[str, float] = field(compare=False)


@functools.cache
def versions() -> dict[str, str]:
    """Return the versions of everything that affects the result."""
    found: dict[str, str] = {}
    for name in ("animatediff", "torch", "diffusers", "transformers"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def describe(request: AnimationRequest, report: Report) -> dict[str, str]:
    """Return a file's metadata; without times, so that equal requests give equal files."""
    ours = {
        "request": request.as_table(),
        "family": report.family,
        "versions": dict(report.versions),
        "device": report.device,
        "precision": report.precision,
        "template": dict(report.template),
        "loras": dict(report.coverage),
        "sha256": dict(report.sha256s),
        "notes": list(report.notes),
    }
    return {
        OURS: json.dumps(ours, ensure_ascii=False),
        INFOTEXT: infotext(request, report),
    }


def infotext(request: AnimationRequest, report: Report) -> str:
    """Return the request as infotext, the format of Stable Diffusion programs."""
    assert request.scheduler is not None
    sampler = SAMPLERS[request.scheduler]
    loras = {role: digest for role, digest in report.sha256s.items() if role.startswith("lora:")}
    hashes = ", ".join(f"{role[5:]}: {digest[:10]}" for role, digest in loras.items())
    motion = {
        "enable": request.motion != NO_MOTION,
        "model": Path(request.motion or "").name,
        "mm_hash": report.sha256s.get("motion", "")[:8],
        "video_length": request.num_frames,
        "fps": request.fps,
    }
    if request.free_init > 1:
        motion |= {
            "freeinit_enable": True,
            "freeinit_filter": "butterworth",
            "freeinit_ds": SPATIAL,
            "freeinit_dt": TEMPORAL,
            "freeinit_iters": request.free_init,
        }
    fields = {
        "Steps": request.steps,
        "Sampler": sampler.label,
        "Schedule type": sampler.spread,
        "CFG scale": request.guidance,
        "Seed": request.seed,
        "Denoising strength": _strength(request),
        "Size": f"{request.width}x{request.height}",
        "Model hash": report.sha256s.get("model", report.sha256s.get("unet", ""))[:10],
        "Model": Path(request.model or "").name,
        "VAE": Path(request.vae).name if request.vae else "",
        "Clip skip": request.clip_skip or "",
        "Lora hashes": hashes,
        "AnimateDiff": ", ".join(f"{key}: {value}" for key, value in motion.items()),
        "Version": f"animatediff-{report.versions.get('animatediff', '')}",
    }
    settings = ", ".join(f"{key}: {_quoted(value)}" for key, value in fields.items() if value != "")
    negative = [f"Negative prompt: {request.negative_prompt}"] if request.negative_prompt else []
    return "\n".join([*_prompt_lines(request), *negative, settings])


def _strength(request: AnimationRequest) -> str:
    """The strength of video to video, empty without it."""
    if not request.init or request.steps is None:
        return ""
    if request.start_step is not None:
        return f"{1 - request.start_step / request.steps:g}"
    return f"{STRENGTH if request.strength is None else request.strength:g}"


def _prompt_lines(request: AnimationRequest) -> list[str]:
    """Return the prompt, with keyframes as in A1111's AnimateDiff extension."""
    if not request.prompts:
        return [request.prompt]
    assert request.num_frames is not None
    positions = positions_of(request.prompts, num_frames=request.num_frames, rate=request.rate)
    keyframes = [f"{round(frame)}: {request.prompts[key]}" for key, frame in positions.items()]
    return [*([request.prompt] if request.prompt else []), *keyframes]


def load_request(path: str | Path, *, check_weights: bool = True) -> AnimationRequest:
    """Read the request from an animation's file.

    Args:
        path: a file that ``Animation.save`` wrote.
        check_weights: raise if the weight files have changed.

    Raises:
        FileError: the file cannot be read, has no request, or was made with other weights.
        InputError: it names missing weights.
    """
    path = Path(path)
    texts = read_metadata(path)
    if OURS not in texts:
        raise FileError(f"{path} carries no request; only files written by animatediff do.")
    ours = _table(texts[OURS])
    try:
        stored = ours.get("request")
        request = AnimationRequest.from_table(stored if isinstance(stored, dict) else {})
    except InputError as error:
        raise FileError(f"{path} carries a request that cannot be used: {error}") from None
    if check_weights:
        _check_weights(path, request=request, recorded=ours.get("sha256"))
    return request


def _check_weights(path: Path, *, request: AnimationRequest, recorded: Any) -> None:
    known = recorded if isinstance(recorded, dict) else {}
    for role, file in files_named(request).items():
        if known.get(role) != sha256_of(file):
            raise FileError(
                f"{path} was made with another version of {file}; "
                "install the version that made it, or animate its prompt anew."
            )
    _check_inputs(path, request=request, known=known)


def _check_inputs(path: Path, *, request: AnimationRequest, known: Mapping[str, Any]) -> None:
    """Raise if an input of the animation is missing or has changed."""
    if request.init == GIVEN_FRAMES:
        raise FileError(
            f"{path} began from frames that a Python program gave, and carries no copy of them; "
            "give the same frames again as init."
        )
    try:
        digests = input_digests(request)
    except FileError as error:
        raise FileError(f"{path} follows inputs that are not all here: {error}") from None
    changed = next((role for role, digest in digests.items() if known.get(role) != digest), None)
    if changed is not None:
        name = input_files(request)[changed][0]
        raise FileError(
            f"{path} was made from another version of {name} ({changed}); put back the one that it "
            "was made from, or animate its prompt anew."
        )


def _table(text: str) -> dict[str, Any]:
    """Return a table from untrusted metadata; an empty one for anything else."""
    try:
        table = json.loads(text) if len(text) <= MAX_JSON else {}
    except (ValueError, RecursionError):
        return {}
    return table if isinstance(table, dict) else {}


def _quoted(value: object) -> str:
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if any(c in text for c in ',:"\n') else text
