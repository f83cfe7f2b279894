"""Do control networks steer: do drawn edges follow given ones, and does a picture stay what it is?

The hints are the edges (or shapes) of held-out clips, frame by frame, and the pictures their first
frames. The same prompts and seeds without control are the comparison.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from animatediff.data.shards import Sample
from animatediff.errors import InputError
from animatediff.evaluation.edges import agreement, lines_of
from animatediff.evaluation.intervals import (
    Estimate,
    Share,
    mean_of,
    median_of,
    ratio_of_means,
    ratio_of_medians,
)
from animatediff.evaluation.motion_metrics import foreground_flow
from animatediff.evaluation.reports import Row
from animatediff.evaluation.similarity import text_score
from animatediff.runtime import seeded
from animatediff.video.preprocess import PreprocessName
from animatediff.world.protocol.motion import real_frames
from animatediff.world.protocol.subjects import Draw, Frames, Subject, Watch, nobody
from animatediff.world.scoring.scorer import Scorer

TIMES_BETTER, TEXT_KEPT = 3.0, 0.95
"""How much better edges must agree than without control; the share of the text score to keep."""
LEAST_PSNR, FLOW_KEPT = 22.0, 0.5
"""Of frame 0 against the picture, in dB; the share of text-to-video's flow to keep."""


class DrawGuided(Protocol):
    """A model that follows a clip: its frames are hints, or its first frame is the picture."""

    def __call__(self, prompt: str, *, seed: int, guide: Frames) -> Frames:
        """Frames at 8 a second, as many as ``guide`` has."""
        ...


@dataclass(frozen=True)
class HintMarks:
    """Animations with a hint for each frame.

    Attributes:
        agreement: mean F-score of drawn lines with the given ones.
        free: the same of animations without control.
        over_free: the first over the second, by clip.
        stranger: mean F-score of the drawn lines with those of another clip's frames: what lines
            agree to by chance. Nothing of a single clip.
        shuffled: mean F-score of the drawn frames with the given ones in another order.
        ordered: clips whose frames agree better in order than in that other order.
        text: mean text score over that of the same prompts without control.
        real_text: the same of the real clips that gave the hints.
        scores: the F-score of each clip.
    """

    agreement: Estimate
    free: Estimate
    over_free: Estimate
    stranger: Estimate | None
    shuffled: Estimate
    ordered: Share
    text: Estimate
    real_text: Estimate
    scores: tuple[float, ...]


@dataclass(frozen=True)
class PictureMarks:
    """Animations of a picture.

    Attributes:
        psnr: median PSNR of frame 0 against the picture, dB.
        flow: median foreground flow over that of the same prompts without a picture.
        text: mean text score over that of the same prompts without a picture.
        last_psnr: median PSNR of the last frame against the picture, dB.
    """

    psnr: Estimate
    flow: Estimate
    text: Estimate
    last_psnr: Estimate


@dataclass(frozen=True)
class ControlReport:
    """Whether control networks steer the model.

    Attributes:
        hint: what the hints were.
        hinted: of the network with a hint for each frame, if it was judged.
        pictured: of the network with a picture at frame 0, if it was judged.
        subjects: what was drawn.
    """

    hint: str
    hinted: HintMarks | None
    pictured: PictureMarks | None
    subjects: tuple[Subject, ...]

    def rows(self) -> tuple[Row, ...]:
        """The lines of its table."""
        return (*_hinted_rows(self.hinted, self.hint), *_pictured_rows(self.pictured))


def _hinted_rows(marks: HintMarks | None, hint: str) -> tuple[Row, ...]:
    if marks is None:
        return ()
    return (
        Row(f"{hint}: F-score of drawn lines with the given ones, 2 px", str(marks.agreement)),
        Row(f"{hint}: the same without control", str(marks.free)),
        Row(
            f"{hint}: times better than without control",
            str(marks.over_free),
            "at least 3",
            0 < marks.agreement.value >= TIMES_BETTER * marks.free.value,
        ),
        *(
            Row(f"{hint}: {name}", text)
            for name, text in (
                ("times better, at most (F-score 1)", _most_over(marks.free)),
                ("F-score with another clip's lines", str(marks.stranger or "")),
            )
            if text
        ),
        *_order_rows(marks, hint),
        Row(
            f"{hint}: text score over that without control",
            str(marks.text),
            "at least 0.95",
            marks.text.value >= TEXT_KEPT,
        ),
        Row(f"{hint}: the same of the real clips that gave the hints", str(marks.real_text)),
    )


def _most_over(free: Estimate) -> str:
    """How many times better than without control an F-score of 1 would be."""
    return f"{1 / free.value:.3f}" if free.value else ""


def _order_rows(marks: HintMarks, hint: str) -> tuple[Row, ...]:
    """Nothing for single frames, which have no order."""
    if not marks.ordered.total:
        return ()
    return (
        Row(f"{hint}: F-score with the given frames in another order", str(marks.shuffled)),
        Row(
            f"{hint}: clips that agree better in order",
            str(marks.ordered),
            "more than half",
            marks.ordered.share > 0.5,
        ),
    )


