"""Loaded models as ``animatediff evaluate`` sees them: a prompt and a seed in, frames out, kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from animatediff.apps.evaluate import Options
    from animatediff.world.protocol.subjects import Draw


def draw_of(options: Options, **asked: Any) -> Draw:
    """A loaded model as the protocol sees it; what it draws is kept in the world folder."""
    return painter_of(options, **asked)()


def painter_of(options: Options, **asked: Any) -> Callable[..., Draw]:
    """A loaded model, as the protocol sees it once it is told the scales of what was loaded."""
    from animatediff.evaluation.kept_animations import KeptAnimations, fingerprint_of
    from animatediff.runtime import Runtime
    from animatediff.sampling.animator import Animator
    from animatediff.sampling.request import AnimationRequest, parse_lora
    from animatediff.weights.builtin import resolve_lora
    from animatediff.world.protocol.subjects import drawn_by

    first: dict[str, Any] = {
        "model": options.model,
        "motion": options.motion,
        "num_frames": options.frames,
    }
    template = AnimationRequest(
        prompt="a template",
        scheduler=options.scheduler,
        steps=options.steps,
        free_init=options.free_init,
        guidance=options.guidance,
        guidance_from=options.guidance_from,
        **(first | asked),
    ).validated()
    animator = Animator.for_request(
        template,
        runtime=Runtime(
            device=options.device, precision=options.precision, threads=options.threads
        ),
    )
    loras = [resolve_lora(parse_lora(name)[0]) for name in template.loras]
    files = [*animator.files.values(), *loras]
    kept = KeptAnimations(options.work / "evaluation", fingerprint=fingerprint_of(files))

    def draw(**scales: Any) -> Draw:
        # With the model's own choices filled in: kept drawings must not outlive a change of them.
        request = animator.resolved(replace(template, **scales))
        return drawn_by(animator, template=replace(request, prompt=""), kept=kept)

    return draw
