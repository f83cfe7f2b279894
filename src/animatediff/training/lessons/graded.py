"""Train a MotionLoRA at several scales, so that its scale controls how far the camera moves.

The effect of low-rank branches grows faster than their scale, because queries are multiplied with
keys: a MotionLoRA (arXiv 2307.04725, Sec. 4.3) trained only at scale 1 does little at 0.5. Here
some batches are trained at lower scales, on clips whose camera moves less, and at scales below 0,
on clips whose camera moves the other way. One MotionLoRA then holds both moves, and what they have
in common, such as the look of the clips, cancels out.

Gradients are proportional to the scale, so a low scale needs more batches: a scale that is named
twice is used twice as often.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Int
from torch import Tensor

from animatediff.data.camera import opposite, parse_pattern
from animatediff.errors import InputError
from animatediff.training.lessons.clips import ClipBatch, ReadClips, TrainingData, film


@dataclass(frozen=True)
class ReadGraded:
    """Reads batches whose camera moves in proportion to a scale.

    Attributes:
        read: reads the clips as filmed at scale 1.
        filmed: the clips as filmed at each scale.
        scales: one is drawn for each batch.
    """

    read: ReadClips
    filmed: tuple[TrainingData, ...]
    scales: tuple[float, ...]

    @property
    def data(self) -> TrainingData:
        """The clips as filmed at scale 1."""
        return self.read.data

    @property
    def num_frames(self) -> int:
        """Frames in a window."""
        return self.read.num_frames

    @property
    def variations(self) -> int:
        """Different windows of each clip; 0 draws a new one every time."""
        return self.read.variations

    def __call__(self, indices: Int[Tensor, " batch"], generator: torch.Generator) -> ClipBatch:
        """Read the clips with these numbers at a scale drawn uniformly from all named ones."""
        chosen = int(torch.randint(len(self.scales), (), generator=generator))
        read = replace(self.read, data=self.filmed[chosen])
        return replace(read(indices, generator), scale=self.scales[chosen])


def graded(read: ReadClips, pattern: str | None, scales: Sequence[float]) -> ReadClips | ReadGraded:
    """Return a reader of the same clips, whose camera moves in proportion to each scale.

    Scale 1 alone changes nothing.

    Args:
        read: reads them filmed as at scale 1.
        pattern: the camera move, as ``parse_pattern`` takes it.
        scales: from -1 to 1, but not 0.

    Raises:
        InputError: a scale is out of range, or there is no camera move.
    """
    if tuple(scales) == (1.0,):
        return read
    if not scales or not all(0 < abs(scale) <= 1 for scale in scales):
        raise InputError(
            "--scales must be from -1 to 1 and not 0, not "
            f"{', '.join(f'{scale:g}' for scale in scales) or 'none'}; use for example --scales "
            "0.5 1."
        )
    if pattern is None:
        raise InputError(
            "--scales changes how far the camera moves, but there is no camera move; add "
            "--pattern, or leave it out."
        )
    name, strength = parse_pattern(pattern)
    moves = (name if scale > 0 else opposite(name) for scale in scales)
    filmed = tuple(
        film(read.data, f"{move}:{strength * abs(scale)!r}", option="--scales")
        for move, scale in zip(moves, scales, strict=True)
    )
    return ReadGraded(read, filmed, tuple(scales))
