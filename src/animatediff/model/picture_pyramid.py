"""A pyramid of features for the blocks of a U-Net, from a map at the size of the latents.

Several published networks share this shape: AnimateLCM's encoder of a picture (arXiv 2402.00769),
MotionCtrl's encoder of object paths and CameraCtrl's of camera poses (arXiv 2312.03641, 2404.02101). It
is T2I-Adapter's (arXiv 2302.08453): two ResNet blocks for each size, halved by averages.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

BLOCKS = 2
"""ResNet blocks of each size."""


class PyramidBlock(nn.Module):
    """A ResNet block whose outer convolutions have kernels of one position.

    Args:
        inputs: channels that it reads.
        outputs: channels that it makes.
        halves: whether it first halves height and width; odd sizes are rounded up.
    """

    def __init__(self, inputs: int, outputs: int, *, halves: bool) -> None:
        super().__init__()
        self.halves = halves
        self.in_conv = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else None
        self.block1 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.block2 = nn.Conv2d(outputs, outputs, 1)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d h2 w2"]:
        """The features of the next level."""
        if self.halves:
            x = F.pad(x, (0, x.shape[3] % 2, 0, x.shape[2] % 2), mode="replicate")
            x = F.avg_pool2d(x, 2)
        if self.in_conv is not None:
            x = self.in_conv(x)
        return x + self.block2(F.relu(self.block1(x)))


def pyramid_blocks(widths: Sequence[int]) -> list[PyramidBlock]:
    """The blocks of all sizes, ``BLOCKS`` for each."""
    found: list[PyramidBlock] = []
    before = widths[0]
    for level, width in enumerate(widths):
        for index in range(BLOCKS):
            halves = level > 0 and index == 0
            found.append(PyramidBlock(before, width, halves=halves))
            before = width
    return found


class PicturePyramid(nn.Module):
    """A first convolution, and blocks of falling size.

    Args:
        inputs: channels that it reads.
        widths: channels of each size.
    """

    def __init__(self, inputs: int, *, widths: Sequence[int]) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(inputs, widths[0], 3, padding=1)
        self.body = nn.ModuleList(pyramid_blocks(widths))

    def forward(
        self, x: Float[Tensor, "n c h w"], *, plus: Float[Tensor, "n d 1 1"] | None = None
    ) -> tuple[Float[Tensor, "n _ _ _"], ...]:
        """The features of each size, the largest first.

        Args:
            x: the map.
            plus: is added after the first convolution.
        """
        x = self.conv_in(x)
        if plus is not None:
            x = x + plus
        found: list[Tensor] = []
        for index, block in enumerate(self.body):
            x = block(x)
            if index % BLOCKS == BLOCKS - 1:
                found.append(x)
        return tuple(found)
