"""How each question of ``animatediff evaluate`` is answered: what is loaded, and what judges it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from animatediff.apps.evaluate import Options, Question
    from animatediff.apps.progress import Progress
    from animatediff.data.shards import Sample
    from animatediff.evaluation.figures import Frame
    from animatediff.evaluation.protocol.subjects import Draw, Frames, Subject, Watch
    from animatediff.evaluation.reports import Report
    from animatediff.evaluation.scorer import Scorer

Answer = Callable[["Options", "Progress"], "Report"]

SHOWN = 6
"""Prompts of a figure."""


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
        options=ScorerOptions(
            num_views=options.views, num_style_views=options.views, seed=options.seed
        ),
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
    draw = _drawn(options, motion="none", num_frames=1)
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
    if options.embedding is not None:
        said, word = phrases[options.style], f"<{options.style}> style"
        inverted = _drawn(options, embeddings=(options.embedding,))
        personalised[f"{options.style} by textual inversion"] = lambda prompt, *, seed: inverted(
            prompt.replace(said, word), seed=seed
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


def _adapter(options: Options, progress: Progress) -> Report:
    import torch

    from animatediff.data.shards import read_shards
    from animatediff.evaluation.protocol.adapter import judge_adapter, learned_detector
    from animatediff.evaluation.protocol.autoencoder import reconstructed_by
    from animatediff.runtime import Runtime
    from animatediff.weights.base_model import load_base_model
    from animatediff.weights.builtin import resolve_model

    device = Runtime(device=options.device).torch_device()
    base = load_base_model(resolve_model(options.model), dtype=torch.float32, device=device)
    held_out = [s for s in read_shards(options.work / "clips") if s.meta["split"] != "train"]
    detector = learned_detector(held_out, seen=reconstructed_by(base.vae))
    drawn = _painter(options, motion=options.adapted, adapter=f"{options.adapter}:1")
    unadapted = None
    if options.unadapted != "none":
        unadapted = _drawn(options, motion=options.unadapted)

    def adapted(prompt: str, *, seed: int, alpha: float) -> Frames:
        return drawn(adapter=f"{options.adapter}:{alpha!r}")(prompt, seed=seed)

    report = judge_adapter(
        adapted,
        _subjects(options),
        detector=detector,
        alphas=options.alphas,
        unadapted=unadapted,
        watch=_bar(progress, "animate"),
    )
    # Drawn already: what was judged is kept.
    shown = {
        s.prompt: [adapted(s.prompt, seed=s.seed, alpha=a)[0] for a in report.by_alpha]
        for s in report.subjects[:SHOWN]
    }
    columns = [f"alpha {alpha:g}" for alpha in report.by_alpha]
    if unadapted is not None:
        columns.append("trained without")
        for s in report.subjects[:SHOWN]:
            shown[s.prompt].append(unadapted(s.prompt, seed=s.seed)[0])
    _show(options, shown, columns=columns)
    return report


def _motion_lora(options: Options, progress: Progress) -> Report:
    from animatediff.data.camera import parse_pattern
    from animatediff.data.emoji import SIZE
    from animatediff.data.world_clips import read_world_clips
    from animatediff.errors import InputError
    from animatediff.evaluation.protocol.motion_lora import Move, Together, judge_motion_loras
    from animatediff.runtime import seeded
    from animatediff.training.setup import WORLD_MARGIN

    files = _telling(options, "pattern", of="which camera move it learned")
    at = _at_scales(options, {name: path for name, (path, _) in files.items()})
    filmed: dict[str, tuple[Frames, ...]] = {}
    for pattern in {pattern for _, pattern in files.values()}:
        clips = read_world_clips(
            options.work / "clips", size=SIZE, count=50, pattern=pattern, margin=WORLD_MARGIN
        )
        draws = (seeded("judge", i, options.seed) for i in range(len(clips)))
        filmed[pattern] = tuple(
            clips.footage(i, num_frames=options.frames, generator=draw).frames
            for i, draw in enumerate(draws)
        )
    together: dict[str, Together] = {}
    left_out = options.together == type(options).together
    for pair in options.together:
        names = pair.split("+")
        unknown = [name for name in names if name not in files]
        if unknown and left_out:
            continue
        if unknown:
            raise InputError(
                f"There is no MotionLoRA {unknown[0]!r} here, only {', '.join(files)}."
            )
        patterns = (parse_pattern(files[name][1])[0] for name in names)
        together[pair] = Together(tuple(patterns), at(**dict.fromkeys(names, 1.0)))
    moves = {
        name: Move(
            parse_pattern(pattern)[0],
            at(**{name: 1.0}),
            at(**{name: 0.5}) if name in options.halved else None,
            filmed[pattern],
        )
        for name, (_, pattern) in files.items()
    }
    report = judge_motion_loras(
        at(), moves, _subjects(options), together=together, watch=_bar(progress, "animate")
    )
    first = report.subjects[0]
    times = [round(share * (options.frames - 1)) for share in (0, 0.25, 0.5, 0.75, 1)]
    shown = {
        name: [move.draw(first.prompt, seed=first.seed)[time] for time in times]
        for name, move in moves.items()
    }
    _show(options, shown, columns=[f"frame {time}" for time in times])
    return report


def _single_clip(options: Options, progress: Progress) -> Report:
    from animatediff.data.emoji import SIZE
    from animatediff.data.world_clips import read_world_clips
    from animatediff.errors import FileError
    from animatediff.evaluation.protocol.single_clip import Learned, judge_single_clips
    from animatediff.runtime import seeded

    files = _telling(options, "clip", of="which single clip it learned from")
    at = _at_scales(options, {name: path for name, (path, _) in files.items()})
    motions: dict[str, Learned] = {}
    for name, (path, number) in files.items():
        if not number.isdecimal():
            raise FileError(
                f"{path} says that it learned from clip {number:.40}, which is no number."
            )
        clip = read_world_clips(
            options.work / "clips", size=SIZE, first=int(number), count=1, from_start=True
        ).footage(0, num_frames=options.frames, generator=seeded("judge", options.seed))
        motions[name] = Learned(at(**{name: 1.0}), clip.frames)
    report = judge_single_clips(at(), motions, _subjects(options), watch=_bar(progress, "animate"))
    times = range(0, options.frames, 2)
    shown = {name: [motion.clip[time] for time in times] for name, motion in motions.items()}
    shown |= {
        f"{name}: {s.prompt}": [motion.draw(s.prompt, seed=s.seed)[time] for time in times]
        for name, motion in motions.items()
        for s in report.subjects[:SHOWN]
    }
    _show(options, shown, columns=[f"frame {time}" for time in times])
    return report


def _at_scales(options: Options, files: Mapping[str, Path]) -> Callable[..., Draw]:
    """The model with some of these MotionLoRAs, each at its scale; with none of them as it is."""

    @cache
    def painter(*names: str) -> Callable[..., Draw]:
        # Nothing else is loaded: what is kept of one MotionLoRA does not depend on the others.
        return _painter(options, motion_loras=tuple(f"{files[name]}:1" for name in names))

    def at(**scales: float) -> Draw:
        return painter(*scales)(
            motion_loras=tuple(f"{files[name]}:{scale!r}" for name, scale in scales.items())
        )

    return at


def _telling(options: Options, fact: str, *, of: str) -> dict[str, tuple[Path, str]]:
    """The MotionLoRAs to judge by the names of their files, with what each tells of itself."""
    from animatediff.errors import InputError
    from animatediff.weights.files import read_header

    folder = options.work / "world" / "motion-lora"
    paths = options.motion_loras or tuple(sorted(folder.glob("*.safetensors")))
    told = {path.stem: (path, read_header(path).metadata.get(fact, "")) for path in paths}
    files = {name: found for name, found in told.items() if found[1]}
    if not files:
        where = "among them" if options.motion_loras else f"in {folder}"
        raise InputError(f"There is no MotionLoRA {where} that says {of}.")
    return files


ANSWERS: Mapping[Question, Answer] = {
    "scorer": _scorer,
    "autoencoder": _autoencoder,
    "pictures": _pictures,
    "motion": _motion,
    "transfer": _transfer,
    "adapter": _adapter,
    "motion-lora": _motion_lora,
    "single-clip": _single_clip,
}
"""Each question's answer."""


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

    held_out = options.question in ("adapter", "motion-lora", "single-clip")
    return choose_clips(
        read_shards(options.work / "clips"),
        count=options.count or (40 if held_out else 100),
        seed=options.seed,
        splits=options.splits or (("val", "test") if held_out else ("train",)),
    )


