"""Does the motion of an animation belong to its prompt, or would any motion do as well?

The control is each still carried along the motion of the next prompt's animation, at the same speed. It
keeps the picture and is as smooth, so that only the likeness to the real clip of the same thing can
tell the two apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from animatediff.evaluation.intervals import Estimate, mean_of
from animatediff.evaluation.motion_profile import likeness_in_any_phase, motion_profile
from animatediff.evaluation.paired import Paired, paired
from animatediff.evaluation.reports import Row
from animatediff.video.carried import carried
from animatediff.world.protocol.subjects import Frames


@dataclass(frozen=True)
class OwnMotion:
    """How like the real clips' motion an animation's own motion is, and another prompt's.

    Likeness is the cosine of motion profiles in the phase in which it is largest.

    Attributes:
        own: mean likeness of the animations to the real clips of the same captions.
        others: the same of the stills that are carried along another prompt's motion.
        gain: own minus others', prompt by prompt.
    """

    own: Estimate
    others: Estimate
    gain: Paired

    def rows(self) -> tuple[Row, ...]:
        """Rows of its table."""
        return (
            Row("likeness of its motion to the real clip's, in any phase", str(self.own)),
            Row("carried along another's motion: the same", str(self.others)),
            Row("own motion minus another's", f"{self.gain.difference}; p {self.gain.p:.3f}"),
        )


def along_the_next(stills: Sequence[Frames], animations: Sequence[Frames]) -> list[Frames]:
    """Carry each still along the motion of the next animation, and the last along the first's.

    Args:
        stills: one frame each.
        animations: of the same size, as the motion modules draw them, at 8 frames a second.
    """
    following = [*animations[1:], *animations[:1]]
    return [carried(still[0], clip, speed=1) for still, clip in zip(stills, following, strict=True)]


def judge_own_motion(
    animations: Sequence[Frames], *, others: Sequence[Frames], real: Sequence[Frames]
) -> OwnMotion:
    """Compare the motion of animations and of their controls with the real clips', in one order."""
    asked = [motion_profile(clip) for clip in real]

    def likely(clips: Sequence[Frames]) -> list[float]:
        profiles = [motion_profile(clip) for clip in clips]
        return [likeness_in_any_phase(*pair) for pair in zip(profiles, asked, strict=True)]

    own, other = likely(animations), likely(others)
    return OwnMotion(
        own=mean_of(own),
        others=mean_of(other),
        gain=paired(own, other, groups=range(len(own))),
    )
