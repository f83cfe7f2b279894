"""Options of how strongly the motion module acts: where, in which frames, and at which steps."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from animatediff.errors import InputError
from animatediff.options.checks import check_number
from animatediff.options.declaration import Option
from animatediff.sampling.options.files import MAX_NAME
from animatediff.sampling.options.scale import Scale

if TYPE_CHECKING:
    from animatediff.sampling.request import AnimationRequest

MAX_STRENGTHS = 32
MAX_MASK = 1000
MOST = 10.0
_BLOCK = re.compile(r"\s*((?:down|up)(?:_\d+){0,2}|mid(?:_0)?)\s*:(.*)", re.DOTALL)

FromStill = Annotated[
    float | None,
    Option(
        "First draw a still of the prompt without motion, and begin all frames from it. The number is "
        "the share of the denoising steps that frames then take: 0.9 lets them move, 0.5 hardly, 0 "
        "shows the still itself; 1 draws no still and begins from noise alone.",
        group="Motion",
        least=0,
        most=1,
        unset="0 with an --action; else what suits the motion module: 1 for published ones; for the "
        "built-in one 0.9, or 0.7 if "
        "--control follows a hint in each frame, unless --init, --image, --sparse, --motion-lora, "
        "--camera or --free-init is given",
    ),
]
Carry = Annotated[
    float | None,
    Option(
        "Carry the still (or the first frame, if there is none) along the smoothed motion of the "
        "animation, so that the picture stays whole; it ends where it began. 1 moves it as fast as a "
        "typical clip, 0.5 half as fast; 0 keeps the frames as they were drawn.",
        group="Motion",
        least=0,
        most=4,
        unset="1 for the built-in motion module where all frames begin from one still and neither "
        "--motion-scale, --motion-effect nor --hires is given; otherwise 0",
    ),
]
MotionScale = Annotated[
    tuple[str, ...],
    Option(
        "Factor of the keys in temporal attention: above 1 there is more motion, below 1 less. A "
        "number, frames(0=1, 15=1.3) or steps(0=1.2, 1=1), optionally for blocks: up:1.2, mid:0.9, "
        "down_1:1.1.",
        group="Motion",
        name="motion-scale",
        metavar="[BLOCK:]SCALE",
        foreign=("scale-multival", "motion-scale-multival", "multival"),
        most_items=MAX_STRENGTHS,
        most_characters=MAX_NAME,
        item="motion scale",
    ),
]
MotionEffect = Annotated[
    tuple[str, ...],
    Option(
        "Share of what the motion module adds: 1 as trained, 0 leaves every frame to the image model. "
        "Written as --motion-scale.",
        group="Motion",
        name="motion-effect",
        metavar="[BLOCK:]SCALE",
        foreign=("effect-multival", "motion-strength"),
        most_items=MAX_STRENGTHS,
        most_characters=MAX_NAME,
        item="motion effect",
    ),
]
MotionScaleMask = Annotated[
    str,
    Option(
        "Where --motion-scale holds: left, right, top, bottom, an area such as 0,0,0.5,1, or a "
        "mask file; elsewhere it is 1.",
        group="Motion",
        metavar="MASK",
        most_characters=MAX_MASK,
    ),
]
MotionEffectMask = Annotated[
    str,
    Option(
        "Where --motion-effect holds, as --motion-scale-mask; elsewhere it is 1.",
        group="Motion",
        metavar="MASK",
        most_characters=MAX_MASK,
    ),
]


@dataclass(frozen=True)
class BlockScale:
    """A scale of some blocks.

    Attributes:
        block: the beginning of their names, such as ``up_1``; empty for all.
        scale: may change over the frames or the steps.
    """

    block: str
    scale: Scale

    def holds_at(self, site: str) -> bool:
        """Whether it holds at a site such as ``up_1_0``."""
        return not self.block or site == self.block or site.startswith(f"{self.block}_")


def parse_block_scale(text: str, *, option: str) -> BlockScale:
    """A number, or a scale, with the blocks that it is for.

    Raises:
        InputError: it is none, or beyond 0 to 10.
    """
    match = _BLOCK.fullmatch(text)
    block, scale = (match[1], match[2]) if match else ("", text)
    found = Scale.parse(scale)
    for value in found.least_and_most:
        check_number(option, value, least=0, most=MOST)
    return BlockScale(block, found)


def check_motion_strength(request: AnimationRequest) -> None:
    """Check how the strength of motion is written.

    Raises:
        InputError: a scale cannot be read, or a mask is without one.
    """
    for text in request.motion_scale:
        parse_block_scale(text, option="motion_scale")
    for text in request.motion_effect:
        parse_block_scale(text, option="motion_effect")
    for name in ("scale", "effect"):
        if getattr(request, f"motion_{name}_mask") and not getattr(request, f"motion_{name}"):
            raise InputError(
                f"--motion-{name}-mask says where --motion-{name} holds; give that one too."
            )
