"""What is this file? Its kind, family and version, from the names and shapes in it alone.

Nothing is loaded: a safetensors header is read here, a pickle's table by the confined child, and a
folder's by its configuration. What two published files have in common is said, not guessed.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from animatediff.errors import FileError
from animatediff.weights.evidence import Evidence
from animatediff.weights.families import BASES, FAMILIES
from animatediff.weights.files import Header, is_pickle, read_header, read_json
from animatediff.weights.kinds import BASE_TITLES, KINDS, Kind
from animatediff.weights.legacy import read_legacy_header
from animatediff.weights.rules import (
    FLAVOURS,
    MOTION_RULES,
    NAMINGS,
    RULES,
    VERSION_TITLES,
    MotionRule,
    Rule,
    Trait,
)

Container = Literal["safetensors", "pickle", "folder"]

_WIDTHS = {768: "sd15", 1024: "sd2", 1280: "sdxl", 2048: "sdxl"}
"""Of the text that an image model reads: SDXL's second encoder has 1280, both together 2048."""
_BASE_OF_BLOCKS = {4: "sd15", 3: "sdxl"}
_UNLEARNED = (
    *(".pe", ".positional_encoding", "position_ids", ".alpha", ".on_input"),
    *("model_ema.decay", "model_ema.num_updates"),
)
"""Ends of the names of numbers that nobody learned."""
_SCHEDULE = re.compile(r"(posterior_|log_|sqrt_)?\w*(alphas|betas|posterior)\w*|betas")
_MIDDLES = (
    *("mid_block.motion_modules.", "mid_block.temporal_attentions.", "mid_block_motion_modules_"),
    "^mid_#_#.",
)
_DOWN = (
    *("_lora.down.weight", ".lora_down.weight", ".lora.down.weight", ".down.weight"),
    *(".lora_A.weight", ".lora_A.default.weight"),
)
"""Ends of the names of a low-rank pair's first half."""
_MOST_TOKENS = 256


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """What a file is.

    Attributes:
        path: the file or folder.
        container: how it is stored.
        kind: what it is for.
        family: the generation or version it is of: a motion family, or an image model.
        version: the variant, such as a LoRA's flavour; empty if there is one only.
        layout: whose names it has.
        base: the image model it fits: ``sd15``, ``sd2``, ``sdxl``, or ``own`` for another shape;
            empty if that cannot be told.
        reasons: why it is thought to be that.
        also: other families that its names and shapes fit just as well.
        alternatives: other kinds that they fit just as well.
        ranks: inner widths of its low-rank pairs.
        parameters: how many numbers were learned.
        dtypes: how many tensors there are of each type.
        num_tensors: how many tensors it holds.
        num_bytes: its size.
        warnings: what to know before using it.
    """

    path: Path
    container: Container
    kind: Kind
    family: str = ""
    version: str = ""
    layout: str = ""
    base: str = ""
    reasons: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    alternatives: tuple[Kind, ...] = ()
    ranks: tuple[int, ...] = ()
    parameters: int = 0
    dtypes: Mapping[str, int] = field(default_factory=dict[str, int])
    num_tensors: int = 0
    num_bytes: int = 0
    warnings: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """What a sentence calls it: kind, family and image model."""
        return "".join([KINDS[self.kind].title, *_details(self)])


def inspect(path: Path) -> Inspection:
    """What a file or folder is, by what is in it and never by what it is called.

    Raises:
        FileError: it is missing, broken, or no weights at all.
    """
    if path.is_dir():
        return _inspect_folder(path)
    if is_pickle(path):
        return replace(inspect_header(read_legacy_header(path)), container="pickle")
    return inspect_header(read_header(path))


def inspect_header(header: Header) -> Inspection:
    """What the file is whose header was read."""
    evidence = Evidence(header.shapes)
    rule = next((rule for rule in RULES if evidence.fits(rule.needs, rule.lacks)), None)
    found = _described(rule, evidence, header.metadata)
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


def wanted(path: Path, kind: Kind, *, base: str = "") -> Inspection:
    """What a file is, if it is what is wanted; nothing large is read to find out.

    Args:
        path: a file or folder.
        kind: the role that it is given.
        base: the image model that it must fit, if there is one already.

    Raises:
        FileError: it is something else or for another image model; the sentence says what it is,
            what was needed, and what to do. Or it is missing or broken.
    """
    found = inspect(path)
    check_kind(found, kind, base=base)
    return found


