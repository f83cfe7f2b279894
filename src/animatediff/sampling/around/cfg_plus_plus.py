"""CFG++: guidance that renoises with the prediction without the prompt (arXiv 2406.08070).

A step of DDIM or Euler goes to the picture that a prediction stands for, and adds the predicted noise
again. CFG++ takes the picture of the guided prediction and the noise of the one without the prompt
(Alg. 2). From noise level s to s', with a scale w, that is

    x' = (x - s e_w) + s' e_0,   e_w = e_0 + w (e - e_0),

and equals a step with the single prediction e_0 + w s / (s - s') (e - e_0): guidance by a scale that
grows where steps are small. So it needs no sampler of its own.
"""

from __future__ import annotations

from collections.abc import Sequence

from animatediff.sampling.around.guidance import Guidance
from animatediff.sampling.ask import Ask, Latents


def renoised_without(scale: float, *, levels: Sequence[tuple[float, float]]) -> Guidance:
    """Guidance as CFG++ does it.

    Args:
        scale: how far towards the prediction with the prompt, 0 to 1.
        levels: the noise level before and after each step, as noise divided by signal.
    """

    def combined(without: Latents, along: Latents, ask: Ask) -> Latents:
        before, after = levels[ask.step]
        return without + scale * before / (before - after) * (along - without)

    return combined
