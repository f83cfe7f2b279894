"""What the metrics need of a network: embeddings of frames, and of texts in the same space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from jaxtyping import Float, UInt8
from torch import Tensor

Frames = UInt8[np.ndarray, "frames height width 3"]


@dataclass(frozen=True)
class Seen:
    """Embeddings of frames.

    Attributes:
        pictures: to compare with other pictures.
        words: to compare with texts; the same tensor for CLIP.
    """

    pictures: Float[Tensor, "frames d"]
    words: Float[Tensor, "frames e"]


class Judge(Protocol):
    """Embeds frames and texts: CLIP, or the built-in world's scorer in its place."""

    @property
    def name(self) -> str:
        """Name in tables."""
        ...

    @property
    def digest(self) -> str:
        """Hash of its weights."""
        ...

    def see(self, frames: Frames) -> Seen:
        """Return the embeddings of frames."""
        ...

    def read(self, texts: Sequence[str]) -> Float[Tensor, "n e"]:
        """Return the embeddings of texts."""
        ...


class FrameNetwork(Protocol):
    """Embeds frames only: DINO."""

    @property
    def name(self) -> str:
        """Name in tables."""
        ...

    @property
    def digest(self) -> str:
        """Hash of its weights."""
        ...

    def features(self, frames: Frames) -> Float[Tensor, "frames d"]:
        """Return one feature vector for each frame."""
        ...
