"""What a request asks of each of its control networks, from options that are given once or for each."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast, get_args

from animatediff.errors import InputError
from animatediff.options.checks import check_choice
from animatediff.sampling.control.frame_strengths import check_frame_strengths
from animatediff.sampling.control.layer_weights import LayerWeights, parse_layer_weights
from animatediff.sampling.options.once_or_each import once_or_each
from animatediff.sampling.options.pictures import check_numbers, parse_picture
from animatediff.sampling.options.scale import Scale
from animatediff.sampling.options.step_range import parse_step_range
from animatediff.video.preprocess import PreprocessName, check_preprocess

if TYPE_CHECKING:
    from animatediff.sampling.request import AnimationRequest

ModeName = Literal["balanced", "prompt", "control"]

NOWHERE = "none"
"""Instead of a mask: the network counts everywhere."""
_TYPE_OF = {
    "canny": "canny",
    "lineart": "canny",
    "softedge": "softedge",
    "hed": "softedge",
    "tile": "tile",
}
"""The hint type of a union net that fits what was drawn."""


@dataclass(frozen=True)
class ControlSetting:
    """One control network of a request.

    Attributes:
        name: a name or file.
        scale: its strength, which may change over the frames or the steps.
        preprocess: what is drawn from its input.
        hint_type: what the input of a union net is; empty if nothing says so.
        start, end: the share of the steps in which it counts.
        strengths: of single frames, as ``frame_strengths`` reads it.
        weights: of its layers.
        only_along: whether it counts for the clip with the prompt alone.
        mask: where it counts; nothing for everywhere.
        pictures: what it follows in single frames, if it is SparseCtrl.
    """

    name: str
    scale: Scale
    preprocess: PreprocessName
    hint_type: str
    start: float
    end: float
    strengths: str
    weights: LayerWeights
    only_along: bool
    mask: Path | None
    pictures: tuple[SparseHint, ...]


@dataclass(frozen=True)
class SparseHint:
    """A picture for SparseCtrl.

    Attributes:
        path: the picture.
        frame: where it belongs; negative numbers count from the end.
        number: the control network that it is for, from 1; ``None`` is every SparseCtrl model.
    """

    path: Path
    frame: int
    number: int | None = None


def control_settings(request: AnimationRequest) -> tuple[ControlSetting, ...]:
    """What a request asks of each control network, in the order in which they were given.

    Raises:
        InputError: an option cannot be used, or is given neither once nor for each.
    """
    from animatediff.sampling.options.scaled_names import parse_lora

    count = len(request.controls)
    named = [parse_lora(control, what="control network") for control in request.controls]
    pictures = sparse_hints(request)
    each = partial(once_or_each, count=count, what="control networks")

    found: list[ControlSetting] = []
    rows = zip(
        named,
        each(request.control_preprocess, option="--control-preprocess", default="none"),
        each(request.control_types, option="--control-type", default=""),
        each(request.control_ranges, option="--control-range", default="0:1"),
        each(request.control_strengths, option="--control-strength", default=""),
        each(request.control_weights, option="--control-weights", default=""),
        each(request.control_modes, option="--control-mode", default="balanced"),
        each(request.control_masks, option="--control-mask", default=NOWHERE),
        strict=True,
    )
    for number, row in enumerate(rows, start=1):
        (name, scale), drawn, kind, span, strengths, weights, mode, mask = row
        check_preprocess(drawn)
        check_choice("control_preprocess", drawn, get_args(PreprocessName))
        check_choice("control_modes", mode, get_args(ModeName))
        check_frame_strengths(strengths)
        start, end = parse_step_range(span)
        curve = weights or ("even" if mode == "balanced" else "soft")
        found.append(
            ControlSetting(
                name=name,
                scale=scale,
                preprocess=cast(PreprocessName, drawn),
                hint_type=kind or _TYPE_OF.get(drawn, ""),
                start=start,
                end=end,
                strengths=strengths,
                weights=parse_layer_weights(curve),
                only_along=mode == "control",
                mask=None if mask == NOWHERE else Path(mask).expanduser(),
                # Without their number, so that equal settings are equal in any order.
                pictures=tuple(
                    replace(p, number=None) for p in pictures if p.number in (None, number)
                ),
            )
        )
    return tuple(found)


def sparse_hints(request: AnimationRequest) -> tuple[SparseHint, ...]:
    """The pictures for SparseCtrl, in the order in which they were given.

    Raises:
        InputError: one has no frame, or names a network that there is not, or two of one network have
            the same frame.
    """
    given = [parse_picture(text, option="--sparse") for text in request.sparse]
    check_numbers(
        given,
        option="--sparse",
        count=len(request.controls),
        what="control network",
        networks="--control",
    )
    hints: list[SparseHint] = []
    for text, picture in zip(request.sparse, given, strict=True):
        if picture.frame is None:
            raise InputError(
                f"--sparse {text!r:.80} has no frame; write the picture and its frame, such as "
                "first.png@0."
            )
        hint = SparseHint(picture.path, picture.frame, picture.number)
        if any(_collide(hint, other) for other in hints):
            raise InputError(
                "Two --sparse pictures are for the same frame; give each a frame of its own (--image "
                "is for frame 0), or a network of its own, such as 2=first.png@0."
            )
        hints.append(hint)
    return tuple(hints)


def _collide(one: SparseHint, other: SparseHint) -> bool:
    """Whether two pictures are for the same frame of the same network."""
    apart = None not in (one.number, other.number) and one.number != other.number
    return one.frame == other.frame and not apart


def check_controls(request: AnimationRequest) -> None:
    """Check everything about the control networks that needs no file.

    Raises:
        InputError: an option cannot be used, or inputs and networks do not match.
    """
    control_settings(request)
    sparse_hints(request)
    inputs, networks = len(request.control_inputs), len(request.controls)
    if inputs > networks:
        raise InputError(
            f"{inputs} control inputs were given for {networks} control networks; add networks with "
            "--control."
        )
    if request.sparse and not networks:
        raise InputError("--sparse is for a SparseCtrl model; name one with --control.")
