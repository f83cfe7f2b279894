"""Identify a file by its names and shapes: the first rule that fits, then details."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from animatediff.weights.inspection.control import control, t2i_adapter
from animatediff.weights.inspection.evidence import Evidence
from animatediff.weights.inspection.image_models import (
    autoencoder,
    embedding,
    image_model,
    learned_words,
    text_encoder,
    tiny_autoencoder,
    with_text_width,
)
from animatediff.weights.inspection.loras import image_lora, motion_lora
from animatediff.weights.inspection.motion import blocks_of_base, motion_module
from animatediff.weights.inspection.name_rules import RULES, Rule
from animatediff.weights.inspection.result import Inspection
from animatediff.weights.storage.files import Header, is_pickle, read_header
from animatediff.weights.storage.legacy import read_legacy_header

_UNLEARNED = (
    *(".pe", ".positional_encoding", "position_ids", ".alpha", ".on_input"),
    *("model_ema.decay", "model_ema.num_updates"),
)
"""Ends of the names of numbers that nobody learned."""
_SCHEDULE = re.compile(r"(posterior_|log_|sqrt_)?\w*(alphas|betas|posterior)\w*|betas")


def inspect_file(path: Path) -> Inspection:
    """Identify a safetensors file or a pickle.

    Raises:
        FileError: it is missing, broken, or not a weight file.
    """
    found = inspect_header(read_any_header(path))
    return replace(found, container="pickle") if is_pickle(path) else found


def read_any_header(path: Path) -> Header:
    """Read the header of a safetensors file, or of a pickle in the confined process.

    Raises:
        FileError: it is missing, broken, or not a weight file.
    """
    return read_legacy_header(path) if is_pickle(path) else read_header(path)


def inspect_header(header: Header, *, configured_rows: int | None = None) -> Inspection:
    """Identify a file from its header.

    Args:
        header: of the file.
        configured_rows: number of positions in the configuration beside a motion module.
    """
    evidence = Evidence(header.shapes)
    rule = next((rule for rule in RULES if evidence.fits(rule.needs, rule.lacks)), None)
    found = _described(rule, evidence, header.metadata, configured_rows=configured_rows)
    foreign = [] if found.kind != "unknown" else ["none of the names in it is known"]
    return replace(
        found,
        path=header.path,
        reasons=(*found.reasons, *foreign),
        parameters=sum(
            math.prod(shape) for name, shape in evidence.shapes.items() if _is_learned(name)
        ),
        dtypes=dict(Counter(header.dtypes.values())),
        num_tensors=len(header.shapes),
        num_bytes=header.path.stat().st_size if header.path.is_file() else 0,
    )


def _described(
    rule: Rule | None,
    evidence: Evidence,
    metadata: Mapping[str, str],
    *,
    configured_rows: int | None,
) -> Inspection:
    nowhere = Path()
    if rule is None:
        words = learned_words(evidence)
        if words is not None:
            return replace(words, path=nowhere)
        return Inspection(path=nowhere, container="safetensors", kind="unknown")
    found = Inspection(
        path=nowhere,
        container="safetensors",
        kind=rule.kind,
        family=rule.family,
        version=rule.version,
        layout=rule.layout,
        reasons=(rule.because,),
    )
    match rule.kind:
        case "motion":
            return motion_module(found, evidence, metadata, configured_rows=configured_rows)
        case "motion-lora":
            return motion_lora(found, evidence, metadata)
        case "lora":
            return image_lora(found, evidence, metadata)
        case "checkpoint" | "unet":
            return image_model(found, evidence)
        case "sparse-control" | "controlnet":
            return control(found, evidence)
        case "t2i-adapter":
            return t2i_adapter(found, evidence)
        case "vae":
            return autoencoder(found, evidence)
        case "tiny-autoencoder":
            return tiny_autoencoder(found, evidence)
        case "text-encoder":
            return text_encoder(found, evidence)
        case "embedding":
            return embedding(found, evidence, metadata)
        case "camera":
            base, reasons = blocks_of_base(evidence)
            return replace(found, base=base, reasons=(*found.reasons, *reasons))
        case "object-motion":
            return replace(found, base="sd15")
        case "ip-adapter":
            return with_text_width(found, evidence.shape("to_k_ip.weight", least=2))
        case _:
            return found


def _is_learned(name: str) -> bool:
    return not (name.endswith(_UNLEARNED) or ("." not in name and _SCHEDULE.fullmatch(name)))
