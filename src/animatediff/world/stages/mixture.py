"""Training set of several kinds of clips, each with a fixed share of the samples.

Motion modules trained on one kind of footage learn its appearance along with its motion (arXiv
2307.04725, Sec. 4.1). Adding stills and rendered motion of every style preserves the image model's
appearance.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from animatediff.data.footage import EncodedFootage
from animatediff.errors import InputError
from animatediff.world.stages.latents import LatentClips, joined


@dataclass(frozen=True)
class Kind:
    """One kind of clips.

    Attributes:
        name: e.g. ``clips`` or ``stills``.
        share: share of the samples, from 0 to 1.
        clips: its clips.
    """

    name: str
    share: float
    clips: LatentClips


@dataclass(frozen=True)
class Mixture:
    """Clips of several kinds, and how a batch draws from them.

    Attributes:
        clips: all of them.
        shares: of each kind; their sum is 1.
        counts: number of clips of each kind.
    """

    clips: LatentClips
    shares: tuple[float, ...]
    counts: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.clips)

    def footage(self, index: int, *, num_frames: int, generator: torch.Generator) -> EncodedFootage:
        """Return a window of a clip that is drawn by the shares; the index is ignored."""
        drawn = int(self.draw(torch.tensor([index]), generator))
        return self.clips.footage(drawn, num_frames=num_frames, generator=generator)

    def rows(
        self, index: int, *, num_frames: int, generator: torch.Generator
    ) -> Int[Tensor, " frames"]:
        """Return the rows of ``clips.frames`` in the window that ``footage`` draws."""
        drawn = int(self.draw(torch.tensor([index]), generator))
        return self.clips.rows(drawn, num_frames=num_frames, generator=generator)

    def fingerprint(self) -> str:
        """Return a hash of the clips and the shares."""
        return hashlib.sha256(f"{self.clips.fingerprint()} {self.shares}".encode()).hexdigest()

    def draw(
        self, indices: Int[Tensor, " batch"], generator: torch.Generator
    ) -> Int[Tensor, " batch"]:
        """Draw the clips of a batch: a kind by the shares, then a clip of that kind, for each sample.

        Args:
            indices: only their number is used.
            generator: draws kinds and clips.
        """
        count = len(indices)
        kinds = torch.multinomial(
            torch.tensor(self.shares), count, replacement=True, generator=generator
        )
        sizes = torch.tensor(self.counts)
        starts = sizes.cumsum(0) - sizes
        places = (torch.rand(count, generator=generator) * sizes[kinds]).long()
        return starts[kinds] + places


def mixed(kinds: Sequence[Kind]) -> Mixture:
    """Combine several kinds of clips.

    Raises:
        InputError: a kind has no clips, or the shares do not add up to 1.
    """
    empty = [kind.name for kind in kinds if not len(kind.clips)]
    if empty:
        raise InputError(f"There are no clips of the kind {empty[0]}; leave it out of --mix.")
    total = math.fsum(kind.share for kind in kinds)
    if abs(total - 1) > 1e-6 or any(kind.share <= 0 for kind in kinds):
        shares = " ".join(f"{kind.name}:{kind.share:g}" for kind in kinds)
        raise InputError(
            f"The shares of --mix {shares} must be above 0 and add up to 1, and add up to {total:g}."
        )
    clips = joined([kind.clips for kind in kinds])
    return Mixture(
        clips, tuple(kind.share for kind in kinds), tuple(len(kind.clips) for kind in kinds)
    )
