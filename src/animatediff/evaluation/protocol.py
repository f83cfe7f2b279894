"""The questions put to a model of the built-in world, each answered by a frozen report.

Is the picture right? Does it move? Does motion carry over to a style that never moved? They follow
the questions of Sec. 5 (arXiv 2307.04725), with the independent scorer for CLIP and optical flow
against real clips for the eye. Every number comes with its count, its interval and, where there is
one, the same number for real pictures or clips: no model can be expected to pass what the real
thing fails.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from einops import rearrange
from jaxtyping import UInt8

from animatediff.data.shards import Sample, on_white
from animatediff.errors import InputError
from animatediff.evaluation.clip_metrics import smooth_scores, text_score
from animatediff.evaluation.intervals import (
    Estimate,
    Share,
    mean_of,
    median_of,
    ratio_of_medians,
)
from animatediff.evaluation.kept_animations import KeptAnimations
from animatediff.evaluation.motion_metrics import (
    FLOW_RATE,
    FROZEN_BELOW,
    foreground_flow,
    largest_change,
)
from animatediff.evaluation.reports import Row
from animatediff.evaluation.scorer import Judgement, Scorer
from animatediff.evaluation.scorer_training import Ceiling, is_held_out
from animatediff.evaluation.stored_features import Still
from animatediff.runtime import seeded

if TYPE_CHECKING:
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

    from animatediff.sampling.animator import Animator
    from animatediff.sampling.request import AnimationRequest

Frames = UInt8[np.ndarray, "frames height width 3"]


class Draw(Protocol):
    """A model as the protocol sees it: a prompt and a seed to frames on white."""

    def __call__(self, prompt: str, *, seed: int) -> Frames:
        """Frames at 8 a second."""
        ...


Watch = Callable[[int, int], None]
"""Told after each item how many are done, and of how many."""

Reconstruct = Callable[[Frames], Frames]
"""Pictures to what an autoencoder makes of them."""


def drawn_by(
    animator: Animator, *, template: AnimationRequest, kept: KeptAnimations | None = None
) -> Draw:
    """An animator that draws every prompt as ``template`` says, but for prompt and seed.

    Args:
        animator: the loaded model.
        template: everything but the prompt and the seed.
        kept: where drawings are kept and looked up; without it each is drawn anew.

    Raises:
        InputError: the template's frame rate is not the real clips'.
    """
    if template.num_frames > 1 and Fraction(template.fps) != FLOW_RATE:
        raise InputError(f"Real clips run at {FLOW_RATE} fps; ask for fps={FLOW_RATE}.")

    def draw(prompt: str, *, seed: int) -> Frames:
        request = dataclasses.replace(template, prompt=prompt, seed=seed)
        return kept.frames(animator, request) if kept else animator.animate(request).video.frames

    return draw


def reconstructed_by(vae: AutoencoderKL) -> Reconstruct:
    """What an autoencoder makes of pictures: the mode of their latents, decoded."""
    from animatediff.model.latent_space import picture_of, posterior_of

    @torch.no_grad()
    def reconstruct(pictures: Frames) -> Frames:
        inputs = rearrange(torch.from_numpy(pictures), "n h w c -> n c h w") / 127.5 - 1
        latents = posterior_of(vae, inputs.to(vae.device, vae.dtype)).mode()
        pixels = (picture_of(vae, latents).float() + 1) * 127.5
        bytes_ = pixels.round().clamp(0, 255).to("cpu", torch.uint8)
        return rearrange(bytes_, "n c h w -> n h w c").numpy()

    return reconstruct


@dataclass(frozen=True)
class Subject:
    """One thing to ask for.

    Attributes:
        hexcode: the concept.
        label: its words.
        style: the style's name.
        prompt: the words given to the model.
        split: ``train``, ``val`` or ``test``.
        seed: of the drawing; the same concept has the same seed for every model.
    """

    hexcode: str
    label: str
    style: str
    prompt: str
    split: str
    seed: int

    @classmethod
    def of(cls, sample: Sample, *, seed: int) -> Subject:
        """A still or clip as something to ask for, in its caption's words."""
        meta = sample.meta
        code = str(meta["hexcode"])
        return cls(
            hexcode=code,
            label=str(meta["label"]),
            style=str(meta["style"]),
            prompt=str(meta["caption"]),
            split=str(meta["split"]),
            seed=int(hashlib.sha256(f"{seed}/{code}".encode()).hexdigest()[:7], 16),
        )


