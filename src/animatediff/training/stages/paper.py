"""The three stages of the paper: domain adapter, motion module, MotionLoRA (Sec. 4.1-4.3).

Each trains a network on a frozen image model. They differ in which network is attached, and in whether
single frames or clips are trained on.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from animatediff.data.camera import opposite, parse_pattern
from animatediff.errors import InputError
from animatediff.model.animated_unet import AnimatedUNet, Branch
from animatediff.model.domain_adapter import attach_domain_adapter
from animatediff.model.fast.choice import choose_fast_paths
from animatediff.model.grafts.low_rank import LowRankSet
from animatediff.model.motion_lora import attach_motion_lora
from animatediff.training.lessons.clips import ClipLesson, ReadBatch, ReadClips, TrainingData
from animatediff.training.lessons.denoiser import Denoiser, frame_by_frame
from animatediff.training.lessons.graded import graded
from animatediff.training.lessons.objective import alphas_bar
from animatediff.training.recipe import Recipe
from animatediff.training.stages.frozen_model import FrozenModel, read_frozen_model, trainable
from animatediff.training.stages.job import Job
from animatediff.training.stages.motion_start import Start, given_motion
from animatediff.training.stages.option_groups import (
    AppearanceOptions,
    ClipOptions,
    ImageModelOptions,
    LossOptions,
    LowRankOptions,
    MotionLoraOptions,
    MotionModuleOptions,
    NoiseOptions,
)
from animatediff.training.stages.picture_network import shown_pictures, steered_by_pictures
from animatediff.training.stages.stage_options import StageOptions
from animatediff.training.stages.training_data import read_training_data
from animatediff.training.stages.write_weights import write_part
from animatediff.weights.adapters import read_motion_lora
from animatediff.weights.families import Betas, Family
from animatediff.weights.finding.builtin import resolve
from animatediff.weights.names.low_rank import our_factor
from animatediff.weights.storage.files import read_weights, sha256_of

ADAPTER_RANK, MOTION_LORA_RANK = 128, 64
"""The ranks of the published adapter and MotionLoRAs."""

MOTION_FILES: dict[Branch, str] = {
    "transformer": "emoji.safetensors",
    "convolution": "emoji-conv.safetensors",
}


def prepare_domain_adapter(options: StageOptions, recipe: Recipe, device: torch.device) -> Job:
    """A new adapter on self- and cross-attention, trained on single frames at alpha 1 (Sec. 4.1)."""
    frozen = read_frozen_model(options, device=device)
    rank = rank_of(frozen, ADAPTER_RANK)
    torch.manual_seed(0)
    adapter = attach_domain_adapter(frozen.base.unet, rank=rank)
    facts = {"family": frozen.family_name, "rank": str(rank), "alpha": str(rank)}
    path = options.output or options.work / "world" / "adapter" / "emoji.safetensors"
    data = read_clips(options, read_training_data(frozen, stills=True), num_frames=1)
    return Job(
        image_lesson(frozen, trainable(adapter), data),
        lambda learned: write_part(
            path, learned, kind="domain-adapter", options=recipe, facts=facts
        ),
        frozen.facts,
        frozen,
    )


def prepare_motion(
    options: StageOptions,
    recipe: Recipe,
    device: torch.device,
    *,
    branch: Branch = "transformer",
) -> Job:
    """Motion modules, trained on clips with the domain adapter attached and frozen (Sec. 4.2, Eq. 5).

    They are new, or continue from those that ``--motion`` names. With ``branch="convolution"`` they
    are the temporal convolutions of Sec. 5.3.
    """
    frozen = read_frozen_model(options, device=device)
    frozen.attach_adapter()
    start = given_motion(options, frozen.base.unet, branch=branch) or Start(
        frozen.new_motion(branch), frozen.motion_family()
    )
    frozen.facts.update(start.facts)
    asked = options.of(NoiseOptions).shared_noise
    if asked is not None:
        start = replace(start, family=replace(start.family, shared_noise=asked))
    motion, family = trainable(start.animated.motion), start.family
    path = options.output or options.work / "world" / "motion" / MOTION_FILES[branch]
    data = read_clips(options, read_training_data(frozen))
    steered = steered_by_pictures(frozen, start.animated)
    lesson = clip_lesson(frozen, motion, start.animated, family, data, predict=steered)
    return Job(
        lesson if steered is None else shown_pictures(lesson, steered),
        lambda learned: start.save(path, learned, recipe=recipe),
        frozen.facts,
        frozen,
        family.betas,
    )


def prepare_motion_lora(options: StageOptions, recipe: Recipe, device: torch.device) -> Job:
    """A MotionLoRA on the motion modules, trained on a few clips (Sec. 4.3).

    With ``--pattern`` a camera moves over every clip by rule; without it clips are used as they are. A
    domain adapter is attached and frozen, so that the look of the clips is not learned with their
    motion.
    """
    frozen = read_frozen_model(options, device=device)
    frozen.attach_adapter()
    animated, family = frozen.read_motion()
    animated.grafts.checkpointed = options.of(ImageModelOptions).checkpointing
    asked, rank = options.of(MotionLoraOptions), rank_of(frozen, MOTION_LORA_RANK)
    torch.manual_seed(0)
    lora = attach_motion_lora(animated, rank=rank, layers=asked.layers)
    if asked.start is not None:
        frozen.facts["start"] = _continue_from(asked.start, lora)
    facts = {"family": family.name, "rank": str(rank), "alpha": str(rank), "layers": asked.layers}
    clips = options.of(ClipOptions)
    if asked.pattern is not None:
        facts["pattern"] = asked.pattern
        facts["scales"] = " ".join(f"{scale:g}" for scale in asked.scales)
        if min(asked.scales, default=1.0) < 0:
            facts["opposite"] = opposite(asked.pattern)
    elif options.of(AppearanceOptions).vary_appearance and clips.data is None and clips.clips == 1:
        facts["clip"] = str(clips.first_clip)
    name = "clips" if asked.pattern is None else parse_pattern(asked.pattern)[0]
    path = options.output or options.work / "world" / "motion-lora" / f"{name}.safetensors"
    read = read_clips(options, read_training_data(frozen, pattern=asked.pattern))
    return Job(
        clip_lesson(
            frozen,
            trainable(lora),
            animated,
            family,
            graded(read, asked.pattern, asked.scales),
        ),
        lambda learned: write_part(path, learned, kind="motion-lora", options=recipe, facts=facts),
        frozen.facts,
        frozen,
        family.betas,
    )


def rank_of(frozen: FrozenModel, published: int) -> int:
    """The rank of low-rank branches: the one given, the defaults' own, or the published one."""
    options = frozen.options
    own = options.defaults.rank if frozen.is_default and options.defaults else published
    return options.of(LowRankOptions).rank or own


