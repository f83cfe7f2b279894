"""Options of video to video: what to begin from, and how much of it is drawn anew."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Protocol

from animatediff.errors import InputError
from animatediff.options.declaration import Option
from animatediff.sampling.options.prompt import MAX_PROMPT
from animatediff.sampling.options.sampler import MAX_STEPS
from animatediff.video.fit import FitName

if TYPE_CHECKING:
    from animatediff.sampling.request import AnimationRequest

STRENGTH = 0.6
"""The strength with ``--init``, unless it is given."""
GIVEN_FRAMES = "frames given in Python"
"""What a request says instead of a path if it begins from frames in memory."""
MAX_PATH = 1000


class FramesInMemory(Protocol):
    """Frames that a program has: a NumPy array, a torch tensor, or a list of Pillow's pictures."""

    def __len__(self) -> int:
        """How many there are."""
        ...

    def __getitem__(self, frame: int, /) -> Any:
        """One of them."""
        ...


_GROUP = "Video to video"

Init = Annotated[
    str,
    Option(
        "Begin from a video, a folder of pictures or a picture instead of from noise alone. Its "
        "number of frames, rate and shape are kept unless others are given.",
        group=_GROUP,
        metavar="VIDEO",
        foreign=(
            "init-video",
            "init-image",
            "video",
            "video-path",
            "video-source",
            "input-video",
            "vid2vid",
            "img2img",
        ),
        most_characters=MAX_PATH,
    ),
]
Strength = Annotated[
    float | None,
    Option(
        "Share of the denoising steps that is taken with --init: at 0 the result is the video, at 1 "
        "only its length and rate are left of it. Also with --image.",
        group=_GROUP,
        foreign=("denoise", "denoising-strength", "denoise-strength"),
        least=0,
        most=1,
        unset="0.6 with --init, 0.75 where --image is blended in, 1 elsewhere",
    ),
]
StartStep = Annotated[
    int | None,
    Option(
        "Instead of --strength: the denoising step, from 0, at which --init comes in.",
        group=_GROUP,
        foreign=("start-at-step", "start-at", "begin-step"),
        least=0,
        most=MAX_STEPS,
    ),
]
Invert = Annotated[
    bool,
    Option(
        "Begin with the noise from which DDIM would draw the video (DDIM inversion, arXiv "
        "2010.02502) instead of with noise by the seed: motion and layout stay closer to it.",
        group=_GROUP,
        foreign=("ddim-inversion", "inversion"),
    ),
]
InitPrompt = Annotated[
    str,
    Option(
        "What --init shows, for --invert; the inversion is without a prompt if it is empty.",
        group=_GROUP,
        metavar="TEXT",
        foreign=("source-prompt", "inversion-prompt"),
        most_characters=MAX_PROMPT,
    ),
]
InitFit = Annotated[
    FitName,
    Option(
        "How --init is brought to another shape: crop fills the frame, pad shows all of it on black, "
        "stretch distorts it.",
        group=_GROUP,
        metavar="NAME",
        foreign=("resize-mode",),
    ),
]
KeepSound = Annotated[
    bool,
    Option(
        "Copy the sound of --init, as it is, into video files that can hold it.",
        group=_GROUP,
        foreign=("audio", "keep-audio"),
    ),
]


def check_video_to_video(request: AnimationRequest) -> None:
    """Check everything about video to video that needs no file.

    Raises:
        InputError: options contradict each other.
    """
    if request.image and not (request.invert or request.init_prompt):
        _check_parts(request)
        return
    if not request.init:
        given = {
            "--strength": request.strength is not None,
            "--start-step": request.start_step is not None,
            "--invert": request.invert,
            "--init-prompt": bool(request.init_prompt),
        }
        needless = next((flag for flag, is_given in given.items() if is_given), None)
        if needless:
            raise InputError(f"{needless} needs a video to begin from; give one with --init.")
        return
    _check_parts(request)
    if request.init_prompt and not request.invert:
        raise InputError("--init-prompt is for --invert; add --invert, or leave it out.")
    if request.free_init > 1:
        raise InputError(
            "FreeInit begins every round from noise, which leaves nothing of --init; use one of them."
        )


def _check_parts(request: AnimationRequest) -> None:
    if request.strength is not None and request.start_step is not None:
        raise InputError(
            "--strength and --start-step both say how much of --init is drawn anew; give one of them."
        )
    if request.start_step is not None and request.steps is not None:
        _check_start(request.start_step, request.steps)


def _check_start(start: int, steps: int) -> None:
    if start > steps:
        raise InputError(
            f"--start-step {start} is after the last of {steps} steps; choose 0 to {steps}."
        )
