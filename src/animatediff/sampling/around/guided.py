"""The guidance that a request asks for: to the prompt, to a motion, rescaled, and at which noise."""

from __future__ import annotations

from functools import partial

from animatediff.sampling.around.cfg_plus_plus import renoised_without
from animatediff.sampling.around.dynamic_guidance import by_range
from animatediff.sampling.around.guidance import classifier_free, guided
from animatediff.sampling.around.motion_guidance import DECIDED, guided_to_motion
from animatediff.sampling.around.rescale import rescaled
from animatediff.sampling.around.while_noisy import unwrapped, while_noisy
from animatediff.sampling.ask import Around
from animatediff.sampling.loaded.changed_weights import Unmoved
from animatediff.sampling.settled import Settled
from animatediff.sampling.steps.schedulers import Sampler


def guidance_of(settled: Settled, *, sampler: Sampler, unmoved: Unmoved | None) -> Around:
    """The guidance of a request as one wrapper; at a guidance scale of 1 there is none.

    Args:
        settled: the request.
        sampler: of the same kind and schedule as the one that draws.
        unmoved: takes off the share of MotionLoRAs that guidance pulls to, if it pulls to any.
    """
    if not settled.is_guided:
        return unwrapped
    request = settled.request
    match request.guidance_method:
        case "cfg++":
            guidance = renoised_without(settled.guidance, levels=sampler.levels())
        case "dynamic":
            guidance = by_range(settled.guidance, picture=sampler.picture)
        case "plain":
            guidance = classifier_free(settled.guidance)
    guidance = rescaled(guidance, share=request.guidance_rescale)
    to_prompt = partial(guided, guidance=guidance)
    if unmoved is not None:
        to_motion = partial(guided_to_motion, guidance=guidance, unmoved=unmoved)
        to_prompt = while_noisy(to_motion, least=DECIDED, then=to_prompt)
    return while_noisy(to_prompt, least=request.guidance_from)
