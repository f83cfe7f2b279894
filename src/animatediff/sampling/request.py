"""Everything that determines an animation, as one frozen value to check, store and read back.

Importing it needs neither torch nor a model, so that a request that cannot be is refused at once.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from fractions import Fraction
from typing import Annotated, Any, Literal, TypedDict, get_args

from animatediff.config import from_table
from animatediff.errors import InputError
from animatediff.options.checks import (
    check_declared,
    check_integer,
    check_list,
    check_number,
    check_text,
)
from animatediff.options.declaration import Declared, Option, declared
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
    LatentsName,
    MissingName,
    Sparse,
    SparseColours,
    SparseHinted,
    SparseLatents,
    SparseMotion,
    SparseNearest,
    SparseOthers,
)
from animatediff.sampling.control.settings import check_controls
from animatediff.sampling.keyframes import (
    InterpolationName,
    checked_prompts,
    joined,
    positions_of,
)
from animatediff.sampling.prompt_syntax import take_loras
from animatediff.sampling.scale import Scale
from animatediff.sampling.windows.plan import WindowSchedule
from animatediff.sampling.windows.weights import WindowWeights
from animatediff.video.fit import FitName

SchedulerName = Literal["ddim", "euler", "euler-a", "dpm++2m-karras", "unipc", "lcm"]
SCHEDULER_NAMES: tuple[str, ...] = get_args(SchedulerName)
EmphasisName = Literal["a1111", "comfy", "none"]
FreeUName = Literal["off", "v1", "v2"]
NumericsName = Literal["faithful", "diffusers"]
NUMERICS_NAMES: tuple[str, ...] = get_args(NumericsName)

SCHEMA = 1
MAX_PROMPT = 10_000
MAX_NAME = 1000
MAX_FRAMES = 1024
MAX_SIZE = 2048
MAX_STEPS = 999
"""One less than the steps of diffusion: DDIM's timesteps begin one above an even spacing."""
MAX_LCM_STEPS = 100
"""The steps that latent consistency models were distilled from."""
MAX_SEED = 2**64 - 1
MIN_FPS = 0.1
MAX_FPS = 120
MAX_GUIDANCE = 100.0
MAX_GUIDANCE_FROM = 1000
MAX_MOTION_GUIDANCE = 1.0
MAX_ROUNDS = 10
MAX_LORAS = 16
MAX_EMBEDDINGS = 256
MAX_CLIP_SKIP = 12
MAX_LORA_SCALE = 100.0
MAX_INTERPOLATE = 16
MAX_JSON = 1 << 20


