"""Options of the prompt: its text, keyframes and how weights in it count."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from animatediff.options.declaration import Option
from animatediff.sampling.text.keyframes import InterpolationName

MAX_PROMPT = 10_000
EmphasisName = Literal["a1111", "comfy", "none"]

Prompt = Annotated[
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
NegativePrompt = Annotated[
    str,
    Option(
        "What not to draw.",
        group="Prompt",
        name="negative",
        metavar="TEXT",
        foreign=("negative-prompt", "n-prompt", "neg", "neg-prompt", "uncond", "n"),
        most_characters=MAX_PROMPT,
    ),
]
Prompts = Annotated[
    Mapping[str, str],
    Option(
        "Keyframes: what to draw from which frame on. A key is a frame (16), a part of the "
        "animation (50%) or a time (1.5s).",
        group="Prompt",
        by_hand=True,
    ),
]
NegativePrompts = Annotated[
    Mapping[str, str],
    Option(
        "Keyframes of the negative prompt, as those of the prompt; they may be at other frames.",
        group="Prompt",
        by_hand=True,
    ),
]
Interpolation = Annotated[
    InterpolationName,
    Option(
        "How the prompt changes between keyframes: linear, slerp (along the arc) or step.",
        group="Prompt",
        metavar="NAME",
        foreign=("prompt-interpolation",),
    ),
]
Hold = Annotated[
    float,
    Option(
        "Share of the way to the next keyframe during which the prompt does not change yet.",
        group="Prompt",
        foreign=("prompt-fixed-ratio",),
        least=0,
        most=0.999,
    ),
]
ClosedLoop = Annotated[
    bool, Option("Return to the first keyframe after the last one.", group="Prompt")
]
Emphasis = Annotated[
    EmphasisName,
    Option(
        "How (weights:1.2) in prompts count: as in a1111, as in comfy, or none at all.",
        group="Prompt",
        metavar="NAME",
    ),
]
