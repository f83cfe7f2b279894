"""The three stages of the paper: domain adapter, motion module, MotionLoRA (Sec. 4.1-4.3).

Each is a lesson on an image model that stays as it is; they differ in what is grafted, and in whether
single frames or clips are learned from.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from animatediff.data.camera import opposite, parse_pattern
from animatediff.errors import InputError
from animatediff.model.animated_unet import AnimatedUNet
from animatediff.model.domain_adapter import DomainAdapter
from animatediff.model.motion_lora import MotionLora
from animatediff.training.lessons.clips import ClipLesson, ReadClips
from animatediff.training.lessons.denoising import PredictNoise, frame_by_frame
from animatediff.training.lessons.graded import graded
from animatediff.training.lessons.lesson import TrainOptions
from animatediff.training.lessons.objective import alphas_bar
from animatediff.training.stages.motion_start import Start, given_motion
from animatediff.training.stages.prepared import Prepared
from animatediff.training.stages.setup import FRESH, Ground, Setup, read_ground, trainable
from animatediff.training.stages.write_weights import write_part
from animatediff.training.steps.light_step import LightStep
from animatediff.weights.adapters import read_motion_lora, resolve_low_rank
from animatediff.weights.families import Betas, Family
from animatediff.weights.names.low_rank import our_factor
from animatediff.weights.storage.files import read_weights, sha256_of

ADAPTER_RANK, MOTION_LORA_RANK, WORLD_RANK = 128, 64, 16
"""Of the published adapter and MotionLoRAs, and of the built-in world's, which is as much smaller."""


def prepare_domain_adapter(setup: Setup, options: TrainOptions, device: torch.device) -> Prepared:
    """A fresh adapter on the self- and cross-attentions, learned from single frames at alpha 1."""
    ground = read_ground(setup, device=device)
    rank = setup.rank or (WORLD_RANK if setup.is_world else ADAPTER_RANK)
    torch.manual_seed(0)
    adapter = DomainAdapter(ground.base.unet, rank=rank)
    facts = {"family": family_name(setup), "rank": str(rank), "alpha": str(rank)}
    path = setup.output or setup.work / "world" / "adapter" / "emoji.safetensors"
    return Prepared(
        image_lesson(
            ground, trainable(adapter), ReadClips(ground.data(stills=True), 1, setup.variations)
        ),
        lambda learned: write_part(
            path, learned, kind="domain-adapter", options=options, facts=facts
        ),
        ground.facts,
        ground,
    )


def prepare_motion(setup: Setup, options: TrainOptions, device: torch.device) -> Prepared:
    """Motion modules, learned from clips with the domain adapter attached and frozen.

    They are fresh, or go on from those that the setup names. Over a share of the clips that the setup
    names a camera moves.
    """
    ground = read_ground(setup, device=device)
    ground.attach_adapter()
    start = given_motion(setup, ground.base.unet, branch="transformer") or Start(
        ground.fresh_motion(), ground.motion_family()
    )
    ground.facts.update(start.facts)
    motion, family = trainable(start.animated.motion), start.family
    path = setup.output or setup.work / "world" / "motion" / "emoji.safetensors"
    clips = ground.data(moving_camera=setup.moving_camera)
    data = ReadClips(clips, setup.num_frames, setup.variations)
    return Prepared(
        clip_lesson(ground, motion, start.animated, family, data),
        lambda learned: start.keep(path, learned, options=options),
        ground.facts,
        ground,
        family.betas,
    )