def _ignore(done: int, total: int) -> None:
    """Watch nothing."""


# --- The autoencoder ------------------------------------------------------------------------------


@dataclass(frozen=True)
class AutoencoderReport:
    """How much of a picture survives the autoencoder.

    Attributes:
        psnr: mean over held-out concepts in the base's styles of each picture's PSNR in dB, on
        white.
        psnr_pooled: PSNR in dB of their mean squared error; never above ``psnr``.
        psnr_by_style: the mean for each style, held-out styles included.
        scorer_before: the scorer on real pictures that it was not trained on.
        scorer_after: the scorer on the same pictures after the autoencoder.
    """

    psnr: Estimate
    psnr_pooled: float
    psnr_by_style: Mapping[str, Estimate]
    scorer_before: Ceiling | None
    scorer_after: Ceiling | None

    def rows(self) -> tuple[Row, ...]:
        """The lines of its table."""
        rows = [
            Row(
                "PSNR on held-out concepts, dB",
                str(self.psnr),
                "at least 28",
                self.psnr.value >= 28,
            ),
            Row("PSNR of their mean squared error, dB", f"{self.psnr_pooled:.2f}"),
            *(Row(f"PSNR, {name} style, dB", str(e)) for name, e in self.psnr_by_style.items()),
        ]
        if self.scorer_before is not None and self.scorer_after is not None:
            for name, before, after in (
                ("concept among the first 5", self.scorer_before.top5, self.scorer_after.top5),
                ("style", self.scorer_before.style, self.scorer_after.style),
            ):
                rows.append(Row(f"{name}: real pictures new to the scorer", str(before)))
                rows.append(Row(f"{name}: the same, reconstructed", str(after)))
        return tuple(rows)


def mean_squared_error(
    picture: UInt8[np.ndarray, "*shape"], other: UInt8[np.ndarray, "*shape"]
) -> float:
    """Of 8-bit pictures, as a share of full scale squared."""
    return float(np.mean((picture / 255.0 - other / 255.0) ** 2))


def psnr(error: float) -> float:
    """Peak signal-to-noise ratio in dB of a mean squared error; at most 100."""
    return float(-10 * np.log10(max(error, 1e-10)))


def judge_autoencoder(
    reconstruct: Reconstruct,
    stills: Iterable[Sample],
    *,
    scorer: Scorer | None = None,
    batch: int = 16,
    watch: Watch = _ignore,
) -> AutoencoderReport:
    """PSNR on held-out concepts, and what the scorer still recognises.

    Args:
        reconstruct: the autoencoder, pictures of bytes to pictures of bytes.
        stills: all stills; those of held-out concepts, and the pairs that the scorer was not
        trained
            on, are taken from them.
        scorer: judges before and after; without one only PSNR is measured.
        batch: pictures at a time.
        watch: told of the progress.
    """
    chosen = [s for s in stills if s.meta["split"] != "train" or is_held_out(Still.of(s))]
    errors: dict[str, list[float]] = {}
    before: list[Judgement] = []
    after: list[Judgement] = []
    for start in range(0, len(chosen), batch):
        part = chosen[start : start + batch]
        pictures = np.stack([on_white(sample.image) for sample in part])
        redrawn = reconstruct(pictures)
        for sample, picture, other in zip(part, pictures, redrawn, strict=True):
            if sample.meta["split"] != "train":
                of_style = errors.setdefault(str(sample.meta["style"]), [])
                of_style.append(mean_squared_error(picture, other))
        if scorer is not None:
            before.append(scorer.judge(pictures))
            after.append(scorer.judge(redrawn))
        watch(min(start + batch, len(chosen)), len(chosen))
    base_styles = {str(s.meta["style"]) for s in chosen if not s.meta["held_out_style"]}
    of_base = [error for style in sorted(base_styles) for error in errors.get(style, [])]
    return AutoencoderReport(
        psnr=mean_of(psnr(error) for error in of_base),
        psnr_pooled=psnr(float(np.mean(of_base))) if of_base else float("nan"),
        psnr_by_style={s: mean_of(psnr(error) for error in errors[s]) for s in sorted(errors)},
        scorer_before=_ceiling(scorer, before, chosen) if scorer else None,
        scorer_after=_ceiling(scorer, after, chosen) if scorer else None,
    )


