"""Load domain adapters and MotionLoRAs from files of any layout.

A file is checked first, then its branches are grafted, and only then are its values read. Both kinds
are added to the weights as W + alpha * up @ down, without dividing by the rank (Sec. 4.1 and 4.3 of
Guo et al., arXiv 2307.04725, as their code merges them). Trainers that store an alpha multiply by
alpha / rank, and so does this loader. The scale may change at any time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch
from torch import nn

from animatediff.errors import FileError, InputError
from animatediff.model.animated_unet import AnimatedUNet
from animatediff.model.grafts.graft import Graft, Grafts
from animatediff.model.grafts.low_rank import LowRank
from animatediff.weights.image_model.base_model import BaseModel
from animatediff.weights.inspect import check_kind, inspect_header
from animatediff.weights.loader import Host
from animatediff.weights.names.layouts import KINDS, Kind, Layout
from animatediff.weights.names.low_rank import Factor, host_and_factor, our_factor
from animatediff.weights.names.recognise import recognise
from animatediff.weights.storage.completeness import check_fit, check_unknown
from animatediff.weights.storage.files import Header, read_header, read_weights

if TYPE_CHECKING:
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

MOST_MOTION_GUIDANCE = 1.0
_HALVES: tuple[Factor, Factor] = ("down", "up")


@dataclass(frozen=True)
class LowRankFile:
    """A domain adapter or MotionLoRA file, before its values are read.

    Attributes:
        header: of the file, with only the names that are used.
        kind: domain adapter or MotionLoRA.
        layout: the layout of its names.
        names: for every layer, the file's names of its ``down`` and ``up``.
        ranks: the inner width of every branch.
        alphas: alpha of every branch; the rank where the file has none.
        motion_guidance: the file's default for ``motion_guidance``.
        notes: sentences about parts of the file that are not used.
    """

    header: Header
    kind: Kind
    layout: Layout
    names: Mapping[str, tuple[str, str]]
    ranks: Mapping[str, int]
    alphas: Mapping[str, float]
    motion_guidance: float = 0.0
    notes: tuple[str, ...] = ()

    @property
    def mid(self) -> bool:
        """Whether it has branches for the middle block's motion module."""
        return any(host.startswith("mid_") for host in self.names)


@dataclass(frozen=True)
class LoadedLowRank:
    """A loaded domain adapter or MotionLoRA.

    Attributes:
        file: its file.
        grafts: its branches by layer; their scale may be changed.
        notes: sentences for the user.
    """

    file: LowRankFile
    grafts: Grafts
    notes: tuple[str, ...] = ()


def read_adapter(path: Path) -> LowRankFile:
    """Read the header of a domain adapter's file.

    Raises:
        FileError: the file is broken, incomplete, or of another kind.
    """
    return _read(path, kind="adapter")


def read_motion_lora(path: Path) -> LowRankFile:
    """Read the header of a MotionLoRA's file.

    Raises:
        FileError: the file is broken, incomplete, or of another kind.
    """
    return _read(path, kind="motion-lora")


def _read(path: Path, *, kind: Kind) -> LowRankFile:
    header = read_header(path)
    check_kind(inspect_header(header), kind)
    found = recognise(header.shapes, kind=kind)
    if found is None:
        raise FileError(
            f"{path} is no {kind} that can be used: it has other changes than low-rank pairs on "
            f"{'spatial attentions' if kind == 'adapter' else 'motion modules'}."
        )
    notes = check_unknown(path, found.others, of=len(header.shapes), role=KINDS[kind])
    parts: dict[str, dict[Factor, str]] = {}
    for name, ours in found.names.items():
        host, factor = host_and_factor(ours)
        if factor in parts.setdefault(host, {}):
            raise FileError(f"{path} is not valid: it has the branch on {host:.150} twice.")
        parts[host][factor] = name
    lacking = [host for host, names in parts.items() if not {"down", "up"} <= names.keys()]
    if lacking:
        raise FileError(
            f"{path} is incomplete: the branch on {lacking[0]:.150} lacks a half; "
            "get the file again."
        )
    names = {host: (factors["down"], factors["up"]) for host, factors in parts.items()}
    ranks = {host: _rank(header, host, pair) for host, pair in names.items()}
    kept = {name: header.shapes[name] for pair in names.values() for name in pair}
    return LowRankFile(
        header=Header(path, kept, header.metadata),
        kind=kind,
        layout=found.layout,
        names=names,
        ranks=ranks,
        alphas=_alphas(header, ranks, parts=parts),
        motion_guidance=_motion_guidance(header) if kind == "motion-lora" else 0.0,
        notes=notes,
    )