def prepare_motion_lora(setup: Setup, options: TrainOptions, device: torch.device) -> Prepared:
    """A MotionLoRA on the motion modules, learned from a few clips; fresh, or from one that is given.

    With a ``pattern``, a camera moves over every clip by rule; without one they are learned as they
    are. A domain adapter that the setup names is attached and frozen, so that the clips' look is not
    learned with their motion.
    """
    ground = read_ground(setup, device=device)
    ground.attach_adapter()
    animated, family = ground.read_motion()
    animated.grafts.checkpointed = setup.checkpointing
    rank = setup.rank or (WORLD_RANK if setup.is_world else MOTION_LORA_RANK)
    torch.manual_seed(0)
    lora = MotionLora(animated, rank=rank, layers=setup.layers)
    if setup.start is not None:
        ground.facts["start"] = _go_on_from(setup.start, lora)
    facts = {"family": family.name, "rank": str(rank), "alpha": str(rank), "layers": setup.layers}
    if setup.pattern is not None:
        facts["pattern"] = setup.pattern
        facts["scales"] = " ".join(f"{scale:g}" for scale in setup.scales)
        if min(setup.scales, default=1.0) < 0:
            facts["opposite"] = opposite(setup.pattern)
    elif setup.vary_appearance and setup.data is None and setup.clips == 1:
        facts["clip"] = str(setup.first_clip)
    name = "clips" if setup.pattern is None else parse_pattern(setup.pattern)[0]
    path = setup.output or setup.work / "world" / "motion-lora" / f"{name}.safetensors"
    clips = ground.data(pattern=setup.pattern)
    data = graded(ReadClips(clips, setup.num_frames, setup.variations), setup.pattern, setup.scales)
    return Prepared(
        clip_lesson(ground, trainable(lora), animated, family, data),
        lambda learned: write_part(path, learned, kind="motion-lora", options=options, facts=facts),
        ground.facts,
        ground,
        family.betas,
    )


def _go_on_from(name: str, lora: MotionLora) -> str:
    """Fill fresh branches with the numbers of a MotionLoRA; the hash of its file.

    Raises:
        InputError: it has other branches.
    """
    path = resolve_low_rank(name, kind="motion-lora")
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
            f"{path} has other branches ({len(file.names)}, of rank {ranks}) than are asked for "
            f"({len(own) // 2}, of rank {lora.rank}); give the --rank and --layers that it has."
        )
    lora.load_state_dict(weights)
    return sha256_of(path)


def image_lesson(ground: Ground, learns: nn.Module, data: ReadClips) -> ClipLesson:
    """Eq. 2: single frames, with the noise that the image model knows."""
    return _lesson(ground, learns, frame_by_frame(ground.base.unet), data, ground.image_betas())


def clip_lesson(
    ground: Ground, learns: nn.Module, animated: AnimatedUNet, family: Family, data: ReadClips
) -> ClipLesson:
    """Eq. 5: clips, with the noise of the motion modules' family."""
    if ground.setup.checkpointing:
        animated.set_gradient_checkpointing(True)
    return _lesson(ground, learns, animated, data, family.betas)


def _lesson(
    ground: Ground, learns: nn.Module, predict: PredictNoise, data: ReadClips, betas: Betas
) -> ClipLesson:
    setup = ground.setup
    animated = predict if isinstance(predict, AnimatedUNet) else None
    recompute = not setup.checkpointing and not setup.is_world  # whose model is small enough
    LightStep(ground.base.unet, animated=animated, recompute=recompute, small=setup.is_world)
    alphas = alphas_bar(start=betas.start, end=betas.end, schedule=betas.schedule)
    if not 0 <= setup.min_timestep < len(alphas):
        raise InputError(
            f"There is no timestep {setup.min_timestep}; give --min-timestep a number from 0 to "
            f"{len(alphas) - 1}, such as 500 for a camera move."
        )
    return ClipLesson(
        learns,
        predict,
        ground.embedder(),
        ground.encode,
        data,
        alphas,
        null_text=setup.null_text,
        prediction=ground.prediction,
        min_snr=setup.min_snr,
        noise_offset=setup.noise_offset,
        min_timestep=setup.min_timestep,
        debias=setup.debias,
    )


def family_name(setup: Setup) -> str:
    """What the files of an image model's own stages are told to belong to."""
    return "emoji" if setup.is_world else setup.family or FRESH
