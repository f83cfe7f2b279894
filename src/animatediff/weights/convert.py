"""Convert a file from one layout to another, completely or not at all; back again gives the same bits.

Every tensor of the source is renamed, or listed in the result's notes. Values are copied. Positional
encodings are the exception: they are the same sinusoids in every version, so they are computed, and
written where other programs use them to detect the version.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from animatediff.errors import FileError, InputError, OutputError, reason_of
from animatediff.model.motion_module import frame_positions
from animatediff.weights.adapters import (
    MOST_MOTION_GUIDANCE,
    LowRankFile,
    read_adapter,
    read_motion_lora,
)
from animatediff.weights.control.names import PREFIX
from animatediff.weights.families import BASES, Base, Family
from animatediff.weights.inspect import Inspection, inspect_header
from animatediff.weights.motion import AUTO, MotionFile, motion_facts, read_motion
from animatediff.weights.motion_adapter import adapter_weights
from animatediff.weights.names.layouts import KINDS, LAYOUTS, WRITABLE, Kind, Layout, motion_names
from animatediff.weights.names.low_rank import low_rank_in
from animatediff.weights.names.recognise import recognise
from animatediff.weights.storage.files import (
    Header,
    is_pickle,
    read_header,
    read_weights,
    write_weights,
)
from animatediff.weights.storage.seal import resealed

TargetLayout = Literal["same", "ours", "authors", "diffusers", "hotshot", "kohya"]
"""``same`` keeps the names as they are."""

MOST_GAIN = 10.0
_CONTROL_NETWORKS = ("controlnet", "sparse-control")
_RESIDUAL_LAYERS = (
    "controlnet_down_blocks.",
    "controlnet_mid_block.",
    "zero_convs.",
    "middle_block_out.",
)
"""A control network's last layers, in diffusers' and in the authors' names."""
_LEARNED = ("pattern", "opposite", "scales", "layers", "gain", "motion_guidance")
"""What a file of low-rank branches says of how they were learned and are used, in any layout."""
DIFFUSERS_FILE = "diffusion_pytorch_model.safetensors"
_ARCHITECTURES: Mapping[Base, str] = {
    "sd15": "stable-diffusion-v1",
    "sdxl": "stable-diffusion-xl-v1-base",
    "own": "animatediff-emoji",
}
_SPEC_KINDS: Mapping[Kind, str] = {
    "motion": "motion-module",
    "adapter": "lora",
    "motion-lora": "motion-lora",
}
_IMPLEMENTATIONS: Mapping[Layout, str] = {
    "ours": "animatediff",
    "authors": "https://github.com/guoyww/AnimateDiff",
    "diffusers": "diffusers",
    "hotshot": "https://github.com/hotshotco/Hotshot-XL",
    "kohya": "https://github.com/kohya-ss/sd-scripts",
}


@dataclass(frozen=True)
class Conversion:
    """The result of a conversion.

    Attributes:
        path: the file or diffusers folder that was written.
        kind: what it contains; ``None`` if neither motion module, adapter nor MotionLoRA.
        source_layout: layout of the source.
        layout: layout of the result.
        family: of the motion module.
        tensors: number of tensors written.
        notes: sentences about everything that was not copied unchanged.
    """

    path: Path
    kind: Kind | None
    source_layout: Layout | None
    layout: TargetLayout
    family: str
    tensors: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Content:
    """Tensors and metadata to write."""

    weights: Mapping[str, Tensor]
    metadata: Mapping[str, str]
    notes: tuple[str, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict[str, Any])


