"""Read a picture along a flow, bilinearly, continuing it by its border."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def warped(
    picture: Float[Tensor, "b c h w"], flow: Float[Tensor, "b 2 h w"]
) -> Float[Tensor, "b c h w"]:
    """The picture at each pixel's place plus the flow there, in pixels (x, y)."""
    height, width = flow.shape[-2:]
    y = torch.arange(height, device=flow.device, dtype=flow.dtype)
    x = torch.arange(width, device=flow.device, dtype=flow.dtype)
    across = (2 * (x[None, None, :] + flow[:, 0]) + 1) / width - 1
    down = (2 * (y[None, :, None] + flow[:, 1]) + 1) / height - 1
    return F.grid_sample(
        picture,
        torch.stack([across, down], -1),
        mode="bilinear",
        padding_mode="border",
        align_corners=False,
    )
