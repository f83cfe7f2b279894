"""What does an animation lose compared with the still of the same prompt and seed?

A frozen video would have the best similarity. So measures of motion are reported beside it, and
controls are judged in the same way: the real clips, each still held for all frames, and each still
carried along another prompt's motion (``own_motion.py``).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from animatediff.data.shards import Sample
from animatediff.evaluation.intervals import (
    Estimate,
    Share,
    mean_of,
    ratio_of_means,
    ratio_of_medians,
)
from animatediff.evaluation.motion_metrics import (
    FROZEN_BELOW,
    foreground_flow,
    largest_change,
    warp_error,
)
from animatediff.evaluation.reports import Row
from animatediff.evaluation.similarity import smooth_scores, text_score
from animatediff.world.protocol.motion import real_frames
from animatediff.world.protocol.own_motion import OwnMotion, along_the_next, judge_own_motion
from animatediff.world.protocol.subjects import Draw, Frames, Subject, Watch, nobody
from animatediff.world.protocol.transfer import in_style
from animatediff.world.scoring.scorer import Scorer


@dataclass(frozen=True)
class Measured:
    """Measurements of one animation.

    Attributes:
        subject: the subject.
        shows: whether the concept is among the scorer's top five, for each frame.
        text: text score of all frames.
        smooth: mean cosine of consecutive frames, times 100.
        flow: foreground flow, px per 1/8 s at 128 px.
        warp: difference of neighbouring frames after warping by the flow, as a share of full scale.
        change: largest mean change from the first frame, share of full scale.
    """

    subject: Subject
    shows: tuple[bool, ...]
    text: float
    smooth: float
    flow: float
    warp: float
    change: float


@dataclass(frozen=True)
class Marks:
    """Results of all animations, relative to the stills of the same prompts and to the real clips.

    Attributes:
        concept: share of frames in which the concept is recognised.
        concept_to_stills: ratio to the stills' share.
        text_to_stills: ratio of mean text scores to the stills'.
        smooth: mean smooth score.
        flow_to_real: ratio of median flows to the real clips'.
        warp_to_real: ratio of median warp errors to the real clips'.
        frozen: animations that change by less than 1 %.
        falling_apart: share that is recognised in the first frame and not in the last.
        animations: each one.
    """

    concept: Estimate
    concept_to_stills: Estimate
    text_to_stills: Estimate
    smooth: Estimate
    flow_to_real: Estimate
    warp_to_real: Estimate
    frozen: Share
    falling_apart: Share
    animations: tuple[Measured, ...]

    @classmethod
    def of(
        cls, animations: Sequence[Measured], *, stills: Sequence[Measured], real: Sequence[Measured]
    ) -> Marks:
        """Summarise animations of the same subjects, in the order of ``stills`` and ``real``."""
        return cls(
            concept=mean_of(_shown(a) for a in animations),
            concept_to_stills=ratio_of_means(
                (_shown(a) for a in animations), reference=(_shown(s) for s in stills)
            ),
            text_to_stills=ratio_of_means(
                (a.text for a in animations), reference=(s.text for s in stills)
            ),
            smooth=mean_of(a.smooth for a in animations),
            flow_to_real=ratio_of_medians(
                (a.flow for a in animations), reference=(r.flow for r in real)
            ),
            warp_to_real=ratio_of_medians(
                (a.warp for a in animations), reference=(r.warp for r in real)
            ),
            frozen=Share.of(a.change < FROZEN_BELOW for a in animations),
            falling_apart=Share.of(a.shows[0] and not a.shows[-1] for a in animations),
            animations=tuple(animations),
        )


@dataclass(frozen=True)
class Styled:
    """A personalised model compared with its base, on the same prompts in its own style.

    Attributes:
        name: the model.
        flow_to_base: ratio of median flows to the base's.
        smooth: mean smooth score.
        smooth_of_base: the base's on the same prompts.
        animations: each one.
    """

    name: str
    flow_to_base: Estimate
    smooth: Estimate
    smooth_of_base: Estimate
    animations: tuple[Measured, ...]


@dataclass(frozen=True)
class StillVsMotionReport:
    """Animations compared with stills, with their controls and a personalised model."""

    stills_concept: Share
    stills_text: Estimate
    moving: Marks
    real: Marks
    held: Marks
    others: Marks | None
    own_motion: OwnMotion | None
    styled: Styled | None

    def rows(self) -> tuple[Row, ...]:
        """Rows of its table."""
        ours = self.moving
        rows = [
            Row("stills: concept among the first 5", str(self.stills_concept)),
            Row("stills: text score", str(self.stills_text)),
            Row("concept among the first 5, mean over frames", str(ours.concept)),
            _least("the same over the stills'", ours.concept_to_stills, 0.95),
            _least("text score over the stills'", ours.text_to_stills, 0.97),
            _least("smooth score", ours.smooth, 92.0),
            _within("foreground flow over the real clips'", ours.flow_to_real, 0.8, 1.25),
            _most("warp error over the real clips'", ours.warp_to_real, 1.5),
            Row("frozen", str(ours.frozen), "at most 5 %", ours.frozen.share <= 0.05),
            Row(
                "falling apart",
                str(ours.falling_apart),
                "at most 3 %",
                ours.falling_apart.share <= 0.03,
            ),
        ]
        controls = {
            "real clips": self.real,
            "stills held": self.held,
            "carried along another's motion": self.others,
        }
        for name, marks in controls.items():
            if marks is None:
                continue
            rows += [
                Row(f"{name}: concept over the stills'", str(marks.concept_to_stills)),
                Row(f"{name}: text score over the stills'", str(marks.text_to_stills)),
                Row(f"{name}: smooth score", str(marks.smooth)),
                Row(f"{name}: foreground flow over the real clips'", str(marks.flow_to_real)),
                Row(f"{name}: warp error over the real clips'", str(marks.warp_to_real)),
                Row(f"{name}: frozen", str(marks.frozen)),
                Row(f"{name}: falling apart", str(marks.falling_apart)),
            ]
        if self.own_motion is not None:
            rows += self.own_motion.rows()
        if self.styled is not None:
            styled = self.styled
            away = abs(styled.smooth.value - styled.smooth_of_base.value)
            rows += [
                _within(f"{styled.name}: flow over the base's", styled.flow_to_base, 0.6, 1.5),
                Row(
                    f"{styled.name}: smooth score, and the base's",
                    f"{styled.smooth}; {styled.smooth_of_base}",
                    "within 2 points",
                    away <= 2,
                ),
            ]
        return tuple(rows)


def measured(frames: Frames, *, subject: Subject, scorer: Scorer) -> Measured:
    """Measure one animation, or a still as its only frame."""
    judgement = scorer.judge(frames)
    shown = judgement.shows(scorer.index_of(subject.hexcode))
    return Measured(
        subject=subject,
        shows=tuple(bool(frame) for frame in shown),
        text=text_score(judgement.embeddings, scorer.embed_text([subject.prompt])[0]),
        smooth=smooth_scores(judgement.features)[0],
        flow=foreground_flow(frames),
        warp=warp_error(frames),
        change=largest_change(frames),
    )


def judge_still_vs_motion(
    still: Draw,
    moving: Draw,
    clips: Sequence[Sample],
    *,
    scorer: Scorer,
    as_drawn: Draw | None = None,
    styled: tuple[str, str, str, Draw] | None = None,
    num_styled: int = 30,
    num_frames: int = 16,
    seed: int = 0,
    watch: Watch = nobody,
) -> StillVsMotionReport:
    """Draw the captions of real clips as stills and as animations with the same seeds.

    Args:
        still: the image model alone.
        moving: the image model with its motion modules.
        clips: the real clips, as ``choose_clips`` chose them.
        scorer: the judge.
        as_drawn: what the motion modules draw, whose motion carries another prompt's still as a
            control; without it there is no such control.
        styled: a personalised model with the same motion modules: its name, its style's name, its
            style's phrase, and what draws.
        num_styled: prompts of the personalised model.
        num_frames: measured frames of each real clip.
        seed: of the drawings.
        watch: called with the progress.
    """
    subjects = [Subject.of(clip, seed=seed) for clip in clips]
    stills: list[Frames] = []
    ours: list[Frames] = []
    drawn: list[Frames] = []
    for number, subject in enumerate(subjects):
        stills.append(still(subject.prompt, seed=subject.seed)[:1])
        ours.append(moving(subject.prompt, seed=subject.seed))
        if as_drawn is not None:
            drawn.append(as_drawn(subject.prompt, seed=subject.seed))
        watch(number + 1, len(subjects))
    real = [real_frames(clip, count=num_frames) for clip in clips]

    def see(animations: Iterable[Frames]) -> list[Measured]:
        pairs = zip(animations, subjects, strict=True)
        return [measured(frames, subject=subject, scorer=scorer) for frames, subject in pairs]

    pictures, moved, clipped = see(stills), see(ours), see(real)
    others = along_the_next(stills, drawn) if drawn else []

    def marks(animations: Sequence[Measured]) -> Marks:
        return Marks.of(animations, stills=pictures, real=clipped)

    return StillVsMotionReport(
        stills_concept=Share.of(picture.shows[0] for picture in pictures),
        stills_text=mean_of(picture.text for picture in pictures),
        moving=marks(moved),
        real=marks(clipped),
        held=marks(see(np.repeat(picture, num_frames, axis=0) for picture in stills)),
        others=marks(see(others)) if others else None,
        own_motion=judge_own_motion(ours, others=others, real=real) if others else None,
        styled=None
        if styled is None
        else _judge_styled(
            styled, clips[:num_styled], moved, scorer=scorer, seed=seed, watch=watch
        ),
    )


def _judge_styled(
    styled: tuple[str, str, str, Draw],
    clips: Sequence[Sample],
    base: Sequence[Measured],
    *,
    scorer: Scorer,
    seed: int,
    watch: Watch,
) -> Styled:
    name, style, phrase, draw = styled
    seen: list[Measured] = []
    for number, clip in enumerate(clips):
        asked = Subject.of(clip, seed=seed)
        asked = in_style(asked, style=style, phrase=phrase, was=str(clip.meta["style_phrase"]))
        frames = draw(asked.prompt, seed=asked.seed)
        seen.append(measured(frames, subject=asked, scorer=scorer))
        watch(number + 1, len(clips))
    base = base[: len(seen)]
    return Styled(
        name=name,
        flow_to_base=ratio_of_medians((s.flow for s in seen), reference=(b.flow for b in base)),
        smooth=mean_of(s.smooth for s in seen),
        smooth_of_base=mean_of(b.smooth for b in base),
        animations=tuple(seen),
    )


def _shown(animation: Measured) -> float:
    return float(np.mean(animation.shows))


def _least(name: str, found: Estimate, least: float) -> Row:
    return Row(name, str(found), f"at least {least:g}", found.value >= least)


def _most(name: str, found: Estimate, most: float) -> Row:
    return Row(name, str(found), f"at most {most:g}", found.value <= most)


def _within(name: str, found: Estimate, low: float, high: float) -> Row:
    return Row(name, str(found), f"{low:g} to {high:g}", low <= found.value <= high)
