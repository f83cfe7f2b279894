"""Recoloured and reshaped copies of one clip, so that a MotionLoRA learns only its motion.

The appearance of a single clip is present in every step and is learned along with its motion. Here
every window shows the same frames in other colours and bent into another shape, both the same in
all of its frames: appearance changes from step to step, while motion stays. A domain adapter first
learns from single frames what all copies share, and keeps it from the MotionLoRA.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from animatediff.data.footage import EncodedFootage, Footage
from animatediff.errors import InputError
from animatediff.training.lessons.clips import Filmable, TrainingData

STRETCH = (0.95, 1.4)
"""Range of the visible extent, drawn separately for width and height."""
SHIFT, BEND = 0.12, 0.12
"""The largest shift of the picture and the mean shift of its parts, in half pictures."""
KNOTS = 4
"""Side of the grid of displaced points; displacements between them are interpolated."""
STRENGTH = (0.4, 1.2)
"""Range of the factors by which colours are darkened."""


@dataclass(frozen=True)
class VariedAppearance:
    """Clips with a different appearance but the same motion in every window.

    Attributes:
        clips: the unchanged clips.
    """

    clips: TrainingData

    def __len__(self) -> int:
        return len(self.clips)

    def footage(self, index: int, *, num_frames: int, generator: torch.Generator) -> Footage:
        """Return a window of the clip with an appearance of its own."""
        seen = self.clips.footage(index, num_frames=num_frames, generator=generator)
        assert not isinstance(seen, EncodedFootage)
        pixels = rearrange(torch.tensor(seen.frames), "f h w c -> f c h w").float()
        looks = bent(recoloured(pixels, generator), generator).round().clamp(0, 255).byte()
        return replace(seen, frames=rearrange(looks, "f c h w -> f h w c").numpy())

    def fingerprint(self) -> str:
        """Return a hash of the clips and the range of appearances."""
        facts = (self.clips.fingerprint(), STRETCH, SHIFT, BEND, KNOTS, STRENGTH)
        return hashlib.sha256(str(facts).encode()).hexdigest()


def varied_appearance(clips: TrainingData, *, stills: bool) -> VariedAppearance:
    """Vary the appearance of the clips in each window; windows start at the beginning, or anywhere.

    Raises:
        InputError: the clips are encoded, so they have no pixels to change.
    """
    if not isinstance(clips, Filmable):
        raise InputError(
            "--vary-appearance needs clips with pixels, not encoded ones; pass the clips that "
            "these were built from."
        )
    return VariedAppearance(clips.with_starts(fixed=not stills))


def recoloured(
    pixels: Float[Tensor, "f 3 h w"], generator: torch.Generator
) -> Float[Tensor, "f 3 h w"]:
    """Permute colour channels, desaturate, and darken or lighten; white stays white."""
    order = torch.randperm(3, generator=generator)
    grey = float(torch.rand((), generator=generator))
    strength = torch.empty(3).uniform_(*STRENGTH, generator=generator)[:, None, None]
    ink = (255.0 - pixels)[:, order]
    ink = torch.lerp(ink, ink.mean(dim=1, keepdim=True), grey)
    return 255.0 - (ink * strength).clamp(0, 255)


def bent(pixels: Float[Tensor, "f 3 h w"], generator: torch.Generator) -> Float[Tensor, "f 3 h w"]:
    """Stretch, shift and bend all frames alike; the border is repeated outside."""
    height, width = pixels.shape[-2:]
    theta = torch.zeros(1, 2, 3)
    theta[0, :, :2] = torch.diag(torch.empty(2).uniform_(*STRETCH, generator=generator))
    theta[0, :, 2] = torch.empty(2).uniform_(-SHIFT, SHIFT, generator=generator)
    grid = F.affine_grid(theta, [1, 3, height, width], align_corners=False)
    knots = BEND * torch.randn(1, 2, KNOTS, KNOTS, generator=generator)
    bend = F.interpolate(knots, size=(height, width), mode="bicubic", align_corners=True)
    grid = (grid + rearrange(bend, "b c h w -> b h w c")).expand(len(pixels), -1, -1, -1)
    return F.grid_sample(pixels, grid, padding_mode="border", align_corners=False)
