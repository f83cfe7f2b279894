"""Requests to files: load once, animate each, write each whole, and the grid of several."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from animatediff.apps.destination import GRID, Destination, labels_of
from animatediff.apps.footprints import footprints, seconds_of, steers
from animatediff.apps.progress import Progress
from animatediff.errors import reason_of
from animatediff.runtime import Runtime
from animatediff.sampling.acting.options import acts
from animatediff.sampling.animator import Animation, Animator
from animatediff.sampling.animator import Progress as Step
from animatediff.sampling.loaded.memory_need import memory_need
from animatediff.sampling.request import AnimationRequest
from animatediff.sampling.video_to_video.sound import lost_sound
from animatediff.video import grid
from animatediff.weights.families import Family
from animatediff.weights.roles import NO_MOTION

PREVIEW_EVERY = 5
"""Steps between two previews after the first; each costs as much as decoding a few frames."""


def render(
    requests: Sequence[AnimationRequest],
    *,
    destination: Destination,
    runtime: Runtime,
    progress: Progress,
    preview: Path | None,
    plays: int = 0,
) -> None:
    """Animate requests that share a model, and write each; several also side by side."""
    animator = Animator.for_request(requests[0], runtime=runtime)
    loaded = animator.loaded
    if loaded.motion != NO_MOTION:
        name, family = Path(loaded.motion).name, animator.family
        facts = {"family": family.name, "numerics": loaded.numerics}
        progress.tell("family", f"motion {name}: {understood(family)}", facts)
    shown_notes: set[str] = set()
    told = 0
    animations: list[Animation] = []
    labels = labels_of([request.seed for request in requests]) if len(requests) > 1 else [""]
    for request, label in zip(requests, labels, strict=True):
        settled = animator.settled(request)
        if request is requests[0]:
            for network in footprints(animator, settled.request):
                progress.tell("memory", str(network), asdict(network))
        progress.tell(
            "seed", f"seed {request.seed}: {choices(settled.request)}", {"seed": request.seed}
        )
        need = memory_need(settled, animator.parts, runtime=runtime)
        if need.peak != told:
            told = need.peak
            progress.tell("peak", f"memory: {need}", {**asdict(need), "peak": need.peak})
        animation = animator.animate(request, on_step=_watch(progress, preview))
        coverage = [f"LoRA {n}: {c}" for n, c in animation.report.coverage.items()]
        for note in (*coverage, *animation.report.notes):
            if note not in shown_notes:
                progress.tell("note", note, {})
                shown_notes.add(note)
        if steers(animation.request):
            progress.tell("time", seconds_of(animation), {"seconds": animation.report.seconds})
        progress.stage("write", total=len(destination.formats))
        for path in destination.paths(label=label):
            if lost := lost_sound(animation.sound, kind=path.suffix[1:].lower()):
                progress.tell("note", lost, {})
            written = animation.save(path, loop=plays)
            progress.tell("written", str(written), {"path": str(written)})
        animations.append(animation)
    if len(animations) > 1:
        _write_grid(animations, destination=destination, progress=progress)


def understood(family: Family) -> str:
    """What a motion module was taken for, and how the image model is normalised with it."""
    over = "each frame alone" if family.resnet_norm_scope == "frame" else "all frames together"
    return f"{family.title}; the image model normalises {over}"


def choices(request: AnimationRequest) -> str:
    """What was chosen where nothing was asked for, and what was asked for, in a few words."""
    frames = "a picture" if request.num_frames == 1 else f"{request.num_frames} frames"
    steps = "1 step" if request.steps == 1 else f"{request.steps} steps"
    rounds = f" in {request.free_init} rounds" if request.free_init > 1 else ""
    travel = f", {len(request.prompts)} keyframes" if request.prompts else ""
    begun = f" from {request.init}" if request.init else ""
    if request.from_still is not None and request.from_still < 1:
        begun = f" from a still (strength {request.from_still:g})"
    if request.carry:
        begun += f", carried (speed {request.carry:g})"
    if request.action is not None and acts(request):
        begun += f" that acts ({request.action})"
    size = f"{request.width}x{request.height}"
    if request.upscale is not None and request.upscale > 1:
        size += f" enlarged {request.upscale} times"
    return (
        f"{frames} of {size} at {request.rate} a second{begun}, "
        f"{steps} of {request.scheduler}{rounds}, guidance {request.guidance:g}{travel}"
    )


def _watch(progress: Progress, preview: Path | None) -> Callable[[Step], None]:
    """Show every step, and after the first and every fifth what it looks like.

    Frames that no step denoises, such as those of an action, are shown once they are decoded.
    """
    current, denoised = "", False

    def on_step(step: Step) -> None:
        nonlocal current, denoised, preview
        if step.stage != current:
            current = step.stage
            progress.stage(step.stage, total=step.steps)
        progress.at(step.step)
        last = step.step == step.steps
        if step.stage == "denoise":
            denoised = True
            due = step.step == 1 or step.step % PREVIEW_EVERY == 0 or last
        else:
            due = step.stage == "decode" and last and not denoised
        if preview is not None and due:
            try:
                _write_preview(step, preview)
            except OSError as error:
                note = (
                    f"The preview {preview} cannot be written ({reason_of(error)}); it is left out."
                )
                progress.tell("note", note, {})
                preview = None

    return on_step


def _write_preview(step: Step, path: Path) -> None:
    """Replace the preview whole.

    Raises:
        OSError: it cannot be written.
    """
    sheet = step.preview()
    temporary = path.with_name(f".animatediff-preview-{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            sheet.save(file, "PNG")
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def _write_grid(
    animations: Sequence[Animation], *, destination: Destination, progress: Progress
) -> None:
    videos = [animation.video for animation in animations]
    labels = [f"seed {animation.request.seed}" for animation in animations]
    requests = json.dumps([json.loads(animation.request.to_json()) for animation in animations])
    together = grid(videos, labels)
    for path in destination.paths():
        written = together.save(path, metadata={GRID: requests})
        progress.tell("written", str(written), {"path": str(written)})
