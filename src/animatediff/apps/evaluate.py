"""``animatediff evaluate``: put one question to a model, and write the answer with what made it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from animatediff.apps.parsing import optional
from animatediff.apps.progress import Progress, Style, open_progress

if TYPE_CHECKING:
    from animatediff.data.shards import Sample
    from animatediff.evaluation.protocol.subjects import Draw, Watch
    from animatediff.evaluation.reports import Report
    from animatediff.evaluation.scorer import Scorer

Question = Literal["scorer", "autoencoder", "pictures", "motion", "transfer"]


@dataclass(frozen=True)
class Options:
    """Measure a model of the built-in world: write RESULTS/QUESTION.json, and print its table.

    ``scorer`` trains the independent judge, which every other question needs. ``autoencoder``: what
    does a picture lose? ``pictures``: is the picture right? ``motion``: does it move? ``transfer``:
    does motion carry over to a style that never moved?
    """

    question: Annotated[Question, tyro.conf.Positional]
    """What to find out."""
    work: Path = Path("build/emoji")
    """The world folder, as `animatediff dataset emoji` made it; the scorer is kept there."""
    results: Path = Path("results")
    """Where the answer is written."""
    model: str = "emoji"
    """The image model: a name that `animatediff models` lists, or a folder."""
    motion: str = "emoji"
    """Its motion module."""
    rival: str = "emoji-conv"
    """The convolution of equal size for `motion`; or none."""
    loras: tuple[str, ...] = ("noto:1",)
    """For `transfer`: the style as LoRAs on the model, NAME:SCALE each; empty for no such row."""
    finetuned: str = "emoji-noto"
    """For `transfer`: the style as a fine-tuned model; or none."""
    style: str = "noto"
    """For `transfer`: the style's name in the stills."""
    count: int = 100
    """For `motion` and `transfer`: how many prompts."""
    limit: Annotated[int | None, optional("N")] = None
    """For `pictures`: at most so many concepts, chosen at random."""
    splits: tuple[str, ...] = ("train",)
    """For `motion` and `transfer`: whose clips give the prompts: train, val, test."""
    frames: int = 16
    """For `motion` and `transfer`: frames of each animation."""
    steps: int = 25
    """Denoising steps."""
    guidance: Annotated[float | None, optional("X")] = None
    """How strongly the prompt pulls; the model's own where left out."""
    seed: int = 0
    """Of the choice of prompts, of the drawings and of the scorer's training."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Of the denoiser; auto is fp32 on a CPU and fp16 on a GPU."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1 or mps."""
    threads: Annotated[int | None, optional("N")] = None
    """CPU threads."""
    progress: Style = "auto"
    """A bar on a terminal, JSON lines for programs, or none."""


def evaluate(options: Options) -> int:
    """Answer one question.

    Raises:
        InputError: a package or a model is missing, or an option does not fit.
        FileError: the world folder lacks its stills, its clips or its scorer.
        OutputError: the results cannot be written.
    """
    from animatediff.evaluation.reports import write_report
    from animatediff.evaluation.tables import render_rows
    from animatediff.runtime import Runtime

    Runtime(device=options.device, threads=options.threads).apply()
    with open_progress(options.progress) as progress:
        report = _ANSWERS[options.question](options, progress)
        path = write_report(
            report,
            options.results / f"{options.question}.json",
            question=options.question,
            command=["animatediff", *sys.argv[1:]],
            options=options,
        )
        table = f"{render_rows(report.rows())}\n\n{path}"
        progress.tell("result", table, {"path": str(path)})
    return 0


def _scorer(options: Options, progress: Progress) -> Report:
    from animatediff.data.shards import read_shards
    from animatediff.evaluation.scorer_training import (
        ScorerOptions,
        clip_ceilings,
        train_scorer,
    )

    progress.stage("train")
    scorer, report = train_scorer(
        options.work / "stills",
        cache=options.work / "scorer-cache",
        options=ScorerOptions(seed=options.seed),
    )
    scorer.save(_scorer_folder(options))
    progress.stage("clips")
    clips = clip_ceilings(scorer, read_shards(options.work / "clips"), watch=progress.at)
    return replace(report, clip_frames=clips)


def _autoencoder(options: Options, progress: Progress) -> Report:
    import torch

    from animatediff.evaluation.protocol.autoencoder import judge_autoencoder, reconstructed_by
    from animatediff.runtime import Runtime
    from animatediff.weights.base_model import load_base_model
    from animatediff.weights.builtin import resolve_model

    device = Runtime(device=options.device).torch_device()
    scorer = _judge(options)
    base = load_base_model(resolve_model(options.model), dtype=torch.float32, device=device)
    return judge_autoencoder(
        reconstructed_by(base.vae), _stills(options), scorer=scorer, watch=_bar(progress, "redraw")
    )


