"""Does lowering the domain adapter's scale remove the watermark?

The experiment of Fig. 6 of Guo et al. (arXiv 2307.04725): the same prompts and noise at decreasing
scales, with motion modules trained together with the adapter. Motion modules trained on the same
footage without an adapter are the comparison.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np

from animatediff.data.shards import Sample
from animatediff.errors import InputError
from animatediff.evaluation.intervals import Estimate, Share, mean_of, median_of
from animatediff.evaluation.motion_metrics import foreground_flow
from animatediff.evaluation.reports import Row
from animatediff.world.art.degraded import Degradation
from animatediff.world.protocol.motion import real_frames
from animatediff.world.protocol.subjects import Draw, Frames, Subject, Watch, nobody
from animatediff.world.scoring.scorer import Scorer
from animatediff.world.scoring.shown import shown_in
from animatediff.world.scoring.watermark import WatermarkDetector, mark_strength

MARKED_AT_ONE, MARKED_AT_ZERO = 0.6, 0.05
"""The share of frames with the mark: at least, with the whole adapter, and at most, without it."""


class DrawAt(Protocol):
    """A model with a domain adapter: draws frames on white from a prompt, a seed and the scale."""

    def __call__(self, prompt: str, *, seed: int, alpha: float) -> Frames:
        """Frames at 8 a second."""
        ...


@dataclass(frozen=True)
class AdapterMarks:
    """Results of all animations at one scale.

    Attributes:
        marked: share of frames with the mark.
        strength: median over the animations of the mean agreement with the mark.
        flow: median foreground flow, px per 1/8 s.
        text: mean text score; ``None`` without a scorer.
        recognised: frames in which the concept is among the scorer's first five.
    """

    marked: Share
    strength: Estimate
    flow: Estimate
    text: Estimate | None = None
    recognised: Share | None = None

    @classmethod
    def of(
        cls,
        animations: Sequence[Frames],
        *,
        detector: WatermarkDetector,
        subjects: Sequence[Subject] = (),
        scorer: Scorer | None = None,
    ) -> AdapterMarks:
        """Measure animations of the subjects, in their order."""
        strengths = [mark_strength(frames) for frames in animations]
        text = recognised = None
        if scorer is not None:
            pairs = zip(animations, subjects, strict=True)
            seen = [shown_in(frames, subject=subject, scorer=scorer) for frames, subject in pairs]
            text = mean_of(each.text for each in seen)
            recognised = Share.of(shows for each in seen for shows in each.shows)
        return cls(
            Share.of(bool(s > detector.threshold) for clip in strengths for s in clip),
            median_of(float(clip.mean()) for clip in strengths),
            median_of(foreground_flow(frames) for frames in animations),
            text,
            recognised,
        )


@dataclass(frozen=True)
class AdapterReport:
    """The curve of Fig. 6.

    Attributes:
        detector: detects the mark.
        by_alpha: results by scale, decreasing.
        unadapted: motion modules trained on the same footage without the adapter, if given.
        subjects: what was asked for.
    """

    detector: WatermarkDetector
    by_alpha: Mapping[float, AdapterMarks]
    unadapted: AdapterMarks | None
    subjects: tuple[Subject, ...]

    @property
    def falls(self) -> bool:
        """Whether the share of marked frames decreases with the scale."""
        shares = [marks.marked.share for marks in self.by_alpha.values()]
        return all(b <= a for a, b in pairwise(shares)) and shares[-1] < shares[0]

    def rows(self) -> tuple[Row, ...]:
        """Rows of its table."""
        detector = self.detector
        detected = (
            f"{100 * detector.hits:.1f} % found, {100 * detector.false_alarms:.1f} % false alarms"
        )
        rows = [Row("watermark detector, on real held-out clips", detected)]
        for alpha, marks in self.by_alpha.items():
            target, met = "", None
            if alpha == 1:
                target = f"at least {100 * MARKED_AT_ONE:.0f} %"
                met = marks.marked.share >= MARKED_AT_ONE
            if alpha == 0:
                target = f"at most {100 * MARKED_AT_ZERO:.0f} %"
                met = marks.marked.share <= MARKED_AT_ZERO
            rows.append(Row(f"alpha {alpha:g}: frames marked", str(marks.marked), target, met))
        rows += [
            Row(
                "frames marked fall with alpha",
                ", ".join(f"{100 * m.marked.share:.1f} %" for m in self.by_alpha.values()),
                "never more at a lower one",
                self.falls,
            ),
            *(
                Row(f"alpha {alpha:g}: agreement with the mark; flow", f"{m.strength}; {m.flow}")
                for alpha, m in self.by_alpha.items()
            ),
            *(
                Row(f"alpha {alpha:g}: text score; concept recognised", f"{m.text}; {m.recognised}")
                for alpha, m in self.by_alpha.items()
                if m.text is not None
            ),
        ]
        if self.unadapted is not None:
            lowest = self.by_alpha[min(self.by_alpha)].marked
            rows.append(
                Row(
                    "motion trained without the adapter: frames marked",
                    str(self.unadapted.marked),
                    "more than with it at the lowest alpha, intervals apart",
                    self.unadapted.marked.low > lowest.high,
                )
            )
        return tuple(rows)


def learned_detector(
    clips: Sequence[Sample], *, seen: Callable[[Frames], Frames], num_frames: int = 4
) -> WatermarkDetector:
    """Set a detector's threshold on real clips, clean and degraded, after ``seen``.

    Args:
        clips: held-out clips.
        seen: the model's autoencoder, as an upper bound of what the model can draw.
        num_frames: of each clip, spread over it.

    Raises:
        InputError: there are no clips.
    """
    if not clips:
        raise InputError("A watermark detector is set on real clips, and there are none.")
    clean: list[Frames] = []
    marked: list[Frames] = []
    for clip in clips:
        whole = real_frames(clip, count=int(clip.meta["frames"]))
        frames = whole[np.linspace(0, len(whole) - 1, num_frames).round().astype(int)]
        clean.append(seen(Degradation(marked=False)(frames)))
        marked.append(seen(Degradation()(frames)))
    return WatermarkDetector.learned(clean=np.concatenate(clean), marked=np.concatenate(marked))


def judge_adapter(
    adapted: DrawAt,
    subjects: Sequence[Subject],
    *,
    detector: WatermarkDetector,
    alphas: Sequence[float] = (1.0, 0.75, 0.5, 0.25, 0.0),
    unadapted: Draw | None = None,
    scorer: Scorer | None = None,
    watch: Watch = nobody,
) -> AdapterReport:
    """Animate every prompt at every scale with the same noise.

    Args:
        adapted: the adapter with the motion modules that were trained together with it.
        subjects: prompts with concepts that are in no training clip.
        detector: detects the mark.
        alphas: scales of the adapter, in any order.
        unadapted: motion modules trained on the same footage without an adapter.
        scorer: measures the quality of the frames as well.
        watch: called with the progress, scale by scale.

    Raises:
        InputError: there are no prompts, or fewer than two scales.
    """
    if not subjects or len(set(alphas)) < 2:
        raise InputError("The adapter's curve needs prompts, and at least two scales.")

    def measured(draw: Callable[[Subject], Frames]) -> AdapterMarks:
        animations: list[Frames] = []
        for index, subject in enumerate(subjects):
            animations.append(draw(subject))
            watch(index + 1, len(subjects))
        return AdapterMarks.of(animations, detector=detector, subjects=subjects, scorer=scorer)

    by_alpha = {
        alpha: measured(lambda s, alpha=alpha: adapted(s.prompt, seed=s.seed, alpha=alpha))
        for alpha in sorted(set(alphas), reverse=True)
    }
    without = None
    if unadapted is not None:
        without = measured(lambda s: unadapted(s.prompt, seed=s.seed))
    return AdapterReport(detector, by_alpha, without, tuple(subjects))
