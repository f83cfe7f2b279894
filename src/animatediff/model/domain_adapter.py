"""The domain adapter: absorbs the look of the training videos, so that motion modules do not.

Low-rank branches on the self- and cross-attentions of the image model, trained on single video
frames before the motion module. They are left out or scaled down at inference: Sec. 4.1 and Eq. 4
of Guo et al., arXiv 2307.04725.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from animatediff.model.grafts.low_rank import LowRankSet, attention_projections

if TYPE_CHECKING:
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel


def attach_domain_adapter(
    unet: UNet2DConditionModel, *, rank: int, scale: float = 1.0
) -> LowRankSet:
    """Graft new low-rank branches on q, k, v and output of every spatial attention of an image U-Net.

    Stable Diffusion 1.5 gets 199,296 parameters per unit of rank; the published adapter has rank
    128. Keys of the state dict are the U-Net's paths, ``{path}.down.weight`` and
    ``{path}.up.weight``.

    Args:
        unet: the image model, which may already be animated.
        rank: inner width of every branch.
        scale: the paper's alpha (Eq. 4), which may be changed at any time: 1 in training; 0 is
            exactly the base model.

    Raises:
        InputError: the U-Net has no attention, or the rank is below 1.
    """
    return LowRankSet(attention_projections(unet), rank=rank, scale=scale)
