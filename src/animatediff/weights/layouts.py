"""The names of weights in every layout that files come in, as tables.

Foreign names live here and nowhere else. A name is first understood, as what it is and which of our
own names it stands for, and then written in any layout; what is not understood is never guessed.
Nothing here looks at numbers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
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

Factor = Literal["down", "up", "alpha"]
"""A part of a low-rank branch: A, B, and the numerator of what their product is multiplied by."""

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
    """How one project names the tensors of a motion module.

    Attributes:
        container: the list of modules in a block of the U-Net.
        inner: what lies between a module's number and its layers.
        layers: its names of our layers, where they differ.
        positions: its tables of positions.
    """

    container: str
    inner: str
    layers: Mapping[str, str]
    positions: tuple[str, ...]

    @property
    def mark(self) -> str:
        """What is in every file of it, with ``#`` for a number, and in none of another layout."""
        return f"{self.container}.#.{self.inner or f'{_BLOCK}.'}".replace(".0.", ".#.")

    def __call__(self, site: str, parameter: str) -> str:
        """The name of one of our parameters."""
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
    """What a name in a file of motion modules stands for.

    Attributes:
        layout: whose name it is; the authors' where several agree.
        site: where in the U-Net.
        parameter: of the module there, in our words, or ``POSITIONS``.
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
    """A name without what trainers and wrappers put before it."""
    stripped = True
    while stripped:
        stripped = False
        for prefix in _WRAPPERS:
            if name.startswith(prefix):
                name, stripped = name.removeprefix(prefix), True
    return name


def is_motion(name: str) -> bool:
    """Whether a name lies in a motion module, known or not."""
    name = unwrapped(name)
    return any(f".{layout.container}." in name for layout in MOTION_LAYOUTS.values()) or bool(
        _OUR_PLACE.fullmatch(name)
    )


def motion_name(name: str) -> MotionName | None:
    """What a tensor of a motion module is, in whichever layout; nothing for any other name."""
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
    """Our name in another layout; with ``positions``, also the tables that go with its site.

    The tables are named once for each site, along with its first parameter.

    Raises:
        InputError: motion modules have no such layout.
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


FACTOR_ENDINGS: Mapping[Factor, tuple[str, ...]] = {
    "down": (
        *(".lora_down.weight", ".lora_A.default.weight", ".lora_A.weight"),
        *(".lora_linear_layer.down.weight", ".lora.down.weight", "_lora.down.weight"),
        ".down.weight",
    ),
    "up": (
        *(".lora_up.weight", ".lora_B.default.weight", ".lora_B.weight"),
        *(".lora_linear_layer.up.weight", ".lora.up.weight", "_lora.up.weight"),
        ".up.weight",
    ),
    "alpha": (".alpha",),
}
"""How the parts of a branch are marked: kohya's, PEFT's, diffusers' (older and newer), the authors'
and our own; the shorter endings last, for they are the ends of others."""
_FACTORS: Mapping[str, Factor] = {
    ending: factor for factor, endings in FACTOR_ENDINGS.items() for ending in endings
}

_KOHYA_PREFIX = "lora_unet_"
_WORDS = (
    "down_blocks|up_blocks|mid_block|motion_modules|temporal_attentions|temporal_transformer|"
    "transformer_blocks|attention_blocks|attentions|to_q|to_k|to_v|to_out|proj_in|proj_out|"
    r"attn1|attn2|ff|net|proj|\d+"
)
"""Of the paths whose dots kohya writes as underscores, so that these can be told apart again."""

_SPATIAL = re.compile(
    r"(?:(?:down|up)_blocks\.\d{1,3}|mid_block)\.attentions\.\d{1,3}"
    r"\.transformer_blocks\.\d{1,3}\.attn[12]\.(?:to_q|to_k|to_v|to_out\.0)"
)
_LINEAR_LAYERS = tuple(layer for layer in MOTION_LAYERS if "norm" not in layer)
"""The layers of a motion module that can carry a branch: attention, and in MotionDirector's files
also the feed-forward layers."""


@dataclass(frozen=True)
class LowRankName:
    """What a name in a file of low-rank branches stands for.

    Attributes:
        kind: ``adapter`` or ``motion-lora``.
        layout: whose name it is.
        host: the layer, by its path in the U-Net or in ``AnimatedUNet.motion``.
        factor: which part of the branch.
    """

    kind: Kind
    layout: Layout
    host: str
    factor: Factor

    @property
    def ours(self) -> str:
        """Our name."""
        return our_factor(self.host, self.factor)


def our_factor(host: str, factor: Factor) -> str:
    """Our name of a part of the branch on ``host``."""
    return f"{host}.{factor}" if factor == "alpha" else f"{host}.{factor}.weight"


def host_and_factor(ours: str) -> tuple[str, Factor]:
    """The layer, and the part of its branch, that one of our names stands for."""
    found = _factor_of(ours)
    assert found is not None, ours
    return found[0], found[2]


