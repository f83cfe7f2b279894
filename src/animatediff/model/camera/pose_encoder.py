"""CameraCtrl's encoder of camera poses: from rays to features for every motion module.

He et al., arXiv 2404.02101, Sec. 3.2. A pose is given as a ray for each pixel, in Plücker coordinates;
attention along the frames lets the features of a pose depend on the path.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from animatediff.model.clip import Clip
from animatediff.model.motion_module import TemporalTransformerBlock
from animatediff.model.picture_pyramid import BLOCKS, pyramid_blocks

SQUARE = 8
"""Pixels of a side that one position of the latents stands for."""
RAY = 6
"""Numbers of a ray."""
HEADS = 8
FRAMES = 16
"""Frames of a path that it was trained on."""


class PoseEncoder(nn.Module):
    """ResNet blocks and attention along the frames, at four sizes; parameters as in the file.

    Args:
        widths: channels of each size, which are those of the image model's blocks.
    """

    def __init__(self, *, widths: Sequence[int]) -> None:
        super().__init__()
        self.clip = Clip()
        blocks = pyramid_blocks(widths)
        levels = range(len(widths))
        self.encoder_conv_in = nn.Conv2d(RAY * SQUARE**2, widths[0], 3, padding=1)
        self.encoder_down_conv_blocks = nn.ModuleList(
            nn.ModuleList(blocks[BLOCKS * level : BLOCKS * (level + 1)]) for level in levels
        )
        self.encoder_down_attention_blocks = nn.ModuleList(
            nn.ModuleList(
                TemporalTransformerBlock(
                    widths[level], heads=HEADS, attention_blocks=1, clip=self.clip
                )
                for _ in range(BLOCKS)
            )
            for level in levels
        )

    def forward(
        self, rays: Float[Tensor, "f 6 height width"]
    ) -> tuple[Float[Tensor, "f _ _ _"], ...]:
        """The features of one path at each size, the largest first."""
        self.clip.num_frames = len(rays)
        x = self.encoder_conv_in(F.pixel_unshuffle(rays, SQUARE))
        found: list[Tensor] = []
        for convolutions, attentions in zip(
            self.encoder_down_conv_blocks, self.encoder_down_attention_blocks, strict=True
        ):
            for convolution, attention in zip(convolutions, attentions, strict=True):  # pyright: ignore[reportArgumentType] - both are lists
                x = convolution(x)
                height = x.shape[2]
                tokens = attention(rearrange(x, "f c h w -> f (h w) c"))
                x = rearrange(tokens, "f (h w) c -> f c h w", h=height)
            found.append(x)
        return tuple(found)
