"""Values for a model's extra input channels, looked up for every ask (inpainting, PIA)."""

from __future__ import annotations

from collections.abc import Callable

from animatediff.model.grafts.extra_channels import Extra, ExtraChannels
from animatediff.sampling.ask import Ask, Latents, PredictNoise


def with_extra_channels(
    predict_noise: PredictNoise, *, branch: ExtraChannels, extra: Callable[[Ask], Extra]
) -> PredictNoise:
    """Give the model its extra channels while it predicts.

    Args:
        predict_noise: the model; this wrapper is the innermost, so that it sees each window's ask.
        branch: what is grafted on the model's first convolution.
        extra: the values for the rows and frames of an ask.
    """

    def predict(ask: Ask) -> Latents:
        with branch.given(extra(ask)):
            return predict_noise(ask)

    return predict
