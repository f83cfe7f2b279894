"""Features of a drawing style: palette, shading and outlines.

Networks trained to name objects ignore style: features of EfficientNet-Lite0 alone distinguish the
emoji styles in only 80 % of cases. Each set of drawings has its own few colours, flat or shaded
surfaces, and hard or soft edges.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange, reduce
from jaxtyping import Bool, Float
from torch import Tensor

SIZE = 128
COLOUR_BINS = 12
_STEEPNESS_EDGES = (0.004, 0.008, 0.015, 0.03, 0.06, 0.12, 0.25, 0.5)
_SCALES = (1, 2, 4)
_INK_ABOVE = 0.05
NUM_FEATURES = COLOUR_BINS**3 + len(_SCALES) * (len(_STEEPNESS_EDGES) + 1) + 5


def palette_features(pictures: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n features"]:
    """Return histograms of colour and gradient over the foreground of pictures in [0, 1], and its box.

    Counts are square roots of shares of the foreground, so that small parts are not negligible.
    """
    if pictures.shape[-2:] != (SIZE, SIZE):
        pictures = F.interpolate(pictures, size=(SIZE, SIZE), mode="bilinear", antialias=True)
    ink = reduce(pictures, "n c h w -> n h w", "min") < 1 - _INK_ABOVE
    parts = [_colours(pictures, ink)]
    parts += [_steepness(pictures, ink, scale=scale) for scale in _SCALES]
    parts.append(_box(ink))
    return torch.cat(parts, dim=1)


def _colours(
    pictures: Float[Tensor, "n 3 h w"], ink: Bool[Tensor, "n h w"]
) -> Float[Tensor, "n bins"]:
    """Return a histogram of the foreground's colours, with trilinear binning."""
    count = len(pictures)
    position = rearrange(pictures, "n c h w -> (n h w) c")[ink.flatten()] * (COLOUR_BINS - 1)
    owner = torch.arange(count, device=ink.device).repeat_interleave(ink.sum(dim=(1, 2)))
    low = position.floor().clamp(0, COLOUR_BINS - 2)
    part = position - low
    histogram = position.new_zeros(count * COLOUR_BINS**3)
    for corner in range(8):
        step = torch.tensor([corner >> 2 & 1, corner >> 1 & 1, corner & 1], device=ink.device)
        weight = torch.where(step == 1, part, 1 - part).prod(dim=1)
        r, g, b = (low.long() + step).unbind(dim=1)
        index = ((owner * COLOUR_BINS + r) * COLOUR_BINS + g) * COLOUR_BINS + b
        histogram.index_add_(0, index, weight)
    return _shares(rearrange(histogram, "(n bins) -> n bins", n=count))


def _steepness(
    pictures: Float[Tensor, "n 3 h w"], ink: Bool[Tensor, "n h w"], *, scale: int
) -> Float[Tensor, "n bins"]:
    """Return a histogram of the foreground's gradients, from flat to edge, at lower resolution."""
    small = F.avg_pool2d(pictures, scale)
    wet = F.max_pool2d(ink[:, None].float(), scale)[:, 0] > 0
    across = (small[:, :, :-1, 1:] - small[:, :, :-1, :-1]).abs().amax(dim=1)
    down = (small[:, :, 1:, :-1] - small[:, :, :-1, :-1]).abs().amax(dim=1)
    edges = torch.tensor(_STEEPNESS_EDGES, device=pictures.device)
    bins = torch.bucketize(torch.maximum(across, down), edges)
    hot = F.one_hot(bins, len(_STEEPNESS_EDGES) + 1) * wet[:, :-1, :-1, None]
    return _shares(reduce(hot.float(), "n h w bins -> n bins", "sum"))


def _box(ink: Bool[Tensor, "n h w"]) -> Float[Tensor, "n 5"]:
    """Return the foreground's bounding box and its share of the picture, in [0, 1]."""
    sides: list[Tensor] = []
    for filled in (ink.any(dim=1), ink.any(dim=2)):
        length = filled.shape[1]
        first = filled.float().argmax(dim=1)
        last = length - 1 - filled.flip(1).float().argmax(dim=1)
        sides += [first / length, last / length]
    return torch.stack([*sides, ink.float().mean(dim=(1, 2))], dim=1)


def _shares(counts: Float[Tensor, "n bins"]) -> Float[Tensor, "n bins"]:
    return (counts / counts.sum(dim=1, keepdim=True).clamp(min=1)).sqrt()
