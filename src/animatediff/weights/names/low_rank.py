"""Names of low-rank branches in every layout: which layer, and which part of its branch."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from animatediff.errors import InputError
from animatediff.weights.names.layouts import (
    KINDS,
    MOTION_LAYERS,
    MOTION_LAYOUTS,
    WRITABLE,
    Kind,
    Layout,
    motion_name,
    unwrapped,
)

Factor = Literal["down", "up", "alpha"]
"""A part of a low-rank branch: A, B, and the numerator of what their product is multiplied by."""

FACTOR_ENDINGS: Mapping[Factor, tuple[str, ...]] = {
    "down": (
        *(".lora_down.weight", ".lora_A.weight"),
        *(".lora_linear_layer.down.weight", ".lora.down.weight", "_lora.down.weight"),
        ".down.weight",
    ),
    "up": (
        *(".lora_up.weight", ".lora_B.weight"),
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

_ADAPTER = re.compile(
    r"(?P<piece>\.(?:lora_(?:[AB]|embedding_[AB]|magnitude_vector)|oft_R))"
    r"\.(?!weight$|scaled_oft$)(?P<adapter>[^.]+)"
    r"(?P<end>\.weight)?$"
)
"""The end of a name that PEFT has written for an adapter with a name, be it ``default``."""

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
    """The meaning of one name in a file of low-rank branches.

    Attributes:
        kind: ``adapter`` or ``motion-lora``.
        layout: the layout of the name.
        host: the layer, by its path in the U-Net or in ``AnimatedUNet.motion``.
        factor: the part of the branch.
    """

    kind: Kind
    layout: Layout
    host: str
    factor: Factor

    @property
    def ours(self) -> str:
        """Our name."""
        return our_factor(self.host, self.factor)


def without_adapter(name: str) -> str:
    """Remove the name of PEFT's adapter: ``lora_A.x.weight`` becomes ``lora_A.weight``."""
    if ".lora_" not in name and ".oft_R." not in name:
        return name
    return _ADAPTER.sub(lambda match: match["piece"] + (match["end"] or ""), name)


def adapter_in(name: str) -> str | None:
    """Return the name of PEFT's adapter within a tensor's name."""
    match = _ADAPTER.search(name)
    return match["adapter"] if match else None


def our_factor(host: str, factor: Factor) -> str:
    """Return our name of a part of the branch on ``host``."""
    return f"{host}.{factor}" if factor == "alpha" else f"{host}.{factor}.weight"


def host_and_factor(ours: str) -> tuple[str, Factor]:
    """Return the layer and the part of its branch that one of our names means."""
    found = _factor_of(ours)
    assert found is not None, ours
    return found[0], found[2]


def low_rank_name(name: str) -> LowRankName | None:
    """Return the meaning of a domain adapter's or MotionLoRA's name; ``None`` for others."""
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
    """Return the name of a part of a branch in another layout.

    Raises:
        InputError: this kind has no such layout, or the layout has no such part.
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
    name = without_adapter(name)
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
    """Restore the dots of kohya's path; unknown words leave it unchanged."""
    words = re.findall(_WORDS, path)
    return ".".join(words) if "_".join(words) == path else path
