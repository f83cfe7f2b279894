"""Identify low-rank files: MotionLoRAs, image LoRAs of every type, and domain adapters."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import replace

from animatediff.weights.families import FAMILIES
from animatediff.weights.inspection.evidence import Evidence
from animatediff.weights.inspection.kinds import BASE_OF_WIDTH, BASE_TITLES, Kind
from animatediff.weights.inspection.motion import MIDDLES, blocks_of_base
from animatediff.weights.inspection.name_rules import FLAVOURS, NAMINGS, Trait
from animatediff.weights.inspection.result import Inspection
from animatediff.weights.names.lora import read_names
from animatediff.weights.names.low_rank import FACTOR_ENDINGS
from animatediff.weights.names.recognise import recognise

_DOWN = FACTOR_ENDINGS["down"]
_SAID: Mapping[str, Kind] = {"domain-adapter": "adapter", "adapter": "adapter", "lora": "lora"}
"""What metadata of this package's own files call them: training and conversion."""


def motion_lora(found: Inspection, evidence: Evidence, metadata: Mapping[str, str]) -> Inspection:
    """Identify the motion modules of a MotionLoRA."""
    naming = _first(NAMINGS, evidence)
    base, _ = blocks_of_base(evidence)
    mid = evidence.has(*MIDDLES)
    everywhere = evidence.has(".ff.net.#.processor.", ".ff.net.#.proj.processor.")
    if base == "sd15":
        family, also = ("v2", ()) if mid else ("v3", ("v1",))
    else:
        family, also = {"sdxl": ("sdxl-beta", ("hotshot-xl",))}.get(base, ("", ()))
    layout = "ours" if evidence.has("^down_#_#.", "^up_#_#.") else naming.name if naming else ""
    own = metadata.get("family", "")
    if layout == "ours" and own in FAMILIES:
        family, base, also = own, FAMILIES[own].base, ()
    middle = "with" if mid else "without"
    readable = recognise(evidence.shapes, kind="motion-lora") is not None
    return replace(
        found,
        refusal="" if readable else "it has other changes than low-rank pairs",
        family=family,
        version="motiondirector" if everywhere else "",
        layout=layout,
        base=base,
        reasons=(
            *found.reasons,
            f"it is for modules {middle} one in the middle",
            *([naming.because] if naming and layout != "ours" else []),
            *(["it changes the feed-forward layers too"] if everywhere else []),
        ),
        also=also,
        ranks=evidence.sizes(0, *_DOWN),
    )


def image_lora(found: Inspection, evidence: Evidence, metadata: Mapping[str, str]) -> Inspection:
    """Identify the type and image model of an image LoRA, or a domain adapter."""
    names = read_names(evidence.shapes)
    if not names.usable:
        because = f"its changes are of no supported flavour, such as {names.unread[0]:.100}"
        return replace(found, kind="unknown", reasons=(*found.reasons, because))
    if len(names.adapters) > 1:
        several = f"it holds {len(names.adapters)} adapters; save each in a file of its own"
        found = replace(found, refusal=several)
    flavour, naming = _first(FLAVOURS, evidence), _first(NAMINGS, evidence)
    base, why = _lora_base(evidence)
    ranks = evidence.sizes(0, *_DOWN, ".hada_w1_b", ".lokr_w2_b", ".lokr_w1_b")
    layout = naming.name if naming else ""
    traits = [trait.because for trait in (flavour, naming) if trait]
    found = replace(
        found,
        family=base,
        version=flavour.name if flavour else "",
        layout=layout,
        base=base,
        reasons=(*found.reasons, *traits, *why),
        ranks=ranks,
        warnings=() if base else ("which image model it is for cannot be told",),
    )
    if flavour and flavour.name == "lora" and _is_on_attentions_alone(evidence):
        return _maybe_adapter(found, evidence, metadata)
    return found