def low_rank_name(name: str) -> LowRankName | None:
    """What a tensor of a domain adapter or a MotionLoRA is; nothing for any other name."""
    found = _factor_of(name)
    if found is None:
        return None
    path, marker, factor = found
    layout = _low_rank_layout(name, path=path, marker=marker)
    path = unwrapped(path)
    if "." not in path:
        path = _with_dots(path.removeprefix(_KOHYA_PREFIX))
    path = path.replace(".processor.", ".")
    if path.endswith(".to_out"):
        path = f"{path}.0"
    if _SPATIAL.fullmatch(path):
        return LowRankName("adapter", layout, path, factor)
    motion = motion_name(f"{path}.weight")
    if motion is None:
        return None
    host = motion.ours.removesuffix(".weight")
    if host.partition(".")[2] not in _LINEAR_LAYERS:
        return None
    if motion.layout == "diffusers" and layout == "authors":
        layout = "diffusers"
    return LowRankName("motion-lora", layout, host, factor)


def low_rank_in(layout: Layout, *, kind: Kind, host: str, factor: Factor) -> str:
    """The name of a part of a branch in another layout.

    Raises:
        InputError: this kind has no such layout, or the layout no such part.
    """
    if layout not in WRITABLE[kind]:
        raise InputError(
            f"{KINDS[kind].capitalize()} has no {layout} layout; "
            f"choose {', '.join(WRITABLE[kind])}."
        )
    if layout == "ours":
        return our_factor(host, factor)
    path = _foreign_host(
        host, kind=kind, layout="diffusers" if layout == "diffusers" else "authors"
    )
    if layout == "kohya":
        tail = "alpha" if factor == "alpha" else f"lora_{factor}.weight"
        return f"{_KOHYA_PREFIX}{path.replace('.', '_')}.{tail}"
    if factor == "alpha":
        raise InputError(f"The {layout} layout has no alpha; it belongs into the numbers.")
    parent, _, leaf = path.removesuffix(".0" if path.endswith(".to_out.0") else "").rpartition(".")
    prefix = "unet." if layout == "diffusers" else ""
    return f"{prefix}{parent}.processor.{leaf}_lora.{factor}.weight"


def _foreign_host(host: str, *, kind: Kind, layout: Layout) -> str:
    if kind == "adapter":
        return host
    site, _, layer = host.partition(".")
    return MOTION_LAYOUTS[layout](site, f"{layer}.weight").removesuffix(".weight")


def _factor_of(name: str) -> tuple[str, str, Factor] | None:
    for marker, factor in _FACTORS.items():
        if name.endswith(marker):
            return name.removesuffix(marker), marker, factor
    return None


def _low_rank_layout(name: str, *, path: str, marker: str) -> Layout:
    if "." not in unwrapped(path) and "_" in path:
        return "kohya"
    if name.startswith(("unet.", "base_model.")) or marker.startswith((".lora_A", ".lora_B")):
        return "diffusers"
    if marker.startswith((".lora.", ".lora_linear_layer.")):
        return "diffusers"
    if marker in (".down.weight", ".up.weight", ".alpha"):
        return "ours"
    return "kohya" if marker.startswith(".lora_") else "authors"


def _with_dots(path: str) -> str:
    """A path of kohya's with its dots back, or as it was if it has words that are not known."""
    words = re.findall(_WORDS, path)
    return ".".join(words) if "_".join(words) == path else path


@dataclass(frozen=True)
class Recognised:
    """The names of a whole file, understood.

    Attributes:
        kind: what the file holds.
        layout: whose names they are.
        names: our name for every name in the file that counts.
        positions: the file's tables of positions, by their names there, with their site.
        others: names of something else in the same file, such as the image model's.
    """

    kind: Kind
    layout: Layout
    names: Mapping[str, str]
    positions: Mapping[str, str]
    others: tuple[str, ...]


def recognise(names: Iterable[str], *, kind: Kind) -> Recognised | None:
    """Understand the names of a file whose kind is known; nothing if there is none of that kind.

    What a file is, ``inspect.py`` says; here it is read as that.
    """
    names = tuple(names)
    if kind == "motion":
        motion = {name: found for name in names if (found := motion_name(name)) is not None}
        if not motion:
            return None
        return Recognised(
            kind="motion",
            layout=next(iter(motion.values())).layout,
            names={
                name: found.ours for name, found in motion.items() if found.parameter != POSITIONS
            },
            positions={
                name: found.site for name, found in motion.items() if found.parameter == POSITIONS
            },
            others=tuple(name for name in names if name not in motion),
        )
    low_rank = {
        name: found
        for name in names
        if (found := low_rank_name(name)) is not None and found.kind == kind
    }
    if not low_rank:
        return None
    return Recognised(
        kind=kind,
        layout=next(iter(low_rank.values())).layout,
        names={name: found.ours for name, found in low_rank.items()},
        positions={},
        others=tuple(name for name in names if name not in low_rank),
    )


def _site_of(place: re.Match[str]) -> str:
    if place["side"] is None:
        return f"mid_{int(place['layer'])}"
    return f"{place['side']}_{int(place['block'])}_{int(place['layer'])}"


def _block_of(site: str, *, container: str) -> str:
    side, *numbers = site.split("_")
    if side == "mid":
        return f"mid_block.{container}.{numbers[0]}"
    return f"{side}_blocks.{numbers[0]}.{container}.{numbers[1]}"
