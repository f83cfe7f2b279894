"""Everything that determines an animation, as one frozen value to check, store and read back.

Importing it needs neither torch nor a model, so that a request that cannot be is refused at once.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from fractions import Fraction
from typing import Any, Literal, get_args

from animatediff.config import from_table, nearest
from animatediff.errors import InputError
from animatediff.sampling.keyframes import (
    INTERPOLATION_NAMES,
    InterpolationName,
    checked_prompts,
    joined,
    positions_of,
)
from animatediff.sampling.prompt_syntax import take_loras

SchedulerName = Literal["ddim", "euler", "euler-a", "dpm++2m-karras", "unipc", "lcm"]
SCHEDULER_NAMES: tuple[str, ...] = get_args(SchedulerName)
EmphasisName = Literal["a1111", "comfy", "none"]
EMPHASIS_NAMES: tuple[str, ...] = get_args(EmphasisName)
PRECISIONS = ("auto", "fp32", "bf16", "fp16")
NumericsName = Literal["faithful", "diffusers"]
NUMERICS_NAMES: tuple[str, ...] = get_args(NumericsName)

SCHEMA = 1
MAX_PROMPT = 10_000
MAX_FRAMES = 1024
MAX_SIZE = 2048
MAX_STEPS = 999
"""One less than the steps of diffusion: DDIM's timesteps begin one above an even spacing."""
MAX_LCM_STEPS = 100
"""The steps that latent consistency models were distilled from."""
MAX_GUIDANCE = 100.0
MAX_GUIDANCE_FROM = 1000
MAX_MOTION_GUIDANCE = 1.0
MAX_ROUNDS = 10
MAX_LORAS = 16
MAX_EMBEDDINGS = 256
MAX_CLIP_SKIP = 12
MAX_LORA_SCALE = 100.0
MAX_JSON = 1 << 20