def _pictured_rows(marks: PictureMarks | None) -> tuple[Row, ...]:
    if marks is None:
        return ()
    return (
        Row(
            "picture: PSNR of frame 0, dB (median)",
            str(marks.psnr),
            "at least 22",
            marks.psnr.value >= LEAST_PSNR,
        ),
        Row(
            "picture: foreground flow over text-to-video's (medians)",
            str(marks.flow),
            "at least 0.5",
            marks.flow.value >= FLOW_KEPT,
        ),
        Row("picture: text score over text-to-video's", str(marks.text)),
        Row("picture: PSNR of the last frame, dB (median)", str(marks.last_psnr)),
    )


def judge_control(
    free: Draw,
    clips: Sequence[Sample],
    *,
    scorer: Scorer,
    hinted: DrawGuided | None = None,
    pictured: DrawGuided | None = None,
    hint: PreprocessName = "canny",
    num_frames: int = 16,
    seed: int = 0,
    watch: Watch = nobody,
) -> ControlReport:
    """Draw the captions of real clips under control by those clips, and without it.

    Args:
        free: the model without control.
        clips: held-out clips.
        scorer: the judge of the text.
        hinted: the model under the hints of each frame.
        pictured: the model under the first frame.
        hint: what ``hinted`` is given.
        num_frames: of each animation.
        seed: of the drawings, and of the other order of frames.
        watch: called with the progress.

    Raises:
        InputError: there is nothing to judge.
    """
    if hinted is None and pictured is None:
        raise InputError("There is no control network to judge; name one.")
    subjects = tuple(Subject.of(clip, seed=seed) for clip in clips)
    guides = [real_frames(clip, count=num_frames) for clip in clips]
    total = len(subjects) * (1 + (hinted is not None) + (pictured is not None))
    done = 0

    def drawn(draw: Draw | None, guided: DrawGuided | None) -> list[Frames]:
        nonlocal done
        found: list[Frames] = []
        for subject, guide in zip(subjects, guides, strict=True):
            if guided is not None:
                found.append(guided(subject.prompt, seed=subject.seed, guide=guide))
            elif draw is not None:
                found.append(draw(subject.prompt, seed=subject.seed))
            done += 1
            watch(done, total)
        return found

    def texts(videos: Sequence[Frames]) -> list[float]:
        words = scorer.embed_text([subject.prompt for subject in subjects])
        return [
            text_score(scorer.judge(frames).embeddings, words[index])
            for index, frames in enumerate(videos)
        ]

    without = drawn(free, None)
    text = texts(without)
    marks = pictures = None
    if hinted is not None:
        videos = drawn(None, hinted)
        marks = _hint_marks(
            videos,
            without,
            guides,
            hint=hint,
            seed=seed,
            texts=(texts(videos), text, texts(guides)),
        )
    if pictured is not None:
        videos = drawn(None, pictured)
        pictures = PictureMarks(
            psnr=median_of(psnr(v[0], g[0]) for v, g in zip(videos, guides, strict=True)),
            flow=ratio_of_medians(
                [foreground_flow(frames) for frames in videos],
                reference=[foreground_flow(frames) for frames in without],
            ),
            text=ratio_of_means(texts(videos), reference=text),
            last_psnr=median_of(psnr(v[-1], g[0]) for v, g in zip(videos, guides, strict=True)),
        )
    return ControlReport(hint, marks, pictures, subjects)


def _hint_marks(
    videos: Sequence[Frames],
    without: Sequence[Frames],
    guides: Sequence[Frames],
    *,
    hint: PreprocessName,
    seed: int,
    texts: tuple[Sequence[float], Sequence[float], Sequence[float]],
) -> HintMarks:
    asked = [lines_of(guide, hint=hint) for guide in guides]
    lines = [lines_of(frames, hint=hint) for frames in videos]
    scores = [agreement(a, b) for a, b in zip(lines, asked, strict=True)]
    free = [
        agreement(lines_of(frames, hint=hint), b) for frames, b in zip(without, asked, strict=True)
    ]
    strangers = [agreement(a, asked[(index + 1) % len(asked)]) for index, a in enumerate(lines)]
    other = [
        agreement(a, b[another_order(len(b), seed=seed)]) for a, b in zip(lines, asked, strict=True)
    ]
    return HintMarks(
        agreement=mean_of(scores),
        free=mean_of(free),
        over_free=ratio_of_means(scores, reference=free),
        stranger=mean_of(strangers) if len(asked) > 1 else None,
        shuffled=mean_of(other),
        ordered=Share.of(
            a > b for a, b, given in zip(scores, other, asked, strict=True) if len(given) > 1
        ),
        text=ratio_of_means(texts[0], reference=texts[1]),
        real_text=ratio_of_means(texts[2], reference=texts[1]),
        scores=tuple(scores),
    )


def another_order(count: int, *, seed: int) -> np.ndarray:
    """An order in which no frame keeps its place: rotated by a random part of the clip."""
    if count < 2:
        return np.arange(count)
    generator = np.random.default_rng(seeded("order", seed).initial_seed())
    return (np.arange(count) + generator.integers(1, count)) % count


def psnr(first: np.ndarray, second: np.ndarray) -> float:
    """The peak signal-to-noise ratio of two pictures of bytes, in dB; at most 100."""
    squared = np.mean((first.astype(np.float64) - second.astype(np.float64)) ** 2)
    return float(min(100.0, 10 * np.log10(255**2 / max(squared, 1e-6))))
