"""Identify a control network: its image model and its hints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from animatediff.weights.inspection.evidence import Evidence
from animatediff.weights.inspection.image_models import with_text_width
from animatediff.weights.inspection.result import Inspection

REFUSED: Mapping[str, str] = {
    "lllite": "a ControlNet-LLLite, which changes attention layers instead of adding residuals",
    "ctrlora": "a CtrLoRA, which only works on a base ControlNet of its own",
    "svd": "a ControlNet for Stable Video Diffusion",
}
"""Versions that share names with ControlNets and that the image models here cannot use."""
PROMAX_TYPES = 8
_OF_MOVEMENT = 128
"""Channels of MotionCtrl's object module: movement to the right and down, of squares of 8 x 8."""
_UNSHUFFLED = {64: 8, 192: 8, 256: 16, 768: 16}
"""Channels that an adapter reads, and the pixels of a side that one position stands for."""


def control(found: Inspection, evidence: Evidence) -> Inspection:
    """Identify the image model and the hints of a ControlNet or SparseCtrl."""
    if found.version in REFUSED:
        return found
    found = with_text_width(found, _text(evidence))
    if found.kind == "sparse-control":
        return _sparse(found, evidence)
    if found.version == "union":
        types = evidence.shape("task_embedding")
        count = types[0] if types else 0
        reasons = (*found.reasons, f"it knows {count} types of hints")
        version = "union-promax" if count == PROMAX_TYPES else "union"
        return replace(found, version=version, reasons=reasons)
    return found


def _text(evidence: Evidence) -> tuple[int, ...] | None:
    """Return the shape of a matrix that reads text, or of its low-rank factor in a ControlLoRA."""
    whole = evidence.shape("attn2.to_k.weight", least=2)
    return whole or evidence.shape("attn2.to_k.down", least=2)


def _sparse(found: Inspection, evidence: Evidence) -> Inspection:
    scribble = evidence.has("^controlnet_cond_embedding.conv_in.weight$")
    version = "scribble" if scribble else "rgb"
    embeds = "a stack of convolutions" if scribble else "one convolution"
    published = _text(evidence) is not None  # the built-in network has no attention to text
    return replace(
        found,
        family="v3" if published else "",
        base="sd15" if published else "",
        version=version,
        reasons=(*found.reasons, f"its conditions pass through {embeds}, as in the {version} file"),
    )


def t2i_adapter(found: Inspection, evidence: Evidence) -> Inspection:
    """Identify a T2I-Adapter, full or light, and its image model; or MotionCtrl's object module."""
    light = evidence.has("body.#.out_conv.weight$")
    first = evidence.shape("body.0.in_conv.weight" if light else "conv_in.weight", least=4)
    channels = first[1] if first else 0
    if channels == _OF_MOVEMENT and not light:
        because = (
            "its first convolution reads movement (128 channels), as MotionCtrl's object module"
        )
        return replace(found, kind="object-motion", base="sd15", reasons=(because,))
    pixels = _UNSHUFFLED.get(channels, 0)
    base = {8: "sd15", 16: "sdxl"}.get(pixels, "")
    version = "light" if light else "full"
    colours = "grey" if channels == pixels**2 else "colour"
    read = [f"it reads pictures of {colours} in squares of {pixels} x {pixels}"] if pixels else []
    return replace(found, family=base, base=base, version=version, reasons=(*found.reasons, *read))
