"""Load and save motion modules: what a file is, whether it fits, and only then its values.

Every layout is read. Ours is ``{site}.{parameter}``, as in ``AnimatedUNet.motion_state_dict``; its
metadata contain what the tensors do not show (branch, scope of the norms, family). For published
files, names and shapes determine the family. If they do not, the user must say it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, cast, get_args

import torch

from animatediff.errors import FileError, InputError
from animatediff.model.animated_unet import AnimatedUNet, Branch
from animatediff.model.motion_module import NormScope, frame_positions
from animatediff.model.without_values import without_values
from animatediff.weights.families import BASES, FAMILIES, Base, Family, Numerics, family_of
from animatediff.weights.inspect import Inspection, check_kind, inspect_header
from animatediff.weights.motion_adapter import adapter_weights, check_config, config_beside
from animatediff.weights.motion_picture import PictureFile, check_picture, picture_file
from animatediff.weights.names.layouts import Layout, is_motion
from animatediff.weights.names.recognise import Recognised, recognise
from animatediff.weights.storage.completeness import check_fit, check_unknown, counted
from animatediff.weights.storage.files import Header, read_header, read_weights, write_weights

if TYPE_CHECKING:
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

AUTO = "auto"
"""Determine the family from the names and shapes of the file."""

PUBLISHED_HEADS = 8
_SHARED_NOISE = "shared_noise"
_OUR_FACTS = ("family", "branch", "mid", "norm_scope", "heads")


@dataclass(frozen=True)
class MotionFile:
    """A motion module file, before its values are read.

    Attributes:
        header: of the file, with only the motion module's names.
        names: our name for each known name of the file.
        layout: the file's layout.
        family: settings that depend on its version.
        branch: the paper's Transformer, or the temporal convolution.
        mid: whether there is a motion module in the middle block.
        norm_scope: frames that its own group norms share.
        resnet_norm_scope: the same for the image model's norms while it is attached.
        heads: of its attention.
        rows: number of frames with positions, from the file, its configuration or its family.
        notes: sentences for the user.
        picture: what else of the file reads a picture, for families that animate one.
    """

    header: Header
    names: Mapping[str, str]
    layout: Layout
    family: Family
    branch: Branch
    mid: bool
    norm_scope: NormScope
    resnet_norm_scope: NormScope
    heads: int
    rows: int
    notes: tuple[str, ...] = ()
    picture: PictureFile | None = None

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of every parameter, by our name."""
        return {ours: self.header.shapes[name] for name, ours in self.names.items()}


def read_motion(path: Path, *, family: str = AUTO, numerics: Numerics = "faithful") -> MotionFile:
    """Read the header of a motion module in any layout.

    Args:
        path: a safetensors file, or the folder of a diffusers MotionAdapter.
        family: the name of its family, or ``auto`` to determine it from the file.
        numerics: normalise as in the family's training, or as diffusers does.

    Raises:
        FileError: the file is broken, is not a motion module, contradicts the configuration beside
            it, is not supported, or does not determine its family.
        InputError: there is no such family.
    """
    header = read_header(adapter_weights(path) if path.is_dir() else path)
    path = header.path
    seen = inspect_header(header)
    config = config_beside(path) if seen.layout == "diffusers" else None
    rows = config.rows if config is not None else None
    if config is not None:
        check_kind(seen, "motion")
        check_config(config, header.shapes)
        seen = inspect_header(header, configured_rows=rows)
    check_kind(seen, "motion")
    found = recognise(header.shapes, kind="motion")
    if _says_everything(header):
        return _read_by_metadata(header, found, family=family, numerics=numerics)
    if found is None:
        raise FileError(f"{path} is {seen.title}, but its names are no layout's that is known.")
    strangers = tuple(name for name in found.others if is_motion(name))
    left_out = check_unknown(
        path, strangers, of=len(strangers) + len(found.names), role="a motion module"
    )
    found_family, notes = _family_in(header, seen) if family == AUTO else (family_of(family), [])
    rows = _position_rows(header, found) or rows or found_family.position_rows
    used = _knowing(found_family, rows=rows).with_numerics(numerics)
    picture = picture_file(header, family=found_family.name)
    return MotionFile(
        header=_only(header, found.names, strangers),
        names=found.names,
        layout=found.layout,
        family=used,
        branch="transformer",
        mid=any(ours.startswith("mid_") for ours in found.names.values()),
        norm_scope=used.motion_norm_scope,
        resnet_norm_scope=used.resnet_norm_scope,
        heads=PUBLISHED_HEADS,
        rows=rows,
        notes=(*notes, *left_out, *_notes_on(header, found, picture=picture)),
        picture=picture,
    )


def _only(header: Header, names: Iterable[str], strangers: Iterable[str]) -> Header:
    """Return a header with only the motion module's names and the unknown ones."""
    kept = {name: header.shapes[name] for name in (*names, *strangers)}
    return Header(header.path, kept, header.metadata)


def _knowing(family: Family, *, rows: int) -> Family:
    """Limit the family's clip length to the number of positions in the file."""
    return replace(family, position_rows=rows, num_frames=min(family.num_frames, rows))


