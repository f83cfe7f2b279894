"""The domain adapter: absorbs how training videos look, so that motion modules need not.

Low-rank branches on the self- and cross-attentions of the image model, trained on single video
frames before the motion module and left out (or turned down) at inference: Sec. 4.1 and Eq. 4 of
Guo et al., arXiv 2307.04725.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from animatediff.model.low_rank import attention_projections, graft_low_rank

if TYPE_CHECKING:
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel


class DomainAdapter(nn.Module):
    """Low-rank grafts on q, k, v and output of every spatial attention of an image U-Net.

    Stable Diffusion 1.5 gets 199,296 parameters for each unit of rank; the published adapter has
    rank 128. Keys of the state dict are the U-Net's paths, ``{path}.down.weight`` and
    ``{path}.up.weight``.

    Args:
        unet: the image model, which may already be animated.
        rank: inner width of every branch.
        scale: the paper's alpha, 1 in training; 0 is the base model exactly.

    Raises:
        InputError: the U-Net has no attention, or the rank is below 1.
    """

    def __init__(self, unet: UNet2DConditionModel, *, rank: int, scale: float = 1.0) -> None:
        super().__init__()
        self.rank = rank
        self.grafts = graft_low_rank(
            self, hosts=attention_projections(unet), rank=rank, scale=scale
        )

    @property
    def scale(self) -> float:
        """The paper's alpha (Eq. 4); setting it takes effect at once."""
        return self.grafts.scale

    @scale.setter
    def scale(self, scale: float) -> None:
        self.grafts.scale = scale

    def remove(self) -> None:
        """Take the adapter off the image model."""
        self.grafts.remove()

    def __repr__(self) -> str:
        return f"DomainAdapter(rank {self.rank}; {self.grafts!r})"
