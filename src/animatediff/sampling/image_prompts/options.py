"""The options of image prompts (IP-Adapter); those that may differ between adapters are repeated."""

from __future__ import annotations

from typing import Annotated, Literal

from animatediff.options.declaration import Option
from animatediff.sampling.options.once_or_each import OnceOrEach

MAX_ADAPTERS = 8
MAX_PICTURES = 64
MAX_PATH = 1000

BetweenName = Literal["linear", "nearest", "hold"]
"""What frames between two pictures follow."""

_GROUP = "Image prompts"
_EACH = OnceOrEach(_GROUP, "adapters", MAX_ADAPTERS)

IpAdapters = Annotated[
    tuple[str, ...],
    Option(
        "An IP-Adapter and its scale. 1 is usual without a prompt, about 0.5 with one.",
        group=_GROUP,
        name="ip-adapter",
        metavar="FILE:SCALE",
        foreign=("ip-adapters", "ipadapter", "ip-adapter-scale", "ip-adapter-path"),
        most_items=MAX_ADAPTERS,
        most_characters=MAX_PATH,
        item="IP-Adapter",
    ),
]
IpImages = Annotated[
    tuple[str, ...],
    Option(
        "A picture that the animation should resemble, for all frames; PATH@FRAME is for one frame, "
        "and a video or a folder has a picture for each. N=PATH is for the Nth --ip-adapter alone.",
        group=_GROUP,
        name="ip-image",
        metavar="PATH@FRAME",
        foreign=("ip-adapter-image", "ip-images", "reference-image", "image-prompt"),
        most_items=MAX_PICTURES,
        most_characters=MAX_PATH,
        item="image prompt",
    ),
]
ImageEncoderName = Annotated[
    str,
    Option(
        "The CLIP image encoder that reads the pictures of IP-Adapters: a file or a folder, such as "
        "IP-Adapter's image_encoder.",
        group=_GROUP,
        name="image-encoder",
        metavar="NAME",
        foreign=("clip-vision", "ip-adapter-encoder", "image-encoder-path"),
        most_characters=MAX_PATH,
    ),
]
IpStrengths = Annotated[
    tuple[str, ...],
    _EACH.option(
        "Strength of single frames, multiplied with the scale: '0=1, 8:=0.3'.",
        name="ip-strength",
        metavar="FRAMES",
        most_characters=10_000,
        unset="1 in every frame",
    ),
]
IpWeights = Annotated[
    tuple[str, ...],
    _EACH.option(
        "How the layers are weighted: linear (all alike), ease-in (the first most), ease-out, "
        "ease-in-out, style (only layers of style) or composition (only layers of layout).",
        foreign=("ip-weight-type", "weight-type"),
        unset="linear",
    ),
]
IpRanges = Annotated[
    tuple[str, ...],
    _EACH.option(
        "The part of the denoising steps in which an adapter counts, such as 0:0.6.",
        name="ip-range",
        metavar="START:END",
        unset="0:1",
    ),
]
IpMasks = Annotated[
    tuple[str, ...],
    _EACH.option(
        "Where an adapter counts: a picture, folder or video, white where it does and black where it "
        "does not; none for everywhere.",
        name="ip-mask",
        metavar="PATH",
        most_characters=MAX_PATH,
    ),
]
IpBetween = Annotated[
    BetweenName,
    Option(
        "Frames between two pictures: blend both (linear), follow the nearest, or hold the last.",
        group=_GROUP,
        metavar="NAME",
    ),
]
