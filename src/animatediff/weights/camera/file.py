"""Camera control files: CameraCtrl's and MotionCtrl's, recognised by their tensors' names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from animatediff.errors import FileError
from animatediff.model.animated_unet import AnimatedUNet
from animatediff.model.camera.pose_encoder import PoseEncoder
from animatediff.model.camera.posed_attention import posed_sites, temporal_block
from animatediff.model.camera.projected_camera import POSE, REPLACED, CameraWeights
from animatediff.model.without_values import without_values
from animatediff.weights.inspect import check_kind, inspect_header
from animatediff.weights.storage.completeness import check_fit
from animatediff.weights.storage.files import Header, read_header, read_weights

_WRAPPERS = (
    *("state_dict.", "module.", "pose_encoder_state_dict.", "attention_processor_state_dict."),
)
_PLACE = re.compile(
    r"(?:(?P<side>down|up)_blocks\.(?P<block>\d{1,3})|mid_block)\.motion_modules\.(?P<layer>\d{1,3})"
    r"\.temporal_transformer\.transformer_blocks\.0\.(?P<rest>.+)"
)
_MERGE = "attention_blocks.0.processor.qkv_merge."
_PROJECTION = "cc_projection."
_POSITIONS = ".pos_encoder.pe"
"""Tables of positions, which are computed."""


@dataclass(frozen=True)
class CameraFile:
    """A camera control file, before its values are read.

    Attributes:
        header: of the file, without tables of positions.
        version: ``cameractrl`` or ``cmcm``.
        names: our name of each of its tensors: ``site/parameter``, or ``encoder/parameter``.
    """

    header: Header
    version: str
    names: Mapping[str, str]


@dataclass(frozen=True)
class LoadedCamera:
    """Camera control with its values; one of both forms.

    Attributes:
        file: what it was read from.
        encoder: CameraCtrl's encoder of poses.
        merges: CameraCtrl's layer at each site.
        projections: MotionCtrl's weights at each site.
    """

    file: CameraFile
    encoder: PoseEncoder | None = None
    merges: Mapping[str, nn.Linear] | None = None
    projections: Mapping[str, CameraWeights] | None = None

    def move(self, device: torch.device) -> None:
        """Move all of it, in place."""
        if self.encoder is not None:
            self.encoder.to(device)
        for merge in (self.merges or {}).values():
            merge.to(device)
        for own in (self.projections or {}).values():
            own.projection.to(device)
            for parameter in own.replaced.values():
                parameter.data = parameter.data.to(device)


def read_camera(path: Path) -> CameraFile:
    """What a camera control file is.

    Raises:
        FileError: the file is broken, or holds something else.
    """
    header = read_header(path)
    found = inspect_header(header)
    check_kind(found, "camera")
    names = {name: _ours(name) for name in header.shapes if not name.endswith(_POSITIONS)}
    kept = {name: header.shapes[name] for name in names}
    return CameraFile(Header(path, kept, header.metadata), found.version, names)


def check_camera(file: CameraFile, animated: AnimatedUNet) -> None:
    """Compare a file with the U-Net and the motion modules that it is for; nothing is loaded.

    Raises:
        FileError: it is for another model, or incomplete.
    """
    shapes = {file.names[name]: shape for name, shape in file.header.shapes.items()}
    named = Header(file.header.path, shapes, file.header.metadata)
    role = "camera control for this model and motion module"
    check_fit(named, _wanted(file, animated), role=role)
    strange = set(shapes) - set(_wanted(file, animated))
    if strange:
        raise FileError(
            f"{file.header.path} is not {role}: it also has {sorted(strange)[0]}; use a motion "
            "module without a middle block, as version 3, or another file."
        )


def load_camera(file: CameraFile, animated: AnimatedUNet, *, device: torch.device) -> LoadedCamera:
    """Read the values; layers in motion modules take their precision, the encoder stays in fp32.

    Raises:
        FileError: the file changed since, or is damaged.
    """
    weights = {
        file.names[name]: tensor
        for name, tensor in read_weights(file.header, device=device, refuse_nan=True).items()
    }
    dtype = animated.unet.dtype
    if file.version == "cameractrl":
        encoder = _encoder(animated)
        own = {name: weights[f"encoder/{name}"].float() for name in encoder.state_dict()}
        encoder.load_state_dict(own, strict=True, assign=True)
        merges = {
            site: _linear(weights, f"{site}/{_MERGE}", dtype) for site in posed_sites(animated)
        }
        return LoadedCamera(file, encoder=encoder.requires_grad_(False).eval(), merges=merges)
    projections = {
        site: CameraWeights(
            _linear(weights, f"{site}/{_PROJECTION}", dtype),
            {
                name: nn.Parameter(weights[f"{site}/{name}"].to(dtype), requires_grad=False)
                for name in _replaced(animated, site)
            },
        )
        for site in animated.motion
    }
    return LoadedCamera(file, projections=projections)


def _ours(name: str) -> str:
    """``site/parameter`` for a tensor of a motion module, ``encoder/parameter`` for others."""
    plain, before = name, ""
    while plain != before:
        before = plain
        for wrapper in _WRAPPERS:
            plain = plain.removeprefix(wrapper)
    place = _PLACE.fullmatch(plain)
    if place is None:
        return f"encoder/{plain}"
    if place["side"] is None:
        return f"mid_{place['layer']}/{place['rest']}"
    return f"{place['side']}_{place['block']}_{place['layer']}/{place['rest']}"


def _wanted(file: CameraFile, animated: AnimatedUNet) -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {}
    if file.version == "cameractrl":
        for name, tensor in _encoder(animated).state_dict().items():
            found[f"encoder/{name}"] = tuple(tensor.shape)
        for site in posed_sites(animated):
            width = _width(animated, site)
            found |= {f"{site}/{_MERGE}weight": (width, width), f"{site}/{_MERGE}bias": (width,)}
        return found
    for site in animated.motion:
        width = _width(animated, site)
        found[f"{site}/{_PROJECTION}weight"] = (width, width + POSE)
        found[f"{site}/{_PROJECTION}bias"] = (width,)
        for name, shape in _replaced(animated, site).items():
            found[f"{site}/{name}"] = shape
    return found


def _replaced(animated: AnimatedUNet, site: str) -> dict[str, tuple[int, ...]]:
    parameters = temporal_block(animated, site).named_parameters()
    return {name: tuple(p.shape) for name, p in parameters if name.startswith(REPLACED)}


def _width(animated: AnimatedUNet, site: str) -> int:
    return int(temporal_block(animated, site).ff_norm.weight.shape[0])


def _encoder(animated: AnimatedUNet) -> PoseEncoder:
    with without_values():
        return PoseEncoder(widths=tuple(animated.unet.config["block_out_channels"]))


def _linear(weights: Mapping[str, Tensor], prefix: str, dtype: torch.dtype) -> nn.Linear:
    weight, bias = weights[f"{prefix}weight"].to(dtype), weights[f"{prefix}bias"].to(dtype)
    with without_values():
        layer = nn.Linear(weight.shape[1], weight.shape[0])
    layer.load_state_dict({"weight": weight, "bias": bias}, strict=True, assign=True)
    return layer.requires_grad_(False)
