"""Identify image models, their parts and embeddings by widths, blocks and channels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from animatediff.weights.families import FAMILIES
from animatediff.weights.inspection.evidence import Evidence
from animatediff.weights.inspection.kinds import BASE_OF_WIDTH, BASE_TITLES
from animatediff.weights.inspection.result import Inspection

_MOST_TOKENS = 256


def image_model(found: Inspection, evidence: Evidence) -> Inspection:
    """Identify the generation of an image model or U-Net, and missing parts."""
    ldm = found.layout == "ldm"
    key = evidence.shape("attn2.to_k.weight", least=2)
    first = "input_blocks.0.0.weight" if ldm else "conv_in.weight"
    reads = evidence.shape(first, least=4) or (0, 4)
    pattern = r"input_blocks\.([0-9]{1,4})\." if ldm else r"down_blocks\.([0-9]{1,4})\."
    last = evidence.largest(pattern)
    full = last == (11 if ldm else 3)
    short = last == (8 if ldm else 2)
    several = (evidence.largest(r"transformer_blocks\.([0-9]{1,4})\.") or 0) > 0
    flat = (
        len(evidence.shape("attentions.0.proj_in.weight", "1.proj_in.weight", least=2) or ()) == 2
    )
    if evidence.has("^conditioner.embedders.#.model.") and not evidence.has(
        "^conditioner.embedders.#.transformer."
    ):
        return replace(
            found,
            family="sdxl-refiner",
            reasons=(*found.reasons, "it is SDXL's refiner"),
            refusal="it cannot draw alone; use the base model",
        )
    if short and (several or evidence.has("label_emb.#.#.weight$", "^add_embedding.")):
        base, because = "sdxl", "it has SDXL's three blocks and conditions on sizes"
    elif full and flat:
        base, because = "sd2", "its projections are matrices, as in Stable Diffusion 2"
    elif full:
        base, because = "sd15", "its projections are convolutions, as in Stable Diffusion 1.5"
    else:
        base, because = "own", "it has another number of blocks than the published models"
    width = key[1] if key else None
    read = [f"its cross-attention reads text {width} wide"] if width else []
    warnings = [*_odd_width(base, width), *_predicts(evidence)]
    version = {9: "inpainting", 8: "instruct-pix2pix", 5: "depth"}.get(reads[1], "")
    if version:
        read.append(f"its first convolution reads {reads[1]} channels, as {version} models")
    refusal = (
        f"it takes {reads[1]} channels, as models for inpainting or editing do; a model that draws "
        "from text takes 4"
        if version
        else ""
    )
    if found.kind == "checkpoint":
        lacking = [
            what
            for what, names in (
                ("autoencoder", ("^first_stage_model.",)),
                ("text encoder", ("^cond_stage_model.", "^conditioner.")),
            )
            if not evidence.has(*names)
        ]
        warnings += [f"it has no {what} of its own" for what in lacking]
        if "text encoder" in lacking:
            refusal = refusal or "it has no text encoder, so it cannot read a prompt"
    return replace(
        found,
        family=base,
        base=base,
        version=version,
        reasons=(*found.reasons, because, *read),
        warnings=tuple(warnings),
        refusal=refusal,
    )


def _odd_width(base: str, width: int | None) -> list[str]:
    expected = {"sd15": 768, "sd2": 1024, "sdxl": 2048}.get(base)
    if width is None or expected in (None, width):
        return []
    return [f"it reads text {width} wide where {BASE_TITLES[base]} reads {expected}"]


def _predicts(evidence: Evidence) -> list[str]:
    """Return warnings about marker tensors: velocity prediction, or other scaling of latents."""
    if evidence.has("^v_pred$"):
        return ["it says that it predicts velocity (v_pred), not noise"]
    if evidence.has("^edm_mean$"):
        return ["it has Playground's scaling of latents (edm_mean)"]
    return []


def with_text_width(found: Inspection, key: tuple[int, ...] | None) -> Inspection:
    """Add the image model whose text has this width."""
    width = key[1] if key else None
    base = BASE_OF_WIDTH.get(width, "own") if width else ""
    read = [f"its cross-attention reads text {width} wide"] if width else []
    return replace(found, family=base, base=base, reasons=(*found.reasons, *read))


def autoencoder(found: Inspection, evidence: Evidence) -> Inspection:
    """Identify an autoencoder by its latents."""
    shape = evidence.shape("decoder.conv_in.weight", least=4)
    latents = shape[1] if shape else None
    if latents not in (None, 4):
        reason = f"its latents have {latents} channels, where Stable Diffusion's have 4"
        return replace(found, family="", reasons=(*found.reasons, reason), warnings=(reason,))
    return replace(
        found,
        family="sd",
        also=("sdxl",),
        reasons=(*found.reasons, "its latents have 4 channels"),
        warnings=(
            "Stable Diffusion's and SDXL's autoencoders have the same names and shapes, but not "
            "the same latents",
        ),
    )


def tiny_autoencoder(found: Inspection, evidence: Evidence) -> Inspection:
    """Identify a tiny autoencoder, or which half of it a file has."""
    version = ""
    if found.layout == "author":
        # The decoder begins with a clamp, which has no weights.
        version = "encoder" if "0.weight" in evidence.shapes else "decoder"
    return replace(
        found,
        family="sd",
        also=("sdxl",),
        version=version,
        warnings=("TAESD and TAESDXL have the same names and shapes",),
    )


def text_encoder(found: Inspection, evidence: Evidence) -> Inspection:
    """Identify a text encoder by the image models that use it."""
    shape = evidence.shape("token_embedding.weight", least=2)
    width = shape[1] if shape else None
    family = BASE_OF_WIDTH.get(width, "own") if width else ""
    return replace(
        found,
        family=family,
        base=family,
        also=("sdxl",) if family == "sd15" else (),
        reasons=(*found.reasons, f"its states are {width} wide"),
    )


def embedding(found: Inspection, evidence: Evidence, metadata: Mapping[str, str]) -> Inspection:
    """Identify the image models of a textual inversion, by its width or our metadata."""
    if found.layout == "sdxl":
        return replace(found, family="sdxl", base="sdxl")
    shape = next(iter(evidence.shapes.values()))
    base = BASE_OF_WIDTH.get(shape[-1], "") if shape else ""
    reason = f"its vectors are {shape[-1]} wide" if shape else "its vectors have no width"
    found = replace(found, family=base, base=base, reasons=(*found.reasons, reason))
    own = metadata.get("family", "")
    if base or own not in FAMILIES:
        return found
    reasons = (*found.reasons, "its metadata name its family")
    return replace(found, family=own, base=FAMILIES[own].base, reasons=reasons)


def learned_words(evidence: Evidence) -> Inspection | None:
    """Identify diffusers' textual inversions, which have no standard name."""
    shapes = evidence.shapes
    fit = 0 < len(shapes) <= _MOST_TOKENS and all(
        1 <= len(shape) <= 2
        and shape[-1] in BASE_OF_WIDTH
        and (len(shape) == 1 or shape[0] <= _MOST_TOKENS)
        and not name.endswith((".weight", ".bias"))
        for name, shape in shapes.items()
    )
    if not fit:
        return None
    found = Inspection(
        path=Path(),
        container="safetensors",
        kind="embedding",
        layout="diffusers",
        reasons=("it holds nothing but vectors as wide as a text encoder's words",),
    )
    if len(shapes) > 1:
        several = f"it holds {len(shapes)} words; save each in a file of its own"
        return replace(embedding(found, evidence, {}), refusal=several)
    return embedding(found, evidence, {})
