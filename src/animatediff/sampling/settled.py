"""A request with every choice made, checked once; nothing below ``Animator.animate`` decides anything.

What a request leaves open is the model's own: frames, size, steps, guidance and sampler.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import torch

from animatediff.errors import InputError
from animatediff.options.checks import check_multiple
from animatediff.runtime import Quantisation, dtype_of
from animatediff.sampling.choosing.action import with_action
from animatediff.sampling.choosing.carry import chosen_carry
from animatediff.sampling.choosing.finish import with_finish
from animatediff.sampling.choosing.still import chosen_from_still
from animatediff.sampling.choosing.window_place import Room
from animatediff.sampling.choosing.windows import with_windows
from animatediff.sampling.image_to_video.options import BLEND_STRENGTH, WayName
from animatediff.sampling.image_to_video.own_network import (
    OWN_STRENGTH,
    uses_own_network,
    with_own_network,
)
from animatediff.sampling.image_to_video.way import chosen_way, without_networks
from animatediff.sampling.loaded.loading import Loaded
from animatediff.sampling.options.guidance import STRAIGHT
from animatediff.sampling.options.hires import check_hires
from animatediff.sampling.options.scale import Scale
from animatediff.sampling.options.scaled_names import parse_adapter, parse_lora
from animatediff.sampling.request import AnimationRequest, check_request
from animatediff.sampling.steps.sampler_kinds import SAMPLERS, SamplerKind
from animatediff.sampling.steps.sampler_names import SchedulerName
from animatediff.sampling.steps.schedulers import first_step
from animatediff.sampling.text.typed_motion_loras import with_typed_motion_loras
from animatediff.sampling.text.wildcards import resolve_wildcards
from animatediff.sampling.video_to_video.options import STRENGTH
from animatediff.sampling.video_to_video.source import Source
from animatediff.sampling.windows.changes import with_changes
from animatediff.sampling.windows.plan import WindowPlan
from animatediff.weights.adapters import LoadedLowRank
from animatediff.weights.families import Family
from animatediff.weights.finding.builtin import resolve_lora
from animatediff.weights.image_model.base_model import BaseModel
from animatediff.weights.roles import NO_MOTION
from animatediff.weights.textual_inversion import Word

_PRECISIONS = {torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}
CFG_PLUS_PLUS = 0.6
"""The guidance scale of CFG++ unless a request says otherwise, as its authors use it."""


@dataclass(frozen=True)
class Model:
    """What a loaded model decides of a request.

    Attributes:
        loaded: which files it has.
        family: of its motion module.
        precision: in which it runs.
        quantise: how its weights are stored in 8 bits, if they are.
        pixels_per_latent: along a side.
        side: the image model's own size in pixels.
        motion_guidance: of each MotionLoRA, what its file says.
        words: names of its textual inversions, in lower case.
        ways: how it can animate a picture, the best first.
        room: what it holds in memory; ``None`` if all frames would be computed together.
    """

    loaded: Loaded
    family: Family
    precision: str
    pixels_per_latent: int
    side: int
    motion_guidance: tuple[float, ...]
    words: frozenset[str] = frozenset()
    ways: tuple[WayName, ...] = ("blend",)
    quantise: Quantisation | None = None
    room: Room | None = None

    @classmethod
    def of(
        cls,
        base: BaseModel,
        *,
        family: Family,
        loaded: Loaded,
        motion_loras: Sequence[LoadedLowRank],
        words: Sequence[Word] = (),
        ways: tuple[WayName, ...] = ("blend",),
        quantise: Quantisation | None = None,
        room: Room | None = None,
    ) -> Model:
        """What these files decide."""
        unit, own = base.pixels_per_latent, base.unet.config["sample_size"]
        return cls(
            loaded=loaded,
            family=family,
            precision=_PRECISIONS[dtype_of(base.unet)],
            pixels_per_latent=unit,
            # Some modules know only smaller pictures than their image model, and none larger ones.
            side=min(own * unit, family.size) if isinstance(own, int) else family.size,
            motion_guidance=tuple(each.file.motion_guidance for each in motion_loras),
            words=frozenset(word.name.lower() for word in words),
            ways=ways,
            quantise=quantise,
            room=room,
        )


@dataclass(frozen=True)
class Settled:
    """A request with every choice made.

    Attributes:
        request: as it is stored with the animation: no wildcard and nothing to choose is left. Read
            from it only what was never optional.
        num_frames, width, height, steps, guidance: as in a request.
        sampler: the sampler.
        styles: LoRAs and their scales.
        alpha: the scale of the domain adapter, 0 without one.
        motion_scales: the scale of each MotionLoRA.
        motion_pulls: the motion guidance of each MotionLoRA.
        windows: what is denoised together at each step.
        views: what temporal attention sees together at each step, if windows are inside it.
        side: the model's own size in pixels.
        template: the texts in which wildcards were resolved, as they were typed.
        first: the first denoising step to take.
        image_way: how the picture is animated; nothing if there is none.
    """

    request: AnimationRequest
    num_frames: int
    width: int
    height: int
    steps: int
    guidance: float
    sampler: SamplerKind
    styles: tuple[tuple[Path, Scale], ...]
    alpha: Scale
    motion_scales: tuple[Scale, ...]
    motion_pulls: tuple[float, ...]
    windows: WindowPlan
    views: WindowPlan | None
    template: Mapping[str, str]
    side: int
    first: int
    image_way: WayName | None

    @property
    def is_guided(self) -> bool:
        """Whether a clip without the prompt is predicted as well."""
        return self.guidance != 1 or self.request.guidance_method != "plain"


def settle(request: AnimationRequest, model: Model, *, source: Source | None = None) -> Settled:
    """Check a request against a model, and make every choice that it leaves open.

    Args:
        request: the request.
        model: what the loaded files decide.
        source: what it begins from, if anything; it decides frames, rate and shape.

    Raises:
        InputError: a value cannot be used, or the request is for another model or precision.
    """
    check_request(request)
    request = with_typed_motion_loras(request)
    family, unit = model.family, model.pixels_per_latent
    sized = request.width is not None or request.height is not None
    if source is not None:
        request = _like(request, source, side=model.side)
    num_frames = family.num_frames if request.num_frames is None else request.num_frames
    steps = family.steps if request.steps is None else request.steps
    usual = CFG_PLUS_PLUS if request.guidance_method == "cfg++" else family.guidance
    guidance = usual if request.guidance is None else request.guidance
    scheduler = request.scheduler or family.scheduler
    if request.scheduler is None and request.guidance_method == "cfg++":
        scheduler = scheduler if scheduler in STRAIGHT else STRAIGHT[0]
    width = model.side if request.width is None else request.width
    height = model.side if request.height is None else request.height
    # Files first: inputs of control networks are checked against the networks that are loaded.
    filled = replace(
        model.loaded.filled(request),
        num_frames=num_frames,
        width=width,
        height=height,
        steps=steps,
        guidance=guidance,
        fps=request.rate,
        scheduler=scheduler,  # pyright: ignore[reportArgumentType] - one of its own names
    ).validated()
    filled = model.loaded.complete(filled, words=model.words)
    filled = with_finish(filled, width=width, height=height, sized=sized)
    if filled.precision not in ("auto", model.precision):
        raise InputError(
            f"The request is for precision {filled.precision}, and this animator runs in "
            f"{model.precision}; load another animator for it."
        )
    if filled.quantise not in (None, model.quantise):
        raise InputError(
            f"The request is for weights in {filled.quantise}, and this animator's are stored in "
            f"{model.quantise or model.precision}; load another animator for it."
        )
    filled = replace(filled, quantise=model.quantise)
    check_hires(request.hires, width=width, height=height, others=bool(request.image))
    check_multiple("width", width, of=unit)
    check_multiple("height", height, of=unit)
    final = _without_wildcards(replace(filled, guidance=float(guidance), precision=model.precision))  # pyright: ignore[reportArgumentType] - one of its own names
    typed, found = _texts(filled), _texts(final)
    moves = model.loaded.motion != NO_MOTION
    final = with_action(final, by_words=family.action_words, moves=moves)
    still = chosen_from_still(
        final,
        usual=family.from_still,
        hinted=family.from_hinted_stills,
        moves=moves,
    )
    final = replace(final, from_still=still)
    final = replace(final, carry=chosen_carry(final, usual=family.carry, moves=moves))
    final = with_own_network(final, model.loaded.own_network)
    way = chosen_way(final, model.ways if final.controls else without_networks(model.ways))
    sampler = SAMPLERS[cast(SchedulerName, final.scheduler)]
    final, plan = with_windows(final, family=family, moves=moves, room=model.room, unit=unit)
    plan = with_changes(plan, final.window_changes, steps=steps, closed=final.loop)
    inside = final.windows_in == "attention"
    pull = request.motion_guidance
    return Settled(
        request=final,
        num_frames=num_frames,
        width=width,
        height=height,
        steps=steps,
        guidance=float(guidance),
        sampler=sampler,
        styles=tuple((resolve_lora(name), scale) for name, scale in map(parse_lora, final.styles)),
        alpha=parse_adapter(final.adapter)[1],
        motion_scales=tuple(scale for _, scale in map(parse_lora, final.motion_loras)),
        motion_pulls=tuple(own if pull is None else pull for own in model.motion_guidance),
        windows=WindowPlan(num_frames, length=num_frames, overlap=0) if inside else plan,
        views=plan if inside else None,
        template={name: text for name, text in typed.items() if text != found[name]},
        side=model.side,
        first=_first(final, steps=steps, sampler=sampler, way=way),
        image_way=way,
    )


def _like(request: AnimationRequest, source: Source, *, side: int) -> AnimationRequest:
    """The request with the frames, rate and shape of what it begins from, where it gives none."""
    fps = (source.rate or request.rate) if request.fps is None else request.rate
    num_frames = source.count_within(fps) if request.num_frames is None else request.num_frames
    width, height = request.width, request.height
    if width is None and height is None:
        width, height = source.size(side)
    return replace(request, fps=fps, num_frames=num_frames, width=width, height=height)


def _first(
    request: AnimationRequest, *, steps: int, sampler: SamplerKind, way: WayName | None
) -> int:
    """The first denoising step to take; not 0 only if there is something to begin from.

    Raises:
        InputError: the sampler draws fresh noise, so that inverting makes no sense.
    """
    if request.from_still is not None and request.from_still < 1:
        return first_step(request.from_still, steps=steps)
    if not (request.init or request.image):
        return 0
    if request.invert and sampler.noisy:
        raise InputError(
            f"{sampler.label} draws fresh noise at every step, so the noise of --invert would not "
            "lead back to the video; use another sampler, such as ddim or euler."
        )
    if request.start_step is not None:
        return request.start_step
    usual = STRENGTH if way is None else _strength_of(way, request)
    first = first_step(usual if request.strength is None else request.strength, steps=steps)
    if first > 0 and request.free_init > 1:
        raise InputError(
            "FreeInit begins every round from noise, which leaves nothing of --image; use one of "
            "them, or --strength 1 with a model that reads pictures."
        )
    return first


def _strength_of(way: WayName, request: AnimationRequest) -> float:
    """The share of the steps that a picture's animation takes, unless the request says otherwise."""
    if way == "blend":
        return BLEND_STRENGTH
    return OWN_STRENGTH if uses_own_network(request) else 1.0


def _without_wildcards(request: AnimationRequest) -> AnimationRequest:
    return replace(
        request,
        prompt=resolve_wildcards(request.prompt, seed=request.seed),
        negative_prompt=resolve_wildcards(request.negative_prompt, seed=request.seed),
        prompts={
            key: resolve_wildcards(text, seed=request.seed) for key, text in request.prompts.items()
        },
        negative_prompts={
            key: resolve_wildcards(text, seed=request.seed)
            for key, text in request.negative_prompts.items()
        },
        regions=tuple(resolve_wildcards(text, seed=request.seed) for text in request.regions),
    )


def _texts(request: AnimationRequest) -> dict[str, str]:
    """Every text in which wildcards may leave a choice open."""
    keyframes = {f"prompts.{key}": text for key, text in request.prompts.items()}
    negatives = {f"negative_prompts.{key}": t for key, t in request.negative_prompts.items()}
    regions = {f"regions.{number}": text for number, text in enumerate(request.regions)}
    own = {"prompt": request.prompt, "negative_prompt": request.negative_prompt}
    return {**own, **keyframes, **negatives, **regions}