def read_clips(
    options: StageOptions, data: TrainingData, *, num_frames: int | None = None
) -> ReadClips:
    """What reads windows of the clips, of as many frames as the options say."""
    frames = options.of(MotionModuleOptions).frames if num_frames is None else num_frames
    return ReadClips(data, frames, options.of(ClipOptions).variations)


def _continue_from(name: str, lora: LowRankSet) -> str:
    """Fill new branches with the weights of a MotionLoRA; returns the hash of its file.

    Raises:
        InputError: it has other branches.
    """
    path = resolve("motion-lora", name)
    file = read_motion_lora(path)
    read = read_weights(file.header, dtype=torch.float32, refuse_nan=True)
    weights: dict[str, Tensor] = {}
    for host, (down, up) in file.names.items():
        weights[our_factor(host, "down")] = read[down]
        weights[our_factor(host, "up")] = read[up] * (file.alphas[host] / file.ranks[host])
    own = lora.state_dict()
    if {n: w.shape for n, w in weights.items()} != {n: w.shape for n, w in own.items()}:
        ranks = ", ".join(map(str, sorted(set(file.ranks.values()))))
        raise InputError(
            f"{path} has {len(file.names)} branches of rank {ranks}, and this run needs "
            f"{len(own) // 2} of rank {lora.rank}; pass the --rank and --layers of the file."
        )
    lora.load_state_dict(weights)
    return sha256_of(path)


def image_lesson(frozen: FrozenModel, learns: nn.Module, data: ReadBatch) -> ClipLesson:
    """Eq. 2: single frames, with the noise schedule of the image model."""
    return lesson_on(frozen, learns, frame_by_frame(frozen.base.unet), data, frozen.image_betas())


def clip_lesson(
    frozen: FrozenModel,
    learns: nn.Module,
    animated: AnimatedUNet,
    family: Family,
    data: ReadBatch,
    *,
    predict: Denoiser | None = None,
) -> ClipLesson:
    """Eq. 5: clips, with the noise schedule of the motion modules' family.

    ``predict`` is the denoiser, if it is not the animated model alone.
    """
    if frozen.options.of(ImageModelOptions).checkpointing:
        animated.set_gradient_checkpointing(True)
    return lesson_on(
        frozen,
        learns,
        predict or animated,
        data,
        family.betas,
        animated=animated,
        shared_noise=family.shared_noise,
    )


def lesson_on(
    frozen: FrozenModel,
    learns: nn.Module,
    predict: Denoiser,
    data: ReadBatch,
    betas: Betas,
    *,
    animated: AnimatedUNet | None = None,
    shared_noise: float = 0.0,
) -> ClipLesson:
    """The lesson of a stage, by the options of its loss.

    Args:
        frozen: the image model.
        learns: what is trained.
        predict: the denoiser with everything attached.
        data: reads the clips.
        betas: the noise schedule.
        animated: the motion modules in ``predict``, if it has some.
        shared_noise: share of the noise's variance that frames have in common, as those learned it.
    """
    options = frozen.options
    checkpointing = options.of(ImageModelOptions).checkpointing
    spares = not checkpointing and not frozen.is_default  # the built-in model is small enough
    choose_fast_paths(
        frozen.base.unet,
        animated=animated,
        learns=True,
        spares_memory=spares,
        small=frozen.is_default,
    )
    alphas = alphas_bar(start=betas.start, end=betas.end, schedule=betas.schedule)
    loss = options.of(LossOptions)
    if not 0 <= loss.min_timestep < len(alphas):
        raise InputError(
            f"There is no timestep {loss.min_timestep}; give --min-timestep a number from 0 to "
            f"{len(alphas) - 1}, such as 500 for a camera move."
        )
    return ClipLesson(
        learns,
        predict,
        frozen.embedder(),
        frozen.encode,
        data,
        alphas,
        null_text=loss.null_text,
        prediction=frozen.prediction,
        min_snr=loss.min_snr,
        noise_offset=loss.noise_offset,
        shared_noise=shared_noise,
        min_timestep=loss.min_timestep,
        debias=options.of(MotionModuleOptions).debias,
    )
