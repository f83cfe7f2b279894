"""RAFT (Teed and Deng, arXiv 2003.12039): optical flow by recurrent lookups in all-pairs correlations.

Written from the paper, with the layer names of the authors' checkpoints, so that theirs load.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange, reduce
from jaxtyping import Float
from torch import Tensor, nn

RADIUS, LEVELS = 4, 4
HIDDEN, CONTEXT = 128, 128
STRIDE = 8
"""Features are eight times smaller than frames."""
LEAST_SIDE = STRIDE * 2**LEVELS
"""Px of the shorter side: below, the last level of the pyramid has a single row."""


def _norm(kind: str, channels: int) -> nn.Module:
    return nn.InstanceNorm2d(channels) if kind == "instance" else nn.BatchNorm2d(channels)


class ResidualBlock(nn.Module):
    """Two convolutions of 3 x 3 beside a shortcut, which is a convolution where the size changes."""

    def __init__(self, channels: int, out: int, *, norm: str, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, out, 3, stride=stride, padding=1)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1)
        self.norm1, self.norm2 = _norm(norm, out), _norm(norm, out)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1:
            self.downsample = nn.Sequential(
                nn.Conv2d(channels, out, 1, stride=stride), _norm(norm, out)
            )

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d g v"]:
        """Return the block's output."""
        y = F.relu(self.norm1(self.conv1(x)))
        y = F.relu(self.norm2(self.conv2(y)))
        return F.relu(self.downsample(x) + y)


