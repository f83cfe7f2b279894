"""Infotext: a request as one text in the format of A1111 and sd-webui-animatediff, which they paste.

Names, orders and meanings of the fields are facts of those programs.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from animatediff.sampling.steps.sampler_kinds import SAMPLERS
from animatediff.sampling.text.keyframes import positions_of
from animatediff.sampling.video_to_video.options import STRENGTH
from animatediff.weights.roles import NO_MOTION

if TYPE_CHECKING:
    from animatediff.sampling.metadata import Report
    from animatediff.sampling.request import AnimationRequest

INTERP_X = 10
"""The number of frames for one that sd-webui-animatediff writes where nothing is interpolated."""


def infotext(request: AnimationRequest, report: Report) -> str:
    """Return a request as infotext.

    Args:
        request: with all defaults filled in.
        report: of its animation.
    """
    assert request.scheduler is not None
    sampler = SAMPLERS[request.scheduler]
    loras = {role: digest for role, digest in report.sha256s.items() if role.startswith("lora:")}
    hashes = ", ".join(f"{role[5:]}: {digest[:10]}" for role, digest in loras.items())
    fields = {
        "Steps": request.steps,
        "Sampler": sampler.label,
        "Schedule type": sampler.spread,
        "CFG scale": request.guidance,
        "Seed": request.seed,
        "Size": f"{request.width}x{request.height}",
        "Model hash": report.sha256s.get("model", report.sha256s.get("unet", ""))[:10],
        "Model": Path(request.model or "").name,
        "VAE": Path(request.vae).name if request.vae else "",
        "Denoising strength": _strength(request),
        "Clip skip": request.clip_skip or "",
        **_second_pass(request),
        "Lora hashes": hashes,
        "AnimateDiff": _motion(request, report),
        "Version": f"animatediff-{report.versions.get('animatediff', '')}",
    }
    settings = ", ".join(f"{key}: {_quoted(value)}" for key, value in fields.items() if value != "")
    negative = [f"Negative prompt: {request.negative_prompt}"] if request.negative_prompt else []
    return "\n".join([*_prompt_lines(request), *negative, settings])


def _motion(request: AnimationRequest, report: Report) -> str:
    """What sd-webui-animatediff writes, in its order; empty without a motion module."""
    if request.motion == NO_MOTION or not report.family:
        return ""
    plan = report.windows
    fields = {
        "model": Path(request.motion or "").name,
        "video_length": request.num_frames,
        "fps": f"{float(request.rate):g}",
        "loop_number": 0,
        "closed_loop": "A" if request.loop else "R+P" if request.closed_loop else "N",
        "batch_size": plan.length,
        "stride": plan.stride,
        "overlap": -1 if plan.is_whole else plan.overlap,
        "interp": "FILM" if request.interpolate > 1 else "Off",
        "interp_x": request.interpolate if request.interpolate > 1 else INTERP_X,
        "freeinit_enable": request.free_init > 1,
        "mm_hash": report.sha256s.get("motion", "")[:8],
    }
    if request.image and request.image_way == "blend":
        fields["latent_power"] = f"{request.image_power:g}"
        fields["latent_scale"] = f"{request.image_scale:g}"
    return ", ".join(f"{name}: {value}" for name, value in fields.items() if value != "")


def _second_pass(request: AnimationRequest) -> dict[str, object]:
    """The hires pass as A1111's high-resolution fix."""
    if request.hires == 1:
        return {}
    by_pixels = Path(request.upscaler or "None").name
    return {
        "Hires upscale": f"{request.hires:g}",
        "Hires upscaler": "Latent" if request.hires_by == "latent" else by_pixels,
    }


def _strength(request: AnimationRequest) -> str:
    """The strength of the hires pass or of video to video, empty without them."""
    if request.hires != 1:
        return f"{request.hires_strength:g}"
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


def _quoted(value: object) -> str:
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if any(c in text for c in ',:"\n') else text