def check_kind(found: Inspection, kind: Kind, *, base: str = "") -> None:
    """Compare what a file is with what is wanted, as ``wanted`` does.

    Raises:
        FileError: it is something else, or for another image model.
    """
    facts, needed = KINDS[found.kind], KINDS[kind]
    place = f"{needed.option} needs" if needed.option else "what is needed is"
    if kind not in (found.kind, *found.alternatives):
        if found.kind == "unknown":
            remedy = "check that it is the right file"
        elif found.kind == "other":
            remedy = "it cannot be used here"
        else:
            remedy = facts.use
        raise FileError(f"{found.path} is {found.title}; {place} {needed.title}: {remedy}.")
    if base and found.base and found.base != base:
        title = BASE_TITLES.get(base, base)
        raise FileError(
            f"{found.path} is {found.title}; the image model here is {title}: choose "
            f"{needed.title} for it, or an image model that fits."
        )


# --- What a rule leaves open -------------------------------------------------------------------


def _described(rule: Rule | None, evidence: Evidence, metadata: Mapping[str, str]) -> Inspection:
    nowhere = Path()
    if rule is None:
        tokens = _tokens(evidence)
        if tokens is not None:
            return replace(tokens, path=nowhere)
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
            return _motion(found, evidence, metadata)
        case "motion-lora":
            return _motion_lora(found, evidence, metadata)
        case "lora":
            return _lora(found, evidence, metadata)
        case "checkpoint" | "unet":
            return _image_model(found, evidence)
        case "sparse-control" | "controlnet":
            return _control(found, evidence)
        case "vae":
            return _autoencoder(found, evidence)
        case "tiny-autoencoder":
            return _tiny(found, evidence)
        case "text-encoder":
            return _text_encoder(found, evidence)
        case "embedding":
            return _embedding(found, evidence)
        case "ip-adapter":
            return _with_text_width(found, evidence.shape("to_k_ip.weight", least=2))
        case _:
            return found


def _motion(found: Inspection, evidence: Evidence, metadata: Mapping[str, str]) -> Inspection:
    base, reasons = _motion_base(evidence)
    rows = _position_rows(evidence)
    mid = evidence.has(*_MIDDLES)
    reads = evidence.shapes.get("conv_in.weight", (0, 0))
    whole = evidence.has("^down_blocks.#.resnets.#.conv#.weight$")
    if found.layout == "ours" and metadata.get("family"):
        own = metadata["family"]
        family = FAMILIES.get(own)
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
        reasons=(*found.reasons, rule.because),
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


def _motion_base(evidence: Evidence) -> tuple[str, list[str]]:
    """The image model that has as many blocks."""
    pattern = r"down_(?:blocks[._])?([0-9]{1,4})[._](?:motion_modules|temporal_attentions|[0-9])"
    blocks = (evidence.largest(pattern) or 0) + 1
    base = _BASE_OF_BLOCKS.get(blocks, "own")
    return base, [f"its {blocks} blocks on the way down are those of {BASE_TITLES[base]}"]


def _position_rows(evidence: Evidence) -> int | None:
    """How many positions its table has, if it has one."""
    shape = evidence.shape(".pe", ".positional_encoding", least=3)
    return shape[1] if shape else None


def _motion_warnings(*, base: str, rows: int | None) -> Iterator[str]:
    if base == "own":
        yield "it has another number of blocks than the published modules"
    if rows not in (None, 24, 32, 64):
        yield f"its table of {rows} positions is of no published length"


