"""Loaded models for ``animatediff evaluate``: from a prompt and a seed to cached frames."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from animatediff.apps.commands.evaluation.evaluate import Options
    from animatediff.world.protocol.subjects import Draw


AS_USERS_SEE_IT = frozenset({"still-vs-motion", "actions"})
"""Questions about animations at default settings. Others judge what the motion module itself draws."""


def draw_of(options: Options, **asked: Any) -> Draw:
    """A loaded model; what it draws is cached in the world folder."""
    return painter_of(options, **asked)()


def painter_of(options: Options, **asked: Any) -> Callable[..., Draw]:
    """A loaded model whose LoRA scales are set before it draws."""
    from animatediff.evaluation.kept.animations import KeptAnimations, fingerprint_of
    from animatediff.runtime import Runtime
    from animatediff.sampling.animator import Animator
    from animatediff.sampling.options.scaled_names import parse_lora
    from animatediff.sampling.request import AnimationRequest
    from animatediff.weights.finding.builtin import resolve, resolve_lora
    from animatediff.weights.roles import NO_MOTION
    from animatediff.world.protocol.subjects import drawn_by

    first: dict[str, Any] = {
        "model": options.model,
        "motion": options.motion,
        "num_frames": options.frames,
    }
    files = first | asked
    template = AnimationRequest(
        prompt="a template",
        scheduler=options.scheduler,
        steps=options.steps,
        free_init=options.free_init,
        guidance=options.guidance,
        guidance_from=options.guidance_from,
        upscale=1,
        from_still=None if files["motion"] == NO_MOTION else options.from_still,
        action=None if options.question in AS_USERS_SEE_IT and options.carry != 0 else "none",
        carry=_carry_of(options, moves=files["motion"] != NO_MOTION),
        picture_strength=None if files["motion"] == NO_MOTION else options.picture_strength,
        **files,
    ).validated()
    animator = Animator.for_request(
        template,
        runtime=Runtime(
            device=options.device, precision=options.precision, threads=options.threads
        ),
    )
    loras = [resolve_lora(parse_lora(name)[0]) for name in template.loras]
    controls = [resolve("control", parse_lora(name)[0]) for name in template.controls]
    files = [*animator.files.values(), *loras, *controls]
    kept = KeptAnimations(options.work / "evaluation", fingerprint=fingerprint_of(files))

    def draw(**scales: Any) -> Draw:
        return drawn_by(animator, template=replace(template, prompt="", **scales), kept=kept)

    return draw


def _carry_of(options: Options, *, moves: bool) -> float | None:
    if not moves:
        return 0.0
    if options.carry is None and options.question not in AS_USERS_SEE_IT:
        return 0.0
    return options.carry
