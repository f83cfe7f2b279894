"""Options of loops and of the context windows that long clips are denoised in."""

from __future__ import annotations

from typing import Annotated, Literal

from animatediff.options.declaration import Option
from animatediff.sampling.options.output import MAX_FRAMES
from animatediff.sampling.windows.plan import WindowSchedule
from animatediff.sampling.windows.weights import WindowWeights

WindowPlace = Literal["model", "attention"]
NoiseName = Literal["independent", "freenoise"]
MAX_CHANGES = 16
MAX_CHANGE = 200

Loop = Annotated[
    bool,
    Option(
        "Close the animation to a seamless loop: the last frame leads to the first, and so do "
        "keyframes of the prompt.",
        group="Motion",
        foreign=("closed-loop-animation", "seamless", "looping"),
    ),
]
ContextSchedule = Annotated[
    WindowSchedule | None,
    Option(
        "How context windows move from step to step: static, uniform or looped. A clip that is "
        "longer than the motion module knows is denoised in windows.",
        group="Motion",
        metavar="NAME",
        foreign=("context-schedule", "context-scheduler"),
        unset="static; looped with --loop",
    ),
]
ContextLength = Annotated[
    int | None,
    Option(
        "Frames of a context window.",
        group="Motion",
        foreign=("context-length", "context-frames", "context", "context-batch-size"),
        least=2,
        most=MAX_FRAMES,
        unset="as many as the motion module was trained on, if the clip is too long for it",
    ),
]
ContextOverlap = Annotated[
    int | None,
    Option(
        "Frames that a context window shares with the next.",
        group="Motion",
        foreign=("context-overlap", "overlap", "O"),
        least=0,
        most=MAX_FRAMES,
        unset="three quarters of the window inside attention; around the model half of it with "
        "freenoise, otherwise a quarter",
    ),
]
ContextStride = Annotated[
    int,
    Option(
        "With a uniform or looped schedule, also denoise frames 2, 4, ... up to 2^(N - 1) apart "
        "together.",
        group="Motion",
        foreign=("context-stride", "stride"),
        least=1,
        most=6,
    ),
]
WindowsIn = Annotated[
    WindowPlace | None,
    Option(
        "Where windows are: around the model, which then draws one window at a time (model), or "
        "inside temporal attention, where all frames are drawn together (attention).",
        group="Motion",
        metavar="NAME",
        unset="attention for a clip longer than a window, where all its frames need at most 0.3 times "
        "the memory of one window more",
        foreign=("view-as-context", "view-options", "free-noise"),
    ),
]
Noise = Annotated[
    NoiseName | None,
    Option(
        "Initial noise of clips longer than a window: independent, or freenoise, which repeats the "
        "first window's in another order (arXiv 2310.15169), so that the scene stays the same.",
        group="Motion",
        metavar="NAME",
        unset="freenoise for a clip longer than a window, unless it begins from a video",
        foreign=("noise-type", "noise-schedule", "freenoise"),
    ),
]
ContextWeights = Annotated[
    WindowWeights,
    Option(
        "How overlapping context windows are averaged: pyramid, flat or overlap-linear.",
        group="Motion",
        metavar="NAME",
        foreign=("fuse-method", "context-fuse"),
    ),
]
WindowChanges = Annotated[
    tuple[str, ...],
    Option(
        "Other windows from a share of the denoising steps on, such as '0.5: uniform, overlap=8': a "
        "schedule, length=N, overlap=N, stride=N and weights=NAME; what is left out stays as before.",
        group="Motion",
        name="window-change",
        metavar="START:WINDOWS",
        foreign=("context-options-group", "context-group"),
        most_items=MAX_CHANGES,
        most_characters=MAX_CHANGE,
        item="window change",
    ),
]