def _show(options: Options, rows: Mapping[str, Sequence[Frame]], *, columns: Sequence[str]) -> None:
    """Some of what was judged as a picture beside the numbers."""
    from animatediff.errors import OutputError, reason_of
    from animatediff.evaluation.figures import labelled_grid

    path = options.results / f"{options.question}.png"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        labelled_grid(rows, columns=columns).save(path)
    except OSError as error:
        raise OutputError(f"Cannot write {path}: {reason_of(error)}.") from None


def _subjects(options: Options) -> tuple[Subject, ...]:
    from animatediff.evaluation.protocol.subjects import Subject

    return tuple(Subject.of(clip, seed=options.seed) for clip in _clips(options))


def _drawn(options: Options, **asked: Any) -> Draw:
    """A loaded model as the protocol sees it; what it draws is kept in the world folder."""
    return _painter(options, **asked)()


def _painter(options: Options, **asked: Any) -> Callable[..., Draw]:
    """A loaded model, as the protocol sees it once it is told the scales of what was loaded."""
    from animatediff.evaluation.kept_animations import KeptAnimations, fingerprint_of
    from animatediff.evaluation.protocol.subjects import drawn_by
    from animatediff.runtime import Runtime
    from animatediff.sampling.animator import Animator
    from animatediff.sampling.request import AnimationRequest, parse_lora
    from animatediff.weights.builtin import resolve_lora

    first: dict[str, Any] = {
        "model": options.model,
        "motion": options.motion,
        "num_frames": options.frames,
    }
    template = AnimationRequest(
        prompt="a template",
        scheduler=options.scheduler,
        steps=options.steps,
        free_init=options.free_init,
        guidance=options.guidance,
        **(first | asked),
    ).validated()
    animator = Animator.for_request(
        template,
        runtime=Runtime(
            device=options.device, precision=options.precision, threads=options.threads
        ),
    )
    loras = [resolve_lora(parse_lora(name)[0]) for name in template.loras]
    files = [*animator.files.values(), *loras]
    kept = KeptAnimations(options.work / "evaluation", fingerprint=fingerprint_of(files))

    def draw(**scales: Any) -> Draw:
        # With the model's own choices filled in: kept drawings must not outlive a change of them.
        request = animator.resolved(replace(template, **scales))
        return drawn_by(animator, template=replace(request, prompt=""), kept=kept)

    return draw


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