def _rank(header: Header, host: str, names: tuple[str, str]) -> int:
    down, up = (header.shapes[name] for name in names)
    if len(down) != 2 or len(up) != 2 or down[0] != up[1] or down[0] < 1:
        raise FileError(
            f"{header.path} is not valid: the shapes {down} and {up} of the branch on {host:.100} "
            "are no low-rank pair."
        )
    return down[0]


def _alphas(
    header: Header, ranks: Mapping[str, int], *, parts: Mapping[str, Mapping[Factor, str]]
) -> dict[str, float]:
    """Return the alpha of every branch: from a tensor, our metadata, or else the rank."""
    stored = {host: factors["alpha"] for host, factors in parts.items() if "alpha" in factors}
    for name in stored.values():
        if math.prod(header.shapes[name]) != 1:
            raise FileError(f"{header.path} is not valid: {name:.150} is not a single number.")
    tensors = read_weights(
        Header(header.path, {name: header.shapes[name] for name in stored.values()}, {})
    )
    try:
        common = {host: float(header.metadata.get("alpha", rank)) for host, rank in ranks.items()}
    except ValueError:
        raise FileError(
            f"{header.path} says alpha = {header.metadata['alpha']!r:.60}, which is not a number."
        ) from None
    alphas = common | {host: float(tensors[name].reshape(())) for host, name in stored.items()}
    if not all(map(math.isfinite, alphas.values())):
        raise FileError(f"{header.path} is damaged: an alpha is not finite; get the file again.")
    return alphas


def _motion_guidance(header: Header) -> float:
    stored = header.metadata.get("motion_guidance", "0")
    try:
        number = float(stored)
    except ValueError:
        number = math.nan
    if not 0 <= number <= MOST_MOTION_GUIDANCE:
        raise FileError(
            f"{header.path} says motion_guidance = {stored!r:.60}, which is not a number from 0 to "
            f"{MOST_MOTION_GUIDANCE:g}."
        )
    return number


def graft_adapter(unet: UNet2DConditionModel, file: LowRankFile, *, scale: float) -> LoadedLowRank:
    """Graft a domain adapter without values on an image model without values.

    Raises:
        FileError: the adapter was made for another image model.
    """
    layers = dict(unet.named_modules())
    hosts = {host: layers[host] for host in file.names if host in layers}
    absent = [host for host in file.names if host not in hosts]
    if absent:
        raise FileError(
            f"{file.header.path} is not a domain adapter for this model, "
            f"which has no {absent[0]:.100}."
        )
    return LoadedLowRank(file, _grafted(file, hosts, scale=scale), file.notes)


def graft_motion_lora(animated: AnimatedUNet, file: LowRankFile, *, scale: float) -> LoadedLowRank:
    """Graft a MotionLoRA without values on motion modules without values.

    Only version 2 has a motion module in the middle block. Branches for a missing one are left out,
    and a note says so.

    Raises:
        FileError: the MotionLoRA was made for other motion modules.
    """
    modules = dict(animated.motion.named_modules())
    hosts = {host: modules[host] for host in file.names if host in modules}
    path = file.header.path
    absent = [host for host in file.names if host not in hosts]
    lost = [host for host in absent if not (host.startswith("mid_") and not animated.mid)]
    if lost or not hosts:
        raise FileError(
            f"{path} is not a MotionLoRA for this motion module, which has no "
            f"{(lost or absent)[0]:.100}."
        )
    notes = list(file.notes)
    if absent:
        notes.append(
            f"{path.name} was made for AnimateDiff v2, which has a motion module in the middle "
            f"block; this one has none, so {len(hosts)} of its {len(file.names)} branches are used."
        )
    elif animated.mid and not file.mid:
        notes.append(
            f"{path.name} was made for motion modules without one in the middle block (v1, v3); "
            "this one's is left as it is."
        )
    return LoadedLowRank(file, _grafted(file, hosts, scale=scale), tuple(notes))


