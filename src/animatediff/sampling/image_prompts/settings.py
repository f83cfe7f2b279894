"""What a request asks of each of its image prompts, from options given once or for each."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast, get_args

from animatediff.options.checks import check_choice
from animatediff.sampling.control.frame_strengths import check_frame_strengths
from animatediff.sampling.control.settings import NOWHERE
from animatediff.sampling.image_prompts.layer_weights import WeightsName
from animatediff.sampling.options.once_or_each import once_or_each
from animatediff.sampling.options.pictures import Picture, check_numbers, parse_picture
from animatediff.sampling.options.scale import Scale
from animatediff.sampling.options.scaled_names import parse_lora
from animatediff.sampling.options.step_range import parse_step_range

if TYPE_CHECKING:
    from animatediff.sampling.request import AnimationRequest


@dataclass(frozen=True)
class ImagePromptSetting:
    """One image prompt of a request.

    Attributes:
        name: the adapter's name or file.
        scale: its strength, which may change over the frames or the steps.
        pictures: what it follows.
        strengths: of single frames, as ``frame_strengths`` reads it.
        weights: how its layers are weighted.
        start, end: the share of the steps in which it counts.
        mask: where it counts; nothing for everywhere.
    """

    name: str
    scale: Scale
    pictures: tuple[Picture, ...]
    strengths: str
    weights: WeightsName
    start: float
    end: float
    mask: Path | None


def image_prompt_settings(request: AnimationRequest) -> tuple[ImagePromptSetting, ...]:
    """What a request asks of each IP-Adapter, in the order in which they were given.

    Raises:
        InputError: an option cannot be used, or is given neither once nor for each.
    """
    count = len(request.ip_adapters)
    each = partial(once_or_each, count=count, what="IP-Adapters")
    pictures = image_prompt_pictures(request)
    named = [parse_lora(spec, what="IP-Adapter") for spec in request.ip_adapters]
    rows = zip(
        named,
        each(request.ip_strengths, option="--ip-strength", default=""),
        each(request.ip_weights, option="--ip-weights", default="linear"),
        each(request.ip_ranges, option="--ip-range", default="0:1"),
        each(request.ip_masks, option="--ip-mask", default=NOWHERE),
        strict=True,
    )
    found: list[ImagePromptSetting] = []
    for number, ((name, scale), strengths, weights, span, mask) in enumerate(rows, start=1):
        check_choice("ip_weights", weights, get_args(WeightsName))
        check_frame_strengths(strengths)
        start, end = parse_step_range(span)
        found.append(
            ImagePromptSetting(
                name=name,
                scale=scale,
                # Without their number, so that equal settings are equal in any order.
                pictures=tuple(
                    replace(p, number=None) for p in pictures if p.number in (None, number)
                ),
                strengths=strengths,
                weights=cast(WeightsName, weights),
                start=start,
                end=end,
                mask=None if mask == NOWHERE else Path(mask).expanduser(),
            )
        )
    return tuple(found)


def image_prompt_pictures(request: AnimationRequest) -> tuple[Picture, ...]:
    """The pictures of a request's ``--ip-image``, in the order in which they were given.

    Raises:
        InputError: one has no path.
    """
    return tuple(parse_picture(text, option="--ip-image") for text in request.ip_images)


def check_image_prompts(request: AnimationRequest) -> None:
    """Check everything about image prompts that needs no file.

    Raises:
        InputError: an option cannot be used.
    """
    image_prompt_settings(request)
    check_numbers(
        image_prompt_pictures(request),
        option="--ip-image",
        count=len(request.ip_adapters),
        what="IP-Adapter",
        networks="--ip-adapter",
    )
