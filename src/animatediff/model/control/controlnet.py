"""ControlNet: a trainable copy of the U-Net's encoder that reads a picture (arXiv 2302.05543).

The network is diffusers' own. Its stem, which shrinks the picture to the size of the latents, does
not depend on the timestep, so it is taken off and used once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from torch import Tensor, nn

from animatediff.model.control.network import Embedded, Hints, Question, for_every_clip
from animatediff.model.control.residuals import Residuals
from animatediff.runtime import dtype_of

if TYPE_CHECKING:
    from diffusers.models.controlnets.controlnet import ControlNetModel


class Hinted(nn.Module):
    """A ControlNet whose hints are embedded once.

    Args:
        net: diffusers' ControlNet with its weights; its stem moves into this module.
        pooled: average each residual over the plane, as the net for shuffled pictures was trained.
    """

    def __init__(self, net: ControlNetModel, *, pooled: bool = False) -> None:
        super().__init__()
        self.stem = take_stem(net)
        self.net = net
        self.pooled = pooled

    def embed(self, hints: Hints) -> Embedded:
        """The stem's features of pictures in [0, 1]."""
        return (self.stem(hints.to(dtype_of(self.net))),)

    def forward(self, question: Question, embedded: Embedded) -> Residuals:
        """Residuals for the skip connections and the middle block."""
        skips, mid = self.net(
            question.latents,
            question.timestep,
            question.text,
            for_every_clip(embedded[0], question=question),
            added_cond_kwargs=dict(question.added),
            return_dict=False,
        )
        found = Residuals(tuple(cast("list[Tensor]", skips)), cast(Tensor, mid))
        return (
            found.each(lambda _, plane: plane.mean((2, 3), keepdim=True)) if self.pooled else found
        )


def take_stem(net: nn.Module) -> nn.Module:
    """Take the stem off a network of diffusers, which from then on expects embedded hints."""
    stem = net.get_submodule("controlnet_cond_embedding")
    net.controlnet_cond_embedding = nn.Identity()
    return stem
