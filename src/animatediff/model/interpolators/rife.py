"""RIFE 4.25 and 4.26: flow to both frames for any moment, refined from coarse to fine.

Huang et al., arXiv 2011.06294; the layers of the later versions follow the authors' repository
Practical-RIFE. A head reads features of each frame. Five blocks, from a sixteenth of the size to the
whole, each add to the flow from the moment to both frames and replace the mask that mixes them.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from animatediff.model.interpolators.warping import warped

SLOPE = 0.2
SCALES = (16, 8, 4, 2, 1)
"""How much smaller each block sees the frames."""
MULTIPLE = 64
"""Sides are continued to a multiple of this."""
_HIDDEN = 8
"""Features that a block hands on beside flow and mask."""
_CONVOLUTIONS = 8


class Head(nn.Module):
    """Features of one frame, at its own size."""

    def __init__(self, width: int, features: int) -> None:
        super().__init__()
        self.cnn0 = nn.Conv2d(3, width, 3, stride=2, padding=1)
        self.cnn1 = nn.Conv2d(width, width, 3, padding=1)
        self.cnn2 = nn.Conv2d(width, width, 3, padding=1)
        self.cnn3 = nn.ConvTranspose2d(width, features, 4, stride=2, padding=1)

    def forward(self, frame: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b c h w"]:
        """The features."""
        for layer in (self.cnn0, self.cnn1, self.cnn2):
            frame = F.leaky_relu(layer(frame), SLOPE)
        return self.cnn3(frame)


class ScaledConvolution(nn.Module):
    """A convolution times a learned scale for each channel, added to its input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.beta = nn.Parameter(torch.ones(1, channels, 1, 1))

    def forward(self, features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The new features."""
        return F.leaky_relu(self.conv(features) * self.beta + features, SLOPE)


class FlowBlock(nn.Module):
    """What one scale adds to the flow, its mask and its hidden features."""

    def __init__(self, inputs: int, channels: int) -> None:
        super().__init__()
        self.conv0 = nn.Sequential(
            _halving(inputs, channels // 2), _halving(channels // 2, channels)
        )
        self.convblock = nn.Sequential(*(ScaledConvolution(channels) for _ in range(_CONVOLUTIONS)))
        outputs = 4 * (4 + 1 + _HIDDEN)
        self.lastconv = nn.Sequential(
            nn.ConvTranspose2d(channels, outputs, 4, stride=2, padding=1), nn.PixelShuffle(2)
        )

    def forward(
        self,
        seen: Float[Tensor, "b c h w"],
        flow: Float[Tensor, "b 4 h w"] | None,
        *,
        scale: int,
    ) -> tuple[Float[Tensor, "b 4 h w"], Float[Tensor, "b 1 h w"], Float[Tensor, "b d h w"]]:
        """The change of the flow, the mask before its sigmoid, and the hidden features."""
        seen = _resized(seen, 1 / scale)
        if flow is not None:
            seen = torch.cat([seen, _resized(flow, 1 / scale) / scale], 1)
        found = _resized(self.lastconv(self.convblock(self.conv0(seen))), scale)
        return found[:, :4] * scale, found[:, 4:5], found[:, 5:]


class Rife(nn.Module):
    """RIFE with five blocks.

    Args:
        channels: the width of each block.
        head: the width of the head.
        features: how many features the head reads from a frame.
    """

    def __init__(
        self,
        *,
        channels: tuple[int, ...] = (192, 128, 96, 64, 32),
        head: int = 16,
        features: int = 4,
    ) -> None:
        super().__init__()
        first = 2 * (3 + features) + 1
        later = first + 1 + _HIDDEN + 4
        self.encode = Head(head, features)
        self.blocks = nn.ModuleList(
            FlowBlock(later if index else first, width) for index, width in enumerate(channels)
        )

    def forward(
        self, first: Float[Tensor, "b 3 h w"], second: Float[Tensor, "b 3 h w"], t: float
    ) -> Float[Tensor, "b 3 h w"]:
        """The frame at a moment between two frames, 0 to 1; all with values from 0 to 1."""
        height, width = first.shape[-2:]
        frames = [_continued(frame) for frame in (first, second)]
        features = [self.encode(frame) for frame in frames]
        moment = torch.full_like(frames[0][:, :1], t)
        flow = torch.zeros_like(frames[0][:, :1]).repeat(1, 4, 1, 1)
        mask = hidden = None
        moved = frames
        for block, scale in zip(self.blocks, SCALES, strict=True):
            if mask is None or hidden is None:
                seen = torch.cat([*frames, *features, moment], 1)
                flow, mask, hidden = block(seen, None, scale=scale)
            else:
                read = [warped(features[0], flow[:, :2]), warped(features[1], flow[:, 2:])]
                seen = torch.cat([*moved, *read, moment, mask, hidden], 1)
                change, mask, hidden = block(seen, flow, scale=scale)
                flow = flow + change
            moved = [warped(frames[0], flow[:, :2]), warped(frames[1], flow[:, 2:])]
        assert mask is not None, "there are blocks"
        share = torch.sigmoid(mask)
        return (share * moved[0] + (1 - share) * moved[1])[..., :height, :width]


def _halving(inputs: int, outputs: int) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, 3, stride=2, padding=1)
    return nn.Sequential(convolution, nn.LeakyReLU(SLOPE))


def _resized(values: Float[Tensor, "b c h w"], scale: float) -> Float[Tensor, "b c height width"]:
    if scale == 1:
        return values
    return F.interpolate(values, scale_factor=scale, mode="bilinear", align_corners=False)


def _continued(frame: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c height width"]:
    """The frame, continued by its border to sides that every scale divides."""
    height, width = frame.shape[-2:]
    return F.pad(frame, (0, -width % MULTIPLE, 0, -height % MULTIPLE), mode="replicate")
