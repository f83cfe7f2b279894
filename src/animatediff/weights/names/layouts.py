"""Tables of the names of motion modules in every file layout.

Other projects' names are defined here and in ``low_rank.py``, and nowhere else. A name is first
translated to ours, and from there to any layout. Unknown names are never guessed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from animatediff.errors import InputError

Layout = Literal["ours", "authors", "diffusers", "hotshot", "kohya"]
"""Whose names they are; ``authors`` are AnimateDiff's, ``kohya`` the trainers' of image LoRAs."""
LAYOUTS: tuple[Layout, ...] = get_args(Layout)

Kind = Literal["motion", "adapter", "motion-lora"]
"""A motion module (Sec. 4.2), a domain adapter (4.1) or a MotionLoRA (4.3)."""

KINDS: Mapping[Kind, str] = {
    "motion": "a motion module",
    "adapter": "a domain adapter",
    "motion-lora": "a MotionLoRA",
}
WRITABLE: Mapping[Kind, tuple[Layout, ...]] = {
    "motion": ("ours", "authors", "diffusers", "hotshot"),
    "adapter": ("ours", "authors", "diffusers", "kohya"),
    "motion-lora": ("ours", "authors", "diffusers", "kohya"),
}
"""The layouts in which each kind exists."""

POSITIONS = "transformer_blocks.0.positions"
"""Our word for the table of positions, which no file of ours holds: it is always recomputed."""

TRAINERS_WRAPPERS = ("state_dict.", "module.", "model.unet.", "pipe.unet.")
"""What programs put before every name: trainers' dictionaries, DistributedDataParallel."""
_WRAPPERS = (*TRAINERS_WRAPPERS, "base_model.model.", "unet.")
"""The same with PEFT's and diffusers', which say whose names follow."""

_LINEAR = ("weight", "bias")
_BLOCK = "transformer_blocks.0"


def _attention(index: int) -> dict[str, tuple[str, ...]]:
    path = f"{_BLOCK}.attention_blocks.{index}"
    queries = {f"{path}.to_{letter}": ("weight",) for letter in "qkv"}
    return {**queries, f"{path}.to_out.0": _LINEAR, f"{_BLOCK}.norms.{index}": _LINEAR}


MOTION_LAYERS: Mapping[str, tuple[str, ...]] = {
    "norm": _LINEAR,
    "proj_in": _LINEAR,
    **_attention(0),
    **_attention(1),
    f"{_BLOCK}.ff.net.0.proj": _LINEAR,
    f"{_BLOCK}.ff.net.2": _LINEAR,
    f"{_BLOCK}.ff_norm": _LINEAR,
    "proj_out": _LINEAR,
}
"""The layers of one motion module and their parameters, in our names: 26 tensors."""

MOTION_PARAMETERS: tuple[str, ...] = tuple(
    f"{layer}.{parameter}"
    for layer, parameters in MOTION_LAYERS.items()
    for parameter in parameters
)

_DIFFUSERS_WORDS: Mapping[str, str] = {
    f"{_BLOCK}.norms.0": f"{_BLOCK}.norm1",
    f"{_BLOCK}.norms.1": f"{_BLOCK}.norm2",
    f"{_BLOCK}.ff_norm": f"{_BLOCK}.norm3",
    f"{_BLOCK}.attention_blocks.0": f"{_BLOCK}.attn1",
    f"{_BLOCK}.attention_blocks.1": f"{_BLOCK}.attn2",
}
"""Layers that diffusers' MotionAdapter calls otherwise; the rest keep the authors' names."""


def _in_diffusers(layer: str) -> str:
    for ours, theirs in _DIFFUSERS_WORDS.items():
        if layer == ours or layer.startswith(f"{ours}."):
            return theirs + layer.removeprefix(ours)
    return layer


@dataclass(frozen=True)
class MotionLayout:
    """One project's names of a motion module's tensors.

    Attributes:
        container: the list of modules in a block of the U-Net.
        inner: the path between a module's number and its layers.
        layers: its names of layers, where they differ from ours.
        positions: its names of the positional encodings.
    """

    container: str
    inner: str
    layers: Mapping[str, str]
    positions: tuple[str, ...]

    @property
    def mark(self) -> str:
        """A name, with ``#`` for a number, that is in every file of this layout and in no other."""
        return f"{self.container}.#.{self.inner or f'{_BLOCK}.'}".replace(".0.", ".#.")

    def __call__(self, site: str, parameter: str) -> str:
        """Return the name of one of our parameters."""
        return f"{_block_of(site, container=self.container)}.{self.inner}{self.of(parameter)}"

    def of(self, parameter: str) -> str:
        """The part of the name below the module."""
        layer, _, leaf = parameter.rpartition(".")
        return f"{self.layers.get(layer, layer)}.{leaf}"


