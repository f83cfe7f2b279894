"""Do MotionLoRAs move the camera as their training clips do (Sec. 4.3, arXiv 2307.04725)?

A similarity transform is fitted to the flow of every animation (``evaluation/camera.py``). The
protocol judges its sign, and its size relative to the training clips.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from animatediff.errors import InputError
from animatediff.evaluation.camera import SIGNS, CameraMotion, camera_motion
from animatediff.evaluation.intervals import Estimate, Share, mean_of, median_of, ratio_of_medians
from animatediff.evaluation.reports import Row
from animatediff.world.protocol.subjects import (
    Draw,
    Frames,
    Subject,
    Watch,
    nobody,
    seen_in_each,
)
from animatediff.world.scoring.scorer import Scorer
from animatediff.world.scoring.shown import shown_in

ASKED_WAY = 0.9
SIZE = (0.5, 2.0)
HALVED = (0.3, 0.7)
"""At least this share goes the asked way; the size over the clips'; the effect at scale 0.5."""

_Cameras = Callable[[Draw], tuple[CameraMotion, ...]]


@dataclass(frozen=True)
class Move:
    """One MotionLoRA to judge.

    Attributes:
        pattern: its camera move.
        draw: the model with it.
        halved: the same at scale 0.5.
        learned_from: its training clips, with the camera move.
    """

    pattern: str
    draw: Draw
    halved: Draw | None = None
    learned_from: Sequence[Frames] = ()

    def __post_init__(self) -> None:
        if self.pattern not in SIGNS:
            raise InputError(f"A camera move is one of {', '.join(SIGNS)}, not {self.pattern!r}.")


@dataclass(frozen=True)
class Together:
    """Several MotionLoRAs at once.

    Attributes:
        patterns: their camera moves.
        draw: the model with all of them.
    """

    patterns: tuple[str, ...]
    draw: Draw


@dataclass(frozen=True)
class MoveMarks:
    """Results of all animations with one MotionLoRA.

    Attributes:
        pattern: its camera move.
        asked_way: share of animations whose rate has the right sign.
        rate: median rate along the pattern, per second (``CameraMotion``).
        learned_rate: the same of its training clips.
        size: ratio of the two.
        base_asked_way: share of the base's animations, without it, whose rate has that sign.
        halved: the effect at scale 0.5 over that at scale 1, each the median of what it adds to the
            rate of the same prompt without it.
        cameras: of each animation.
        text: mean text score; ``None`` without a scorer.
        recognised: frames in which the concept is among the scorer's first five.
    """

    pattern: str
    asked_way: Share
    rate: Estimate
    learned_rate: Estimate
    size: float
    base_asked_way: Share
    halved: Estimate | None
    cameras: tuple[CameraMotion, ...]
    text: Estimate | None = None
    recognised: Share | None = None


@dataclass(frozen=True)
class TogetherMarks:
    """Results of all animations with several MotionLoRAs.

    Attributes:
        both: share of animations with every right sign.
        rates: the median rate along each pattern.
    """

    both: Share
    rates: Mapping[str, Estimate]


@dataclass(frozen=True)
class MotionLoraReport:
    """Results for each MotionLoRA, for sums of several, and for scale 0.5."""

    moves: Mapping[str, MoveMarks]
    together: Mapping[str, TogetherMarks]
    subjects: tuple[Subject, ...] = field(default=())

    def rows(self) -> tuple[Row, ...]:
        """Rows of its table."""
        rows: list[Row] = []
        for name, marks in self.moves.items():
            rows += [
                Row(
                    f"{name}: goes the asked way",
                    str(marks.asked_way),
                    f"at least {100 * ASKED_WAY:.0f} %",
                    marks.asked_way.share >= ASKED_WAY,
                ),
                Row(
                    f"{name}: median rate over that of the clips learned from",
                    f"{marks.size:.2f} ({marks.rate.value:.4g} of {marks.learned_rate.value:.4g})",
                    f"{SIZE[0]} to {SIZE[1]}",
                    SIZE[0] <= marks.size <= SIZE[1],
                ),
                Row(f"{name}: the base goes that way without it", str(marks.base_asked_way)),
            ]
            if marks.text is not None:
                quality = f"{marks.text}; {marks.recognised}"
                rows.append(Row(f"{name}: text score; concept recognised", quality))
            if marks.halved is not None:
                rows.append(
                    Row(
                        f"{name}: effect at scale 0.5 over that at 1",
                        str(marks.halved),
                        f"{HALVED[0]} to {HALVED[1]}",
                        HALVED[0] <= marks.halved.value <= HALVED[1],
                    )
                )
        for name, marks in self.together.items():
            rates = "; ".join(f"{p} {rate.value:.4g}" for p, rate in marks.rates.items())
            rows.append(
                Row(
                    f"{name}: shows both",
                    f"{marks.both}; median rates {rates}",
                    "more than half, and both medians that way",
                    marks.both.share > 0.5 and all(r.value > 0 for r in marks.rates.values()),
                )
            )
        return tuple(rows)


