"""The prediction of noise for a request: the model, control networks, and every wrapper in order."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from animatediff.sampling.around.composed import composed
from animatediff.sampling.around.guided import guidance_of
from animatediff.sampling.around.perturbed_attention import away_from_perturbed
from animatediff.sampling.around.regional import regional
from animatediff.sampling.around.windows import over_windows
from animatediff.sampling.ask import Around, Latents, PredictNoise
from animatediff.sampling.control.build import build_controls
from animatediff.sampling.control.few_frames import few_at_a_time
from animatediff.sampling.loaded.changed_weights import ChangedWeights
from animatediff.sampling.loaded.loading import Parts
from animatediff.sampling.predicting.attached import Attached
from animatediff.sampling.predicting.model_noise import model_noise
from animatediff.sampling.regions.shares import region_shares
from animatediff.sampling.settled import Settled
from animatediff.sampling.steps.draw import new_sampler
from animatediff.sampling.steps.schedulers import Sampler
from animatediff.sampling.text.conditions import Texts
from animatediff.sampling.text.text_rows import weights_of

if TYPE_CHECKING:
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel


def prediction_of(
    settled: Settled,
    parts: Parts,
    *,
    texts: Texts,
    attached: Attached,
    last: Sequence[Around] = (),
    still: Latents | None = None,
) -> PredictNoise:
    """Wrap the model with everything that a request asks for.

    Args:
        settled: the request.
        parts: the loaded model.
        texts: its text conditioning.
        attached: what was attached to the model.
        last: wrappers around everything else.
        still: the still that the animation begins from, once it is drawn.
    """
    # The package's own network is loaded for requests that may use it, and named by those that do.
    networks = parts.added.get("control", ()) if settled.request.controls else ()
    controls = build_controls(settled, controls=networks, texts=texts, base=parts.base, still=still)
    if settled.views is not None:
        controls = [few_at_a_time(control) for control in controls]
    predict_noise = model_noise(parts.animated, texts=texts, controls=controls)
    outer = wrappers(
        settled,
        unet=parts.base.unet,
        unit=parts.base.pixels_per_latent,
        weights=attached.weights,
        sampler=new_sampler(settled, base=parts.base, family=parts.family),
    )
    for around in (*attached.inner, *outer, *last):
        predict_noise = around(predict_noise)
    return predict_noise


def wrappers(
    settled: Settled,
    *,
    unet: UNet2DConditionModel,
    unit: int,
    weights: ChangedWeights,
    sampler: Sampler,
) -> list[Around]:
    """Return the wrappers of a request, the innermost first.

    Args:
        settled: the request.
        unet: the image model.
        unit: pixels per latent along a side.
        weights: the changed weights.
        sampler: of the request.
    """
    perturbed = partial(
        away_from_perturbed,
        unet=unet,
        scale=settled.request.perturbed_attention,
        guidance=settled.guidance,
    )
    joined = weights_of(settled)
    return [
        partial(composed, weights=joined),
        partial(regional, first_row=1 + len(joined), shares=region_shares(settled, unit=unit)),
        perturbed,
        guidance_of(settled, sampler=sampler, unmoved=weights.unmoved),
        weights.around,
        partial(over_windows, plan=settled.windows),
    ]
