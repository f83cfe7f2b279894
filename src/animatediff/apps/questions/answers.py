"""How each question of ``animatediff evaluate`` is answered."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from animatediff.apps.questions.control import control
from animatediff.apps.questions.drawing import draw_of, painter_of
from animatediff.apps.questions.inputs import (
    SHOWN,
    all_stills,
    bar,
    chosen_clips,
    chosen_subjects,
    read_scorer,
    show,
)
from animatediff.apps.questions.motion_lora import motion_lora, single_clip

if TYPE_CHECKING:
    from animatediff.apps.commands.evaluation.evaluate import Options, Question
    from animatediff.apps.progress import Progress
    from animatediff.evaluation.reports import Report
    from animatediff.world.protocol.subjects import Draw, Frames

Answer = Callable[["Options", "Progress"], "Report"]

UNSEEN = 2_000_000
"""Number of the first acting clip of the control row: neither trained on nor used to set thresholds."""


def _scorer(options: Options, progress: Progress) -> Report:
    from animatediff.data.shards import read_shards
    from animatediff.world.scoring.scorer import FOLDER
    from animatediff.world.scoring.training import (
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
    scorer.save(options.work / FOLDER)
    progress.stage("clips")
    clips = clip_ceilings(scorer, read_shards(options.work / "clips"), watch=progress.at)
    return replace(report, clip_frames=clips)


def _autoencoder(options: Options, progress: Progress) -> Report:
    import torch

    from animatediff.runtime import Runtime
    from animatediff.weights.finding.builtin import resolve_model
    from animatediff.weights.image_model.base_model import load_base_model
    from animatediff.world.protocol.autoencoder import judge_autoencoder, reconstructed_by

    device = Runtime(device=options.device).torch_device()
    scorer = read_scorer(options)
    base = load_base_model(resolve_model(options.model), dtype=torch.float32, device=device)
    return judge_autoencoder(
        reconstructed_by(base.vae),
        all_stills(options),
        scorer=scorer,
        watch=bar(progress, "redraw"),
    )


def _pictures(options: Options, progress: Progress) -> Report:
    from animatediff.world.protocol.pictures import choose_pictures, judge_pictures

    scorer = read_scorer(options)
    subjects = choose_pictures(all_stills(options), limit=options.limit, seed=options.seed)
    draw = draw_of(options, motion="none", num_frames=1)
    return judge_pictures(draw, subjects, scorer=scorer, watch=bar(progress, "draw"))


def _motion(options: Options, progress: Progress) -> Report:
    from animatediff.world.protocol.motion import judge_motion

    scorer, clips = read_scorer(options), chosen_clips(options)
    return judge_motion(
        draw_of(options),
        clips,
        scorer=scorer,
        convolution=None if options.rival == "none" else draw_of(options, motion=options.rival),
        num_frames=options.frames,
        seed=options.seed,
        watch=bar(progress, "animate"),
    )


def _transfer(options: Options, progress: Progress) -> Report:
    from animatediff.errors import InputError
    from animatediff.world.art.emoji import STYLES
    from animatediff.world.protocol.transfer import judge_transfer

    phrases = {style.name: style.phrase for style in STYLES}
    if options.style not in phrases:
        raise InputError(f"There is no style {options.style!r}; it is one of {', '.join(phrases)}.")
    scorer, clips = read_scorer(options), chosen_clips(options)
    personalised: dict[str, Draw] = {}
    if options.loras:
        personalised[f"{options.style} by LoRA"] = draw_of(options, loras=options.loras)
    if options.finetuned != "none":
        personalised[f"{options.style} by full fine-tune"] = draw_of(
            options, model=options.finetuned
        )
    if options.embedding is not None:
        said, word = phrases[options.style], f"<{options.style}> style"
        inverted = draw_of(options, embeddings=(options.embedding,))
        personalised[f"{options.style} by textual inversion"] = lambda prompt, *, seed: inverted(
            prompt.replace(said, word), seed=seed
        )
    return judge_transfer(
        draw_of(options),
        personalised,
        clips,
        scorer=scorer,
        style=options.style,
        phrase=phrases[options.style],
        seed=options.seed,
        watch=bar(progress, "animate"),
    )


def _adapter(options: Options, progress: Progress) -> Report:
    import torch

    from animatediff.data.shards import read_shards
    from animatediff.runtime import Runtime
    from animatediff.weights.finding.builtin import resolve_model
    from animatediff.weights.image_model.base_model import load_base_model
    from animatediff.world.protocol.adapter import judge_adapter, learned_detector
    from animatediff.world.protocol.autoencoder import reconstructed_by

    device = Runtime(device=options.device).torch_device()
    base = load_base_model(resolve_model(options.model), dtype=torch.float32, device=device)
    held_out = [s for s in read_shards(options.work / "clips") if s.meta["split"] != "train"]
    detector = learned_detector(held_out, seen=reconstructed_by(base.vae))
    drawn = painter_of(options, motion=options.adapted, adapter=f"{options.adapter}:1")
    unadapted = None
    if options.unadapted != "none":
        unadapted = draw_of(options, motion=options.unadapted)

    def adapted(prompt: str, *, seed: int, alpha: float) -> Frames:
        return drawn(adapter=f"{options.adapter}:{alpha!r}")(prompt, seed=seed)

    report = judge_adapter(
        adapted,
        chosen_subjects(options),
        detector=detector,
        alphas=options.alphas,
        unadapted=unadapted,
        scorer=read_scorer(options),
        watch=bar(progress, "animate"),
    )
    # Already drawn: the judged pictures are cached.
    shown = {
        s.prompt: [adapted(s.prompt, seed=s.seed, alpha=a)[0] for a in report.by_alpha]
        for s in report.subjects[:SHOWN]
    }
    columns = [f"alpha {alpha:g}" for alpha in report.by_alpha]
    if unadapted is not None:
        columns.append("trained without")
        for s in report.subjects[:SHOWN]:
            shown[s.prompt].append(unadapted(s.prompt, seed=s.seed)[0])
    show(options, shown, columns=columns)
    return report


def _still_vs_motion(options: Options, progress: Progress) -> Report:
    from animatediff.world.art.emoji import STYLES
    from animatediff.world.protocol.still_vs_motion import judge_still_vs_motion

    phrases = {style.name: style.phrase for style in STYLES}
    scorer, clips = read_scorer(options), chosen_clips(options)
    styled = None
    if options.loras:
        draw = draw_of(options, loras=options.loras)
        styled = (f"{options.style} by LoRA", options.style, phrases[options.style], draw)
    painter = painter_of(options)
    return judge_still_vs_motion(
        draw_of(options, motion="none", num_frames=1),
        painter(),
        clips,
        scorer=scorer,
        as_drawn=painter(carry=0.0, action="none"),
        styled=styled,
        num_frames=options.frames,
        seed=options.seed,
        watch=bar(progress, "animate"),
    )


def _actions(options: Options, progress: Progress) -> Report:
    from animatediff.data.shards import on_white, read_shards
    from animatediff.world.art.acted_clips import ActedClips
    from animatediff.world.protocol.actions import judge_actions, without_clips

    subjects = without_clips(
        all_stills(options),
        read_shards(options.work / "clips"),
        count=options.count or 40,
        seed=options.seed,
    )
    scorer = read_scorer(options)
    bank = ActedClips(options.work / "packages", moved="actions")
    acting = bank.samples(UNSEEN, 2 * len(subjects))
    return judge_actions(
        draw_of(options, motion="none", num_frames=1),
        draw_of(options),
        subjects,
        scorer=scorer,
        by_rule=((str(s.meta["action"]), on_white(s.frames())) for s in acting),
        watch=bar(progress, "animate"),
    )


ANSWERS: Mapping[Question, Answer] = {
    "scorer": _scorer,
    "autoencoder": _autoencoder,
    "pictures": _pictures,
    "motion": _motion,
    "transfer": _transfer,
    "adapter": _adapter,
    "motion-lora": motion_lora,
    "single-clip": single_clip,
    "still-vs-motion": _still_vs_motion,
    "actions": _actions,
    "control": control,
}
"""The function that answers each question."""
