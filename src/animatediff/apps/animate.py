"""``animatediff animate PROMPT``: options in a user's words become requests, and requests files."""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import FlagCreatePairsOff, Positional, UseAppendAction, arg

from animatediff.apps.destination import plan_destination, slug
from animatediff.apps.parsing import optional
from animatediff.apps.progress import Style, open_progress
from animatediff.errors import InputError, OutputError
from animatediff.sampling.keyframes import InterpolationName
from animatediff.sampling.request import AnimationRequest, EmphasisName, NumericsName, SchedulerName
from animatediff.sampling.travel_files import Travel, read_travel_file

MAX_SEEDS = 64


@dataclass(frozen=True)
class AnimateOptions:
    """What ``animatediff animate`` takes; whatever is left out is the model's own choice."""

    prompt: Annotated[Positional[str], arg(metavar="PROMPT")] = ""
    """What to draw, in quotes; with keyframes, what holds throughout."""
    output: Annotated[Path | None, optional("FILE", aliases=("-o",))] = None
    """The file to write; without it, the prompt and the seed name a new one here."""
    formats: Annotated[str | None, optional("LIST", name="format")] = None
    """mp4, gif, webp, apng, webm or png, or several with commas; else what FILE ends in."""
    frames: Annotated[int | None, optional("N")] = None
    """How many frames; left out, as many as the motion module was trained on."""
    fps: Annotated[str | None, optional("RATE", default=AnimationRequest.fps)] = None
    """Frames a second; a fraction such as 24000/1001 is exact."""
    size: Annotated[str | None, optional("WxH")] = None
    """Pixels, such as 128x128; multiples of 8."""
    width: Annotated[int | None, optional("N")] = None
    """Pixels across, instead of --size."""
    height: Annotated[int | None, optional("N")] = None
    """Pixels down, instead of --size."""
    steps: Annotated[int | None, optional("N")] = None
    """Denoising steps; left out, as many as the motion module's authors take."""
    guidance: Annotated[float | None, optional("X")] = None
    """How strongly the prompt pulls; 1 is not at all, and left out it is the motion module's."""
    seeds: Annotated[UseAppendAction[tuple[str, ...]], arg(name="seed", metavar="N")] = ()
    """Where the noise starts (0); -1 draws one. Several, repeated or with commas, are written
    one by one, and side by side in a labelled grid."""
    negative: Annotated[str | None, optional("TEXT")] = None
    """What not to draw."""
    prompts: Annotated[Path | None, optional("FILE")] = None
    """Keyframes, for a prompt that changes over the frames: A1111's lines, FizzNodes' or Deforum's
    table, or a project of animatediff-cli-prompt-travel."""
    keyframes: Annotated[
        UseAppendAction[tuple[str, ...]], arg(name="keyframe", metavar="FRAME:TEXT")
    ] = ()
    """One keyframe, such as '8: a hare', '50%: a hare' or '1.5s: a hare'; may be repeated."""
    interpolation: Annotated[
        InterpolationName | None, optional("NAME", default=AnimationRequest.interpolation)
    ] = None
    """From one keyframe to the next: linear, slerp (along the arc) or step."""
    hold: Annotated[float | None, optional("X", default=AnimationRequest.hold)] = None
    """The share of the way to the next keyframe over which nothing changes yet."""
    closed_loop: FlagCreatePairsOff[bool] = False
    """After the last keyframe, go back to the first."""
    model: Annotated[str | None, optional("NAME", default=AnimationRequest.model)] = None
    """The image model: a name that `animatediff models` lists, or a folder."""
    motion: Annotated[str | None, optional("NAME", default=AnimationRequest.motion)] = None
    """The motion module: a name, a file, or none."""
    loras: Annotated[UseAppendAction[tuple[str, ...]], arg(name="lora", metavar="NAME:SCALE")] = ()
    """A style to add, a name or a file and how much of it; may be repeated."""
    vae: Annotated[str | None, optional("NAME")] = None
    """An autoencoder instead of the model's own: a name, a file or a folder."""
    embeddings: Annotated[
        UseAppendAction[tuple[str, ...]], arg(name="embedding", metavar="NAME")
    ] = ()
    """A textual inversion that the prompt may name, a name or a file; may be repeated."""
    clip_skip: Annotated[int | None, optional("N")] = None
    """1 reads the text encoder's last layer, 2 the one before; left out it is the model's own."""
    emphasis: Annotated[
        EmphasisName | None, optional("NAME", default=AnimationRequest.emphasis)
    ] = None
    """How (weights:1.2) in prompts count: as in a1111, as in comfy, or none at all."""
    adapter: Annotated[str | None, optional("FILE:ALPHA")] = None
    """A domain adapter, a file and how much of it."""
    motion_loras: Annotated[
        UseAppendAction[tuple[str, ...]], arg(name="motion-lora", metavar="FILE:SCALE")
    ] = ()
    """A motion pattern to add to the motion module; may be repeated."""
    guidance_from: Annotated[
        float | None, optional("T", default=AnimationRequest.guidance_from)
    ] = None
    """The timestep, of 1,000, from which on guidance counts; at 400 a fifth of the predictions less."""
    motion_guidance: Annotated[float | None, optional("X", default="as their files say")] = None
    """How strongly guidance pulls towards the motion of MotionLoRAs, as a share of how it pulls towards
    the prompt."""
    family: Annotated[str | None, optional("NAME", default=AnimationRequest.family)] = None
    """The motion module's family, where its file does not say it: v1, v2, v3, lightning-4step, ..."""
    numerics: Annotated[
        NumericsName | None, optional("NAME", default=AnimationRequest.numerics)
    ] = None
    """faithful normalises as the module was trained, diffusers as diffusers does."""
    scheduler: Annotated[SchedulerName | None, optional("NAME")] = None
    """The sampler: ddim, euler, euler-a, dpm++2m-karras, unipc or lcm; left out, the motion
    module's."""
    free_init: Annotated[int | None, optional("N", default=AnimationRequest.free_init)] = None
    """FreeInit: draw N times, each from the slow parts of the last; steadier, N times as long."""
    device: Annotated[str, arg(metavar="NAME")] = "auto"
    """auto, cpu, cuda, cuda:1 or mps."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """auto is fp16 on a GPU, bf16 on a CPU that computes in it, and fp32 on others."""
    threads: Annotated[int | None, optional("N", default="one for each core")] = None
    """CPU threads; fewer leave the rest of a busy machine alone."""
    progress: Style = "auto"
    """A bar on a terminal, JSON lines for programs, or none."""
    preview: Annotated[Path | None, optional("FILE")] = None
    """A PNG of all frames, rewritten while denoising."""


def animate(options: AnimateOptions) -> None:
    """Write the animations that the options ask for.

    Raises:
        InputError, FileError, MemoryLimitError, OutputError, NumericalError: see ``errors.py``.
    """
    from animatediff.video import FORMATS

    settings: dict[str, Any] = request_settings(options)
    seeds = parse_seeds(options.seeds)
    requests = [AnimationRequest(**{**settings, **seed}).validated() for seed in seeds]
    several = len(requests) > 1
    name = slug(requests[0].prompt or next(iter(requests[0].prompts.values())))
    destination = plan_destination(
        options.output,
        formats=options.formats,
        known=FORMATS,
        name=name if several else f"{name}-{requests[0].seed}",
        labels=["", *(str(request.seed) for request in requests)] if several else [""],
    )
    destination.check()
    if options.preview is not None and not options.preview.parent.is_dir():
        raise OutputError(
            f"There is no folder {options.preview.parent} for the preview; create it."
        )
    with open_progress(options.progress) as progress:
        progress.stage("load")
        from animatediff.weights.builtin import resolve_model, resolve_motion
        from animatediff.weights.storage.read_ahead import first_read, read_ahead

        first = requests[0]
        read_ahead(first_read(resolve_model(first.model), resolve_motion(first.motion)))
        from animatediff.apps.render import render
        from animatediff.runtime import Runtime

        runtime = Runtime(
            device=options.device, precision=options.precision, threads=options.threads
        )
        render(
            requests,
            destination=destination,
            runtime=runtime,
            progress=progress,
            preview=options.preview,
        )


def request_settings(options: AnimateOptions) -> dict[str, Any]:
    """The fields of ``AnimationRequest`` that the options set; the rest keep the request's default.

    Raises:
        InputError: ``--size`` is not WxH, or is given together with --width or --height; there is
            nothing to draw; or a keyframe cannot be one.
        FileError: ``--prompts`` cannot be read.
    """
    width, height = options.width, options.height
    if options.size is not None:
        if width is not None or height is not None:
            raise InputError("Give --size, or --width and --height, but not both.")
        width, height = parse_size(options.size)
    travel = read_keyframes(options)
    if not options.prompt.strip() and not travel.prompts:
        raise InputError("There is no PROMPT; say in quotes what to draw, or give --prompts.")
    fields = {
        "prompt": options.prompt,
        "negative_prompt": options.negative,
        "prompts": travel.prompts or None,
        "interpolation": options.interpolation or travel.interpolation,
        "hold": travel.hold if options.hold is None else options.hold,
        "closed_loop": options.closed_loop or travel.closed_loop,
        "model": options.model,
        "motion": options.motion,
        "loras": options.loras or None,
        "vae": options.vae,
        "embeddings": options.embeddings or None,
        "clip_skip": options.clip_skip,
        "emphasis": options.emphasis,
        "adapter": options.adapter,
        "motion_loras": options.motion_loras or None,
        "family": options.family,
        "numerics": options.numerics,
        "num_frames": options.frames,
        "fps": options.fps,
        "width": width,
        "height": height,
        "steps": options.steps,
        "guidance": options.guidance,
        "guidance_from": options.guidance_from,
        "motion_guidance": options.motion_guidance,
        "scheduler": options.scheduler,
        "free_init": options.free_init,
        "precision": options.precision,
    }
    return {name: value for name, value in fields.items() if value is not None}


def read_keyframes(options: AnimateOptions) -> Travel:
    """The keyframes of the options, from a file or one by one; there may be none.

    Raises:
        InputError: both are given, or one cannot be a keyframe.
        FileError: the file cannot be read, or a line of it cannot be what it should.
    """
    if options.prompts is not None and options.keyframes:
        raise InputError("Give --prompts or --keyframe, but not both.")
    if options.prompts is not None:
        return read_travel_file(options.prompts)
    found: dict[str, str] = {}
    for word in options.keyframes:
        key, sign, text = word.partition(":")
        if not sign:
            raise InputError(
                f"--keyframe {word!r:.40} has no text; write, for example, '8: a hare'."
            )
        if key.strip() in found:
            raise InputError(f"--keyframe {key.strip()} is given twice.")
        found[key.strip()] = text.strip()
    return Travel(found)


def parse_size(text: str) -> tuple[int, int]:
    """Width and height of ``128x128``.

    Raises:
        InputError: it is written differently.
    """
    match = re.fullmatch(r"(\d{1,6})[x×](\d{1,6})", text.strip().lower())
    if match is None:
        raise InputError(f"--size {text} is not a size; write width x height, such as 128x128.")
    return int(match[1]), int(match[2])


def parse_seeds(words: Sequence[str]) -> list[dict[str, Any]]:
    """Seeds written one by one or with commas, each as the field it sets; none is one empty choice.

    Raises:
        InputError: a word is not a whole number, or there are more than 64.
    """
    parts = [part.strip() for word in words for part in word.split(",")]
    if len(parts) > MAX_SEEDS:
        raise InputError(f"{len(parts)} seeds were given, and at most {MAX_SEEDS} fit one command.")
    for part in parts:
        if not re.fullmatch(r"-?\d{1,20}", part):
            raise InputError(f"--seed {part!r} is not a whole number.")
    seeds = [int(part) if part != "-1" else secrets.randbits(32) for part in parts]
    return [{"seed": seed} for seed in dict.fromkeys(seeds)] or [{}]
