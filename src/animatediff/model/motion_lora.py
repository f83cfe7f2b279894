"""MotionLoRA: a new motion pattern, such as a camera move, from few parameters and few clips.

Low-rank branches on the temporal self-attentions of the motion modules; several add up: Sec. 4.3 of
Guo et al., arXiv 2307.04725.
"""

from __future__ import annotations

from torch import nn

from animatediff.errors import InputError
from animatediff.model.animated_unet import AnimatedUNet
from animatediff.model.low_rank import PROJECTIONS, LowRankSet
from animatediff.model.motion_module import MotionModule, TemporalAttention


def temporal_projections(animated_unet: AnimatedUNet) -> dict[str, nn.Module]:
    """The q, k, v and output projections of every temporal attention, by motion weight path.

    Raises:
        InputError: the motion is the convolutional rival's, which has no attention.
    """
    projections: dict[str, nn.Module] = {}
    for site, module in animated_unet.motion.items():
        if not isinstance(module, MotionModule):
            raise InputError(
                "MotionLoRA needs motion modules with temporal attention; "
                f"this model's motion is {type(module).__name__}."
            )
        for path, attention in module.named_modules():
            if isinstance(attention, TemporalAttention):
                for projection in PROJECTIONS:
                    projections[f"{site}.{path}.{projection}"] = attention.get_submodule(projection)
    return projections


class MotionLora(LowRankSet):
    """Low-rank grafts on q, k, v and output of every temporal attention.

    Stable Diffusion 1.5 gets 281,600 parameters for each unit of rank, 302,080 with the middle
    block; the published MotionLoRAs have rank 64. Keys of the state dict are those of
    ``motion_state_dict`` with ``weight`` replaced by ``down.weight`` and ``up.weight``.

    Args:
        animated_unet: the model whose motion is adapted; it may carry other MotionLoRAs.
        rank: inner width of every branch.
        scale: strength, live; strengths of several MotionLoRAs add up linearly.

    Raises:
        InputError: the model has no temporal attention, or the rank is below 1.
    """

    def __init__(self, animated_unet: AnimatedUNet, *, rank: int, scale: float = 1.0) -> None:
        super().__init__(temporal_projections(animated_unet), rank=rank, scale=scale)
