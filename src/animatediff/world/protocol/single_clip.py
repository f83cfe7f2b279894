"""Does a MotionLoRA of a single clip transfer the clip's motion to other things?

The motion profile of every animation (``evaluation/motion_profile.py``) is compared with the clip's.
It should be more similar than without the MotionLoRA, with the same noise.
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
        clip: its training clip, with as many frames as an animation.
    """

    draw: Draw
    clip: Frames


@dataclass(frozen=True)
class ClipMarks:
    """Results of all animations with one MotionLoRA.

    Attributes:
        likeness: median similarity of an animation's motion profile to the clip's.
        base_likeness: the same without the MotionLoRA.
        nearer: share of animations that are more similar to the clip than without it.
        reach: median size of the clip's motion in the animations, as a share of the clip's.
        each: similarity of each animation.
    """

    likeness: Estimate
    base_likeness: Estimate
    nearer: Share
    reach: Estimate
    each: tuple[float, ...]


@dataclass(frozen=True)
class SingleClipReport:
    """Results for each MotionLoRA of a single clip."""

    motions: Mapping[str, ClipMarks]
    subjects: tuple[Subject, ...] = field(default=())

    def rows(self) -> tuple[Row, ...]:
        """Rows of its table."""
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
    """Animate every prompt with every MotionLoRA and without any, with the same noise.

    Args:
        base: the model without MotionLoRAs.
        motions: MotionLoRAs by name, with their training clip.
        subjects: prompts with concepts that are in no training clip.
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