def _ceiling(scorer: Scorer, judged: Sequence[Judgement], samples: Sequence[Sample]) -> Ceiling:
    """Marks on training concepts only: on others the scorer itself is guessing."""
    top1: list[bool] = []
    top5: list[bool] = []
    style: list[bool] = []
    first = 0
    for judgement in judged:
        for row, named in enumerate(judgement.styles):
            sample = samples[first + row]
            if sample.meta["split"] == "train":
                concept = scorer.index_of(str(sample.meta["hexcode"]))
                top1.append(bool(judgement.shows(concept, among=1)[row]))
                top5.append(bool(judgement.shows(concept)[row]))
                style.append(named == sample.meta["style"])
        first += len(judgement.styles)
    return Ceiling(Share.of(top1), Share.of(top5), Share.of(style))


# --- The picture is right -------------------------------------------------------------------------


@dataclass(frozen=True)
class Picture:
    """One drawn picture and what the scorer says of it."""

    subject: Subject
    rank1: bool
    rank5: bool
    style_named: str
    text: float


@dataclass(frozen=True)
class PicturesReport:
    """Whether the image model draws what was asked, in the style that was asked.

    Attributes:
        top1: the prompt's concept is the scorer's first of all concepts.
        top5: it is among the first five.
        style: the scorer names the asked style.
        text: mean text score of the pictures.
        by_style: (top5, style) for each asked style.
        num_labels: how many concepts the scorer chooses among.
        pictures: every picture.
    """

    top1: Share
    top5: Share
    style: Share
    text: Estimate
    by_style: Mapping[str, tuple[Share, Share]]
    num_labels: int
    pictures: tuple[Picture, ...]

    def rows(self) -> tuple[Row, ...]:
        """The lines of its table."""
        return (
            Row(
                f"prompt's concept among the scorer's first 5 of {self.num_labels}",
                str(self.top5),
                "at least 60 %",
                self.top5.share >= 0.6,
            ),
            Row("prompt's concept is the scorer's first", str(self.top1)),
            Row(
                "scorer names the asked style",
                str(self.style),
                "at least 90 %",
                self.style.share >= 0.9,
            ),
            Row("text score (100 x cosine)", str(self.text)),
            *(
                Row(
                    f"{name} style: concept among the first 5; style named",
                    f"{100 * top5.share:.1f} %; {100 * style.share:.1f} % (of {top5.total})",
                )
                for name, (top5, style) in self.by_style.items()
            ),
        )


def choose_pictures(
    stills: Iterable[Sample], *, limit: int | None = None, seed: int = 0
) -> tuple[Subject, ...]:
    """Every training concept once, in one of the base's styles that has it, chosen by ``seed``.

    Args:
        stills: all stills; held-out concepts and styles are passed over.
        limit: at most so many concepts, chosen at random.
        seed: of the choice, and of the drawings.
    """
    by_concept: dict[str, dict[str, Subject]] = {}
    for sample in stills:
        if sample.meta["split"] == "train" and not sample.meta["held_out_style"]:
            subject = Subject.of(sample, seed=seed)
            by_concept.setdefault(subject.hexcode, {})[subject.style] = subject
    chosen: list[Subject] = []
    for code in sorted(by_concept):
        styles = by_concept[code]
        digest = hashlib.sha256(f"style/{seed}/{code}".encode()).digest()
        chosen.append(styles[sorted(styles)[digest[0] % len(styles)]])
    return _sampled(chosen, limit=limit, seed=seed)


def _sampled(subjects: Sequence[Subject], *, limit: int | None, seed: int) -> tuple[Subject, ...]:
    if limit is None or limit >= len(subjects):
        return tuple(subjects)
    order = np.random.default_rng(seeded("choose", seed).initial_seed()).permutation(len(subjects))
    return tuple(subjects[index] for index in sorted(order[:limit]))