def _maybe_adapter(
    found: Inspection, evidence: Evidence, metadata: Mapping[str, str]
) -> Inspection:
    """Identify a domain adapter: a LoRA on every attention, distinguished by rank and names."""
    said = metadata.get("kind", "")
    if found.layout == "ours" and said in _SAID:
        because = f"its metadata say {said}"
        if metadata.get("family") in FAMILIES:
            base = FAMILIES[metadata["family"]].base
            found = replace(found, family=metadata["family"], base=base)
        return replace(found, kind=_SAID[said], reasons=(*found.reasons, because))
    hosts = sum(name.endswith(_DOWN) for name in evidence.shapes)
    published = hosts == 128 and found.ranks == (128,) and found.base in ("sd15", "own")
    if not published:
        return replace(found, alternatives=("adapter",))
    layout = "authors" if found.layout in ("authors", "ours") else found.layout
    sure = found.layout == "authors"
    return replace(
        found,
        kind="adapter",
        family="v3",
        version="",
        layout="ours" if found.layout == "ours" else layout,
        reasons=(
            *found.reasons,
            "it is on all 128 projections of the attentions with rank 128, as the published adapter",
        ),
        alternatives=() if sure else ("lora",),
    )


def _is_on_attentions_alone(evidence: Evidence) -> bool:
    """Whether all branches are on q, k, v and output projections of the U-Net's attentions."""
    return not evidence.has(
        *("_ff_net_#", ".ff.net.#", "_proj_in.", ".proj_in.", "^lora_te", "^text_encoder", "_te_"),
        *("_mlp_fc#", "_resnets_", ".resnets.", "_conv", "self_attn"),
    ) and evidence.has("attn#.processor.", "attn#.to_q.", "attn#_to_q.")


def _lora_base(evidence: Evidence) -> tuple[str, list[str]]:
    """Return the image model that a LoRA's text width, blocks or encoders match."""
    for name, shape in evidence.shapes.items():
        width = _read_width(name, shape, evidence.shapes)
        if width is not None and width in BASE_OF_WIDTH and width != 1280:
            base = BASE_OF_WIDTH[width]
            return base, [f"its cross-attention reads text {width} wide, as {BASE_TITLES[base]}"]
    if evidence.has("^lora_te#_", "^text_encoder_#.", "^lora_unet_input_blocks_#_"):
        return "sdxl", ["it has SDXL's text encoders or blocks"]
    if (evidence.largest(r"transformer_blocks[._]([0-9]{1,4})[._]") or 0) > 0:
        return "sdxl", ["it has several transformer blocks at a place, as SDXL"]
    if (
        "_down_blocks_0_attentions_" in evidence.names
        or "down_blocks.0.attentions" in evidence.names
    ):
        return "sd15", ["its first block has attention, as Stable Diffusion 1.5"]
    return "", []


def _read_width(
    name: str, shape: tuple[int, ...], shapes: Mapping[str, tuple[int, ...]]
) -> int | None:
    """Return the text width of a branch on cross-attention."""
    if "attn2" not in name or not re.search(r"to_[kv][._]", name) or len(shape) < 2:
        return None
    if name.endswith((*_DOWN, ".hada_w1_b", ".hada_w2_b", ".diff")):
        return shape[1]
    if ".oft_R." in name and name.endswith(".weight") and shape[0] > 1:
        return shape[0] * (1 + math.isqrt(1 + 8 * shape[1])) // 2  # blocks, and the inputs of each
    if name.endswith((".lokr_w2", ".lokr_w2_b")):
        stem = name.rpartition(".")[0]
        other = shapes.get(f"{stem}.lokr_w1", shapes.get(f"{stem}.lokr_w1_b", ()))
        # A Kronecker product is as wide as both of its factors together.
        return other[1] * shape[1] if len(other) == 2 else None
    return None


def _first(traits: tuple[Trait, ...], evidence: Evidence) -> Trait | None:
    return next((trait for trait in traits if evidence.has(*trait.any_of)), None)
