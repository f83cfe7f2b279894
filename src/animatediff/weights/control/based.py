"""ControlNets stored as changes to a U-Net's weights: difference nets, and low-rank ControlLoRAs.

Both are completed with the weights of the U-Net in use, so they follow a personalised model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from animatediff.model.control.controlnet import Hinted
from animatediff.runtime import channels_last
from animatediff.weights.control.encoder import build_encoder, names_in
from animatediff.weights.control.file import ControlFile, ControlPlan
from animatediff.weights.storage.completeness import check_fit
from animatediff.weights.storage.files import Header, read_weights

if TYPE_CHECKING:
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

Shape = tuple[int, ...]
_MARKS = ("lora_controlnet", "difference")
"""Names that only say what a file is."""


@dataclass(frozen=True)
class _Origin:
    """Where the numbers of one tensor come from.

    Attributes:
        whole: the file's name of it, or of what is added to the U-Net's.
        pair: the file's names of two factors, whose product is added to the U-Net's.
        adds: whether ``whole`` is added to the U-Net's.
    """

    whole: str = ""
    pair: tuple[str, str] | None = None
    adds: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the tensors that are read from the file."""
        return self.pair or ((self.whole,) if self.whole else ())


def plan_based(file: ControlFile, unet: UNet2DConditionModel) -> ControlPlan:
    """Check a difference net or ControlLoRA against the U-Net that completes it.

    Raises:
        FileError: a name is missing, a shape differs, or over a tenth of the file is unknown.
    """
    from diffusers.models.controlnets.controlnet import ControlNetModel

    net = build_encoder(file, unet, ControlNetModel)
    named = names_in(file, unet)
    wanted = {name: tuple(tensor.shape) for name, tensor in net.state_dict().items()}
    base = {name: tuple(tensor.shape) for name, tensor in unet.state_dict().items()}
    adds = file.found.version == "difference"
    shapes = file.header.shapes
    origins = {name: _origin(named(name), shapes, name in base, adds=adds) for name in wanted}
    # Of a pair only what its product is can be compared with what is needed.
    seen = {
        named(name): _shape(origin, shapes, wanted[name])
        for name, origin in origins.items()
        if origin.names or base.get(name) == wanted[name]
    }
    read = {stored for origin in origins.values() for stored in origin.names}
    spare = {n: s for n, s in shapes.items() if n not in read and n not in _MARKS}
    notes = check_fit(
        Header(file.path, seen | spare, {}),
        {named(name): shape for name, shape in wanted.items()},
        role="a ControlNet for this model",
    )
    header = Header(file.path, {name: shapes[name] for name in read}, {})

    def load(dtype: torch.dtype, device: torch.device) -> Hinted:
        stored = read_weights(header, dtype=dtype, device=device)
        theirs = unet.state_dict()
        made = {
            name: _completed(origin, stored, theirs.get(name), shape=wanted[name]).to(
                device=device, dtype=dtype
            )
            for name, origin in origins.items()
        }
        net.load_state_dict(made, strict=True, assign=True)
        net.requires_grad_(False).eval()
        channels_last(net)
        return Hinted(net)

    return ControlPlan(file, load, notes)


def _origin(stored: str, shapes: Mapping[str, Shape], in_base: bool, *, adds: bool) -> _Origin:
    stem = stored.removesuffix(".weight")
    up, down = f"{stem}.up", f"{stem}.down"
    if stored.endswith(".weight") and up in shapes and down in shapes:
        return _Origin(pair=(up, down))
    if stored in shapes:
        return _Origin(stored, adds=adds and in_base)
    return _Origin()


def _shape(origin: _Origin, shapes: Mapping[str, Shape], wanted: Shape) -> Shape:
    """The shape that ``_completed`` gives; it is the wanted one where the numbers fit."""
    if origin.pair is not None:
        up, down = (shapes[name] for name in origin.pair)
        fits = (
            up[:1] == wanted[:1]
            and up[1:2] == down[:1]
            and _numel(up[2:]) == 1
            and _numel(down[1:]) == _numel(wanted[1:])
        )
        return wanted if fits else (*up[:1], *down[1:])
    if not origin.whole:
        return wanted
    stored = shapes[origin.whole]
    same = _numel(stored) == _numel(wanted) and stored[:2] == wanted[:2]
    return wanted if same else stored


def _numel(shape: Shape) -> int:
    count = 1
    for size in shape:
        count *= size
    return count


def _completed(
    origin: _Origin, stored: dict[str, Tensor], base: Tensor | None, *, shape: Shape
) -> Tensor:
    """W = W_base + up · down for a ControlLoRA, W_base + difference, or the stored weight."""
    if origin.pair is not None:
        assert base is not None
        up, down = (stored[name].float().flatten(1) for name in origin.pair)
        return base.to(up) + (up @ down).reshape(shape)
    if not origin.whole:
        assert base is not None
        return base.clone()
    whole = stored[origin.whole].reshape(shape)
    if not origin.adds:
        return whole
    assert base is not None
    return base.to(whole.device).float() + whole.float()
