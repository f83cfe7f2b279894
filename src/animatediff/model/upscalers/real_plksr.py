"""RealPLKSR: convolutions with a large kernel on a part of the channels, and one pixel shuffle.

Lee et al., arXiv 2404.11848 (PLKSR); the "real" form adds a group norm to every block, and Mish. The
parameter names are its authors'.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

NORM_GROUPS = 4


class LargeKernel(nn.Module):
    """A convolution with a large kernel on the first channels; the others pass."""

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, kernel, padding=kernel // 2)

    def forward(self, features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The features with the first of them convolved."""
        count = self.conv.in_channels
        return torch.cat([self.conv(features[:, :count]), features[:, count:]], 1)


class ElementAttention(nn.Module):
    """Multiplies every element by a number from 0 to 1 that is read from its neighbourhood."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.f = nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1), nn.Sigmoid())

    def forward(self, features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The weighted features."""
        return features * self.f(features)


class Block(nn.Module):
    """Channel mixer, large kernel, attention, refinement and norm, added to the input."""

    def __init__(self, channels: int, *, part: int, kernel: int, attends: bool) -> None:
        super().__init__()
        self.channel_mixer = nn.Sequential(
            nn.Conv2d(channels, 2 * channels, 3, padding=1),
            nn.Mish(),
            nn.Conv2d(2 * channels, channels, 3, padding=1),
        )
        self.lk = LargeKernel(part, kernel)
        self.attn = ElementAttention(channels) if attends else nn.Identity()
        self.refine = nn.Conv2d(channels, channels, 1)
        self.norm = nn.GroupNorm(NORM_GROUPS, channels)

    def forward(self, features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The input plus what the block computes."""
        mixed = self.attn(self.lk(self.channel_mixer(features)))
        return features + self.norm(self.refine(mixed))


class RealPLKSRUpscaler(nn.Module):
    """RealPLKSR with a pixel shuffle.

    Args:
        channels: width.
        blocks: how many blocks.
        part: channels that the large kernel reads.
        kernel: side of the large kernel.
        attends: whether blocks have element-wise attention.
        scale: how many times wider and higher the result is.
    """

    def __init__(
        self,
        *,
        channels: int = 64,
        blocks: int = 28,
        part: int = 16,
        kernel: int = 17,
        attends: bool = True,
        scale: int = 4,
    ) -> None:
        super().__init__()
        self.scale = scale
        self.feats = nn.Sequential(
            nn.Conv2d(3, channels, 3, padding=1),
            *(Block(channels, part=part, kernel=kernel, attends=attends) for _ in range(blocks)),
            nn.Identity(),  # In training there is a dropout, which counts in the names.
            nn.Conv2d(channels, 3 * scale**2, 3, padding=1),
        )

    def forward(self, pictures: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 height width"]:
        """The pictures, enlarged; both in the range 0 to 1, without a clamp."""
        repeated = pictures.repeat_interleave(self.scale**2, dim=1)
        return F.pixel_shuffle(self.feats(pictures) + repeated, self.scale)