def _grafted(file: LowRankFile, hosts: Mapping[str, nn.Module], *, scale: float) -> Grafts:
    """Graft a branch on every layer; all are checked before the first is attached."""
    path = file.header.path
    branches: dict[str, LowRank] = {}
    for host, layer in hosts.items():
        try:
            branch = LowRank(layer, rank=file.ranks[host], alpha=file.alphas[host])
        except InputError as error:
            raise FileError(f"{path} does not fit this model: {error}") from None
        branches[host] = branch
    wanted = {
        our_factor(host, factor): tuple(getattr(branch, factor).weight.shape)
        for host, branch in branches.items()
        for factor in _HALVES
    }
    shapes = {
        our_factor(host, factor): file.header.shapes[file.names[host][i]]
        for host in branches
        for i, factor in enumerate(_HALVES)
    }
    check_fit(Header(path, shapes, {}), wanted, role=f"{KINDS[file.kind]} for this model")
    return Grafts(
        {host: Graft(branches[host], scale=scale).attach(layer) for host, layer in hosts.items()}
    )


def fill_low_rank(loaded: LoadedLowRank, *, dtype: torch.dtype, device: torch.device) -> None:
    """Read a file's values into its grafted branches.

    Raises:
        FileError: the file has changed, or contains NaN or infinity.
    """
    file = loaded.file
    weights = read_weights(file.header, dtype=dtype, device=device, refuse_nan=True)
    for host, graft in loaded.grafts.items():
        branch = cast(LowRank, graft.branch)
        down, up = file.names[host]
        branch.load_state_dict(
            {"down.weight": weights[down], "up.weight": weights[up]}, strict=True, assign=True
        )
        branch.requires_grad_(False).eval()


@dataclass(frozen=True)
class LowRankLoader:
    """Loads low-rank branches; each request sets their scale.

    Attributes:
        reads: reads a file's header and checks its kind.
        grafts: grafts a file's branches on a model, without values, at scale 0.
    """

    reads: Callable[[Path], LowRankFile]
    grafts: Callable[[Host, LowRankFile], LoadedLowRank]

    def read(self, path: Path) -> LowRankFile:
        """Read a file's header; raises ``FileError`` if it is another kind of file."""
        return self.reads(path)

    def fit(self, files: Sequence[LowRankFile], host: Host) -> Sequence[LoadedLowRank]:
        """Graft the files; raises ``FileError`` or ``InputError`` if one does not fit."""
        return [self.grafts(host, file) for file in files]

    def fill(
        self,
        fitted: Sequence[LoadedLowRank],
        base: BaseModel,
        *,
        dtype: torch.dtype,
        device: torch.device,
    ) -> Sequence[LoadedLowRank]:
        """Read the values into the grafts."""
        for each in fitted:
            fill_low_rank(each, dtype=dtype, device=device)
        return fitted

    def move(self, added: LoadedLowRank, device: torch.device) -> None:
        """Move the branches."""
        for graft in added.grafts.values():
            graft.branch.to(device)

    def notes(self, added: LoadedLowRank) -> Sequence[str]:
        """Sentences about parts of the file that are not used."""
        return added.notes


def _on_image_model(host: Host, file: LowRankFile) -> LoadedLowRank:
    return graft_adapter(host.animated.unet, file, scale=0)


def _on_motion(host: Host, file: LowRankFile) -> LoadedLowRank:
    if not host.has_motion:
        raise InputError("A MotionLoRA changes a motion module, and the motion is none.")
    return graft_motion_lora(host.animated, file, scale=0)


def adapters() -> LowRankLoader:
    """Return the loader of domain adapters."""
    return LowRankLoader(read_adapter, _on_image_model)


def motion_loras() -> LowRankLoader:
    """Return the loader of MotionLoRAs."""
    return LowRankLoader(read_motion_lora, _on_motion)
