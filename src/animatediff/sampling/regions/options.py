"""Options of prompts for parts of the frame."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from animatediff.errors import InputError
from animatediff.options.declaration import Option
from animatediff.sampling.options.prompt import MAX_PROMPT
from animatediff.sampling.text.prompt_syntax import take_loras

if TYPE_CHECKING:
    from animatediff.sampling.request import AnimationRequest

MAX_REGIONS = 8
MAX_SOFT = 1.0
SOFT = 0.1

Regions = Annotated[
    tuple[str, ...],
    Option(
        "A prompt for a part of the frame: left, right, top, bottom, an area such as 0,0,0.5,1, or a "
        "mask (a picture, a folder or a video, white inside). The main prompt holds elsewhere.",
        group="Prompt",
        name="region",
        metavar="PROMPT@MASK",
        foreign=("regions", "regional-prompt", "area", "mask-prompt"),
        most_items=MAX_REGIONS,
        most_characters=MAX_PROMPT,
        item="region",
    ),
]
RegionSoft = Annotated[
    float,
    Option(
        "Width of the soft edges of regions, as a share of the frame's shorter side.",
        group="Prompt",
        foreign=("feather", "region-feather"),
        least=0,
        most=MAX_SOFT,
    ),
]


def parse_region(text: str) -> tuple[str, str]:
    """The prompt and the mask of a region.

    Raises:
        InputError: one of them is missing, or the prompt names a LoRA.
    """
    prompt, sign, mask = (part.strip() for part in text.rpartition("@"))
    if not sign or not prompt or not mask:
        raise InputError(
            f"--region {text!r:.80} is not a prompt and a mask; write, for example, "
            "'a red fox@left' or 'a red fox@mask.png'."
        )
    if take_loras(prompt)[1]:
        raise InputError(
            f"--region {text!r:.80} names a LoRA, and a LoRA counts in the whole frame; name it in "
            "the main prompt."
        )
    return prompt, mask


def check_regions(request: AnimationRequest) -> None:
    """Check how regions are written.

    Raises:
        InputError: one cannot be read.
    """
    for region in request.regions:
        parse_region(region)