@dataclass(frozen=True)
class AnimationRequest:
    """Everything that determines an animation: the same request gives the same frames.

    Every field declares its ``Option``: what it means, its range, and its name on the command line.
    The command line, TOML files, the JSON schema and the docs are generated from them.

    Fields that name files (``model``, ``motion``, ``vae``, ...) may be left as they are: the request
    is then for whatever the animator has loaded.
    """

    prompt: Annotated[
        str,
        Option(
            "What to draw, in quotes. With keyframes, this part of the prompt holds in every frame.",
            group="Prompt",
            metavar="PROMPT",
            positional=True,
            common=True,
            most_characters=MAX_PROMPT,
        ),
    ]
    negative_prompt: Annotated[
        str,
        Option(
            "What not to draw.",
            group="Prompt",
            name="negative",
            metavar="TEXT",
            foreign=("negative-prompt", "n-prompt", "neg", "neg-prompt", "uncond", "n"),
            common=True,
            most_characters=MAX_PROMPT,
        ),
    ] = ""
    prompts: Annotated[
        Mapping[str, str],
        Option(
            "Keyframes: what to draw from which frame on. A key is a frame (16), a part of the "
            "animation (50%) or a time (1.5s).",
            group="Prompt",
            by_hand=True,
        ),
    ] = field(default_factory=dict[str, str], hash=False)
    interpolation: Annotated[
        InterpolationName,
        Option(
            "How the prompt changes between keyframes: linear, slerp (along the arc) or step.",
            group="Prompt",
            metavar="NAME",
            foreign=("prompt-interpolation",),
        ),
    ] = "linear"
    hold: Annotated[
        float,
        Option(
            "Share of the way to the next keyframe during which the prompt does not change yet.",
            group="Prompt",
            foreign=("prompt-fixed-ratio",),
            least=0,
            most=0.999,
        ),
    ] = 0.0
    closed_loop: Annotated[
        bool, Option("Return to the first keyframe after the last one.", group="Prompt")
    ] = False
    model: Annotated[
        str | None,
        Option(
            "The image model: a name that `animatediff models` lists, a file, or a diffusers folder.",
            group="Model",
            metavar="NAME",
            foreign=(
                "ckpt",
                "checkpoint",
                "base-model",
                "model-path",
                "sd-model",
                "dreambooth-path",
                "pretrained-model-path",
                "pretrained-model-name-or-path",
                "m",
            ),
            common=True,
            most_characters=MAX_NAME,
            unset="emoji",
        ),
    ] = None
    motion: Annotated[
        str | None,
        Option(
            "The motion module: a name, a file, or none.",
            group="Motion",
            metavar="NAME",
            foreign=("motion-module", "motion-model", "motion-adapter", "mm", "motion-module-path"),
            common=True,
            most_characters=MAX_NAME,
            unset="emoji",
        ),
    ] = None
    loras: Annotated[
        tuple[str, ...],
        Option(
            "A LoRA to add: a name or a file, and its scale.",
            group="Model",
            name="lora",
            metavar="NAME:SCALE",
            foreign=(
                "loras",
                "lora-path",
                "lora-model-path",
                "lora-weights",
                "lora-scale",
                "lora-alpha",
            ),
            common=True,
            most_items=MAX_LORAS,
            most_characters=MAX_NAME,
            item="LoRA",
        ),
    ] = ()
    vae: Annotated[
        str,
        Option(
            "An autoencoder to use instead of the model's own: a name, a file or a folder.",
            group="Model",
            metavar="NAME",
            foreign=("vae-path", "vae-ckpt"),
            most_characters=MAX_NAME,
        ),
    ] = ""
    embeddings: Annotated[
        tuple[str, ...],
        Option(
            "A textual inversion that the prompts may name: a name or a file.",
            group="Model",
            name="embedding",
            metavar="NAME",
            foreign=("embeddings", "textual-inversion", "ti"),
            most_items=MAX_EMBEDDINGS,
            most_characters=MAX_NAME,
            item="embedding",
        ),
    ] = ()
    clip_skip: Annotated[
        int | None,
        Option(
            "Which layer of the text encoder is read: 1 is the last, 2 the one before.",
            group="Model",
            foreign=("clipskip", "clip-stop-at-last-layers"),
            least=1,
            most=MAX_CLIP_SKIP,
            unset="the model's own",
        ),
    ] = None
    emphasis: Annotated[
        EmphasisName,
        Option(
            "How (weights:1.2) in prompts count: as in a1111, as in comfy, or none at all.",
            group="Prompt",
            metavar="NAME",
        ),
    ] = "a1111"
    adapter: Annotated[
        str,
        Option(
            "A domain adapter and its alpha (Eq. 4).",
            group="Motion",
            metavar="FILE:ALPHA",
            foreign=(
                "domain-adapter",
                "domain-lora",
                "adapter-lora",
                "adapter-lora-path",
                "adapter-lora-scale",
            ),
            most_characters=MAX_NAME,
        ),
    ] = ""
    motion_loras: Annotated[
        tuple[str, ...],
        Option(
            "A MotionLoRA to add to the motion module, and its scale.",
            group="Motion",
            name="motion-lora",
            metavar="FILE:SCALE",
            foreign=("motion-loras", "motion-module-lora", "motion-module-lora-configs"),
            most_items=MAX_LORAS,
            most_characters=MAX_NAME,
            item="MotionLoRA",
        ),
    ] = ()
    family: Annotated[
        str,
        Option(
            "The motion module's family, if its file does not tell: v1, v2, v3, lightning-4step, ...",
            group="Motion",
            metavar="NAME",
            foreign=("motion-version", "mm-version"),
            most_characters=100,
        ),
    ] = "auto"
    numerics: Annotated[
        NumericsName | None,
        Option(
            "Group normalisation: faithful normalises as the module was trained, diffusers as "
            "diffusers does.",
            group="Motion",
            metavar="NAME",
            unset="faithful",
        ),
    ] = None
    num_frames: Annotated[
        int | None,
        Option(
            "How many frames to draw.",
            group="Output",
            name="frames",
            foreign=(
                "L",
                "length",
                "num-frames",
                "video-length",
                "n-frames",
                "frame-count",
                "video-frames",
            ),
            common=True,
            least=1,
            most=MAX_FRAMES,
            unset="as many as the motion module was trained on",
        ),
    ] = None
    loop: Annotated[
        bool,
        Option(
            "Close the animation to a seamless loop: the last frame leads to the first, and so do "
            "keyframes of the prompt.",
            group="Motion",
            foreign=("closed-loop-animation", "seamless", "looping"),
        ),
    ] = False
    window_schedule: Annotated[
        WindowSchedule | None,
        Option(
            "How context windows move from step to step: static, uniform or looped. A clip that is "
            "longer than the motion module knows is denoised in windows.",
            group="Motion",
            metavar="NAME",
            foreign=("context-schedule", "context-scheduler"),
            unset="static; looped with --loop",
        ),
    ] = None
    window_length: Annotated[
        int | None,
        Option(
            "Frames of a context window.",
            group="Motion",
            foreign=("context-length", "context-frames", "context", "context-batch-size"),
            least=2,
            most=MAX_FRAMES,
            unset="as many as the motion module was trained on, if the clip is too long for it",
        ),
    ] = None
    window_overlap: Annotated[
        int | None,
        Option(
            "Frames that a context window shares with the next.",
            group="Motion",
            foreign=("context-overlap", "overlap", "O"),
            least=0,
            most=MAX_FRAMES,
            unset="a quarter of the window",
        ),
    ] = None
    window_stride: Annotated[
        int,
        Option(
            "With a uniform or looped schedule, also denoise frames 2, 4, ... up to 2^(N - 1) apart "
            "together.",
            group="Motion",
            foreign=("context-stride", "stride"),
            least=1,
            most=6,
        ),
    ] = 1
    window_weights: Annotated[
        WindowWeights,
        Option(
            "How overlapping context windows are averaged: pyramid, flat or overlap-linear.",
            group="Motion",
            metavar="NAME",
            foreign=("fuse-method", "context-fuse"),
        ),
    ] = "pyramid"
    pingpong: Annotated[
        bool,
        Option(
            "Play the animation forwards and then backwards.",
            group="Output",
            foreign=("boomerang", "ping-pong"),
        ),
    ] = False
    interpolate: Annotated[
        int,
        Option(
            "Multiply the frame rate by N: draw N - 1 frames between every two, by optical flow.",
            group="Output",
            foreign=("interp", "interp-x", "interpolation-factor", "rife", "film"),
            least=1,
            most=MAX_INTERPOLATE,
        ),
    ] = 1
    fps: Annotated[
        Fraction | int | float | str,
        Option(
            "Frames a second. A fraction such as 24000/1001 is exact.",
            group="Output",
            metavar="RATE",
            foreign=("frame-rate", "framerate", "rate"),
            least=MIN_FPS,
            most=MAX_FPS,
        ),
    ] = 8
    width: Annotated[
        int | None,
        Option(
            "Width, instead of --size.",
            group="Output",
            foreign=("W",),
            unit="pixels",
            least=8,
            most=MAX_SIZE,
            multiple_of=8,
            unset="the model's own",
        ),
    ] = None
    height: Annotated[
        int | None,
        Option(
            "Height, instead of --size.",
            group="Output",
            foreign=("H",),
            unit="pixels",
            least=8,
            most=MAX_SIZE,
            multiple_of=8,
            unset="the model's own",
        ),
    ] = None
    steps: Annotated[
        int | None,
        Option(
            "Denoising steps.",
            group="Sampling",
            foreign=("num-inference-steps", "inference-steps", "sampling-steps", "ddim-steps"),
            common=True,
            least=1,
            most=MAX_STEPS,
            unset="the motion module's",
        ),
    ] = None
    guidance: Annotated[
        float | None,
        Option(
            "Guidance scale: how strongly the prompt pulls (arXiv 2207.12598). 1 turns guidance off.",
            group="Sampling",
            foreign=("cfg", "cfg-scale", "guidance-scale", "scale", "unconditional-guidance-scale"),
            common=True,
            least=0,
            most=MAX_GUIDANCE,
            unset="the motion module's",
        ),
    ] = None
    guidance_from: Annotated[
        float,
        Option(
            "The timestep, of 1,000, down to which guidance is applied; below it a step predicts one "
            "clip instead of two (arXiv 2404.07724). At 400 this saves a fifth of the predictions.",
            group="Sampling",
            metavar="T",
            least=0,
            most=MAX_GUIDANCE_FROM,
        ),
    ] = 0.0
    guidance_rescale: Annotated[
        float,
        Option(
            "Share of the guided prediction that is rescaled to the contrast of the unguided one "
            "(arXiv 2305.08891). Use about 0.7 if a large guidance scale overexposes.",
            group="Sampling",
            foreign=("cfg-rescale", "rescale-cfg"),
            least=0,
            most=1,
        ),
    ] = 0.0
    perturbed_attention: Annotated[
        float,
        Option(
            "Scale of perturbed-attention guidance (arXiv 2403.17377), beside guidance: clearer "
            "shapes, for half as much time again. 3 is usual, 0 turns it off.",
            group="Sampling",
            name="pag",
            foreign=("pag-scale", "perturbed-attention-guidance"),
            least=0,
            most=MAX_GUIDANCE,
        ),
    ] = 0.0
    free_u: Annotated[
        FreeUName,
        Option(
            "FreeU (arXiv 2309.11497): stronger backbone and weaker skip features in the decoder, by "
            "the authors' factors. v2 is their later form.",
            group="Sampling",
            metavar="NAME",
            foreign=("freeu",),
        ),
    ] = "off"
    motion_guidance: Annotated[
        float | None,
        Option(
            "How strongly guidance pulls towards the motion of MotionLoRAs, as a share of the "
            "guidance towards the prompt.",
            group="Motion",
            least=0,
            most=MAX_MOTION_GUIDANCE,
            unset="as their files say",
        ),
    ] = None
    scheduler: Annotated[
        SchedulerName | None,
        Option(
            "The sampler: ddim, euler, euler-a, dpm++2m-karras, unipc or lcm.",
            group="Sampling",
            metavar="NAME",
            foreign=("sampler", "sampler-name", "sampling-method", "scheduler-type"),
            unset="the motion module's",
        ),
    ] = None
    free_init: Annotated[
        int,
        Option(
            "FreeInit rounds: draw the clip N times, each time from the low frequencies of the last "
            "(arXiv 2312.07537). Steadier, and N times as long. 1 is without FreeInit.",
            group="Sampling",
            foreign=("freeinit", "freeinit-iters", "free-init-iters", "num-iters"),
            least=1,
            most=MAX_ROUNDS,
        ),
    ] = 1
    seed: Annotated[
        int,
        Option(
            "Seed of the noise.",
            group="Sampling",
            by_hand=True,
            least=0,
            most=MAX_SEED,
        ),
    ] = 0
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
    precision: Annotated[
        Literal["auto", "fp32", "bf16", "fp16"],
        Option(
            "auto is fp16 on a GPU, bf16 on a CPU that computes in it, and fp32 on others.",
            group="Machine",
            foreign=("dtype", "fp16", "half", "no-half", "mixed-precision"),
        ),
    ] = "auto"

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
    def rate(self) -> Fraction:
        """``fps``, exactly.

        Raises:
            InputError: it is not a number.
        """
        try:
            # A float is meant as it is printed: 23.976 is not 1687479837196255/70368744177664.
            return Fraction(str(self.fps).strip())
        except (ValueError, ZeroDivisionError):
            raise InputError(
                f"fps = {self.fps!r:.40} is not a number; write one such as 8 or 24000/1001."
            ) from None

    def validated(self) -> AnimationRequest:
        """The same request, with an exact frame rate, if it can be; files are not looked at.

        Raises:
            InputError: a value cannot be used; the sentence says which, and what can.
        """
        prompts = checked_prompts(self.prompts)
        check_declared(self)
        for key, text in prompts.items():
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
                    "a domain adapter and of a MotionLoRA may; let it change over the steps."
                )
        for pattern in self.motion_loras:
            parse_lora(pattern, what="MotionLoRA")
        parse_adapter(self.adapter)
        check_controls(self)
        check_list("LoRA", self.styles, most=MAX_LORAS)
        check_number("fps", float(self.rate), least=MIN_FPS, most=MAX_FPS)
        if self.closed_loop and not prompts:
            raise InputError(
                "closed_loop returns to the first keyframe, and there is none; give keyframes with "
                "--keyframe or --prompts, or leave --closed-loop out."
            )
        if self.num_frames is not None:
            positions_of(prompts, num_frames=self.num_frames, rate=self.rate)
        if self.steps is not None and self.scheduler == "lcm":
            check_integer("steps", self.steps, least=1, most=MAX_LCM_STEPS, where=" with lcm")
        if self.guidance_from and self.guidance == 1:
            raise InputError(
                "With a guidance of 1 there is none to leave out; give another guidance, "
                "or a guidance_from of 0."
            )
        if self.perturbed_attention and self.guidance == 0:
            raise InputError(
                "Perturbed-attention guidance (--pag) needs a guidance scale above 0; "
                "use 1 for a prediction without further guidance."
            )
        if self.motion_guidance and self.guidance == 1:
            raise InputError(
                "With a guidance of 1 nothing pulls towards the motion either; give another guidance, "
                "or a motion_guidance of 0."
            )
        return replace(
            self,
            fps=self.rate,
            prompts=prompts,
            **{row.field: tuple(getattr(self, row.field)) for row in _lists()},
        )

    def to_json(self) -> str:
        """The request as one line of JSON that ``from_json`` reads back as an equal value."""
        return json.dumps(self.as_table(), ensure_ascii=False)

    def as_table(self) -> dict[str, Any]:
        """The request as plain data, with the version of its form."""
        lists = {row.field: list(getattr(self, row.field)) for row in _lists()}
        return {"schema": SCHEMA, **asdict(self), "fps": str(self.rate), **lists}

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
        fields = dict(table)
        schema = fields.pop("schema", None)
        if schema != SCHEMA:
            raise InputError(
                f"The stored request has version {schema!r:.40}, and this program reads {SCHEMA}."
            )
        return from_table(fields, cls, source="The stored request").validated()


