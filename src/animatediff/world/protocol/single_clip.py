"""Does a MotionLoRA of a single clip make other things move as that clip does?

The motion profile of every animation (``evaluation/motion_profile.py``) is compared with that of the
clip; what counts is that it is more like the clip's than without the MotionLoRA, from the same noise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from animatediff.errors import InputError
from animatediff.evaluation.intervals import Estimate, Share, median_of
from animatediff.evaluation.motion_profile import MotionProfile, likeness, motion_profile, reach
from animatediff.evaluation.reports import Row
from animatediff.world.protocol.subjects import (
    Draw,
    Frames,
    Subject,
    Watch,
    nobody,
    seen_in_each,
)

MOSTLY = 0.9
"""At least this share of prompts moves more like the clip than without it."""


@dataclass(frozen=True)
class Learned:
    """One MotionLoRA to judge.

    Attributes:
        draw: the model with it.
        clip: the one clip that it learned from, as many frames of it as are drawn.
    """

    draw: Draw
    clip: Frames


@dataclass(frozen=True)
class ClipMarks:
    """The animations of one MotionLoRA together.

    Attributes:
        likeness: of an animation's motion profile to the clip's, the median.
        base_likeness: the same without it.
        nearer: animations that are more like the clip than without it.
        reach: how far they go the clip's way, as a share of it, the median.
        each: the likeness of each.
    """

    likeness: Estimate
    base_likeness: Estimate
    nearer: Share
    reach: Estimate
    each: tuple[float, ...]


@dataclass(frozen=True)
class SingleClipReport:
    """Whether each MotionLoRA has things move as its clip does."""

    motions: Mapping[str, ClipMarks]
    subjects: tuple[Subject, ...] = field(default=())

    def rows(self) -> tuple[Row, ...]:
        """The lines of its table."""
        rows: list[Row] = []
        for name, marks in self.motions.items():
            rows += [
                Row(
                    f"{name}: moves more like the clip than without it",
                    str(marks.nearer),
                    f"at least {100 * MOSTLY:.0f} %",
                    marks.nearer.share >= MOSTLY,
                ),
                Row(f"{name}: likeness of profiles, 1 is the clip's", str(marks.likeness)),
                Row(f"{name}: the same without it", str(marks.base_likeness)),
                Row(f"{name}: how far it goes the clip's way", str(marks.reach)),
            ]
        return tuple(rows)


def judge_single_clips(
    base: Draw,
    motions: Mapping[str, Learned],
    subjects: Sequence[Subject],
    *,
    watch: Watch = nobody,
) -> SingleClipReport:
    """Animate every prompt with every MotionLoRA, and without any, from the same noise.

    Args:
        base: the model without any.
        motions: by name, each with the clip it learned from.
        subjects: prompts whose concepts no clip trained on has.
        watch: called with the progress, one MotionLoRA after the other.

    Raises:
        InputError: there are no prompts or no MotionLoRA.
    """
    if not subjects or not motions:
        raise InputError("MotionLoRAs are judged by prompts, and there must be one of each.")

    def profiles(draw: Draw) -> tuple[MotionProfile, ...]:
        return seen_in_each(draw, subjects, motion_profile, watch=watch)

    without = profiles(base)
    marks: dict[str, ClipMarks] = {}
    for name, motion in motions.items():
        asked = motion_profile(motion.clip)
        drawn = profiles(motion.draw)
        likely, plain = ([likeness(c, asked) for c in some] for some in (drawn, without))
        marks[name] = ClipMarks(
            median_of(likely),
            median_of(plain),
            Share.of(its > base for its, base in zip(likely, plain, strict=True)),
            median_of(reach(profile, of=asked) for profile in drawn),
            tuple(likely),
        )
    return SingleClipReport(marks, tuple(subjects))
