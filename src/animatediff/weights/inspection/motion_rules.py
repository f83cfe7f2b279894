"""Table of rules that distinguish families of motion modules, the most specific first.

The settings of each family are in ``families.py``.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class MotionRule:
    """A rule that recognises one family of motion modules.

    Attributes:
        family: its name in ``families.py``.
        because: the reason to print.
        base: the image model with its number of blocks.
        mid: whether the middle block has a module; ``None`` matches both.
        rows: allowed numbers of positions, ``None`` for no positional encodings; empty matches
            any.
        layouts: allowed layouts; empty matches any.
        has: a fragment of a name.
        reads: input channels of its input convolution.
        version: the variant.
        also: other families with the same names and shapes.
        note: sentence to print where they cannot be distinguished.
    """

    family: str
    because: str
    base: str = "sd15"
    mid: bool | None = None
    rows: tuple[int | None, ...] = ()
    layouts: tuple[str, ...] = ()
    has: str = ""
    reads: int | None = None
    version: str = ""
    also: tuple[str, ...] = ()
    note: str = ""


LIGHTNING = tuple(f"lightning-{steps}step" for steps in (1, 2, 4, 8))
_LIKE_V2 = (
    "AnimateDiff-Lightning has the same names and shapes as v2, and so has the 32-frame "
    "LongAnimateDiff; if it is one of them, say so with --family"
)

MOTION_RULES: tuple[MotionRule, ...] = (
    MotionRule(
        family="animatelcm-i2v",
        because="it has an encoder of pictures (img_encoder)",
        has="^img_encoder.",
        version="i2v",
    ),
    MotionRule(
        family="pia",
        because="it has an input convolution of 9 channels, which also reads a picture",
        reads=9,
    ),
    MotionRule(family="fancyvideo", because="it says FancyVideo", has="FancyVideo"),
    MotionRule(
        family="hotshot-xl",
        because="its names are Hotshot's",
        base="sdxl",
        layouts=("hotshot",),
    ),
    MotionRule(
        family="hotshot-xl",
        because="it has SDXL's blocks and 24 positions",
        base="sdxl",
        rows=(24,),
    ),
    MotionRule(
        family="sdxl-beta",
        because="it has SDXL's blocks and 32 positions",
        base="sdxl",
        rows=(32,),
    ),
    MotionRule(
        family="sdxl-beta",
        because="it has SDXL's blocks",
        base="sdxl",
        also=("hotshot-xl",),
        note="without a table of positions SDXL beta and Hotshot-XL cannot be told apart; "
        "say which with --family",
    ),
    MotionRule(
        family="longanimatediff",
        because="it has a table of 64 positions, which AnimateLCM's files leave out",
        rows=(64,),
        mid=True,
        layouts=("authors", "ours"),
    ),
    MotionRule(
        family="longanimatediff",
        because="it has a table of 64 positions",
        rows=(64,),
        also=("animatelcm",),
        note="AnimateLCM in diffusers' names may have as many; say which with --family",
    ),
    MotionRule(
        family="animatelcm",
        because="it has a module in the middle and no table of positions",
        mid=True,
        rows=(None,),
        layouts=("authors",),
        version="t2v",
        also=("v2",),
        note="a v2 module saved anew by the authors' code has no table either; if it is one, say "
        "so with --family v2",
    ),
    MotionRule(
        family="v2",
        because="it has a module in the middle, in diffusers' names",
        mid=True,
        rows=(32, None),
        layouts=("diffusers",),
        also=(*LIGHTNING, "animatelcm"),
        note="AnimateDiff-Lightning and AnimateLCM have the same names and shapes there; if it is "
        "one of them, say so with --family",
    ),
    MotionRule(
        family="v2",
        because="it has a module in the middle and 32 positions",
        mid=True,
        rows=(32,),
        also=(*LIGHTNING, "longanimatediff"),
        note=_LIKE_V2,
    ),
    MotionRule(
        family="v2",
        because="it has a module in the middle",
        mid=True,
        also=(*LIGHTNING, "animatelcm", "longanimatediff"),
        note=_LIKE_V2,
    ),
    MotionRule(family="v1", because="it has no module in the middle and 24 positions", rows=(24,)),
    MotionRule(family="v3", because="it has no module in the middle and 32 positions", rows=(32,)),
    MotionRule(
        family="v3",
        because="it has no module in the middle",
        also=("v1",),
        note="without a table of 24 or 32 positions v1 and v3 cannot be told apart; say which "
        "with --family",
    ),
)
"""The families of motion modules, the most specific first."""