@dataclass(frozen=True)
class AnimationRequest:
    """Everything that determines an animation: the same request gives the same frames.

    Attributes:
        prompt: what to draw, in at most 10,000 characters; ``docs/guides/prompts.md`` has the syntax.
        negative_prompt: what not to draw.
        prompts: keyframes, each a frame (``16``, ``50%`` or ``1.5s``) and what to draw there, after
            ``prompt``, which then holds throughout; without any, ``prompt`` is all.
        interpolation: of the text encoder's states between keyframes: along the line, along the arc
            (``slerp``), or not at all (``step``).
        hold: the share of the way to the next keyframe over which nothing changes yet, below 1.
        closed_loop: after the last keyframe, go back to the first.
        model: the image model: a built-in name, one in a model folder, a file or a diffusers folder.
        motion: the motion module: a built-in name, a file, or ``none``.
        loras: styles to add, each ``name-or-file:scale``; a scale of 1 may be left out.
        vae: an autoencoder to use instead of the model's own; an empty text is none.
        embeddings: textual inversions that the prompts may name, each a name or a file.
        clip_skip: 1 reads the text encoder's last layer, 2 the one before; ``None`` is the model's
            own.
        emphasis: how weights in prompts count: as in ``a1111``, as in ``comfy``, or not at all.
        adapter: a domain adapter, ``file:alpha`` (Eq. 4); an alpha of 1 may be left out, and an
            empty text is none.
        motion_loras: motion patterns to add, each ``file:scale``.
        family: the motion module's family, for files that do not say it; ``auto`` tells it.
        numerics: ``faithful`` normalises as the family was trained, ``diffusers`` as diffusers does.
        num_frames: 1 to 1024; ``None`` is as many as the motion module was trained on.
        fps: frames a second, 1/10 to 120; text such as ``24000/1001`` is exact.
        width: pixels, a multiple of 8 up to 2048; ``None`` is the model's own.
        height: likewise.
        steps: denoising steps, 1 to 999; ``None`` is as many as the motion module's authors take.
        guidance: how strongly the prompt pulls (arXiv 2207.12598); 1 is not at all, ``None`` is the
            motion module's own.
        guidance_from: the timestep, of 1,000, from which on guidance counts; below it a step predicts
            one clip instead of two (arXiv 2404.07724). 0 is at all of them.
        motion_guidance: how strongly guidance pulls towards the motion of MotionLoRAs, as a share of
            how it pulls towards the prompt, 0 to 1; ``None`` is what their files say, which is 0, as in
            the paper, where they say nothing.
        scheduler: the sampler; ``None`` is that of the motion module's authors.
        free_init: how many times the clip is drawn, each time from the slow parts of the last, 1 to
            10; 1 is without FreeInit (arXiv 2312.07537).
        seed: where the noise starts, 0 to 2**63 - 1.
        precision: ``auto`` is fp16 on a GPU, bf16 on a CPU that computes in it, and fp32 on others.
    """

    prompt: str
    negative_prompt: str = ""
    prompts: Mapping[str, str] = field(default_factory=dict[str, str], hash=False)
    interpolation: InterpolationName = "linear"
    hold: float = 0.0
    closed_loop: bool = False
    model: str = "emoji"
    motion: str = "emoji"
    loras: tuple[str, ...] = ()
    vae: str = ""
    embeddings: tuple[str, ...] = ()
    clip_skip: int | None = None
    emphasis: EmphasisName = "a1111"
    adapter: str = ""
    motion_loras: tuple[str, ...] = ()
    family: str = "auto"
    numerics: NumericsName = "faithful"
    num_frames: int | None = None
    fps: Fraction | int | float | str = 8
    width: int | None = None
    height: int | None = None
    steps: int | None = None
    guidance: float | None = None
    guidance_from: float = 0.0
    motion_guidance: float | None = None
    scheduler: SchedulerName | None = None
    free_init: int = 1
    seed: int = 0
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"

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
        for name in ("prompt", "negative_prompt"):
            _check_text(name, getattr(self, name), most=MAX_PROMPT)
        prompts = checked_prompts(self.prompts)
        for key, text in prompts.items():
            _check_text(f"text of the keyframe {key}", text, most=MAX_PROMPT)
        _check_choice("interpolation", self.interpolation, INTERPOLATION_NAMES)
        _check_number("hold", self.hold, least=0, most=0.999)
        if not isinstance(self.closed_loop, bool):  # pyright: ignore[reportUnnecessaryIsInstance] - from anywhere
            raise InputError(f"closed_loop = {self.closed_loop!r:.40} is neither true nor false.")
        for name in ("model", "motion"):
            _check_text(name, getattr(self, name), most=1000)
            if not getattr(self, name).strip():
                raise InputError(f"The {name} is empty; name one, such as emoji.")
        _check_loras(self.loras)
        _check_loras(self.styles)
        _check_text("vae", self.vae, most=1000)
        if len(self.embeddings) > MAX_EMBEDDINGS:
            raise InputError(
                f"{len(self.embeddings)} embeddings were given, and at most {MAX_EMBEDDINGS} can be."
            )
        for name in self.embeddings:
            _check_text("embedding", name, most=1000)
        if self.clip_skip is not None:
            _check_integer("clip_skip", self.clip_skip, least=1, most=MAX_CLIP_SKIP)
        _check_choice("emphasis", self.emphasis, EMPHASIS_NAMES)
        _check_loras(self.motion_loras, what="MotionLoRA")
        _check_text("adapter", self.adapter, most=1000)
        parse_adapter(self.adapter)
        _check_text("family", self.family, most=100)
        _check_choice("numerics", self.numerics, NUMERICS_NAMES)
        if self.num_frames is not None:
            _check_integer("num_frames", self.num_frames, least=1, most=MAX_FRAMES)
        _check_number("fps", float(self.rate), least=0.1, most=120)
        if self.num_frames is not None:
            positions_of(prompts, num_frames=self.num_frames, rate=self.rate)
        for name in ("width", "height"):
            _check_size(name, getattr(self, name))
        if self.steps is not None:
            most = MAX_LCM_STEPS if self.scheduler == "lcm" else MAX_STEPS
            where = " with lcm" if self.scheduler == "lcm" else ""
            _check_integer("steps", self.steps, least=1, most=most, where=where)
        if self.guidance is not None:
            _check_number("guidance", self.guidance, least=0, most=MAX_GUIDANCE)
        _check_number("guidance_from", self.guidance_from, least=0, most=MAX_GUIDANCE_FROM)
        if self.guidance_from and self.guidance == 1:
            raise InputError(
                "With a guidance of 1 there is none to leave out; give another guidance, "
                "or a guidance_from of 0."
            )
        if self.motion_guidance is not None:
            _check_number(
                "motion_guidance", self.motion_guidance, least=0, most=MAX_MOTION_GUIDANCE
            )
        if self.motion_guidance and self.guidance == 1:
            raise InputError(
                "With a guidance of 1 nothing pulls towards the motion either; give another guidance, "
                "or a motion_guidance of 0."
            )
        if self.scheduler is not None:
            _check_choice("scheduler", self.scheduler, SCHEDULER_NAMES)
        _check_integer("free_init", self.free_init, least=1, most=MAX_ROUNDS)
        _check_integer("seed", self.seed, least=0, most=2**63 - 1)
        _check_choice("precision", self.precision, PRECISIONS)
        return replace(
            self,
            fps=self.rate,
            prompts=prompts,
            loras=tuple(self.loras),
            embeddings=tuple(self.embeddings),
            motion_loras=tuple(self.motion_loras),
        )

    def to_json(self) -> str:
        """The request as one line of JSON that ``from_json`` reads back as an equal value."""
        return json.dumps(self.as_table(), ensure_ascii=False)

    def as_table(self) -> dict[str, Any]:
        """The request as plain data, with the version of its form."""
        lists = {
            name: list(getattr(self, name)) for name in ("loras", "embeddings", "motion_loras")
        }
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