def _says_everything(header: Header) -> bool:
    return all(key in header.metadata for key in _OUR_FACTS)


def _read_by_metadata(
    header: Header, found: Recognised | None, *, family: str, numerics: Numerics
) -> MotionFile:
    """Read a file that this package wrote, in any layout."""
    facts = header.metadata
    path = header.path
    branch = cast(Branch, _one_of(header, "branch", get_args(Branch)))
    # The rival's own names are in no table: what lies at a place of a motion module is its.
    names = (
        dict(found.names)
        if found is not None and branch == "transformer"
        else {name: name for name in header.shapes if is_motion(name)}
    )
    tables = () if found is None else tuple(found.positions)
    strangers = tuple(name for name in header.shapes if name not in names and name not in tables)
    notes = check_unknown(path, strangers, of=len(names) + len(strangers), role="a motion module")
    own = facts["family"]
    if own not in FAMILIES:
        raise FileError(
            f"{header.path} is of the unknown family {own!r:.60}; known are {', '.join(FAMILIES)}."
        )
    used = (FAMILIES[own] if family == AUTO else family_of(family)).with_numerics(numerics)
    used = replace(used, shared_noise=_shared_noise_in(header))
    scopes = get_args(NormScope)
    norm_scope = cast(NormScope, _one_of(header, "norm_scope", scopes))
    resnet_norm_scope = (
        cast(NormScope, _one_of(header, "resnet_norm_scope", scopes))
        if "resnet_norm_scope" in facts
        else used.resnet_norm_scope
    )
    if family != AUTO or numerics != "faithful":
        norm_scope, resnet_norm_scope = used.motion_norm_scope, used.resnet_norm_scope
    rows = (_position_rows(header, found) if found is not None else None) or used.position_rows
    return MotionFile(
        header=_only(header, names, strangers),
        names=names,
        layout="ours" if found is None else found.layout,
        family=_knowing(used, rows=rows),
        branch=branch,
        mid=_one_of(header, "mid", ("false", "true")) == "true",
        norm_scope=norm_scope,
        resnet_norm_scope=resnet_norm_scope,
        heads=int(_one_of(header, "heads", tuple(map(str, range(1, 129))))),
        rows=rows,
        notes=notes,
    )


def _family_in(header: Header, seen: Inspection) -> tuple[Family, list[str]]:
    """Return the family of a file, and notes on what is uncertain.

    Families with the same numerics may be confused with one another, and a note says so. Families
    with other numerics may not.

    Raises:
        FileError: the file does not determine its family.
    """
    path = header.path
    if seen.family not in FAMILIES:
        raise FileError(
            f"{path} is {seen.title} of no family that can be told; if you know it, name it with "
            f"--family: {', '.join(FAMILIES)}."
        )
    family = FAMILIES[seen.family]
    others = [FAMILIES[other] for other in seen.also]
    unlike = [other for other in others if _numerics(other) != _numerics(family)]
    if unlike:
        choices = " or ".join(f"--family {f.name}" for f in (family, *unlike))
        raise FileError(
            f"{path} does not say which of several families it is of, which normalise or were "
            f"trained differently; name it with {choices}."
        )
    return family, [
        f"{path.name} has the names and shapes of {family.title} and is taken for it; if it is "
        f"{other.title}, say --family {other.name}."
        for other in others
        if _hints_at(other, path)
    ]


def _numerics(family: Family) -> tuple[object, ...]:
    """Return the settings that would change every frame if the family were wrong."""
    return family.resnet_norm_scope, family.motion_norm_scope, family.betas


def _hints_at(family: Family, path: Path) -> bool:
    """Whether a file's name suggests this family; only used for notes to the user."""
    stem = path.stem.lower().replace("_", "").replace("-", "")
    return family.name.replace("-", "") in stem or (
        family.name == "lightning-4step" and "lightning" in stem and "step" not in stem
    )


def _position_rows(header: Header, found: Recognised) -> int | None:
    """Return the number of frames in the positional encodings, if the file has any."""
    shapes = [header.shapes[name] for name in found.positions]
    return shapes[0][1] if shapes and len(shapes[0]) == 3 else None


def _notes_on(header: Header, found: Recognised, *, picture: PictureFile | None) -> Sequence[str]:
    notes: list[str] = []
    name = header.path.name
    read = () if picture is None else picture.header.shapes
    others = [other for other in found.others if not is_motion(other) and other not in read]
    if others:
        notes.append(
            f"{name} also holds {counted(others)} of no motion module; "
            f"{'it was' if len(others) == 1 else 'they were'} left out."
        )
    strangers = unlike_sinusoids(header, found)
    if strangers:
        notes.append(
            f"{len(strangers)} tables of positions in {name} differ from the sinusoids that every "
            "version was trained with; the sinusoids are used."
        )
    return notes


