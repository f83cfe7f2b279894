"""ESRGAN's generator: residual-in-residual dense blocks, then nearest enlargement and convolutions.

Wang et al., arXiv 1809.00219 (ESRGAN) and 2107.10833 (Real-ESRGAN), with the latter's parameter names.
Networks for a scale of 2 and 1 fold squares of pixels into channels first, and enlarge four times.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

SLOPE = 0.2
"""Of the leaky ReLUs."""
RESIDUAL = 0.2
"""The share of a block's output that is added to its input."""
_CONVOLUTIONS = 5


class DenseBlock(nn.Module):
    """Five convolutions, each of which reads the block's input and all results before it."""

    def __init__(self, channels: int, growth: int) -> None:
        super().__init__()
        for index in range(_CONVOLUTIONS):
            out = channels if index == _CONVOLUTIONS - 1 else growth
            self.add_module(f"conv{index + 1}", _conv(channels + index * growth, out))

    def forward(self, features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The input plus a fifth of what the block computes."""
        known = [features]
        *inner, last = self.children()
        for convolution in inner:
            known.append(F.leaky_relu(convolution(torch.cat(known, 1)), SLOPE))
        return features + RESIDUAL * last(torch.cat(known, 1))


class ResidualBlock(nn.Module):
    """Three dense blocks, one after another."""

    def __init__(self, channels: int, growth: int) -> None:
        super().__init__()
        self.rdb1 = DenseBlock(channels, growth)
        self.rdb2 = DenseBlock(channels, growth)
        self.rdb3 = DenseBlock(channels, growth)

    def forward(self, features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The input plus a fifth of what the blocks compute."""
        return features + RESIDUAL * self.rdb3(self.rdb2(self.rdb1(features)))


class RRDBUpscaler(nn.Module):
    """ESRGAN's generator.

    Args:
        channels: width of the trunk.
        blocks: residual blocks in the trunk.
        growth: width of the convolutions in a dense block.
        doublings: how often the trunk's result is doubled in size.
        folded: side of the squares of pixels that are folded into channels first.
    """

    def __init__(
        self,
        *,
        channels: int = 64,
        blocks: int = 23,
        growth: int = 32,
        doublings: int = 2,
        folded: int = 1,
    ) -> None:
        super().__init__()
        self.scale = 2**doublings // folded
        self.folded = folded
        self.doublings = doublings
        self.conv_first = _conv(3 * folded**2, channels)
        self.body = nn.ModuleList(ResidualBlock(channels, growth) for _ in range(blocks))
        self.conv_body = _conv(channels, channels)
        for index in range(doublings):
            self.add_module(f"conv_up{index + 1}", _conv(channels, channels))
        self.conv_hr = _conv(channels, channels)
        self.conv_last = _conv(channels, 3)

    def forward(self, pictures: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 height width"]:
        """The pictures, enlarged; both in the range 0 to 1, without a clamp."""
        height, width = (side * self.scale for side in pictures.shape[-2:])
        # A side that is no multiple of the square is continued by its last line.
        missing = [-side % self.folded for side in pictures.shape[-2:]]
        if any(missing):
            pictures = F.pad(pictures, (0, missing[1], 0, missing[0]), mode="replicate")
        first = self.conv_first(F.pixel_unshuffle(pictures, self.folded))
        features = first
        for block in self.body:
            features = block(features)
        features = first + self.conv_body(features)
        for index in range(self.doublings):
            larger = F.interpolate(features, scale_factor=2, mode="nearest")
            features = F.leaky_relu(self.get_submodule(f"conv_up{index + 1}")(larger), SLOPE)
        features = F.leaky_relu(self.conv_hr(features), SLOPE)
        return self.conv_last(features)[..., :height, :width]


def _conv(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1)