def _motion_lora(found: Inspection, evidence: Evidence, metadata: Mapping[str, str]) -> Inspection:
    naming = _first(NAMINGS, evidence)
    base, _ = _motion_base(evidence)
    mid = evidence.has(*_MIDDLES)
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
    return replace(
        found,
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


def _lora(found: Inspection, evidence: Evidence, metadata: Mapping[str, str]) -> Inspection:
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
    """A domain adapter is a LoRA on every attention; only its rank and its names say which."""
    said = metadata.get("kind", "")
    if found.layout == "ours" and said in ("adapter", "lora"):
        kind: Kind = "adapter" if said == "adapter" else "lora"
        because = f"its metadata say {said}"
        if metadata.get("family") in FAMILIES:
            base = FAMILIES[metadata["family"]].base
            found = replace(found, family=metadata["family"], base=base)
        return replace(found, kind=kind, reasons=(*found.reasons, because))
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
    """Whether every pair is on a q, k, v or output projection of the U-Net's attentions."""
    return not evidence.has(
        *("_ff_net_#", ".ff.net.#", "_proj_in.", ".proj_in.", "^lora_te", "^text_encoder", "_te_"),
        *("_mlp_fc#", "_resnets_", ".resnets.", "_conv", "self_attn"),
    ) and evidence.has("attn#.processor.", "attn#.to_q.", "attn#_to_q.")


def _lora_base(evidence: Evidence) -> tuple[str, list[str]]:
    """The image model whose text width, blocks or encoders a LoRA has."""
    for name, shape in evidence.shapes.items():
        width = _read_width(name, shape, evidence.shapes)
        if width in _WIDTHS and width != 1280:
            base = _WIDTHS[width]
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
    """How wide the text is that a pair on cross-attention reads."""
    if "attn2" not in name or not re.search(r"to_[kv][._]", name) or len(shape) < 2:
        return None
    if name.endswith((*_DOWN, ".hada_w1_b", ".hada_w2_b", ".diff")):
        return shape[1]
    if name.endswith((".lokr_w2", ".lokr_w2_b")):
        stem = name.rpartition(".")[0]
        other = shapes.get(f"{stem}.lokr_w1", shapes.get(f"{stem}.lokr_w1_b", ()))
        # A Kronecker product is as wide as both of its factors together.
        return other[1] * shape[1] if len(other) == 2 else None
    return None


def _image_model(found: Inspection, evidence: Evidence) -> Inspection:
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
            found, family="sdxl-refiner", reasons=(*found.reasons, "it is SDXL's refiner")
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
    return replace(
        found,
        family=base,
        base=base,
        version=version,
        reasons=(*found.reasons, because, *read),
        warnings=tuple(warnings),
    )


def _odd_width(base: str, width: int | None) -> list[str]:
    expected = {"sd15": 768, "sd2": 1024, "sdxl": 2048}.get(base)
    if width is None or expected in (None, width):
        return []
    return [f"it reads text {width} wide where {BASE_TITLES[base]} reads {expected}"]


def _predicts(evidence: Evidence) -> list[str]:
    """Marks that some trainers leave for what the numbers cannot say."""
    if evidence.has("^v_pred$"):
        return ["it says that it predicts velocity (v_pred), not noise"]
    if evidence.has("^edm_mean$"):
        return ["it has Playground's scaling of latents (edm_mean)"]
    return []


def _control(found: Inspection, evidence: Evidence) -> Inspection:
    found = _with_text_width(found, evidence.shape("attn2.to_k.weight", least=2))
    if found.kind == "controlnet":
        return found
    scribble = evidence.has("^controlnet_cond_embedding.conv_in.weight$")
    version = "scribble" if scribble else "rgb"
    embeds = "a stack of convolutions" if scribble else "one convolution"
    return replace(
        found,
        family="v3",
        base="sd15",
        version=version,
        reasons=(*found.reasons, f"its conditions pass through {embeds}, as in the {version} file"),
    )


def _with_text_width(found: Inspection, key: tuple[int, ...] | None) -> Inspection:
    """The image model that reads text as wide as these keys do."""
    width = key[1] if key else None
    base = _WIDTHS.get(width, "own") if width else ""
    read = [f"its cross-attention reads text {width} wide"] if width else []
    return replace(found, family=base, base=base, reasons=(*found.reasons, *read))


def _autoencoder(found: Inspection, evidence: Evidence) -> Inspection:
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


def _tiny(found: Inspection, evidence: Evidence) -> Inspection:
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


def _text_encoder(found: Inspection, evidence: Evidence) -> Inspection:
    shape = evidence.shape("token_embedding.weight", least=2)
    width = shape[1] if shape else None
    family = _WIDTHS.get(width, "own") if width else ""
    return replace(
        found,
        family=family,
        base=family,
        also=("sdxl",) if family == "sd15" else (),
        reasons=(*found.reasons, f"its states are {width} wide"),
    )


def _embedding(found: Inspection, evidence: Evidence) -> Inspection:
    if found.layout == "sdxl":
        return replace(found, family="sdxl", base="sdxl")
    shape = next(iter(evidence.shapes.values()))
    base = _WIDTHS.get(shape[-1], "") if shape else ""
    reason = f"its vectors are {shape[-1]} wide" if shape else "its vectors have no width"
    return replace(found, family=base, base=base, reasons=(*found.reasons, reason))


def _tokens(evidence: Evidence) -> Inspection | None:
    """A table of words of diffusers' textual inversions, which have no name of their own."""
    shapes = evidence.shapes
    fit = 0 < len(shapes) <= _MOST_TOKENS and all(
        1 <= len(shape) <= 2
        and shape[-1] in _WIDTHS
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
    return _embedding(found, evidence)


def _first(traits: tuple[Trait, ...], evidence: Evidence) -> Trait | None:
    return next((trait for trait in traits if evidence.has(*trait.any_of)), None)


def _is_learned(name: str) -> bool:
    return not (name.endswith(_UNLEARNED) or ("." not in name and _SCHEDULE.fullmatch(name)))


def _details(found: Inspection) -> Iterator[str]:
    """The rest of a title: version, family, and the image model it is for."""
    if found.kind == "other":
        yield f" ({found.family})"
        return
    if found.version in VERSION_TITLES:
        yield f" ({VERSION_TITLES[found.version]})"
    if found.family == "sdxl-refiner":
        yield ", SDXL's refiner"
        return
    family = FAMILIES.get(found.family)
    if family is not None and family.base == "own":
        yield f" of {BASES[family.base]}"
        return
    if family is not None:
        others = [FAMILIES[name].title for name in found.also if name in FAMILIES]
        yield f" {'for' if found.kind == 'motion-lora' else 'of'} {family.title}"
        yield f" (or {_listed(others)})" if others else ""
    if found.base in BASE_TITLES:
        whole = found.kind in ("checkpoint", "unet", "text-encoder")
        yield f"{', for' if family is not None else ' of' if whole else ' for'} "
        yield BASE_TITLES[found.base]


def _listed(names: list[str]) -> str:
    """Families of one maker are named once."""
    short = list(dict.fromkeys(name.partition(",")[0] for name in names))
    return " or ".join(short)


# --- Folders -----------------------------------------------------------------------------------

_WEIGHT_NAMES = (
    *("diffusion_pytorch_model", "model", "adapter_model", "pytorch_lora_weights"),
    *("pytorch_model", "learned_embeds"),
)
_WEIGHT_SUFFIXES = (".safetensors", ".fp16.safetensors", ".bin", ".fp16.bin")


_PARTS: Mapping[str, Kind] = {
    "unet": "unet",
    "vae": "vae",
    "text_encoder": "text-encoder",
    "text_encoder_2": "text-encoder",
}
"""The parts of an image model's folder that have weights."""


def _inspect_folder(folder: Path) -> Inspection:
    """An image model's folder, or that of one part, as diffusers writes them."""
    if (folder / "model_index.json").is_file():
        return _inspect_image_folder(folder, read_json(folder / "model_index.json"))
    found = replace(inspect(_weight_file(folder)), path=folder, container="folder")
    config = folder / "config.json"
    if found.kind == "motion" and config.is_file():
        return _with_config(found, read_json(config))
    return found


def _inspect_image_folder(folder: Path, index: Mapping[str, Any]) -> Inspection:
    present = [name for name in _PARTS if name == "unet" or (folder / name).is_dir()]
    parts = {name: inspect(_weight_file(folder / name)) for name in present}
    for name, part in parts.items():
        if part.kind != _PARTS[name]:
            raise FileError(
                f"{part.path} is {part.title}, where {KINDS[_PARTS[name]].title} belongs; "
                "get the folder again."
            )
    dtypes = Counter[str]()
    for part in parts.values():
        dtypes.update(part.dtypes)
    unet = parts["unet"]
    return replace(
        unet,
        path=folder,
        container="folder",
        kind="checkpoint",
        reasons=(f"it is a folder of {', '.join(present)}", *unet.reasons),
        parameters=sum(part.parameters for part in parts.values()),
        dtypes=dict(dtypes),
        num_tensors=sum(part.num_tensors for part in parts.values()),
        num_bytes=sum(part.num_bytes for part in parts.values()),
        warnings=(*unet.warnings, *_programs(index)),
    )


def _programs(index: Mapping[str, Any]) -> Iterator[str]:
    """Folders may name programs of their own; none is ever run."""
    named = index.get("_class_name")
    if isinstance(named, list) or any("custom" in key for key in index):
        yield "it names a program of its own, which is not run"


def _weight_file(folder: Path) -> Path:
    """The one weight file of a folder, safetensors before pickles."""
    for suffix in _WEIGHT_SUFFIXES:
        for stem in _WEIGHT_NAMES:
            if (folder / f"{stem}{suffix}").is_file():
                return folder / f"{stem}{suffix}"
    raise FileError(f"{folder} is not a model's folder: it has no weights that are known by name.")


def _with_config(found: Inspection, config: Mapping[str, Any]) -> Inspection:
    """What a MotionAdapter's configuration says where its tensors do not."""
    rows, mid = config.get("motion_max_seq_length"), config.get("use_motion_mid_block")
    if found.base != "sd15" or not found.also or rows not in (24, 32, 64):
        return found
    if mid or rows == 64:
        return found
    family = "v1" if rows == 24 else "v3"
    reason = f"its configuration says {rows} positions and none in the middle"
    return replace(found, family=family, also=(), reasons=(*found.reasons, reason), warnings=())
