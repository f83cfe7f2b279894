"""The innermost prediction: the animated U-Net, given the text and the controls of an ask."""

from __future__ import annotations

from collections.abc import Sequence

from animatediff.model.animated_unet import AnimatedUNet
from animatediff.model.control.residuals import summed
from animatediff.runtime import dtype_of
from animatediff.sampling.ask import Ask, Control, Latents, PredictNoise
from animatediff.sampling.text.conditions import Texts


def model_noise(
    animated: AnimatedUNet, *, texts: Texts, controls: Sequence[Control] = ()
) -> PredictNoise:
    """Predict noise with the model itself.

    The model may run in half precision. Latents, and everything done with them, stay in fp32.

    Args:
        animated: the image model and its motion modules.
        texts: the conditioning of every row, frame and step.
        controls: their residuals are summed, in this order.
    """
    dtype = dtype_of(animated.unet)
    texts = texts.to(dtype)

    def predict(ask: Ask) -> Latents:
        states, added = texts.at(ask)
        predicted = animated(
            ask.latents.to(dtype),
            ask.timestep,
            states,
            added_cond_kwargs=added,
            residuals=summed(control(ask) for control in controls),
        )
        return predicted.float()

    return predict