def judge_motion_loras(
    base: Draw,
    moves: Mapping[str, Move],
    subjects: Sequence[Subject],
    *,
    together: Mapping[str, Together] | None = None,
    scorer: Scorer | None = None,
    watch: Watch = nobody,
) -> MotionLoraReport:
    """Animate every prompt with every MotionLoRA and the same noise, and measure the camera.

    Args:
        base: the model without MotionLoRAs.
        moves: MotionLoRAs by name, with their training clips.
        subjects: prompts with concepts that are in no training clip.
        together: combinations by name.
        scorer: measures the quality of the frames as well.
        watch: called with the progress, one MotionLoRA after the other.

    Raises:
        InputError: there are no prompts, no MotionLoRA, or no training clips of one.
    """
    if not subjects or not moves:
        raise InputError("MotionLoRAs are judged by prompts, and there must be one of each.")

    def cameras(draw: Draw) -> tuple[CameraMotion, ...]:
        return seen_in_each(draw, subjects, camera_motion, watch=watch)

    without = cameras(base)
    marks: dict[str, MoveMarks] = {}
    learned: dict[tuple[str, int], list[float]] = {}
    for name, move in moves.items():
        if not move.learned_from:
            raise InputError(f"The clips that {name} learned from are not here.")
        key = (move.pattern, id(move.learned_from))
        if key not in learned:
            learned[key] = [camera_motion(f).along(move.pattern) for f in move.learned_from]
        marks[name] = _marks(move, cameras(move.draw), without, learned[key], cameras)
        if scorer is not None:
            marks[name] = _with_quality(marks[name], move.draw, subjects, scorer)
    return MotionLoraReport(
        marks,
        {name: _together(pair, cameras(pair.draw)) for name, pair in (together or {}).items()},
        tuple(subjects),
    )


def _marks(
    move: Move,
    seen: tuple[CameraMotion, ...],
    without: tuple[CameraMotion, ...],
    learned: Sequence[float],
    cameras: _Cameras,
) -> MoveMarks:
    def effect(drawn: Sequence[CameraMotion]) -> list[float]:
        pairs = zip(drawn, without, strict=True)
        return [its.along(move.pattern) - plain.along(move.pattern) for its, plain in pairs]

    rates = [camera.along(move.pattern) for camera in seen]
    halved = None
    if move.halved is not None:
        halved = ratio_of_medians(effect(cameras(move.halved)), reference=effect(seen))
    rate, learned_rate = median_of(rates), median_of(learned)
    return MoveMarks(
        move.pattern,
        Share.of(value > 0 for value in rates),
        rate,
        learned_rate,
        rate.value / learned_rate.value if learned_rate.value else float("nan"),
        Share.of(camera.along(move.pattern) > 0 for camera in without),
        halved,
        seen,
    )


def _with_quality(
    marks: MoveMarks, draw: Draw, subjects: Sequence[Subject], scorer: Scorer
) -> MoveMarks:
    seen = [
        shown_in(draw(subject.prompt, seed=subject.seed), subject=subject, scorer=scorer)
        for subject in subjects
    ]
    return replace(
        marks,
        text=mean_of(each.text for each in seen),
        recognised=Share.of(shows for each in seen for shows in each.shows),
    )


def _together(pair: Together, seen: Sequence[CameraMotion]) -> TogetherMarks:
    return TogetherMarks(
        Share.of(all(camera.along(p) > 0 for p in pair.patterns) for camera in seen),
        {p: median_of(camera.along(p) for camera in seen) for p in pair.patterns},
    )