class Files(TypedDict, total=False):
    """The fields of a request that name files, for type checkers; ``Animator.load`` takes them."""

    motion: str
    loras: Sequence[str]
    vae: str
    embeddings: Sequence[str]
    adapter: str
    motion_loras: Sequence[str]
    controls: Sequence[str]
    family: str
    numerics: NumericsName


class Choices(Files, total=False):
    """The fields of a request except the prompt, for type checkers; ``Animator.animate`` takes them."""

    negative_prompt: str
    prompts: Mapping[str, str]
    interpolation: InterpolationName
    hold: float
    closed_loop: bool
    loop: bool
    window_schedule: WindowSchedule | None
    window_length: int | None
    window_overlap: int | None
    window_stride: int
    window_weights: WindowWeights
    pingpong: bool
    interpolate: int
    model: str
    clip_skip: int | None
    emphasis: EmphasisName
    num_frames: int | None
    fps: Fraction | int | float | str
    width: int | None
    height: int | None
    steps: int | None
    guidance: float | None
    guidance_from: float
    guidance_rescale: float
    perturbed_attention: float
    free_u: FreeUName
    motion_guidance: float | None
    scheduler: SchedulerName | None
    free_init: int
    seed: int
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
    precision: Literal["auto", "fp32", "bf16", "fp16"]


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
    return replace(request, **{"loras": request.loras or loras, **choices})


