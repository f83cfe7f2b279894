"""Identify the family and image model of motion modules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from animatediff.weights.families import FAMILIES
from animatediff.weights.inspection.evidence import Evidence
from animatediff.weights.inspection.kinds import BASE_TITLES
from animatediff.weights.inspection.motion_rules import MOTION_RULES, MotionRule
from animatediff.weights.inspection.result import Inspection

_BASE_OF_BLOCKS = {4: "sd15", 3: "sdxl"}
MIDDLES = (
    *("mid_block.motion_modules.", "mid_block.temporal_attentions.", "mid_block_motion_modules_"),
    "^mid_#_#.",
)


def motion_module(
    found: Inspection,
    evidence: Evidence,
    metadata: Mapping[str, str],
    *,
    configured_rows: int | None,
) -> Inspection:
    """Identify a motion module's family by its metadata or its tensors."""
    base, reasons = blocks_of_base(evidence)
    rows = position_rows(evidence)
    said: list[str] = []
    if rows is None and configured_rows is not None:
        rows, said = configured_rows, [f"its configuration says {configured_rows} positions"]
    mid = evidence.has(*MIDDLES)
    reads = evidence.shapes.get("conv_in.weight", (0, 0))
    whole = evidence.has("^down_blocks.#.resnets.#.conv#.weight$")
    own = metadata.get("family", "")
    family = FAMILIES.get(own)
    if family is not None or (own and found.layout == "ours"):
        warning = () if family else (f"its family {own!r:.60} is not known",)
        return replace(
            found,
            family=own if family else "",
            version=metadata.get("branch", "").removesuffix("transformer"),
            base=family.base if family else base,
            reasons=(*found.reasons, "its metadata name its family"),
            warnings=warning,
        )
    rule = next(
        (
            rule
            for rule in MOTION_RULES
            if _fits(rule, evidence, base=base, mid=mid, rows=rows, layout=found.layout)
            and rule.reads in (None, reads[1] if len(reads) > 1 else 0)
        ),
        None,
    )
    warnings = list(_motion_warnings(base=base, rows=rows))
    if rule is None:
        return replace(
            found,
            base=base,
            reasons=(*found.reasons, *reasons),
            warnings=(*warnings, "its family cannot be told; say which with --family"),
        )
    also = rule.also
    if whole:
        also = tuple(dict.fromkeys([*also, *(["v1"] if rule.family == "v3" else [])]))
        warnings.append(
            "it holds a whole U-Net, of which only the motion modules are used; the authors' "
            "training script normalises over frames, as v1 does (--family v1)"
        )
    if rule.note and found.layout != "ours":
        warnings.append(rule.note)
    return replace(
        found,
        family=rule.family,
        version="training checkpoint" if whole else rule.version,
        base=base,
        reasons=(*found.reasons, rule.because, *said),
        also=also,
        warnings=tuple(warnings),
    )


def _fits(
    rule: MotionRule,
    evidence: Evidence,
    *,
    base: str,
    mid: bool,
    rows: int | None,
    layout: str,
) -> bool:
    return (
        rule.base == base
        and rule.mid in (None, mid)
        and (not rule.rows or rows in rule.rows)
        and (not rule.layouts or layout in rule.layouts)
        and (not rule.has or evidence.has(rule.has))
    )


def blocks_of_base(evidence: Evidence) -> tuple[str, list[str]]:
    """Return the image model with this number of blocks."""
    pattern = r"down_(?:blocks[._])?([0-9]{1,4})[._](?:motion_modules|temporal_attentions|[0-9])"
    blocks = (evidence.largest(pattern) or 0) + 1
    base = _BASE_OF_BLOCKS.get(blocks, "own")
    return base, [f"its {blocks} blocks on the way down are those of {BASE_TITLES[base]}"]


def position_rows(evidence: Evidence) -> int | None:
    """Return the number of positions, if the file has positional encodings."""
    shape = evidence.shape(".pe", ".positional_encoding", least=3)
    return shape[1] if shape else None


def _motion_warnings(*, base: str, rows: int | None) -> Iterator[str]:
    if base == "own":
        yield "it has another number of blocks than the published modules"
    if rows not in (None, 24, 32, 64):
        yield f"its table of {rows} positions is of no published length"