def _pictures(options: Options, progress: Progress) -> Report:
    from animatediff.evaluation.protocol.pictures import choose_pictures, judge_pictures

    scorer = _judge(options)
    subjects = choose_pictures(_stills(options), limit=options.limit, seed=options.seed)
    draw = _drawn(options, motion="none", frames=1)
    return judge_pictures(draw, subjects, scorer=scorer, watch=_bar(progress, "draw"))


def _motion(options: Options, progress: Progress) -> Report:
    from animatediff.evaluation.protocol.motion import judge_motion

    scorer, clips = _judge(options), _clips(options)
    return judge_motion(
        _drawn(options),
        clips,
        scorer=scorer,
        convolution=None if options.rival == "none" else _drawn(options, motion=options.rival),
        num_frames=options.frames,
        seed=options.seed,
        watch=_bar(progress, "animate"),
    )


def _transfer(options: Options, progress: Progress) -> Report:
    from animatediff.data.emoji import STYLES
    from animatediff.errors import InputError
    from animatediff.evaluation.protocol.transfer import judge_transfer

    phrases = {style.name: style.phrase for style in STYLES}
    if options.style not in phrases:
        raise InputError(f"There is no style {options.style!r}; it is one of {', '.join(phrases)}.")
    scorer, clips = _judge(options), _clips(options)
    personalised: dict[str, Draw] = {}
    if options.loras:
        personalised[f"{options.style} by LoRA"] = _drawn(options, loras=options.loras)
    if options.finetuned != "none":
        personalised[f"{options.style} by full fine-tune"] = _drawn(
            options, model=options.finetuned
        )
    return judge_transfer(
        _drawn(options),
        personalised,
        clips,
        scorer=scorer,
        style=options.style,
        phrase=phrases[options.style],
        seed=options.seed,
        watch=_bar(progress, "animate"),
    )


_ANSWERS: Mapping[Question, Callable[[Options, Progress], Report]] = {
    "scorer": _scorer,
    "autoencoder": _autoencoder,
    "pictures": _pictures,
    "motion": _motion,
    "transfer": _transfer,
}


def _scorer_folder(options: Options) -> Path:
    return options.work / "scorer"


def _judge(options: Options) -> Scorer:
    from animatediff.evaluation.scorer import Scorer

    return Scorer.load(_scorer_folder(options))


def _stills(options: Options) -> Iterator[Sample]:
    from animatediff.data.shards import read_shards
    from animatediff.evaluation.stored_features import style_folders

    for folder in style_folders(options.work / "stills"):
        yield from read_shards(folder)


def _clips(options: Options) -> tuple[Sample, ...]:
    from animatediff.data.shards import read_shards
    from animatediff.evaluation.protocol.motion import choose_clips

    return choose_clips(
        read_shards(options.work / "clips"),
        count=options.count,
        seed=options.seed,
        splits=options.splits,
    )


def _drawn(
    options: Options,
    *,
    model: str | None = None,
    motion: str | None = None,
    loras: tuple[str, ...] = (),
    frames: int | None = None,
) -> Draw:
    """A loaded model as the protocol sees it; what it draws is kept in the world folder."""
    from animatediff.evaluation.kept_animations import KeptAnimations, fingerprint_of
    from animatediff.evaluation.protocol.subjects import drawn_by
    from animatediff.runtime import Runtime
    from animatediff.sampling.animator import Animator
    from animatediff.sampling.request import AnimationRequest
    from animatediff.weights import builtin

    template = AnimationRequest(
        prompt="a template",
        model=model or options.model,
        motion=motion or options.motion,
        loras=loras,
        num_frames=frames or options.frames,
        steps=options.steps,
        guidance=options.guidance,
    ).validated()
    animator = Animator.load(
        template.model,
        motion=template.motion,
        loras=template.loras,
        runtime=Runtime(
            device=options.device, precision=options.precision, threads=options.threads
        ),
    )
    # With the model's own choices filled in: kept drawings must not outlive a change of them.
    template = animator.resolved(template)
    assert builtin.__file__ is not None
    folders = [Path(builtin.__file__).parents[1] / "builtin", Path(template.model)]
    files = [path for folder in folders for path in folder.rglob("*.safetensors")]
    kept = KeptAnimations(options.work / "evaluation", fingerprint=fingerprint_of(files))
    return drawn_by(animator, template=replace(template, prompt=""), kept=kept)


def _bar(progress: Progress, name: str) -> Watch:
    """A stage of the progress display that learns its length with the first item."""
    total = 0

    def watch(done: int, of: int) -> None:
        nonlocal total
        if done <= 1 or of != total:
            progress.stage(name, total=of)
            total = of
        progress.at(done)

    return watch