def judge_pictures(
    draw: Draw, subjects: Sequence[Subject], *, scorer: Scorer, watch: Watch = _ignore
) -> PicturesReport:
    """Draw every subject once and let the scorer say what it sees; a picture is a first frame."""
    words = scorer.embed_text([subject.prompt for subject in subjects])
    pictures: list[Picture] = []
    for index, subject in enumerate(subjects):
        judgement = scorer.judge(draw(subject.prompt, seed=subject.seed)[:1])
        concept = scorer.index_of(subject.hexcode)
        pictures.append(
            Picture(
                subject=subject,
                rank1=bool(judgement.shows(concept, among=1)[0]),
                rank5=bool(judgement.shows(concept)[0]),
                style_named=judgement.styles[0],
                text=text_score(judgement.embeddings, words[index]),
            )
        )
        watch(index + 1, len(subjects))
    asked = sorted({picture.subject.style for picture in pictures})
    of_style = {a: [p for p in pictures if p.subject.style == a] for a in asked}
    return PicturesReport(
        top1=Share.of(picture.rank1 for picture in pictures),
        top5=Share.of(picture.rank5 for picture in pictures),
        style=_style_share(pictures),
        text=mean_of(picture.text for picture in pictures),
        by_style={
            name: (Share.of(p.rank5 for p in part), _style_share(part))
            for name, part in of_style.items()
        },
        num_labels=len(scorer.facts.labels),
        pictures=tuple(pictures),
    )


def _style_share(pictures: Iterable[Picture]) -> Share:
    return Share.of(picture.style_named == picture.subject.style for picture in pictures)


# --- It moves -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Moving:
    """One animation, measured.

    Attributes:
        subject: what was asked for.
        flow: foreground flow, px per 1/8 s at 128 px.
        change: largest mean change from the first frame, share of full scale.
        first_shows: the concept is among the scorer's first five in the first frame.
        last_shows: the same in the last frame.
        style_frames: in how many frames the scorer names the asked style.
        num_frames: how many frames there are.
        text: text score.
        text_first: text score of the first frame alone, as if it never moved.
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
    """The animations of one model (or the real clips), together.

    Attributes:
        flow: median foreground flow.
        flow_to_reference: that median over the reference's, over the same prompts.
        frozen: animations that change by less than 1 %.
        falling_apart: recognised in the first frame, not in the last; of all animations.
        falling_apart_if_recognised: the same, of those recognised in the first frame.
        recognised: the concept is among the scorer's first five in the first frame.
        style_named: frames in which the scorer names the asked style.
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
        """Add up animations; ``reference`` holds the same subjects in the same order."""
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
    """One model against another on the same prompts and seeds.

    Attributes:
        flow: mean difference of flow.
        text: mean difference of text score.
        flow_wins: prompts on which the first model's flow is nearer to the real clip's, as a ratio.
        text_wins: prompts on which the first model's text score is higher.
    """

    flow: Estimate
    text: Estimate
    flow_wins: Share
    text_wins: Share


@dataclass(frozen=True)
class MotionReport:
    """Whether it moves as real clips do, and whether the Transformer is what makes it move."""

    real: MotionMarks
    transformer: MotionMarks
    convolution: MotionMarks | None
    transformer_over_convolution: Comparison | None

    def rows(self) -> tuple[Row, ...]:
        """The lines of its table."""
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
    """Clips whose captions are the prompts, drawn from ``seed`` among those of the given splits.

    Raises:
        InputError: no clip is of these splits.
    """
    wanted = {s.meta["hexcode"]: s for s in clips if s.meta["split"] in splits}
    if not wanted:
        raise InputError(f"No clip is of the splits {', '.join(splits)}.")
    subjects = [Subject.of(wanted[code], seed=seed) for code in sorted(wanted)]
    return tuple(wanted[s.hexcode] for s in _sampled(subjects, limit=count, seed=seed))


def real_frames(clip: Sample, *, count: int) -> Frames:
    """The first frames of a real clip on white, played again from its start where it is shorter."""
    frames = on_white(clip.frames())
    return frames[np.arange(count) % len(frames)]


