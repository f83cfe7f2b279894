"""A MotionLoRA whose scale says how far the camera goes.

What low-rank branches do grows faster than their scale, as queries are multiplied with keys: a
MotionLoRA (arXiv 2307.04725, Sec. 4.3) that is learned at scale 1 alone does little at a half. Here
some batches are learned at lower scales, from clips over which the camera goes as much less far, and
at scales below 0 the other way: one MotionLoRA then holds both moves, and what the two have in common,
such as how the clips look, pulls at it from both sides.
Gradients are proportional to the scale, so a low one wants more batches: a scale that is named twice
comes twice as often.
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
        scales: one of which is drawn for each batch.
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
        """The clips of these numbers at one of the scales, drawn evenly from all that are named."""
        chosen = int(torch.randint(len(self.scales), (), generator=generator))
        read = replace(self.read, data=self.filmed[chosen])
        return replace(read(indices, generator), scale=self.scales[chosen])


def graded(read: ReadClips, pattern: str | None, scales: Sequence[float]) -> ReadClips | ReadGraded:
    """What reads the same clips with a camera that moves in proportion to each scale.

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
            "A MotionLoRA is learned at scales from -1 to 1 other than 0, and not at "
            f"{', '.join(f'{scale:g}' for scale in scales) or 'none'}; give --scales 0.5 1."
        )
    if pattern is None:
        raise InputError(
            "--scales has a camera go less far where the scale is lower, and these clips are learned "
            "as they are; give --pattern, or leave it out."
        )
    name, strength = parse_pattern(pattern)
    moves = (name if scale > 0 else opposite(name) for scale in scales)
    filmed = tuple(
        film(read.data, f"{move}:{strength * abs(scale)!r}", option="--scales")
        for move, scale in zip(moves, scales, strict=True)
    )
    return ReadGraded(read, filmed, tuple(scales))
