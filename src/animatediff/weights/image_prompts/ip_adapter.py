"""IP-Adapter's files (arXiv 2308.06721): which form they have, whether they fit, and their modules.

Base, light, plus, plus-face, full-face and vit-G files are read, for Stable Diffusion 1.5 and SDXL.
FaceID files need a face recognition network with a non-commercial licence and are refused by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from animatediff.errors import FileError
from animatediff.model.image_prompts.attention import (
    ImageAttention,
    cross_attentions,
    load_branches,
)
from animatediff.model.image_prompts.projections import (
    HEAD_WIDTH,
    LinearProjection,
    PatchProjection,
    Resampler,
)
from animatediff.model.without_values import without_values
from animatediff.weights.inspect import check_kind, inspect_header
from animatediff.weights.storage.completeness import check_fit
from animatediff.weights.storage.files import Header, read_header, read_weights

if TYPE_CHECKING:
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

Form = Literal["base", "plus", "full"]

PROJECTION, ATTENTION = "image_proj.", "ip_adapter."
_FACE_MARKS = ("image_proj.perceiver_resampler.proj_in.weight", "image_proj.proj.2.weight")
"""Of FaceID-Plus, and of FaceID; the full form has the second too, with ``proj.3`` behind it."""


@dataclass(frozen=True)
class IpAdapterFile:
    """An IP-Adapter's file: its kind and shapes are known, its values not yet read.

    Attributes:
        header: its file's.
        form: how image features become tokens.
        features: channels of the image features that it reads.
        cross: channels of a token.
        num_tokens: tokens of each image; 0 where there is one for each patch.
        notes: what of the file is left out, in a sentence.
    """

    header: Header
    form: Form
    features: int
    cross: int
    num_tokens: int
    notes: tuple[str, ...] = ()

    @property
    def reads_patches(self) -> bool:
        """Whether it reads the hidden states of all patches instead of the pooled embedding."""
        return self.form != "base"

    def projection(self) -> nn.Module:
        """The projection, on the meta device."""
        shapes = self.header.shapes
        with without_values():
            if self.form == "base":
                return LinearProjection(self.features, cross=self.cross, tokens=self.num_tokens)
            if self.form == "full":
                return PatchProjection(self.features, cross=self.cross)
            depth = len({name.split(".")[2] for name in shapes if name.startswith(_LAYERS)})
            width = shapes[f"{PROJECTION}latents"][-1]
            return Resampler(
                self.features,
                cross=self.cross,
                width=width,
                heads=shapes[f"{_LAYERS}0.0.to_q.weight"][0] // HEAD_WIDTH,
                depth=depth,
                tokens=self.num_tokens,
                expansion=shapes[f"{_LAYERS}0.1.1.weight"][0] // width,
            )


_LAYERS = f"{PROJECTION}layers."


@dataclass(frozen=True)
class LoadedIpAdapter:
    """An IP-Adapter with its numbers, not attached to anything yet.

    Attributes:
        file: what it was read from.
        projection: image features to tokens, in fp32.
        branches: one for each cross-attention of the image model.
    """

    file: IpAdapterFile
    projection: nn.Module
    branches: tuple[ImageAttention, ...]


def read_ip_adapter(path: Path) -> IpAdapterFile:
    """What an IP-Adapter's file says of itself.

    Raises:
        FileError: the file is broken, holds something else, or is a FaceID adapter.
    """
    header = read_header(path)
    check_kind(inspect_header(header), "ip-adapter")
    shapes = header.shapes
    is_full = f"{PROJECTION}proj.3.weight" in shapes
    if any(mark in shapes for mark in _FACE_MARKS) and not is_full:
        raise FileError(
            f"{path} is an IP-Adapter FaceID, which needs the embeddings of insightface, a network "
            "with a non-commercial licence; use a plus-face or full-face IP-Adapter instead."
        )
    try:
        file = _read_form(header, is_full=is_full)
        wanted = {
            f"{PROJECTION}{name}": tuple(tensor.shape)
            for name, tensor in file.projection().state_dict().items()
        }
    except (KeyError, IndexError, ZeroDivisionError):
        raise FileError(
            f"{path} is an IP-Adapter whose image projection is of no known form; "
            "base, plus, plus-face and full-face are read."
        ) from None
    attention = {name: s for name, s in shapes.items() if name.startswith(ATTENTION)}
    notes = check_fit(header, wanted | attention, role="an IP-Adapter")
    return IpAdapterFile(header, file.form, file.features, file.cross, file.num_tokens, notes)


def _read_form(header: Header, *, is_full: bool) -> IpAdapterFile:
    shapes = header.shapes
    if f"{PROJECTION}proj.weight" in shapes:
        rows, features = shapes[f"{PROJECTION}proj.weight"]
        (cross,) = shapes[f"{PROJECTION}norm.weight"]
        return IpAdapterFile(header, "base", features, cross, rows // cross)
    if is_full:
        features = shapes[f"{PROJECTION}proj.0.weight"][1]
        return IpAdapterFile(header, "full", features, shapes[f"{PROJECTION}proj.3.weight"][0], 0)
    features = shapes[f"{PROJECTION}proj_in.weight"][1]
    cross = shapes[f"{PROJECTION}proj_out.weight"][0]
    return IpAdapterFile(header, "plus", features, cross, shapes[f"{PROJECTION}latents"][1])


def check_ip_adapter(file: IpAdapterFile, unet: UNet2DConditionModel) -> None:
    """Compare an IP-Adapter with the image model that it is for; nothing is loaded.

    Raises:
        FileError: it is for another image model.
    """
    wanted: dict[str, tuple[int, ...]] = {}
    for index, host in enumerate(cross_attentions(unet)):
        for name in ("to_k_ip", "to_v_ip"):
            wanted[f"{ATTENTION}{2 * index + 1}.{name}.weight"] = (host.inner_dim, file.cross)
    shapes = file.header.shapes
    found = {name: shape for name, shape in shapes.items() if name.startswith(ATTENTION)}
    # LoRAs of a FaceID file would be left out here, but those files are refused.
    if {name: tuple(shape) for name, shape in found.items()} != wanted:
        layers = len({name.split(".")[1] for name in found})
        raise FileError(
            f"{file.header.path} is an IP-Adapter for an image model with {layers} attention layers "
            f"and tokens of {file.cross} channels; this one has {len(wanted) // 2} and "
            f"{unet.config['cross_attention_dim']}: choose an IP-Adapter for it."
        )


def load_ip_adapter(
    file: IpAdapterFile, unet: UNet2DConditionModel, *, device: torch.device
) -> LoadedIpAdapter:
    """Read the numbers; the projection stays in fp32, the attention takes the U-Net's precision.

    Raises:
        FileError: it is for another image model, changed since, or is damaged.
    """
    check_ip_adapter(file, unet)
    weights = read_weights(file.header, device=device, refuse_nan=True)
    projection = file.projection()
    names = set(projection.state_dict())
    own = {name: tensor.float() for name, tensor in _below(weights, PROJECTION).items()}
    projection.load_state_dict(
        {name: tensor for name, tensor in own.items() if name in names}, strict=True, assign=True
    )
    branches = load_branches(_below(weights, ATTENTION), unet, device=device)
    return LoadedIpAdapter(file, projection.requires_grad_(False).eval(), tuple(branches))


def _below(weights: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in weights.items()
        if name.startswith(prefix)
    }
