"""``animatediff baseline METHOD``: draw a video by one of the methods that the paper compares with."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Annotated

from jaxtyping import Float
from torch import Tensor
from tyro.conf import FlagCreatePairsOff, Positional, arg, subcommand

from animatediff.apps.destination import Destination, plan_destination, slug
from animatediff.apps.options.parsing import optional
from animatediff.apps.progress import Progress, ProgressStyle, open_progress
from animatediff.errors import FileError, InputError
from animatediff.options.checks import check_integer, check_number
from animatediff.sampling.animator import Animator
from animatediff.sampling.options.guidance import MAX_GUIDANCE
from animatediff.sampling.options.output import MAX_FPS
from animatediff.sampling.options.sampler import MAX_STEPS


@dataclass(frozen=True)
class Text2VideoZeroOptions:
    """Text2Video-Zero (arXiv 2303.13439): no training; the picture shifts from frame to frame."""

    prompt: Annotated[Positional[str], arg(metavar="PROMPT")]
    """What to draw, in quotes."""
    negative: str = ""
    """What not to draw."""
    model: str = "emoji"
    """The image model: a name that `animatediff models` lists, a file, or a diffusers folder."""
    frames: int = 8
    """How many frames to draw."""
    flow: tuple[float, float] = (12.0, 12.0)
    """Pixels of a 512 x 512 picture that each frame moves, along x and y."""
    no_flow: Annotated[bool, FlagCreatePairsOff] = False
    """Ablation: leave out the motion field, so that frames differ only by their noise."""
    cross_frame: bool = True
    """Whether self-attention reads the first frame; without it, frames are drawn apart (ablation)."""
    mask: Annotated[Path | None, optional("FILE")] = None
    """Smooth the background: white is foreground, in one picture that moves with the flow, or in a
    video with a mask for each frame."""
    chunk: int = 8
    """Frames drawn together, one of which is the anchor, which is not shown."""
    guidance: float = 7.5
    """Guidance scale."""
    steps: int = 50
    """DDIM steps; other numbers than 50 scale the authors' noise levels with them."""
    fps: int = 4
    """Frames a second."""
    seed: int = 0
    """Seed of the noise."""
    output: Annotated[Path | None, optional("FILE", aliases=("-o",))] = None
    """The file to write; by default the prompt names a new one here."""
    device: Annotated[str, arg(metavar="NAME")] = "auto"
    """auto, cpu, cuda, cuda:1 or mps."""
    progress: ProgressStyle = "auto"
    """A bar on a terminal, JSON lines for programs, or none."""


@dataclass(frozen=True)
class TuneAVideoOptions:
    """Tune-A-Video (arXiv 2212.11565): the image model is fine-tuned on a video, then edits it."""

    video: Annotated[Positional[Path], arg(metavar="VIDEO")]
    """The video to learn from."""
    prompt: Annotated[Positional[str], arg(metavar="PROMPT")]
    """What to draw with its motion, in quotes."""
    caption: Annotated[str | None, optional("TEXT")] = None
    """What the video shows; the default is the text file beside it, VIDEO's name with .txt, or else
    the empty caption."""
    negative: str = ""
    """What not to draw."""
    model: str = "emoji"
    """The image model: a name that `animatediff models` lists, a file, or a diffusers folder."""
    frames: int = 16
    """How many frames of the video are used, from the first one on."""
    train_steps: int = 500
    """Steps of fine-tuning; 500 are the authors'."""
    learning_rate: float = 3e-5
    """Learning rate; 3e-5 is the authors'."""
    guidance: float = 12.5
    """Guidance scale."""
    steps: int = 50
    """DDIM steps, of the inversion and of drawing."""
    output: Annotated[Path | None, optional("FILE", aliases=("-o",))] = None
    """The file to write; by default the prompt names a new one here."""
    run: Annotated[Path | None, optional("FOLDER")] = None
    """Where the fine-tuning is kept and resumed; by default it is not kept."""
    device: Annotated[str, arg(metavar="NAME")] = "auto"
    """auto, cpu, cuda, cuda:1 or mps."""
    progress: ProgressStyle = "auto"
    """A bar on a terminal, JSON lines for programs, or none."""


BaselineOptions = (
    Annotated[Text2VideoZeroOptions, subcommand("text2video-zero")]
    | Annotated[TuneAVideoOptions, subcommand("tune-a-video")]
)


def baseline(chosen: BaselineOptions) -> None:
    """Write the video that a baseline draws.

    Raises:
        InputError, FileError, MemoryLimitError, OutputError, NumericalError: see ``errors.py``.
    """
    if not chosen.prompt.strip():
        raise InputError("The prompt is empty; say in quotes what to draw.")
    _check_numbers(chosen)
    destination = _destination(chosen)
    with open_progress(chosen.progress) as progress:
        progress.stage("load")
        if isinstance(chosen, Text2VideoZeroOptions):
            _text2video_zero(chosen, destination, progress)
        else:
            _tune_a_video(chosen, destination, progress)


