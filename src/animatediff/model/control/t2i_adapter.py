"""T2I-Adapter: a small encoder of a picture that does not look at the latents (arXiv 2302.08453).

Its features are therefore computed once for each picture, and added at every step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from einops import einsum, rearrange
from jaxtyping import Float
from torch import Tensor, nn

from animatediff.model.control.network import Embedded, Hints, Question, for_every_clip
from animatediff.model.control.residuals import Residuals
from animatediff.runtime import dtype_of

if TYPE_CHECKING:
    from diffusers.models.adapter import T2IAdapter

_LUMA = (0.299, 0.587, 0.114)
"""Shares of red, green and blue in grey (ITU-R BT.601)."""


class Adapted(nn.Module):
    """A T2I-Adapter whose features are computed once.

    Args:
        net: diffusers' T2I-Adapter with its weights.
    """

    def __init__(self, net: T2IAdapter) -> None:
        super().__init__()
        self.net = net

    @property
    def squares(self) -> int:
        """The sides of a picture must be multiples of this many pixels."""
        return cast(int, self.net.config["downscale_factor"])

    def embed(self, hints: Hints) -> Embedded:
        """The features of pictures in [0, 1], one tensor for each down block."""
        if self.net.config["in_channels"] == 1:
            hints = _grey(hints)
        return tuple(cast("list[Tensor]", self.net(hints.to(dtype_of(self.net)))))

    def forward(self, question: Question, embedded: Embedded) -> Residuals:
        """Residuals for the end of each down block."""
        return Residuals(blocks=tuple(for_every_clip(e, question=question) for e in embedded))


def _grey(pictures: Hints) -> Float[Tensor, "n 1 height width"]:
    shares = pictures.new_tensor(_LUMA)
    return rearrange(einsum(pictures, shares, "n c h w, c -> n h w"), "n h w -> n 1 h w")
