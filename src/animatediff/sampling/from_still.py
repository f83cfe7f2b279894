"""Begin an animation from a still of its prompt, so that motion moves a picture that is already good.

A motion module decides what a clip shows while there is only noise, and it does so in the look of the
clips that it was trained on (the domain gap of Sec. 4.1, arXiv 2307.04725). Here the image model draws
a still first, without motion. All frames begin from it, noised to a level at which its layout and
colours are left (SDEdit, arXiv 2108.01073), and are denoised from there with motion.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from animatediff.sampling.ask import Latents
from animatediff.sampling.image_to_video.way import reads_pictures
from animatediff.sampling.loaded.loading import Parts
from animatediff.sampling.predicting.attached import Attached
from animatediff.sampling.predicting.prediction import prediction_of
from animatediff.sampling.settled import Settled
from animatediff.sampling.steps.denoise import denoise
from animatediff.sampling.steps.draw import new_sampler
from animatediff.sampling.steps.noise import initial_noise
from animatediff.sampling.text.conditions import Texts
from animatediff.sampling.watch import Watch
from animatediff.sampling.windows.plan import WindowPlan

if TYPE_CHECKING:
    from animatediff.sampling.request import AnimationRequest


def latents_of_still(
    settled: Settled, parts: Parts, *, texts: Texts, attached: Attached, watch: Watch
) -> Latents | None:
    """Draw the still that all frames begin from, the same as ``--motion none --frames 1`` draws.

    Where frames have their own prompts, each has its own still, drawn from the same noise.

    Args:
        settled: the request.
        parts: the loaded model.
        texts: its text conditioning.
        attached: what was attached to the model.
        watch: called after every step.

    Returns:
        Clean latents, one frame for each of the animation; ``None`` if it begins from noise alone.

    Raises:
        Cancelled: ``watch`` asked to stop.
        NumericalError: a step gave NaN or infinity.
    """
    if settled.request.from_still == 1:
        return None
    base, unit = parts.base, parts.base.pixels_per_latent
    frames = settled.num_frames if _differ_by_frame(settled.request, parts) else 1
    # Frames do not know of each other here; windows only keep memory small.
    length = (settled.views or settled.windows).length
    parted = WindowPlan(frames, length=min(frames, length), overlap=0)
    predict_noise = prediction_of(
        replace(settled, windows=parted, views=None), parts, texts=texts, attached=attached
    )
    noise = initial_noise(
        settled.request.seed,
        num_frames=1,
        channels=base.unet.config["in_channels"],
        height=settled.height // unit,
        width=settled.width // unit,
    )
    sampler = new_sampler(settled, base=base, family=parts.family)
    start = noise.to(base.device).expand(-1, -1, frames, -1, -1).contiguous()
    latents, _ = sampler.start(start, init=None, strength=1)
    with parts.animated.grafts.at(0):
        still = denoise(
            latents,
            predict_noise=predict_noise,
            sampler=sampler,
            on_step=watch.still,
            should_stop=watch.should_stop,
        )
    return still.expand(-1, -1, settled.num_frames, -1, -1).contiguous()


def _differ_by_frame(request: AnimationRequest, parts: Parts) -> bool:
    """Whether frames of a still may differ, by their prompts, controls, regions or pictures."""
    follows = [not reads_pictures(each.network) for each in parts.added.get("control", ())]
    return bool(
        request.prompts
        or request.negative_prompts
        or any(follows)
        or request.regions
        or request.ip_images
        or request.sparse
    )
