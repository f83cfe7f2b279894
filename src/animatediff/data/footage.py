"""One training sample: a window of a clip, as pixels or encoded, and its caption."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from animatediff.errors import InputError

T = TypeVar("T")


@dataclass(frozen=True)
class Footage:
    """Consecutive square frames of one clip, and their caption."""

    frames: UInt8[np.ndarray, "f height width 3"]
    caption: str

    def called(self, caption: str) -> Footage:
        """Return the same frames with another caption."""
        return replace(self, caption=caption)


@dataclass(frozen=True)
class EncodedFootage:
    """A window that an image model's autoencoder and text encoder encoded in a build.

    Attributes:
        mean: scaled latents of each frame, the mean of the encoder's distribution.
        spread: its standard deviation, scaled alike; ``None`` trains on the mean alone.
        caption: of the frames.
        text: the text encoder's states of the caption; ``None`` if they were not stored.
    """

    mean: Float[Tensor, "f c h w"]
    spread: Float[Tensor, "f c h w"] | None
    caption: str
    text: Float[Tensor, "tokens width"] | None

    def called(self, caption: str) -> EncodedFootage:
        """Return the same frames with another caption, which is not encoded."""
        return replace(self, caption=caption, text=None)

    def latents(self, generator: torch.Generator) -> Float[Tensor, "f c h w"]:
        """Sample latents from the encoder's distribution, as encoding the frames would."""
        if self.spread is None:
            return self.mean.float()
        noise = torch.randn(self.mean.shape, generator=generator)
        return self.mean.float() + self.spread.float() * noise


def window_start(available: int, count: int, generator: torch.Generator) -> float:
    """Draw the start of a window, in frames, uniformly over all positions inside the clip.

    Args:
        available: number of frames of the clip at the training rate.
        count: number of frames of the window.
        generator: source of one draw.
    """
    return max(0, available - count) * float(torch.rand((), generator=generator))


def some_of(items: tuple[T, ...], first: int, count: int | None) -> tuple[T, ...]:
    """Return ``count`` of the clips, starting at ``first``.

    Raises:
        InputError: there are fewer.
    """
    end = len(items) if count is None else first + count
    if not 0 <= first < end <= len(items):
        raise InputError(
            f"There are {len(items)} clips to learn from, too few for {count or 'any'} "
            f"from {first} on."
        )
    return items[first:end]
