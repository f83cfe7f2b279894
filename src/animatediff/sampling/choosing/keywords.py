"""Keywords of a call that replace fields of a request, and their types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from os import PathLike, fspath
from typing import Any, Literal, TypedDict, cast

from animatediff.sampling.control.options import LatentsName, MissingName
from animatediff.sampling.image_prompts.options import BetweenName
from animatediff.sampling.image_to_video.options import AffinityName, WayChoice
from animatediff.sampling.options.files import NumericsName
from animatediff.sampling.options.guidance import FreeUName, GuidanceMethodName
from animatediff.sampling.options.hires import HiresBy
from animatediff.sampling.options.prompt import EmphasisName
from animatediff.sampling.request import AnimationRequest, check_request
from animatediff.sampling.steps.sampler_names import SchedulerName
from animatediff.sampling.text.keyframes import InterpolationName
from animatediff.sampling.video_to_video.options import GIVEN_FRAMES, FramesInMemory
from animatediff.sampling.windows.options import NoiseName, WindowPlace
from animatediff.sampling.windows.plan import WindowSchedule
from animatediff.sampling.windows.weights import WindowWeights
from animatediff.video.fit import FitName


class Files(TypedDict, total=False):
    """The fields of a request that name files, for type checkers; ``Animator.load`` takes them."""

    motion: str
    loras: Sequence[str]
    vae: str
    embeddings: Sequence[str]
    adapter: str
    motion_loras: Sequence[str]
    controls: Sequence[str]
    ip_adapters: Sequence[str]
    image_encoder: str
    camera: str
    object_motion: str
    family: str
    numerics: NumericsName


class Choices(Files, total=False):
    """The fields of a request except the prompt, for type checkers; ``Animator.animate`` takes them."""

    negative_prompt: str
    prompts: Mapping[str, str]
    negative_prompts: Mapping[str, str]
    regions: Sequence[str]
    region_soft: float
    interpolation: InterpolationName
    hold: float
    closed_loop: bool
    loop: bool
    window_schedule: WindowSchedule | None
    window_length: int | None
    window_overlap: int | None
    window_stride: int
    windows_in: WindowPlace | None
    noise: NoiseName | None
    window_weights: WindowWeights
    window_changes: Sequence[str]
    hires: float
    hires_strength: float
    hires_by: HiresBy
    pingpong: bool
    interpolate: int
    interpolator: str
    vae_tile: int
    upscale: int | None
    upscaler: str
    model: str
    clip_skip: int | None
    emphasis: EmphasisName
    num_frames: int | None
    fps: Fraction | int | float | str | None
    width: int | None
    height: int | None
    steps: int | None
    guidance: float | None
    guidance_method: GuidanceMethodName
    guidance_from: float
    guidance_rescale: float
    perturbed_attention: float
    free_u: FreeUName
    motion_guidance: float | None
    from_still: float | None
    action: str | None
    carry: float | None
    motion_scale: Sequence[str]
    motion_effect: Sequence[str]
    motion_scale_mask: str
    motion_effect_mask: str
    scheduler: SchedulerName | None
    free_init: int
    seed: int
    init: str | PathLike[str] | FramesInMemory
    strength: float | None
    start_step: int | None
    invert: bool
    init_prompt: str
    init_fit: FitName
    sound: bool
    control_inputs: Sequence[str]
    control_preprocess: Sequence[str]
    control_types: Sequence[str]
    control_ranges: Sequence[str]
    control_strengths: Sequence[str]
    control_weights: Sequence[str]
    control_modes: Sequence[str]
    control_masks: Sequence[str]
    control_missing: MissingName
    control_fit: FitName
    sparse: Sequence[str]
    sparse_hinted: float
    sparse_others: float
    sparse_motion: float
    sparse_nearest: bool
    sparse_latents: LatentsName
    sparse_colours: bool
    ip_images: Sequence[str]
    ip_strengths: Sequence[str]
    ip_weights: Sequence[str]
    ip_ranges: Sequence[str]
    ip_masks: Sequence[str]
    ip_between: BetweenName
    image: str
    image_way: WayChoice
    image_motion: AffinityName
    image_motion_scale: float
    image_power: float
    image_scale: float
    image_pinned: bool
    image_colours: bool
    picture_strength: float | None
    camera_path: str
    object_paths: Sequence[str]
    object_until: float
    precision: Literal["auto", "fp32", "bf16", "fp16"]
    quantise: Literal["int8", "fp8"] | None


def chosen(
    request: AnimationRequest | str, choices: Choices, *, loras: tuple[str, ...] = ()
) -> AnimationRequest:
    """A request, or one for a prompt, with some fields replaced.

    Args:
        request: the request, or only its prompt.
        choices: fields that replace the request's.
        loras: those for a request that names none.

    Raises:
        InputError: it is neither a request nor a prompt.
    """
    if isinstance(request, str):
        request = AnimationRequest(request)
    check_request(request)
    changes: dict[str, Any] = {"loras": request.loras or loras, **choices}
    init = changes.get("init", "")
    if isinstance(init, PathLike):
        changes["init"] = fspath(cast("PathLike[str]", init))
    elif not isinstance(init, str):
        changes["init"] = GIVEN_FRAMES
    return replace(request, **changes)


def frames_in(choices: Choices) -> FramesInMemory | None:
    """The frames in memory that a call gave as ``init``, if it did."""
    init = choices.get("init")
    return None if init is None or isinstance(init, str | PathLike) else init
