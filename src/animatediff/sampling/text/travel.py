"""Prompt travel: interpolate text states between keyframes."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import Tensor

from animatediff.sampling.text.keyframes import InterpolationName
from animatediff.sampling.text.prompts import Conditioning

NEARLY_PARALLEL = 0.9995
"""The cosine from which on an arc is as good as a line, and its angle too small to divide by."""


@dataclass(frozen=True)
class Blend:
    """The two keyframes of one frame, and their shares.

    Attributes:
        before: number of the previous keyframe.
        after: number of the next keyframe.
        share: of the next keyframe, 0 to 1.
    """

    before: int
    after: int
    share: Fraction


def plan_travel(
    positions: Sequence[Fraction],
    *,
    num_frames: int,
    hold: float = 0.0,
    closed_loop: bool = False,
) -> list[Blend]:
    """Return the blend of every frame.

    Args:
        positions: of the keyframes, in frames, rising.
        num_frames: of the animation.
        hold: share of each interval in which the text does not change yet.
        closed_loop: whether frames after the last keyframe return to the first; otherwise they keep
            the last one. Frames before the first keyframe use the first.
    """
    blends: list[Blend] = []
    last = len(positions) - 1
    for frame in range(num_frames):
        before = bisect_right(positions, frame) - 1
        if not closed_loop and not 0 <= before < last:
            only = max(before, 0)
            blends.append(Blend(only, only, Fraction(0)))
            continue
        after = (before + 1) % len(positions)
        start = positions[before] if before >= 0 else positions[last] - num_frames
        end = positions[after] if after > before else positions[after] + num_frames
        way = (frame - start) / (end - start)
        held = Fraction(hold)
        share = (way - held) / (1 - held) if way > held else Fraction(0)
        blends.append(Blend(before % len(positions), after, share))
    return blends


def travelled(
    texts: Sequence[Conditioning], blends: Sequence[Blend], *, interpolation: InterpolationName
) -> Conditioning:
    """Return the conditioning of an animation whose text changes, one row of states per frame.

    Args:
        texts: of the keyframes, all with the same number of tokens.
        blends: one per frame.
        interpolation: ``step`` keeps each text until the next keyframe.

    Returns:
        states as ``1 f n d``, and each of ``added`` as ``f p``.
    """

    def rows(of_text: Sequence[Tensor]) -> Tensor:
        return torch.cat(
            [
                _between(
                    of_text[blend.before],
                    of_text[blend.after],
                    0.0 if interpolation == "step" else float(blend.share),
                    arc=interpolation == "slerp",
                )
                for blend in blends
            ]
        )

    return Conditioning(
        states=rows([text.states for text in texts])[None],
        added={name: rows([text.added[name] for text in texts]) for name in texts[0].added},
        num_tokens=max(text.num_tokens for text in texts),
    )


def _between(before: Tensor, after: Tensor, share: float, *, arc: bool) -> Tensor:
    """Interpolate from ``before`` to ``after``; exact at both ends."""
    if share == 0:
        return before
    if arc:
        return _slerp(before, after, share)
    return torch.lerp(before, after, share)


def _slerp(before: Tensor, after: Tensor, share: float) -> Tensor:
    """Interpolate along the arc, with all numbers of a text as one vector."""
    lengths = before.norm() * after.norm()
    cosine = (
        ((before * after).sum() / lengths).clamp(-1, 1) if lengths > 0 else lengths.new_ones(())
    )
    if cosine.abs() > NEARLY_PARALLEL:
        return torch.lerp(before, after, share)
    angle = torch.arccos(cosine)
    return (torch.sin((1 - share) * angle) * before + torch.sin(share * angle) * after) / torch.sin(
        angle
    )