_SAME_POSITIONS = tuple(f"{_BLOCK}.attention_blocks.{k}.pos_encoder.pe" for k in (0, 1))

MOTION_LAYOUTS: Mapping[Layout, MotionLayout] = {
    "authors": MotionLayout("motion_modules", "temporal_transformer.", {}, _SAME_POSITIONS),
    "diffusers": MotionLayout(
        "motion_modules",
        "",
        {layer: _in_diffusers(layer) for layer in MOTION_LAYERS},
        (f"{_BLOCK}.pos_embed.pe",),
    ),
    "hotshot": MotionLayout(
        "temporal_attentions",
        "",
        {},
        tuple(f"{_BLOCK}.attention_blocks.{k}.pos_encoder.positional_encoding" for k in (0, 1)),
    ),
}
"""The foreign layouts of motion modules; ours is ``{site}.{parameter}`` without positions."""

_PLACE = re.compile(
    r"(?:(?P<side>down|up)_blocks\.(?P<block>\d{1,3})|mid_block)"
    r"\.(?P<container>motion_modules|temporal_attentions)\.(?P<layer>\d{1,3})"
    r"\.(?P<inner>temporal_transformer\.)?(?P<rest>.+)"
)
_OUR_PLACE = re.compile(r"(?P<site>(?:down|up)_\d{1,3}_\d{1,3}|mid_0)\.(?P<rest>.+)")


@dataclass(frozen=True)
class MotionName:
    """The meaning of one name in a motion module's file.

    Attributes:
        layout: the layout; the authors' where several use the same name.
        site: the place in the U-Net.
        parameter: our name of the parameter, or ``POSITIONS``.
    """

    layout: Layout
    site: str
    parameter: str

    @property
    def ours(self) -> str:
        """Our name."""
        return f"{self.site}.{self.parameter}"


def _foreign_parameters(layout: MotionLayout) -> dict[str, str]:
    names = {layout.of(parameter): parameter for parameter in MOTION_PARAMETERS}
    return names | dict.fromkeys(layout.positions, POSITIONS)


_PARAMETERS: Mapping[tuple[str, str], tuple[Layout, Mapping[str, str]]] = {
    (layout.container, layout.inner): (name, _foreign_parameters(layout))
    for name, layout in MOTION_LAYOUTS.items()
}


def unwrapped(name: str) -> str:
    """Remove the prefixes that trainers and wrappers add."""
    stripped = True
    while stripped:
        stripped = False
        for prefix in _WRAPPERS:
            if name.startswith(prefix):
                name, stripped = name.removeprefix(prefix), True
    return name


def is_motion(name: str) -> bool:
    """Whether a name belongs to a motion module, known or not."""
    name = unwrapped(name)
    return any(f".{layout.container}." in name for layout in MOTION_LAYOUTS.values()) or bool(
        _OUR_PLACE.fullmatch(name)
    )


def motion_name(name: str) -> MotionName | None:
    """Return the meaning of a motion module's tensor name in any layout; ``None`` for other names."""
    name = unwrapped(name)
    own = _OUR_PLACE.fullmatch(name)
    if own is not None:
        known = own["rest"] in MOTION_PARAMETERS
        return MotionName("ours", own["site"], own["rest"]) if known else None
    place = _PLACE.fullmatch(name)
    if place is None:
        return None
    layout, parameters = _PARAMETERS.get(
        (place["container"], place["inner"] or ""), ("authors", {})
    )
    parameter = parameters.get(place["rest"])
    return None if parameter is None else MotionName(layout, _site_of(place), parameter)


def motion_names(name: str, *, layout: Layout, positions: bool = False) -> tuple[str, ...]:
    """Return our name in another layout; with ``positions``, also the site's positional encodings.

    They are returned once for each site, with its first parameter.

    Raises:
        InputError: there is no such layout.
    """
    if layout == "ours":
        return (name,)
    if layout not in MOTION_LAYOUTS:
        raise InputError(
            f"Motion modules have no {layout} layout; choose {', '.join(WRITABLE['motion'])}."
        )
    site, _, parameter = name.partition(".")
    theirs = MOTION_LAYOUTS[layout]
    names = [theirs(site, parameter)]
    if positions and parameter == MOTION_PARAMETERS[0]:
        block = _block_of(site, container=theirs.container)
        names += [f"{block}.{theirs.inner}{table}" for table in theirs.positions]
    return tuple(names)


def _site_of(place: re.Match[str]) -> str:
    if place["side"] is None:
        return f"mid_{int(place['layer'])}"
    return f"{place['side']}_{int(place['block'])}_{int(place['layer'])}"


def _block_of(site: str, *, container: str) -> str:
    side, *numbers = site.split("_")
    if side == "mid":
        return f"mid_block.{container}.{numbers[0]}"
    return f"{side}_blocks.{numbers[0]}.{container}.{numbers[1]}"
