"""Everything that determines an animation, as one frozen value to check, store and read back.

Importing it needs neither torch nor a model, so that a request that cannot be is refused at once.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from fractions import Fraction
from typing import Any

from animatediff.config import from_table
from animatediff.errors import InputError
from animatediff.options.checks import (
    check_declared,
    check_integer,
    check_list,
    check_number,
    check_text,
)
from animatediff.options.declaration import Declared, declared
from animatediff.options.respelling import respelled, respelled_table
from animatediff.sampling.acting.options import Action, check_action
from animatediff.sampling.camera.options import (
    Camera,
    CameraPath,
    ObjectMotion,
    ObjectPaths,
    ObjectUntil,
    check_camera,
)
from animatediff.sampling.control.options import (
    ControlFit,
    ControlInputs,
    ControlMasks,
    ControlMissing,
    ControlModes,
    ControlPreprocess,
    ControlRanges,
    Controls,
    ControlStrengths,
    ControlTypes,
    ControlWeights,
    Sparse,
    SparseColours,
    SparseHinted,
    SparseLatents,
    SparseMotion,
    SparseNearest,
    SparseOthers,
)
from animatediff.sampling.control.settings import check_controls
from animatediff.sampling.image_prompts.options import (
    ImageEncoderName,
    IpAdapters,
    IpBetween,
    IpImages,
    IpMasks,
    IpRanges,
    IpStrengths,
    IpWeights,
)
from animatediff.sampling.image_prompts.settings import check_image_prompts
from animatediff.sampling.image_to_video.options import (
    BLEND_POWER,
    BLEND_SCALE,
    ImageColours,
    ImageMotion,
    ImageMotionScale,
    ImagePath,
    ImagePinned,
    ImagePower,
    ImageScale,
    ImageWay,
    PictureStrength,
    check_image_to_video,
)
from animatediff.sampling.options.files import (
    MAX_LORAS,
    Adapter,
    ClipSkip,
    Embeddings,
    Family,
    Loras,
    Model,
    Motion,
    MotionLoras,
    Numerics,
    Vae,
)
from animatediff.sampling.options.guidance import (
    FreeU,
    Guidance,
    GuidanceFrom,
    GuidanceMethod,
    GuidanceRescale,
    MotionGuidance,
    PerturbedAttention,
    check_guidance_method,
)
from animatediff.sampling.options.hires import Hires, HiresMethod, HiresStrength
from animatediff.sampling.options.motion import (
    Carry,
    FromStill,
    MotionEffect,
    MotionEffectMask,
    MotionScale,
    MotionScaleMask,
    check_motion_strength,
)
from animatediff.sampling.options.output import (
    FPS,
    MAX_FPS,
    MIN_FPS,
    Fps,
    Height,
    Interpolate,
    InterpolatorFile,
    NumFrames,
    Pingpong,
    Upscale,
    UpscalerFile,
    VaeTile,
    Width,
)
from animatediff.sampling.options.prompt import (
    MAX_PROMPT,
    ClosedLoop,
    Emphasis,
    Hold,
    Interpolation,
    NegativePrompt,
    NegativePrompts,
    Prompt,
    Prompts,
)
from animatediff.sampling.options.sampler import (
    MAX_LCM_STEPS,
    FreeInit,
    Precision,
    Quantise,
    Scheduler,
    Seed,
    Steps,
)
from animatediff.sampling.options.scaled_names import parse_adapter, parse_lora
from animatediff.sampling.regions.options import SOFT, Regions, RegionSoft, check_regions
from animatediff.sampling.text.keyframes import checked_prompts, joined, positions_of
from animatediff.sampling.text.prompt_syntax import take_loras
from animatediff.sampling.video_to_video.options import (
    Init,
    InitFit,
    InitPrompt,
    Invert,
    KeepSound,
    StartStep,
    Strength,
    check_video_to_video,
)
from animatediff.sampling.windows.changes import parse_window_change
from animatediff.sampling.windows.options import (
    ContextLength,
    ContextOverlap,
    ContextSchedule,
    ContextStride,
    ContextWeights,
    Loop,
    Noise,
    WindowChanges,
    WindowsIn,
)

SCHEMA = 1
MAX_RATE = 40
MAX_JSON = 1 << 20


@dataclass(frozen=True)
class AnimationRequest:
    """Everything that determines an animation: the same request gives the same frames.

    Every field declares its ``Option``: what it means, its range, and its name on the command line.
    The command line, TOML files, the JSON schema and the docs are generated from them.

    Fields that name files (``model``, ``motion``, ``vae``, ...) may be left as they are: the request
    is then for whatever the animator has loaded.
    """

    prompt: Prompt
    negative_prompt: NegativePrompt = ""
    prompts: Prompts = field(default_factory=dict[str, str], hash=False)
    negative_prompts: NegativePrompts = field(default_factory=dict[str, str], hash=False)
    regions: Regions = ()
    region_soft: RegionSoft = SOFT
    interpolation: Interpolation = "linear"
    hold: Hold = 0.0
    closed_loop: ClosedLoop = False
    model: Model = None
    motion: Motion = None
    loras: Loras = ()
    vae: Vae = ""
    embeddings: Embeddings = ()
    clip_skip: ClipSkip = None
    emphasis: Emphasis = "a1111"
    adapter: Adapter = ""
    motion_loras: MotionLoras = ()
    family: Family = "auto"
    numerics: Numerics = None
    num_frames: NumFrames = None
    loop: Loop = False
    window_schedule: ContextSchedule = None
    window_length: ContextLength = None
    window_overlap: ContextOverlap = None
    window_stride: ContextStride = 1
    windows_in: WindowsIn = None
    noise: Noise = None
    window_weights: ContextWeights = "pyramid"
    window_changes: WindowChanges = ()
    hires: Hires = 1.0
    hires_strength: HiresStrength = 0.5
    hires_by: HiresMethod = "pixels"
    pingpong: Pingpong = False
    interpolate: Interpolate = 1
    interpolator: InterpolatorFile = ""
    vae_tile: VaeTile = 0
    upscale: Upscale = None
    upscaler: UpscalerFile = ""
    fps: Fps = None
    width: Width = None
    height: Height = None
    steps: Steps = None
    guidance: Guidance = None
    guidance_method: GuidanceMethod = "plain"
    guidance_from: GuidanceFrom = 0.0
    guidance_rescale: GuidanceRescale = 0.0
    perturbed_attention: PerturbedAttention = 0.0
    free_u: FreeU = "off"
    motion_guidance: MotionGuidance = None
    from_still: FromStill = None
    action: Action = None
    carry: Carry = None
    motion_scale: MotionScale = ()
    motion_effect: MotionEffect = ()
    motion_scale_mask: MotionScaleMask = ""
    motion_effect_mask: MotionEffectMask = ""
    scheduler: Scheduler = None
    free_init: FreeInit = 1
    seed: Seed = 0
    init: Init = ""
    strength: Strength = None
    start_step: StartStep = None
    invert: Invert = False
    init_prompt: InitPrompt = ""
    init_fit: InitFit = "crop"
    sound: KeepSound = True
    controls: Controls = ()
    control_inputs: ControlInputs = ()
    control_preprocess: ControlPreprocess = ()
    control_types: ControlTypes = ()
    control_ranges: ControlRanges = ()
    control_strengths: ControlStrengths = ()
    control_weights: ControlWeights = ()
    control_modes: ControlModes = ()
    control_masks: ControlMasks = ()
    control_missing: ControlMissing = "nearest"
    control_fit: ControlFit = "crop"
    sparse: Sparse = ()
    sparse_hinted: SparseHinted = 1.0
    sparse_others: SparseOthers = 1.0
    sparse_motion: SparseMotion = 1.0
    sparse_nearest: SparseNearest = True
    sparse_latents: SparseLatents = "mode"
    sparse_colours: SparseColours = False
    ip_adapters: IpAdapters = ()
    ip_images: IpImages = ()
    image_encoder: ImageEncoderName = ""
    ip_strengths: IpStrengths = ()
    ip_weights: IpWeights = ()
    ip_ranges: IpRanges = ()
    ip_masks: IpMasks = ()
    ip_between: IpBetween = "linear"
    image: ImagePath = ""
    image_way: ImageWay = "auto"
    image_motion: ImageMotion = "small"
    image_motion_scale: ImageMotionScale = 0.8
    image_power: ImagePower = BLEND_POWER
    image_scale: ImageScale = BLEND_SCALE
    image_pinned: ImagePinned = True
    image_colours: ImageColours = False
    picture_strength: PictureStrength = None
    camera: Camera = ""
    camera_path: CameraPath = ""
    object_motion: ObjectMotion = ""
    object_paths: ObjectPaths = ()
    object_until: ObjectUntil = 700.0
    precision: Precision = "auto"
    quantise: Quantise = None

    @property
    def styles(self) -> tuple[str, ...]:
        """Every LoRA: of ``loras``, the prompt and the keyframes, each ``name-or-file:scale``.

        LoRAs are in the weights, so one that a keyframe names counts for every frame.

        Raises:
            InputError: one is named wrongly, or with several scales over the frames.
        """
        typed = take_loras(self.prompt)[1]
        known = {parse_lora(spec)[0]: spec for spec in typed}
        for text in self.prompts.values():
            for spec in take_loras(text)[1]:
                name = parse_lora(spec)[0]
                if known.setdefault(name, spec) != spec:
                    raise InputError(
                        f"The keyframes name the LoRA {name!r:.80} with several scales; "
                        "it has one for all frames."
                    )
        return (*self.loras, *typed, *(spec for spec in known.values() if spec not in typed))

    @property
    def keyframes(self) -> dict[str, str]:
        """The whole text of every keyframe; a single one, at frame 0, where nothing travels."""
        if not self.prompts:
            return {"0": self.prompt}
        return {key: joined(self.prompt, text) for key, text in self.prompts.items()}

    @property
    def negative_keyframes(self) -> dict[str, str]:
        """The whole negative prompt of every keyframe; a single one at frame 0 if none travels."""
        if not self.negative_prompts:
            return {"0": self.negative_prompt}
        return {
            key: joined(self.negative_prompt, text) for key, text in self.negative_prompts.items()
        }

    @property
    def rate(self) -> Fraction:
        """``fps``, exactly; 8 if nothing is said.

        Raises:
            InputError: it is not a number.
        """
        if self.fps is None:
            return Fraction(FPS)
        # A float is meant as it is printed: 23.976 is not 1687479837196255/70368744177664.
        text = str(self.fps).strip()
        try:
            # Of 1e999999999, a fraction would be a number of a billion digits.
            return Fraction(text if len(text) <= MAX_RATE and "e" not in text.lower() else "")
        except (ValueError, ZeroDivisionError):
            raise InputError(
                f"fps = {self.fps!r:.40} is not a number; write one such as 8 or 24000/1001."
            ) from None

    def validated(self) -> AnimationRequest:
        """The same request, with an exact frame rate, if it can be; files are not looked at.

        Raises:
            InputError: a value cannot be used; the sentence says which, and what can.
        """
        if (spelled := respelled(self)) != self:
            return spelled.validated()
        prompts = checked_prompts(self.prompts)
        negatives = checked_prompts(self.negative_prompts)
        check_declared(self)
        for key, text in (*prompts.items(), *negatives.items()):
            check_text(f"text of the keyframe {key}", text, most=MAX_PROMPT)
        for name in ("model", "motion"):
            named = getattr(self, name)
            if named is not None and not named.strip():
                raise InputError(f"The {name} is empty; name one, such as emoji.")
        for lora in (*self.loras, *self.styles):
            name, scale = parse_lora(lora)
            if scale.over == "frames":
                raise InputError(
                    f"The scale of the LoRA {name!r:.80} changes over the frames, which only those of "
                    "a domain adapter and of a MotionLoRA may: a LoRA is merged into weights that all "
                    "frames share; let it change over the steps."
                )
        for pattern in self.motion_loras:
            parse_lora(pattern, what="MotionLoRA")
        parse_adapter(self.adapter)
        check_action(self)
        check_controls(self)
        check_image_prompts(self)
        check_image_to_video(self)
        check_camera(self)
        check_video_to_video(self)
        check_regions(self)
        check_motion_strength(self)
        for change in self.window_changes:
            parse_window_change(change)
        check_list("LoRA", self.styles, most=MAX_LORAS)
        check_number("fps", float(self.rate), least=MIN_FPS, most=MAX_FPS)
        if self.closed_loop and not prompts:
            raise InputError(
                "closed_loop returns to the first keyframe, and there is none; give keyframes with "
                "--keyframe or --prompts, or leave --closed-loop out."
            )
        if self.num_frames is not None:
            positions_of(prompts, num_frames=self.num_frames, rate=self.rate)
            positions_of(negatives, num_frames=self.num_frames, rate=self.rate)
        if self.steps is not None and self.scheduler == "lcm":
            check_integer("steps", self.steps, least=1, most=MAX_LCM_STEPS, where=" with lcm")
        check_guidance_method(self)
        plain = self.guidance_method == "plain"
        if self.guidance_from and self.guidance == 1 and plain:
            raise InputError(
                "With a guidance of 1 there is none to leave out; give another guidance, "
                "or a guidance_from of 0."
            )
        if self.perturbed_attention and self.guidance == 0:
            raise InputError(
                "Perturbed-attention guidance (--pag) needs a guidance scale above 0; "
                "use 1 for a prediction without further guidance."
            )
        if self.motion_guidance and self.guidance == 1 and plain:
            raise InputError(
                "With a guidance of 1 nothing pulls towards the motion either; give another guidance, "
                "or a motion_guidance of 0."
            )
        return replace(
            self,
            fps=None if self.fps is None else self.rate,
            prompts=prompts,
            negative_prompts=negatives,
            **{row.field: tuple(getattr(self, row.field)) for row in _lists()},
        )

    def to_json(self) -> str:
        """The request as one line of JSON that ``from_json`` reads back as an equal value."""
        return json.dumps(self.as_table(), ensure_ascii=False)

    def as_table(self) -> dict[str, Any]:
        """The request as plain data, with the version of its form."""
        lists = {row.field: list(getattr(self, row.field)) for row in _lists()}
        rate = None if self.fps is None else str(self.rate)
        return {"schema": SCHEMA, **asdict(self), "fps": rate, **lists}

    @classmethod
    def from_json(cls, text: str) -> AnimationRequest:
        """The request that ``to_json`` wrote; whatever it does not know, it refuses.

        Raises:
            InputError: it is not JSON, of another version, or not a request that can be.
        """
        try:
            table = json.loads(text) if len(text) <= MAX_JSON else None
        except (ValueError, RecursionError):
            table = None
        if not isinstance(table, dict):
            raise InputError("The stored request is not a JSON object of at most 1 MiB.")
        return cls.from_table(table)

    @classmethod
    def from_table(cls, table: dict[str, Any]) -> AnimationRequest:
        """The request that ``as_table`` gave.

        Raises:
            InputError: as for ``from_json``.
        """
        fields = respelled_table(cls, table)
        schema = fields.pop("schema", None)
        if schema != SCHEMA:
            raise InputError(
                f"The stored request has version {schema!r:.40}, and this program reads {SCHEMA}."
            )
        # Requests from before there was a choice were not enlarged, began from noise, followed no
        # still, did no action, were not carried, and had their windows around the model.
        fields.setdefault("upscale", 1)
        fields.setdefault("from_still", 1.0)
        fields.setdefault("action", "none")
        fields.setdefault("carry", 0.0)
        fields.setdefault("picture_strength", 0.0)
        fields.setdefault("windows_in", "model")
        return from_table(fields, cls, source="The stored request").validated()


def check_request(request: object) -> None:
    """Raise if something else than a request is given, such as a prompt alone.

    Raises:
        InputError: it is no ``AnimationRequest``.
    """
    if not isinstance(request, AnimationRequest):
        shown = f"prompt={request!r:.60}" if isinstance(request, str) else "prompt='a fox'"
        raise InputError(
            f"An AnimationRequest is needed, not a {type(request).__name__}; write "
            f"AnimationRequest({shown})."
        )


def _lists() -> tuple[Declared, ...]:
    """The options that are lists."""
    return tuple(row for row in declared(AnimationRequest) if row.is_list)