def measure(frames: Frames, *, subject: Subject, scorer: Scorer) -> Moving:
    """Everything that the protocol wants to know of one clip at 8 fps."""
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
    draw: Draw, subjects: Sequence[Subject], *, scorer: Scorer, watch: Watch = _ignore
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
    watch: Watch = _ignore,
) -> MotionReport:
    """Animate the captions of real clips, and set the animations beside the clips.

    Args:
        transformer: the model with its motion modules.
        clips: the real clips, as :func:`choose_clips` chose them.
        scorer: the judge.
        convolution: the same model with the rival of equal size, if it was trained.
        num_frames: how many frames of each real clip are measured: as many as are drawn.
        seed: of the drawings.
        watch: told of the progress, model by model.
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
    """Two models on the same subjects, in the same order as the real clips."""
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
    """How many times too much or too little, as the size of a logarithm."""
    return abs(float(np.log((flow + 1e-2) / (real + 1e-2))))


# --- Motion carries over --------------------------------------------------------------------------


@dataclass(frozen=True)
class TransferReport:
    """Whether the motion module, untouched, animates personalised models whose style never moved.

    Attributes:
        style: the personalised style.
        base: the base model's animations, in the clips' style.
        personalised: the animations of each personalised model; ``flow_to_reference`` is to the
        base.
    """

    style: str
    base: MotionMarks
    personalised: Mapping[str, MotionMarks]

    def rows(self) -> tuple[Row, ...]:
        """The lines of its table."""
        rows = [
            Row("base: median foreground flow, px per 1/8 s", str(self.base.flow)),
            Row("base: asked style named, of all frames", str(self.base.style_named)),
        ]
        for name, marks in self.personalised.items():
            ratio, named = marks.flow_to_reference, marks.style_named
            rows += [
                Row(
                    f"{name}: flow over the base's", str(ratio), "at least 0.5", ratio.value >= 0.5
                ),
                Row(
                    f"{name}: {self.style} named, of all frames",
                    str(named),
                    "at least 85 %",
                    named.share >= 0.85,
                ),
                Row(f"{name}: concept among the first 5 in the first frame", str(marks.recognised)),
                Row(f"{name}: frozen", str(marks.frozen)),
                Row(f"{name}: falling apart", str(marks.falling_apart)),
                Row(f"{name}: text score", str(marks.text)),
            ]
        return tuple(rows)


def in_style(subject: Subject, *, style: str, phrase: str, was: str) -> Subject:
    """The same thing asked for in another style: ``was``, the style's words, become ``phrase``.

    Raises:
        InputError: the prompt does not hold the words to replace.
    """
    if was not in subject.prompt:
        raise InputError(f"The prompt {subject.prompt!r} does not say {was!r}.")
    prompt = subject.prompt.replace(was, phrase)
    return dataclasses.replace(subject, style=style, prompt=prompt)


def judge_transfer(
    base: Draw,
    personalised: Mapping[str, Draw],
    clips: Sequence[Sample],
    *,
    scorer: Scorer,
    style: str,
    phrase: str,
    seed: int = 0,
    watch: Watch = _ignore,
) -> TransferReport:
    """Animate the same prompts with the base and, in the new style's words, with each model.

    Args:
        base: the base model with the motion modules.
        personalised: models of the new style, by name, with the same motion modules.
        clips: real clips whose captions are the prompts.
        scorer: the judge; it must know the style.
        style: the new style's name.
        phrase: what a caption calls it.
        seed: of the drawings.
        watch: told of the progress, model by model.

    Raises:
        InputError: the scorer does not know the style.
    """
    if style not in scorer.facts.styles:
        raise InputError(
            f"The scorer knows no style {style!r}, only {', '.join(scorer.facts.styles)}."
        )
    subjects = [Subject.of(clip, seed=seed) for clip in clips]
    restyled = [
        in_style(subject, style=style, phrase=phrase, was=str(clip.meta["style_phrase"]))
        for clip, subject in zip(clips, subjects, strict=True)
    ]
    of_base = measure_all(base, subjects, scorer=scorer, watch=watch)
    return TransferReport(
        style=style,
        base=MotionMarks.of(of_base, reference=of_base),
        personalised={
            name: MotionMarks.of(
                measure_all(draw, restyled, scorer=scorer, watch=watch), reference=of_base
            )
            for name, draw in personalised.items()
        },
    )