def convert(
    source: Path,
    target: Path,
    *,
    layout: TargetLayout = "same",
    family: str = AUTO,
    gain: float = 1.0,
    motion_guidance: float | None = None,
) -> Conversion:
    """Write a file's tensors under the names of another layout.

    Args:
        source: a safetensors file, an old pickle (read in a confined process), or the folder of a
            diffusers MotionAdapter.
        target: a ``.safetensors`` file; for motion modules in diffusers' layout also a folder, which
            then gets the configuration too.
        layout: the layout to write.
        family: of a motion module whose file does not determine it.
        gain: the scale of a domain adapter, MotionLoRA, ControlNet or SparseCtrl network that becomes
            its scale 1; negative to reverse a MotionLoRA that was trained in both directions.
        motion_guidance: default motion guidance to store in a MotionLoRA; ``None`` keeps the source's.

    Raises:
        FileError: the source is broken, or cannot be written in this layout.
        InputError: the layout or the family does not exist, the gain or the motion guidance is out of
            range or for something that has none, or the target's name is not right.
        OutputError: the folder cannot be written or is full.
    """
    if layout not in get_args(TargetLayout):
        raise InputError(f"There is no layout {layout!r}; choose same or {', '.join(LAYOUTS)}.")
    if not 0 < abs(gain) <= MOST_GAIN:
        raise InputError(
            f"A gain of {gain:g} is none; give --gain a number from {-MOST_GAIN:g} to {MOST_GAIN:g} "
            "other than 0."
        )
    if motion_guidance is not None and not 0 <= motion_guidance <= MOST_MOTION_GUIDANCE:
        raise InputError(
            f"A motion guidance of {motion_guidance:g} is none; give --motion-guidance a number from 0 "
            f"to {MOST_MOTION_GUIDANCE:g}."
        )
    if target.exists() and source.exists() and target.samefile(source):
        raise InputError(f"{target} is the source itself; choose another file to write.")
    with ExitStack() as stack:
        readable = _readable(source, stack)
        header = read_header(readable)
        seen = inspect_header(header)
        kind = _kind_in(seen)
        controls = seen.kind in _CONTROL_NETWORKS
        if gain != 1 and kind not in ("adapter", "motion-lora") and not controls:
            raise InputError(
                f"{source} is neither a domain adapter nor a MotionLoRA nor a ControlNet, and --gain "
                "is for these; leave it out."
            )
        if gain < 0 and controls:
            raise InputError(
                f"{source} is a control network, which has no opposite; give --gain a number above 0."
            )
        if motion_guidance is not None and kind != "motion-lora":
            raise InputError(
                f"{source} is no MotionLoRA, and --motion-guidance is for these; leave it out."
            )
        if family != AUTO and kind != "motion":
            raise InputError(
                f"{source} is no motion module, and --family is for these; leave it out."
            )
        found = recognise(header.shapes, kind=kind) if kind is not None else None
        if layout == "same":
            _check_name(target, folder=False)
            content, used = _as_it_is(header, title=source.stem), ""
            if family != AUTO:
                module = read_motion(readable, family=family)
                said = {**content.metadata, **_facts(module, module.layout)}
                content, used = replace(content, metadata=said), module.family.name
        elif kind is None:
            raise FileError(
                f"{source} is neither a motion module nor a domain adapter nor a MotionLoRA; "
                "only --layout same is possible."
            )
        elif layout not in WRITABLE[kind]:
            raise InputError(
                f"{source} is {KINDS[kind]}, which has no {layout} layout; "
                f"choose {', '.join(WRITABLE[kind])}."
            )
        elif kind == "motion":
            _check_name(target, folder=layout == "diffusers")
            module = read_motion(readable, family=family)
            content, used = _motion(module, layout, title=source.stem), module.family.name
        else:
            _check_name(target, folder=False)
            content = _low_rank(_read_low_rank(kind, readable), layout, title=source.stem)
            used = ""
        if gain != 1:
            ends = (
                _up_names(_read_low_rank(kind, readable), layout)
                if kind is not None
                else _residual_names(content.weights)
            )
            content = _strengthened(content, gain, ends=ends)
        if motion_guidance is not None:
            stored = {"motion_guidance": f"{motion_guidance:g}"}
            content = replace(content, metadata={**content.metadata, **stored})
        path = _write(target, content)
    return Conversion(
        path=path,
        kind=kind,
        source_layout=None if found is None else found.layout,
        layout=layout,
        family=used,
        tensors=len(content.weights),
        notes=content.notes,
    )