class Encoder(nn.Module):
    """Frames to features of an eighth of their size."""

    def __init__(self, out: int, *, norm: str) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3)
        self.norm1 = _norm(norm, 64)
        self.layer1, self.layer2, self.layer3 = (
            nn.Sequential(
                ResidualBlock(channels, width, norm=norm, stride=stride),
                ResidualBlock(width, width, norm=norm, stride=1),
            )
            for channels, width, stride in ((64, 64, 1), (64, 96, 2), (96, 128, 2))
        )
        self.conv2 = nn.Conv2d(128, out, 1)

    def forward(self, x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b c g v"]:
        """Return the features."""
        x = F.relu(self.norm1(self.conv1(x)))
        return self.conv2(self.layer3(self.layer2(self.layer1(x))))


class MotionEncoder(nn.Module):
    """Correlations and the flow so far to motion features."""

    def __init__(self) -> None:
        super().__init__()
        self.convc1 = nn.Conv2d(LEVELS * (2 * RADIUS + 1) ** 2, 256, 1)
        self.convc2 = nn.Conv2d(256, 192, 3, padding=1)
        self.convf1 = nn.Conv2d(2, 128, 7, padding=3)
        self.convf2 = nn.Conv2d(128, 64, 3, padding=1)
        self.conv = nn.Conv2d(192 + 64, 128 - 2, 3, padding=1)

    def forward(self, flow: Tensor, correlation: Tensor) -> Float[Tensor, "b 128 h w"]:
        """Return the features, the flow itself last."""
        seen = F.relu(self.convc2(F.relu(self.convc1(correlation))))
        moved = F.relu(self.convf2(F.relu(self.convf1(flow))))
        together = F.relu(self.conv(torch.cat([seen, moved], dim=1)))
        return torch.cat([together, flow], dim=1)


class SeparableGru(nn.Module):
    """A gated recurrent unit of convolutions, first along rows, then along columns."""

    def __init__(self) -> None:
        super().__init__()
        width = HIDDEN + CONTEXT + 128

        def layer(size: tuple[int, int]) -> nn.Conv2d:
            return nn.Conv2d(width, HIDDEN, size, padding=(size[0] // 2, size[1] // 2))

        self.convz1, self.convr1, self.convq1 = (layer((1, 5)) for _ in range(3))
        self.convz2, self.convr2, self.convq2 = (layer((5, 1)) for _ in range(3))

    def forward(self, hidden: Tensor, x: Tensor) -> Float[Tensor, "b 128 h w"]:
        """Return the next hidden state."""
        gates = (self.convz1, self.convr1, self.convq1), (self.convz2, self.convr2, self.convq2)
        for update, reset, new in gates:
            both = torch.cat([hidden, x], dim=1)
            z, r = torch.sigmoid(update(both)), torch.sigmoid(reset(both))
            hidden = torch.lerp(hidden, torch.tanh(new(torch.cat([r * hidden, x], dim=1))), z)
        return hidden


class FlowHead(nn.Module):
    """The hidden state to a correction of the flow."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(HIDDEN, 256, 3, padding=1)
        self.conv2 = nn.Conv2d(256, 2, 3, padding=1)

    def forward(self, x: Tensor) -> Float[Tensor, "b 2 h w"]:
        """Return the correction, in px of the features."""
        return self.conv2(F.relu(self.conv1(x)))


class UpdateBlock(nn.Module):
    """One iteration: motion features, the recurrent unit, the correction and upsampling weights."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = MotionEncoder()
        self.gru = SeparableGru()
        self.flow_head = FlowHead()
        self.mask = nn.Sequential(
            nn.Conv2d(HIDDEN, 256, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(256, 9 * STRIDE**2, 1),
        )


class RaftNetwork(nn.Module):
    """RAFT of the authors' larger size, 5.26 million parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.fnet = Encoder(256, norm="instance")
        self.cnet = Encoder(HIDDEN + CONTEXT, norm="batch")
        self.update_block = UpdateBlock()

    def forward(
        self, first: Float[Tensor, "1 3 h w"], second: Float[Tensor, "1 3 h w"], *, iterations: int
    ) -> Float[Tensor, "1 2 h w"]:
        """Return the flow between two frames in [-1, 1], whose sides are multiples of 8."""
        features = self.fnet(torch.cat([first, second]))
        pyramid = correlation_pyramid(features[:1], features[1:])
        hidden, context = self.cnet(first).split([HIDDEN, CONTEXT], dim=1)
        hidden, context = torch.tanh(hidden), F.relu(context)
        block, start = self.update_block, pixel_grid(features)
        flow = torch.zeros_like(start)
        for _ in range(iterations):
            motion = block.encoder(flow, looked_up(pyramid, start + flow))
            hidden = block.gru(hidden, torch.cat([context, motion], dim=1))
            flow = flow + block.flow_head(hidden)
        return upsampled(flow, 0.25 * block.mask(hidden))


def pixel_grid(features: Float[Tensor, "b c h w"]) -> Float[Tensor, "1 2 h w"]:
    """Return the coordinates (x, y) of every pixel of the features."""
    height, width = features.shape[-2:]
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack([columns, rows])[None].to(features)


def correlation_pyramid(
    first: Float[Tensor, "1 c h w"], second: Float[Tensor, "1 c h w"]
) -> list[Float[Tensor, "hw 1 g v"]]:
    """Return the correlation of every two pixels, with the second frame halved at each level."""
    height, width = first.shape[-2:]
    together = torch.einsum("bcn,bcm->nm", first.flatten(2), second.flatten(2))
    level = (together / first.shape[1] ** 0.5).reshape(-1, 1, height, width)
    levels = [level]
    for _ in range(LEVELS - 1):
        level = F.avg_pool2d(level, 2)
        levels.append(level)
    return levels


def looked_up(
    pyramid: list[Float[Tensor, "hw 1 g v"]], places: Float[Tensor, "1 2 h w"]
) -> Float[Tensor, "1 k h w"]:
    """Return the correlations in a window around each place, level by level."""
    height, width = places.shape[-2:]
    steps = torch.arange(-RADIUS, RADIUS + 1, device=places.device, dtype=places.dtype)
    # The first axis of a window runs along x, as in the authors' checkpoints.
    window = torch.stack(torch.meshgrid(steps, steps, indexing="ij"), dim=-1)
    centres = rearrange(places, "1 d h w -> (h w) 1 1 d")
    found: list[Tensor] = []
    for number, level in enumerate(pyramid):
        size = places.new_tensor([level.shape[-1] - 1, level.shape[-2] - 1])
        grid = 2 * (centres / 2**number + window) / size - 1
        seen = F.grid_sample(level, grid, align_corners=True)
        found.append(rearrange(seen, "(h w) 1 i j -> 1 (i j) h w", h=height, w=width))
    return torch.cat(found, dim=1)


def upsampled(
    flow: Float[Tensor, "1 2 h w"], mask: Float[Tensor, "1 k h w"]
) -> Float[Tensor, "1 2 gh gw"]:
    """Return the flow at full size: each pixel is a weighted mean of nine neighbours."""
    height, width = flow.shape[-2:]
    weights = rearrange(mask, "1 (n i j) h w -> n i j h w", n=9, i=STRIDE, j=STRIDE).softmax(dim=0)
    around = F.unfold(STRIDE * flow, 3, padding=1)
    around = rearrange(around, "1 (d n) (h w) -> d n 1 1 h w", d=2, h=height, w=width)
    full = reduce(around * weights, "d n i j h w -> d i j h w", "sum")
    return rearrange(full, "d i j h w -> 1 d (h i) (w j)")