def unlike_sinusoids(header: Header, found: Recognised) -> list[str]:
    """Return the positional encodings in a file that are not the sinusoids we compute.

    Raises:
        FileError: the file has changed.
    """
    tables = read_weights(
        Header(header.path, {n: header.shapes[n] for n in found.positions}, header.metadata)
    )
    strangers: list[str] = []
    for name, table in tables.items():
        if table.ndim != 3 or not table.is_floating_point():
            strangers.append(name)
            continue
        # As exact as the file's numbers can be; the authors' table is itself computed in fp32.
        tolerance = max(4 * torch.finfo(table.dtype).eps, 1e-4)
        ours = frame_positions(table.shape[1], table.shape[2])
        if not torch.allclose(table[0].float(), ours, rtol=0, atol=tolerance):
            strangers.append(name)
    return strangers


def inflate(unet: UNet2DConditionModel, motion: MotionFile) -> AnimatedUNet:
    """Graft a motion module without values into a U-Net without values.

    Raises:
        FileError: the module was made for another U-Net.
    """
    _check_base(unet, motion)
    if motion.picture is not None:
        check_picture(motion.picture, unet)
    try:
        with without_values():
            animated = AnimatedUNet(
                unet,
                branch=motion.branch,
                mid=motion.mid,
                norm_scope=motion.norm_scope,
                resnet_norm_scope=motion.resnet_norm_scope,
                heads=motion.heads,
                device="meta",
            )
    except InputError as error:
        raise FileError(f"{motion.header.path} does not fit this model: {error}") from None
    wanted = {name: tuple(t.shape) for name, t in animated.motion_state_dict().items()}
    strangers = {n: s for n, s in motion.header.shapes.items() if n not in motion.names}
    named = Header(motion.header.path, motion.shapes | strangers, motion.header.metadata)
    role = "a motion module for this model"
    check_fit(named, wanted, role=role)
    surplus = [ours for ours in motion.names.values() if ours not in wanted]
    if surplus:
        raise FileError(
            f"{motion.header.path} is not {role}: it has the unknown {counted(surplus)}."
        )
    return animated


def _check_base(unet: UNet2DConditionModel, motion: MotionFile) -> None:
    base = motion.family.base
    model: Base = "sdxl" if unet.config["addition_embed_type"] == "text_time" else "sd15"
    if base in ("own", model):
        return
    raise FileError(
        f"{motion.header.path} is {motion.family.title}, made for {BASES[base]}, and the model is "
        f"{'SDXL' if model == 'sdxl' else 'no SDXL'}; choose a model and a motion module that "
        "belong together."
    )


def fill_motion(
    animated: AnimatedUNet, motion: MotionFile, *, dtype: torch.dtype, device: torch.device
) -> None:
    """Read a motion module's values into what ``inflate`` grafted.

    Raises:
        FileError: the file has changed, or contains NaN or infinity.
    """
    header = _only(motion.header, motion.names, ())
    weights = read_weights(header, dtype=dtype, device=device, refuse_nan=True)
    named = {ours: weights[name] for name, ours in motion.names.items()}
    animated.motion.load_state_dict(named, strict=True, assign=True)
    animated.motion.requires_grad_(False).eval()


def write_motion(path: Path, animated: AnimatedUNet, *, family: Family) -> Path:
    """Write a motion module that ``read_motion`` reads back unchanged.

    Raises:
        OutputError: the folder cannot be written or is full.
    """
    facts = facts_of(animated, family=family)
    return write_weights(path, animated.motion_state_dict(), metadata=facts)


def facts_of(animated: AnimatedUNet, *, family: Family) -> dict[str, str]:
    """Return the metadata with which these motion modules are rebuilt."""
    return motion_facts(
        family=family,
        branch=animated.branch,
        mid=animated.mid,
        norm_scope=animated.norm_scope,
        resnet_norm_scope=animated.resnet_norm_scope,
        heads=animated.heads,
    )


def motion_facts(
    *,
    family: Family,
    branch: Branch,
    mid: bool,
    norm_scope: NormScope,
    resnet_norm_scope: NormScope,
    heads: int,
) -> dict[str, str]:
    """Return the metadata of a motion module."""
    shared = {_SHARED_NOISE: f"{family.shared_noise:g}"} if family.shared_noise else {}
    return {
        "kind": "motion",
        "family": family.name,
        "branch": branch,
        "mid": "true" if mid else "false",
        "norm_scope": norm_scope,
        "resnet_norm_scope": resnet_norm_scope,
        "heads": str(heads),
        **shared,
    }


def _shared_noise_in(header: Header) -> float:
    """Return the share of noise that frames had in common while these modules learned.

    Raises:
        FileError: what the file says is not a number from 0 to 1.
    """
    said = header.metadata.get(_SHARED_NOISE, "0")
    try:
        share = float(said)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise FileError(
            f"{header.path} says {_SHARED_NOISE} = {said!r:.60}, and it must be a number from 0 to 1."
        )
    return share


def _one_of(header: Header, key: str, choices: tuple[str, ...]) -> str:
    value = header.metadata[key]
    if value not in choices:
        shown = ", ".join(choices) if len(choices) < 8 else f"{choices[0]} to {choices[-1]}"
        raise FileError(f"{header.path} says {key} = {value!r:.60}, and it must be {shown}.")
    return value