def _kind_in(seen: Inspection) -> Kind | None:
    """Return which of the kinds with layouts a file is."""
    kinds: tuple[str, ...] = (seen.kind, *seen.alternatives)
    return next((kind for kind in WRITABLE if kinds.count(kind)), None)


def _readable(source: Path, stack: ExitStack) -> Path:
    """Yield the source, the file in a motion module's folder, or a temporary copy of a pickle."""
    if source.is_dir():
        return adapter_weights(source)
    if not is_pickle(source):
        return source
    from animatediff.weights.storage.legacy import converted_to_safetensors

    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="animatediff-")))
    return converted_to_safetensors(source, folder / f"{source.stem}.safetensors")


def _check_name(target: Path, *, folder: bool) -> None:
    if target.suffix == ".safetensors" or (folder and not target.suffix):
        return
    also = ", or be a folder" if folder else ""
    raise InputError(f"{target} must end in .safetensors{also}.")


def _write(target: Path, content: _Content) -> Path:
    if target.suffix:
        return write_weights(target, content.weights, metadata=content.metadata)
    try:
        target.mkdir(exist_ok=True)
        write_weights(target / DIFFUSERS_FILE, content.weights, metadata=content.metadata)
        (target / "config.json").write_text(json.dumps(content.config, indent=2) + "\n")
    except OSError as error:
        raise OutputError(
            f"{target} cannot be written ({reason_of(error)}); choose another folder."
        ) from None
    return target


def _as_it_is(header: Header, *, title: str) -> _Content:
    spec = {"modelspec.sai_model_spec": "1.0.1", "modelspec.title": title}
    return _Content(read_weights(header), {**spec, **header.metadata})


def _facts(module: MotionFile, layout: Layout) -> dict[str, str]:
    """Return the facts of a motion module that are in its metadata and not in its tensors."""
    facts = motion_facts(
        family=module.family,
        branch=module.branch,
        mid=module.mid,
        norm_scope=module.norm_scope,
        resnet_norm_scope=module.resnet_norm_scope,
        heads=module.heads,
    )
    return {**facts, "layout": layout}


def _motion(module: MotionFile, layout: Layout, *, title: str) -> _Content:
    if module.branch != "transformer" and layout != "ours":
        raise FileError(
            f"{module.header.path} is the convolutional rival of the motion module, "
            "which exists in our own layout alone."
        )
    used = {name: module.header.shapes[name] for name in module.names}
    read = read_weights(replace(module.header, shapes=used))
    family = module.family
    rows = module.rows
    tables = layout != "ours" and (layout == "diffusers" or family.positions_in_file)
    weights: dict[str, Tensor] = {}
    for name, ours in module.names.items():
        tensor = read[name]
        renamed, *positions = motion_names(ours, layout=layout, positions=tables)
        weights[renamed] = tensor
        for table in positions:
            weights[table] = frame_positions(rows, len(tensor))[None].to(tensor.dtype)
    return _Content(
        weights,
        {**_facts(module, layout), **_spec("motion", layout, family=family, title=title)},
        module.notes,
        _adapter_config(module, rows=rows) if layout == "diffusers" else {},
    )


def _adapter_config(module: MotionFile, *, rows: int) -> dict[str, Any]:
    """Return the configuration of diffusers' MotionAdapter for these weights."""
    down = sorted({ours.partition(".")[0] for ours in module.shapes if ours.startswith("down_")})
    blocks = sorted({int(site.split("_")[1]) for site in down})
    shapes = module.shapes
    return {
        "_class_name": "MotionAdapter",
        "block_out_channels": [shapes[f"down_{i}_0.norm.weight"][0] for i in blocks],
        "motion_layers_per_block": sum(site.startswith("down_0_") for site in down),
        "motion_mid_block_layers_per_block": 1,
        "motion_num_attention_heads": module.heads,
        "motion_norm_num_groups": 32,
        "motion_max_seq_length": rows,
        "use_motion_mid_block": module.mid,
    }


