"""A training step that keeps little and computes nothing twice that need not be: chosen here alone.

On a frozen image model of Stable Diffusion's kind, a step on clips computes the keys and values of the
text once for a clip (``model/fast/shared_text.py``), convolves before it upsamples
(``model/fast/folded_upsampling.py``), and keeps for its way back little but what is dear to compute
again (``model/fast/recompute.py``, ``model/fast/frozen_convolution.py``). Numbers are those of the
plain step to rounding: fp32 gradients differ by less than 1e-5 of their size.
"""

from __future__ import annotations

from typing import Any

from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

from animatediff.model.animated_unet import AnimatedUNet
from animatediff.model.fast.folded_upsampling import fold_upsampling
from animatediff.model.fast.frozen_convolution import forget_inputs
from animatediff.model.fast.plain_norms import plain_norms
from animatediff.model.fast.recompute import recompute_image_model
from animatediff.model.fast.replaced import Replaced
from animatediff.model.fast.shared_text import ClipAttention, takes_shared_text
from animatediff.model.motion_module import MotionModule

WIDEST = 640
"""Channels of a motion module up to which it computes its projections again on the way back.

Each number that is not kept costs a product for every channel, and the narrow modules of a U-Net, which
look at large maps, hold most of the numbers: in Stable Diffusion 1.5 those of 320 and 640 channels hold
five sixths of them, for three fifths of the products.
"""


class LightStep:
    """What a model computes differently while it trains, until ``remove``.

    Args:
        unet: the image model.
        animated: the motion modules on it, if there are any.
        recompute: whether the way back computes again what is cheap; not together with gradient
            checkpointing, which computes everything again.
        small: whether the model is as small as the built-in world's, so that what is fastest may keep
            more: attention as plain products, and norms of bf16 maps in plain layout.
    """

    def __init__(
        self,
        unet: UNet2DConditionModel,
        *,
        animated: AnimatedUNet | None = None,
        recompute: bool = True,
        small: bool = False,
    ) -> None:
        self._unet, self._animated = unet, animated
        self._processors = dict(unet.attn_processors)
        # Only where it was measured: on a GPU, adding up the kernels may cost what it saves.
        self._replaced = [fold_upsampling(unet)] if unet.device.type == "cpu" else list[Replaced]()
        if small:
            self._replaced.append(plain_norms(unet, autocast=True))
        if recompute:
            self._replaced += [recompute_image_model(unet), forget_inputs(unet)]
        self._modules = [
            module
            for module in (animated.motion.values() if animated and recompute else ())
            if isinstance(module, MotionModule) and module.proj_in.in_features <= WIDEST
        ]
        for module in self._modules:
            module.recomputes = True
        if takes_shared_text(unet):
            # diffusers' annotation lists its own classes only.
            processor: Any = ClipAttention(products=small)
            unet.set_attn_processor(processor)
            if animated is not None:
                animated.shares_text = True

    def remove(self) -> None:
        """Let the model compute as before; harmless if repeated."""
        for replaced in self._replaced:
            replaced.remove()
        for module in self._modules:
            module.recomputes = False
        if self._animated is not None:
            self._animated.shares_text = False
        self._unet.set_attn_processor(dict(self._processors))
