"""Do animations move like real clips, and does the temporal Transformer do better than convolution?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from animatediff.data.shards import Sample, on_white
from animatediff.errors import InputError
from animatediff.evaluation.intervals import Estimate, Share, mean_of, median_of, ratio_of_medians
from animatediff.evaluation.motion_metrics import FROZEN_BELOW, foreground_flow, largest_change
from animatediff.evaluation.reports import Row
from animatediff.evaluation.similarity import smooth_scores, text_score
from animatediff.world.protocol.subjects import Draw, Frames, Subject, Watch, nobody, sampled
from animatediff.world.scoring.scorer import Scorer


@dataclass(frozen=True)
class Moving:
    """Measurements of one animation.

    Attributes:
        subject: the subject.
        flow: foreground flow, px per 1/8 s at 128 px.
        change: largest mean change from the first frame, share of full scale.
        first_shows: whether the concept is among the scorer's top five in the first frame.
        last_shows: the same in the last frame.
        style_frames: number of frames in which the scorer recognises the style.
        num_frames: number of frames.
        text: text score.
        text_first: text score of the first frame.
        smooth: mean cosine of consecutive frames, times 100.
    """

    subject: Subject
    flow: float
    change: float
    first_shows: bool
    last_shows: bool
    style_frames: int
    num_frames: int
    text: float
    text_first: float
    smooth: float


@dataclass(frozen=True)
class MotionMarks:
    """Results of all animations of one model, or of the real clips.

    Attributes:
        flow: median foreground flow.
        flow_to_reference: ratio to the reference's median on the same prompts.
        frozen: animations that change by less than 1 %.
        falling_apart: share that is recognised in the first frame and not in the last.
        falling_apart_if_recognised: the same, among those recognised in the first frame.
        recognised: share with the concept among the scorer's top five in the first frame.
        style_named: share of frames in which the scorer recognises the style.
        text: mean text score.
        text_first: mean text score of the first frames alone.
        smooth: mean smooth score.
        animations: each one.
    """

    flow: Estimate
    flow_to_reference: Estimate
    frozen: Share
    falling_apart: Share
    falling_apart_if_recognised: Share
    recognised: Share
    style_named: Share
    text: Estimate
    text_first: Estimate
    smooth: Estimate
    animations: tuple[Moving, ...]

    @classmethod
    def of(cls, animations: Sequence[Moving], *, reference: Sequence[Moving]) -> MotionMarks:
        """Summarise animations; ``reference`` has the same subjects in the same order."""
        recognised = [moving for moving in animations if moving.first_shows]
        return cls(
            flow=median_of(moving.flow for moving in animations),
            flow_to_reference=ratio_of_medians(
                (moving.flow for moving in animations),
                reference=(moving.flow for moving in reference),
            ),
            frozen=Share.of(moving.change < FROZEN_BELOW for moving in animations),
            falling_apart=Share.of(m.first_shows and not m.last_shows for m in animations),
            falling_apart_if_recognised=Share.of(not moving.last_shows for moving in recognised),
            recognised=Share.of(moving.first_shows for moving in animations),
            style_named=Share.of(
                frame < moving.style_frames
                for moving in animations
                for frame in range(moving.num_frames)
            ),
            text=mean_of(moving.text for moving in animations),
            text_first=mean_of(moving.text_first for moving in animations),
            smooth=mean_of(moving.smooth for moving in animations),
            animations=tuple(animations),
        )


@dataclass(frozen=True)
class Comparison:
    """Comparison of two models on the same prompts and seeds.

    Attributes:
        flow: mean difference of flow.
        text: mean difference of text score.
        flow_wins: share of prompts on which the first model's flow is nearer to the real clip's.
        text_wins: share of prompts on which the first model's text score is higher.
    """

    flow: Estimate
    text: Estimate
    flow_wins: Share
    text_wins: Share


@dataclass(frozen=True)
class MotionReport:
    """Motion beside real clips, and Transformer against convolution."""

    real: MotionMarks
    transformer: MotionMarks
    convolution: MotionMarks | None
    transformer_over_convolution: Comparison | None

    def rows(self) -> tuple[Row, ...]:
        """Rows of its table."""
        ours, real = self.transformer, self.real
        ratio = ours.flow_to_reference
        rows = [
            Row(
                "median foreground flow over the real clips'",
                str(ratio),
                "0.6 to 1.6",
                0.6 <= ratio.value <= 1.6,
            ),
            Row("median foreground flow, px per 1/8 s", str(ours.flow)),
            Row("the same, real clips", str(real.flow)),
            Row(
                "frozen (under 1 % change)",
                str(ours.frozen),
                "at most 5 %",
                ours.frozen.share <= 0.05,
            ),
            Row("the same, real clips", str(real.frozen)),
            Row(
                "falling apart (recognised first, lost last)",
                str(ours.falling_apart),
                "at most 5 %",
                ours.falling_apart.share <= 0.05,
            ),
            Row("the same, of those recognised first", str(ours.falling_apart_if_recognised)),
            Row("falling apart, real clips", str(real.falling_apart)),
            Row("concept among the first 5 in the first frame", str(ours.recognised)),
            Row("the same, real clips", str(real.recognised)),
            Row("text score", str(ours.text)),
            Row("text score, real clips", str(real.text)),
            Row("text score, first frames held still", str(ours.text_first)),
            Row("smooth score (100 where nothing moves)", str(ours.smooth)),
            Row("smooth score, real clips", str(real.smooth)),
        ]
        if self.convolution is not None and self.transformer_over_convolution is not None:
            rows += _comparison_rows(ours, self.convolution, self.transformer_over_convolution)
        return tuple(rows)


def _comparison_rows(
    ours: MotionMarks, rival: MotionMarks, difference: Comparison
) -> tuple[Row, ...]:
    return (
        Row("convolution of equal size: flow over the real clips'", str(rival.flow_to_reference)),
        Row("convolution: frozen", str(rival.frozen)),
        Row("convolution: text score", str(rival.text)),
        Row(
            "Transformer beats the convolution on flow (prompts nearer to the real clip)",
            str(difference.flow_wins),
            "more than half",
            difference.flow_wins.share > 0.5,
        ),
        Row(
            "Transformer beats the convolution on text score (mean difference)",
            str(difference.text),
            "above 0",
            difference.text.value > 0,
        ),
        Row(
            "Transformer's flow above the convolution's (mean difference)",
            f"{difference.flow}; medians {ours.flow.value:.3f} and {rival.flow.value:.3f}",
        ),
    )


def choose_clips(
    clips: Iterable[Sample], *, count: int = 100, seed: int = 0, splits: Sequence[str] = ("train",)
) -> tuple[Sample, ...]:
    """Draw clips of the given splits, whose captions are the prompts.

    Raises:
        InputError: no clip is of these splits.
    """
    wanted = {s.meta["hexcode"]: s for s in clips if s.meta["split"] in splits}
    if not wanted:
        raise InputError(f"No clip is of the splits {', '.join(splits)}.")
    subjects = [Subject.of(wanted[code], seed=seed) for code in sorted(wanted)]
    return tuple(wanted[s.hexcode] for s in sampled(subjects, limit=count, seed=seed))


def real_frames(clip: Sample, *, count: int) -> Frames:
    """Return the first frames of a real clip on white; a shorter clip is repeated."""
    frames = on_white(clip.frames())
    return frames[np.arange(count) % len(frames)]


def measure(frames: Frames, *, subject: Subject, scorer: Scorer) -> Moving:
    """Measure one clip at 8 frames a second."""
    judgement = scorer.judge(frames)
    words = scorer.embed_text([subject.prompt])[0]
    shown = judgement.shows(scorer.index_of(subject.hexcode))
    return Moving(
        subject=subject,
        flow=foreground_flow(frames),
        change=largest_change(frames),
        first_shows=bool(shown[0]),
        last_shows=bool(shown[-1]),
        style_frames=sum(style == subject.style for style in judgement.styles),
        num_frames=len(frames),
        text=text_score(judgement.embeddings, words),
        text_first=text_score(judgement.embeddings[:1], words),
        smooth=smooth_scores(judgement.features)[0],
    )


def measure_all(
    draw: Draw, subjects: Sequence[Subject], *, scorer: Scorer, watch: Watch = nobody
) -> tuple[Moving, ...]:
    """Draw and measure every subject."""
    measured: list[Moving] = []
    for index, subject in enumerate(subjects):
        frames = draw(subject.prompt, seed=subject.seed)
        measured.append(measure(frames, subject=subject, scorer=scorer))
        watch(index + 1, len(subjects))
    return tuple(measured)


def judge_motion(
    transformer: Draw,
    clips: Sequence[Sample],
    *,
    scorer: Scorer,
    convolution: Draw | None = None,
    num_frames: int = 16,
    seed: int = 0,
    watch: Watch = nobody,
) -> MotionReport:
    """Animate the captions of real clips and compare the animations with the clips.

    Args:
        transformer: the model with its motion modules.
        clips: the real clips, as :func:`choose_clips` chose them.
        scorer: the judge.
        convolution: the same model with the temporal convolution of equal size, if trained.
        num_frames: measured frames of each real clip.
        seed: of the drawings.
        watch: called with the progress, model by model.
    """
    subjects = [Subject.of(clip, seed=seed) for clip in clips]
    real = [
        measure(real_frames(clip, count=num_frames), subject=subject, scorer=scorer)
        for clip, subject in zip(clips, subjects, strict=True)
    ]
    ours = measure_all(transformer, subjects, scorer=scorer, watch=watch)
    rival = None
    if convolution is not None:
        rival = measure_all(convolution, subjects, scorer=scorer, watch=watch)
    return MotionReport(
        real=MotionMarks.of(real, reference=real),
        transformer=MotionMarks.of(ours, reference=real),
        convolution=MotionMarks.of(rival, reference=real) if rival else None,
        transformer_over_convolution=compare(ours, rival, real=real) if rival else None,
    )


def compare(
    first: Sequence[Moving], second: Sequence[Moving], *, real: Sequence[Moving]
) -> Comparison:
    """Compare two models on the same subjects, in the order of the real clips."""
    pairs = list(zip(first, second, real, strict=True))
    return Comparison(
        flow=mean_of(a.flow - b.flow for a, b, _ in pairs),
        text=mean_of(a.text - b.text for a, b, _ in pairs),
        flow_wins=Share.of(
            _flow_error(a.flow, r.flow) < _flow_error(b.flow, r.flow) for a, b, r in pairs
        ),
        text_wins=Share.of(a.text > b.text for a, b, _ in pairs),
    )


def _flow_error(flow: float, real: float) -> float:
    """Return the absolute logarithm of the ratio to the reference."""
    return abs(float(np.log((flow + 1e-2) / (real + 1e-2))))