def _low_rank(file: LowRankFile, layout: Layout, *, title: str) -> _Content:
    read = read_weights(file.header)
    weights: dict[str, Tensor] = {}
    folded = 0
    for host, (down, up) in file.names.items():
        rank, alpha = file.ranks[host], file.alphas[host]
        a, b = read[down], read[up]
        if layout == "kohya" or (layout == "ours" and alpha != rank):
            name = low_rank_in(layout, kind=file.kind, host=host, factor="alpha")
            weights[name] = torch.tensor(alpha, dtype=a.dtype)
        elif alpha != rank:
            b = (b.double() * (alpha / rank)).to(b.dtype)
            folded += 1
        weights[low_rank_in(layout, kind=file.kind, host=host, factor="down")] = a
        weights[low_rank_in(layout, kind=file.kind, host=host, factor="up")] = b
    notes = [
        f"The {layout} layout has no alpha, so that of {folded} branches went into their numbers."
    ]
    ranks = set(file.ranks.values())
    facts = {"kind": file.kind, "layout": layout, "rank": ",".join(map(str, sorted(ranks)))}
    own = file.header.metadata
    facts |= {name: own[name] for name in _LEARNED if name in own}
    return _Content(
        weights,
        {**facts, **_spec(file.kind, layout, family=None, title=title)},
        (*file.notes, *(notes if folded else ())),
    )


def _read_low_rank(kind: Kind, path: Path) -> LowRankFile:
    return (read_adapter if kind == "adapter" else read_motion_lora)(path)


def _up_names(file: LowRankFile, layout: TargetLayout) -> frozenset[str]:
    """Return the names of a file's up projections in the target layout."""
    if layout == "same":
        return frozenset(up for _, up in file.names.values())
    return frozenset(
        low_rank_in(layout, kind=file.kind, host=host, factor="up") for host in file.names
    )


def _residual_names(names: Iterable[str]) -> frozenset[str]:
    """Return the names of a control network's last layers, whose results the U-Net adds."""
    return frozenset(
        name for name in names if name.removeprefix(PREFIX).startswith(_RESIDUAL_LAYERS)
    )


def _strengthened(content: _Content, gain: float, *, ends: frozenset[str]) -> _Content:
    """Multiply the branches by ``gain`` and record it in the metadata."""
    weights = {
        name: (tensor.double() * gain).to(tensor.dtype) if name in ends else tensor
        for name, tensor in content.weights.items()
    }
    before = content.metadata.get("gain")
    whole_gain = f"{gain:g}" if before is None else f"{before} * {gain:g}"
    metadata = resealed({**content.metadata, "gain": whole_gain}, weights)
    if gain < 0:
        metadata = _turned(metadata)
    return replace(content, weights=weights, metadata=metadata)


def _turned(metadata: Mapping[str, str]) -> dict[str, str]:
    """Reverse a MotionLoRA: what it learned at scale -1 moves to scale 1."""
    moves = {"pattern": metadata.get("opposite"), "opposite": metadata.get("pattern")}
    others = {key: fact for key, fact in metadata.items() if key not in moves}
    return others | {key: move for key, move in moves.items() if move is not None}


def _spec(kind: Kind, layout: Layout, *, family: Family | None, title: str) -> dict[str, str]:
    """Return the metadata that Stable Diffusion programs show (ModelSpec 1.0.1)."""
    base: Base = "sd15" if family is None else family.base
    size = {} if family is None else {"modelspec.resolution": f"{family.size}x{family.size}"}
    of = "" if family is None else f" ({family.title}, for {BASES[base]})"
    return {
        "modelspec.sai_model_spec": "1.0.1",
        "modelspec.architecture": f"{_ARCHITECTURES[base]}/{_SPEC_KINDS[kind]}",
        "modelspec.implementation": _IMPLEMENTATIONS[layout],
        "modelspec.title": title,
        "modelspec.description": f"{KINDS[kind].removeprefix('a ').capitalize()}{of}",
        **size,
    }
