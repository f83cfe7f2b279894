"""A small network that enlarges pictures: convolutions at the small size, then one pixel shuffle.

The architecture is Real-ESRGAN's compact one (SRVGGNetCompact; Wang et al., arXiv 2107.10833), with its
parameter names: ``body.0`` is the first convolution, every second entry is its activation, and the last
convolution makes ``3 x scale^2`` channels that become pixels. What it computes is added to the picture
enlarged by repetition.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Self

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from animatediff.errors import FileError


class CompactUpscaler(nn.Module):
    """Enlarges pictures by a whole factor.

    Args:
        channels: width of every hidden layer.
        layers: hidden convolutions between the first and the last.
        scale: how many times wider and higher the result is.
    """

    def __init__(self, *, channels: int = 32, layers: int = 8, scale: int = 4) -> None:
        super().__init__()
        self.scale = scale
        body: list[nn.Module] = [nn.Conv2d(3, channels, 3, padding=1), nn.PReLU(channels)]
        for _ in range(layers):
            body += [nn.Conv2d(channels, channels, 3, padding=1), nn.PReLU(channels)]
        body.append(nn.Conv2d(channels, 3 * scale**2, 3, padding=1))
        self.body = nn.ModuleList(body)

    def forward(self, pictures: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 height width"]:
        """The pictures, enlarged; both in the range 0 to 1, without a clamp."""
        features = pictures
        for layer in self.body:
            features = layer(features)
        repeated = F.interpolate(pictures, scale_factor=self.scale, mode="nearest")
        return F.pixel_shuffle(features, self.scale) + repeated

    @classmethod
    def of_weights(cls, weights: Mapping[str, Tensor]) -> Self:
        """The network that these weights are of, with them in it.

        Raises:
            FileError: they are not of this architecture.
        """
        numbers = [int(name.split(".")[1]) for name in weights if name.startswith("body.")]
        first, last = (
            weights.get("body.0.weight"),
            weights.get(f"body.{max(numbers, default=0)}.weight"),
        )
        if first is None or last is None or first.ndim != 4 or last.ndim != 4:
            raise FileError("These weights are not of a compact upscaler (SRVGGNetCompact).")
        scale = math.isqrt(last.shape[0] // 3)
        network = cls(channels=first.shape[0], layers=max(numbers) // 2 - 1, scale=scale)
        expected = {name: value.shape for name, value in network.state_dict().items()}
        if expected != {name: value.shape for name, value in weights.items()}:
            raise FileError(
                "These weights look like a compact upscaler (SRVGGNetCompact), but their layers differ."
            )
        network.load_state_dict(weights)
        return network.eval()
