"""One clip in many looks, so that a MotionLoRA learns its motion and not what moves.

Whatever a single clip looks like is there in every step, and is learned along with its motion. Here
every window shows the same frames in other colours and bent into another shape, both the same in all
of its frames: looks change from step to step, and what happens from frame to frame stays. What all
these looks share, a domain adapter learns from single frames before, and keeps from the MotionLoRA.
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
"""How many times as much of the picture is seen, drawn for its width and its height apart."""
SHIFT, BEND = 0.12, 0.12
"""How far the whole of a picture goes and its parts go, at most and in the mean, in half pictures."""
KNOTS = 4
"""A side of the raster of points that are moved apart; what is between them follows smoothly."""
STRENGTH = (0.4, 1.2)
"""How many times as dark each of the colours becomes."""


@dataclass(frozen=True)
class VariedAppearance:
    """Clips whose every window looks otherwise and moves alike.

    Attributes:
        clips: as they are.
    """

    clips: TrainingData

    def __len__(self) -> int:
        return len(self.clips)

    def footage(self, index: int, *, num_frames: int, generator: torch.Generator) -> Footage:
        """A window of the clip, in a look of its own."""
        seen = self.clips.footage(index, num_frames=num_frames, generator=generator)
        assert not isinstance(seen, EncodedFootage)
        pixels = rearrange(torch.tensor(seen.frames), "f h w c -> f c h w").float()
        looks = bent(recoloured(pixels, generator), generator).round().clamp(0, 255).byte()
        return replace(seen, frames=rearrange(looks, "f c h w -> f h w c").numpy())

    def fingerprint(self) -> str:
        """Of the clips, and of how far their looks vary."""
        facts = (self.clips.fingerprint(), STRETCH, SHIFT, BEND, KNOTS, STRENGTH)
        return hashlib.sha256(str(facts).encode()).hexdigest()


def varied_appearance(clips: TrainingData, *, stills: bool) -> VariedAppearance:
    """The clips, each window in a look of its own: their beginnings, or any frame of theirs.

    Raises:
        InputError: they are encoded, and have no pixels to change.
    """
    if not isinstance(clips, Filmable):
        raise InputError(
            "--vary-appearance changes the colours and shapes of pictures, and these clips are kept as "
            "they were encoded; give the clips that they were built from."
        )
    return VariedAppearance(clips.with_starts(fixed=not stills))


def recoloured(
    pixels: Float[Tensor, "f 3 h w"], generator: torch.Generator
) -> Float[Tensor, "f 3 h w"]:
    """Red, green and blue exchanged, paled towards grey and made darker or lighter; white stays."""
    order = torch.randperm(3, generator=generator)
    grey = float(torch.rand((), generator=generator))
    strength = torch.empty(3).uniform_(*STRENGTH, generator=generator)[:, None, None]
    ink = (255.0 - pixels)[:, order]
    ink = torch.lerp(ink, ink.mean(dim=1, keepdim=True), grey)
    return 255.0 - (ink * strength).clamp(0, 255)


def bent(pixels: Float[Tensor, "f 3 h w"], generator: torch.Generator) -> Float[Tensor, "f 3 h w"]:
    """Stretched, shifted and bent, all frames alike; outside, the border goes on."""
    height, width = pixels.shape[-2:]
    theta = torch.zeros(1, 2, 3)
    theta[0, :, :2] = torch.diag(torch.empty(2).uniform_(*STRETCH, generator=generator))
    theta[0, :, 2] = torch.empty(2).uniform_(-SHIFT, SHIFT, generator=generator)
    grid = F.affine_grid(theta, [1, 3, height, width], align_corners=False)
    knots = BEND * torch.randn(1, 2, KNOTS, KNOTS, generator=generator)
    bend = F.interpolate(knots, size=(height, width), mode="bicubic", align_corners=True)
    grid = (grid + rearrange(bend, "b c h w -> b h w c")).expand(len(pixels), -1, -1, -1)
    return F.grid_sample(pixels, grid, padding_mode="border", align_corners=False)