def _lists() -> tuple[Declared, ...]:
    """The options that are lists."""
    return tuple(row for row in declared(AnimationRequest) if row.is_list)


def parse_lora(spec: str, *, what: str = "LoRA") -> tuple[str, Scale]:
    """Name or path, and scale, of ``noto:0.8``; the scale is 1 where none is given.

    Raises:
        InputError: the name is empty, or the scale is not one of a sensible size; ``what`` is what the
            sentence calls it.
    """
    match = re.fullmatch(r"(.*):\s*([^:/\\]*)", spec, flags=re.DOTALL)
    name, text = match.groups() if match else (spec, "1")
    if "(" in text:
        scale = Scale.parse(text)
    else:
        try:
            scale = Scale.of(float(text))
        except (ValueError, InputError):
            raise InputError(
                f"The scale of the {what} {spec!r:.80} is not a finite number; write, for example, "
                "noto:0.8."
            ) from None
    if not name.strip():
        raise InputError(f"The {what} {spec!r:.80} has no name; write, for example, noto:0.8.")
    for value in scale.least_and_most:
        check_number(
            f"The scale of the {what} {name!r:.80}",
            value,
            least=-MAX_LORA_SCALE,
            most=MAX_LORA_SCALE,
        )
    return name, scale


def parse_adapter(spec: str) -> tuple[str, Scale]:
    """File and alpha of a domain adapter; no file where the text is empty.

    Raises:
        InputError: the alpha is not a scale of a sensible size.
    """
    return parse_lora(spec, what="domain adapter") if spec else ("", Scale.of(0))