def _check_numbers(chosen: Text2VideoZeroOptions | TuneAVideoOptions) -> None:
    """Refuse numbers that would only fail once much has been drawn.

    Raises:
        InputError: one cannot be used.
    """
    if chosen.frames < 1:
        raise InputError(f"--frames {chosen.frames} is not a number of frames; give 1 or more.")
    check_integer("steps", chosen.steps, least=1, most=MAX_STEPS)
    check_number("guidance", chosen.guidance, least=0, most=MAX_GUIDANCE)
    if isinstance(chosen, Text2VideoZeroOptions):
        check_integer("fps", chosen.fps, least=1, most=MAX_FPS)
        for shift in chosen.flow:
            check_number("flow", shift, least=None, most=None)


def _destination(chosen: Text2VideoZeroOptions | TuneAVideoOptions) -> Destination:
    from animatediff.video import FORMATS

    destination = plan_destination(
        chosen.output, formats=None, known=FORMATS, name=slug(chosen.prompt)
    )
    destination.check(spared=[chosen.video] if isinstance(chosen, TuneAVideoOptions) else [])
    return destination


def _text2video_zero(
    options: Text2VideoZeroOptions, destination: Destination, progress: Progress
) -> None:
    from animatediff.evaluation.baselines.inputs import mask_of, side_of, states_of
    from animatediff.evaluation.baselines.text2video_zero import (
        ZeroOptions,
        drawn_foreground,
        text2video_zero,
    )

    zero = replace(
        ZeroOptions.of_steps(options.steps),
        guidance=options.guidance,
        flow=(0.0, 0.0) if options.no_flow else options.flow,
        motion_field=not options.no_flow,
        cross_frame=options.cross_frame,
        chunk=options.chunk,
    ).validated()
    animator = _load(options.model, options.device)
    side = side_of(animator)
    foreground = None
    if options.mask is not None:
        masks = mask_of(animator, options.mask, num_frames=options.frames)
        foreground = drawn_foreground(masks, flow=zero.flow)
    progress.stage("denoise")
    latents = text2video_zero(
        animator.base.unet,
        states=states_of(animator, [options.negative, options.prompt]),
        scheduler_config=animator.base.scheduler_config,
        num_frames=options.frames,
        size=(side, side),
        seed=options.seed,
        options=zero,
        foreground=foreground,
    )
    _write(animator, latents, fps=options.fps, destination=destination, progress=progress)


def _tune_a_video(options: TuneAVideoOptions, destination: Destination, progress: Progress) -> None:
    from animatediff.evaluation.baselines.inputs import latents_of, states_of
    from animatediff.evaluation.baselines.tune_a_video import (
        TRAINING,
        InflatedUNet,
        edit,
        invert,
        tune,
    )
    from animatediff.video import Video

    video = Video.load(options.video)
    caption = caption_of(options)
    animator = _load(options.model, options.device)
    states = states_of(animator, [options.negative, options.prompt, caption, ""])
    latents, fps = latents_of(animator, video, num_frames=options.frames)
    config = animator.base.scheduler_config
    inflated = InflatedUNet(animator.base.unet)
    with tempfile.TemporaryDirectory() as passing:
        progress.stage("tune")
        tune(
            inflated,
            latents,
            states=states[2:3],
            scheduler_config=config,
            folder=options.run or Path(passing),
            options=replace(
                TRAINING, steps=options.train_steps, learning_rate=options.learning_rate
            ),
        )
    progress.stage("invert")
    noise = invert(
        inflated, latents, empty=states[3:4], scheduler_config=config, steps=options.steps
    )
    progress.stage("denoise")
    drawn = edit(
        inflated,
        noise,
        states=states[:2],
        scheduler_config=config,
        steps=options.steps,
        guidance=options.guidance,
    )
    _write(animator, drawn, fps=fps, destination=destination, progress=progress)


def caption_of(options: TuneAVideoOptions) -> str:
    """Return what the video shows, as it is given or as the text file beside it says."""
    if options.caption is not None:
        return options.caption
    beside = options.video.with_suffix(".txt")
    try:
        return beside.read_text(encoding="utf-8").strip() if beside.exists() else ""
    except (OSError, UnicodeDecodeError):
        raise FileError(f"{beside} cannot be read as a caption; give --caption.") from None


def _load(model: str, device: str) -> Animator:
    """The image model alone, in fp32."""
    from animatediff.runtime import Runtime

    return Animator.load(model, motion="none", runtime=Runtime(device=device, precision="fp32"))


def _write(
    animator: Animator,
    latents: Float[Tensor, "1 c f h w"],
    *,
    fps: Fraction | int,
    destination: Destination,
    progress: Progress,
) -> None:
    from animatediff.sampling.steps.decode import decode
    from animatediff.video import Video

    progress.stage("decode")
    video = Video(decode(latents, vae=animator.base.vae), Fraction(fps))
    for path in destination.paths():
        written = video.save(path)
        progress.tell("written", str(written), {"path": str(written)})