def parse_lora(spec: str, *, what: str = "LoRA") -> tuple[str, float]:
    """Name or path, and scale, of ``noto:0.8``; the scale is 1 where none is given.

    Raises:
        InputError: the name is empty, or the scale is not a number of a sensible size; ``what`` is
            what the sentence calls it.
    """
    match = re.fullmatch(r"(.*):\s*([^:/\\]*)", spec, flags=re.DOTALL)
    name, text = match.groups() if match else (spec, "1")
    try:
        scale = float(text)
    except ValueError:
        raise InputError(
            f"The scale of the {what} {spec!r:.80} is not a number; write, for example, noto:0.8."
        ) from None
    if not name.strip():
        raise InputError(f"The {what} {spec!r:.80} has no name; write, for example, noto:0.8.")
    _check_number(
        f"The scale of the {what} {name!r:.80}", scale, least=-MAX_LORA_SCALE, most=MAX_LORA_SCALE
    )
    return name, scale


def parse_adapter(spec: str) -> tuple[str, float]:
    """File and alpha of a domain adapter; no file where the text is empty.

    Raises:
        InputError: the alpha is not a number of a sensible size.
    """
    return parse_lora(spec, what="domain adapter") if spec else ("", 0.0)


def _check_text(name: str, text: object, *, most: int) -> None:
    if not isinstance(text, str):
        raise InputError(f"{name} = {text!r:.40} is not text.")
    if len(text) > most:
        raise InputError(f"The {name} has {len(text)} characters; shorten it to {most} or fewer.")
    if any("\ud800" <= c <= "\udfff" for c in text):
        raise InputError(f"The {name} is not valid Unicode text; type it again.")


def _check_loras(loras: object, *, what: str = "LoRA") -> None:
    if not isinstance(loras, tuple | list):
        raise InputError(f"The {what}s {loras!r:.40} are not a list of name:scale.")
    if len(loras) > MAX_LORAS:
        raise InputError(f"{len(loras)} {what}s were given, and at most {MAX_LORAS} can be added.")
    for spec in loras:
        _check_text(what, spec, most=1000)
        parse_lora(spec, what=what)


def _check_integer(name: str, value: object, *, least: int, most: int, where: str = "") -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise InputError(f"{name} = {value!r:.40} is not a whole number.")
    if not least <= value <= most:
        raise InputError(f"{name} = {value} is out of range; choose {least} to {most}{where}.")


def _check_number(name: str, value: object, *, least: float, most: float) -> None:
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise InputError(f"{name} = {value!r:.40} is not a finite number.")
    if not least <= value <= most:
        raise InputError(f"{name} = {value:g} is out of range; choose {least:g} to {most:g}.")


def _check_size(name: str, value: object) -> None:
    if value is None:
        return
    _check_integer(name, value, least=8, most=MAX_SIZE)
    check_multiple(name, value, of=8)


def check_multiple(name: str, value: Any, *, of: int) -> None:
    """Refuse a size that the latents cannot stand for.

    Raises:
        InputError: it is no multiple; the nearest ones are named.
    """
    if value % of:
        below = value - value % of
        choices = [n for n in (below, below + of) if 0 < n <= MAX_SIZE]
        raise InputError(
            f"{name} = {value} is not a multiple of {of}; choose {' or '.join(map(str, choices))}."
        )


def _check_choice(name: str, value: object, known: tuple[str, ...]) -> None:
    if value in known:
        return
    close = nearest(str(value), known)
    hint = f"did you mean {close}?" if close else f"it is one of {', '.join(known)}."
    raise InputError(f"{name} = {value!r:.40} is unknown; {hint}")
