"""What one sample is learned from: a window of a clip, as pixels or encoded, and its caption."""

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
    """Frames of one clip in a row, square, and what they show."""

    frames: UInt8[np.ndarray, "f height width 3"]
    caption: str

    def called(self, caption: str) -> Footage:
        """The same frames under another caption."""
        return replace(self, caption=caption)


@dataclass(frozen=True)
class EncodedFootage:
    """The same, as an image model's autoencoder and text encoder gave it when it was built.

    Attributes:
        mean: scaled latents of each frame, the mean of the encoder's distribution.
        spread: its standard deviation, scaled alike.
        caption: what the frames show.
        text: the text encoder's states of the caption; ``None`` if they were not kept.
    """

    mean: Float[Tensor, "f c h w"]
    spread: Float[Tensor, "f c h w"]
    caption: str
    text: Float[Tensor, "tokens width"] | None

    def called(self, caption: str) -> EncodedFootage:
        """The same frames under another caption, which was not encoded."""
        return replace(self, caption=caption, text=None)

    def latents(self, generator: torch.Generator) -> Float[Tensor, "f c h w"]:
        """Latents drawn from the encoder's distribution, as encoding the frames anew would."""
        noise = torch.randn(self.mean.shape, generator=generator)
        return self.mean.float() + self.spread.float() * noise


def window_start(available: int, count: int, generator: torch.Generator) -> float:
    """Where a window begins, in frames: anywhere, evenly, so that it ends where the clip does.

    Args:
        available: how many frames the clip has at the rate that is learned.
        count: how many the window has.
        generator: what it is drawn from, once.
    """
    return max(0, available - count) * float(torch.rand((), generator=generator))


def some_of(items: tuple[T, ...], first: int, count: int | None) -> tuple[T, ...]:
    """``count`` of the clips, from ``first`` on.

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
