"""All metrics of one clip: likeness by each judge, consistency, and motion beside them.

Likeness and consistency alone are best where nothing moves, so they are one record with the motion.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from animatediff.evaluation.judges.judge import FrameNetwork, Frames, Judge, Seen
from animatediff.evaluation.motion_metrics import (
    FROZEN_BELOW,
    FlowBetween,
    flicker,
    foreground_flow,
    is_dynamic,
    largest_change,
    warp_error,
)
from animatediff.evaluation.similarity import (
    consistency_scores,
    domain_scores,
    smooth_scores,
    text_score,
)


@dataclass(frozen=True)
class Likeness:
    """The CLIP columns of Table 1 by one judge, times 100.

    Attributes:
        text: mean cosine of the frames and the prompt.
        domain: mean cosine of the frames and the references; ``None`` without references.
        domain_best: the same with each frame's nearest reference.
        smooth: mean cosine of consecutive frames.
        smooth_all_pairs: mean cosine of every two frames.
    """

    text: float
    domain: float | None
    domain_best: float | None
    smooth: float
    smooth_all_pairs: float


@dataclass(frozen=True)
class ClipMarks:
    """All metrics of one clip.

    Attributes:
        likeness: by the name of each judge.
        dino: mean cosine of later frames and the first by DINO, times 100; ``None`` without DINO.
        subject: VBench's subject consistency by DINO, times 100.
        flicker: 1 minus the mean change between neighbouring frames.
        warp: change between neighbours once the optical flow is undone, share of full scale.
        flow: mean flow of what is not white, px per 1/8 s at 128 px.
        dynamic: whether it moves much, by VBench's formula.
        change: largest mean change of a frame from the first, share of full scale.
    """

    likeness: Mapping[str, Likeness]
    dino: float | None
    subject: float | None
    flicker: float
    warp: float
    flow: float
    dynamic: bool
    change: float

    @property
    def frozen(self) -> bool:
        """Whether no frame differs from the first by 1 % of full scale."""
        return self.change < FROZEN_BELOW


@dataclass(frozen=True)
class Metrics:
    """The networks that measure clips.

    Attributes:
        judges: those of text, domain and smooth, the main one first.
        dino: that of consistency.
        flow: the optical flow; DIS by default.
        flow_name: its name in tables.
    """

    judges: Sequence[Judge]
    dino: FrameNetwork | None = None
    flow: FlowBetween | None = None
    flow_name: str = "DIS"

    def digest(self) -> str:
        """Return what the numbers depend on besides the frames."""
        parts = [f"{judge.name}={judge.digest}" for judge in self.judges]
        parts += [] if self.dino is None else [self.dino.digest]
        return "/".join([*parts, self.flow_name])

    def references(self, pictures: Frames) -> dict[str, Seen]:
        """Return what each judge sees of reference pictures, once for many clips."""
        return {judge.name: judge.see(pictures) for judge in self.judges}

    def measure(
        self,
        frames: Frames,
        *,
        prompt: str,
        fps: Fraction | float,
        references: Mapping[str, Seen] | None = None,
    ) -> ClipMarks:
        """Measure a clip.

        Args:
            frames: the clip.
            prompt: what was asked for.
            fps: its rate.
            references: what ``references`` returned for pictures of the personalised image model.
        """
        dino = subject = None
        if self.dino is not None:
            dino, subject = consistency_scores(self.dino.features(frames))
        return ClipMarks(
            likeness={
                judge.name: _likeness(judge, frames, prompt, references) for judge in self.judges
            },
            dino=dino,
            subject=subject,
            flicker=flicker(frames),
            warp=warp_error(frames, flow=self.flow),
            flow=foreground_flow(frames, fps=fps, flow=self.flow),
            dynamic=is_dynamic(frames, fps=fps, flow=self.flow),
            change=largest_change(frames),
        )


def held_still(frames: Frames) -> Frames:
    """Return the frozen control of a clip: its first frame for all frames."""
    return np.repeat(frames[:1], len(frames), axis=0)


def _likeness(
    judge: Judge, frames: Frames, prompt: str, references: Mapping[str, Seen] | None
) -> Likeness:
    seen = judge.see(frames)
    smooth, smooth_all_pairs = smooth_scores(seen.pictures)
    domain = domain_best = None
    if references is not None:
        domain, domain_best = domain_scores(seen.pictures, references[judge.name].pictures)
    return Likeness(
        text=text_score(seen.words, judge.read([prompt])[0]),
        domain=domain,
        domain_best=domain_best,
        smooth=smooth,
        smooth_all_pairs=smooth_all_pairs,
    )
