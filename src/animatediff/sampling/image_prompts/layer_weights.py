"""How much each cross-attention counts for an image prompt: alike, easing in or out, style or layout.

Layers are counted as the U-Net computes them: down, middle, up. Which of them draw style and which
layout was found by InstantStyle (arXiv 2404.02733) for SDXL; for Stable Diffusion 1.5 these are the
layers that users of ComfyUI found.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal

from animatediff.errors import InputError

if TYPE_CHECKING:
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

WeightsName = Literal["linear", "ease-in", "ease-out", "ease-in-out", "style", "composition"]

_SD15, _SDXL = 16, 11
"""Attention layers of Stable Diffusion 1.5 and 2, and of SDXL."""
_CHOSEN: Mapping[tuple[str, int], Mapping[int, float]] = {
    ("style", _SD15): dict.fromkeys((*range(4), *range(9, 16)), 1.0),
    ("style", _SDXL): {6: 1.0},
    ("composition", _SD15): {4: 0.25, 5: 1.0},
    ("composition", _SDXL): {3: 1.0},
}
_LEAST = 0.05
"""Of the scale, where a layer that eases in or out counts least."""


def prompt_layer_weights(name: WeightsName, unet: UNet2DConditionModel) -> list[float]:
    """The weight of each cross-attention, in the order of ``cross_attentions``.

    Raises:
        InputError: ``style`` or ``composition`` is asked of another image model than SD or SDXL.
    """
    places = list(_places(unet))
    return [_weight(name, place, count=max(places, default=0) + 1) for place in places]


def _weight(name: WeightsName, place: int, *, count: int) -> float:
    along = place / count
    if name == "linear":
        return 1.0
    if name == "ease-in":
        return _LEAST + (1 - _LEAST) * (1 - along)
    if name == "ease-out":
        return _LEAST + (1 - _LEAST) * along
    if name == "ease-in-out":
        return _LEAST + (1 - _LEAST) * (1 - abs(2 * along - 1))
    if (name, count) not in _CHOSEN:
        raise InputError(
            f"--ip-weights {name} is known for Stable Diffusion and SDXL, and this image model has "
            f"{count} attention layers; use linear or ease-in."
        )
    return _CHOSEN[name, count].get(place, 0.0)


def _places(unet: UNet2DConditionModel) -> Iterator[int]:
    """When each cross-attention is computed; those of one layer share a place."""
    down, mid = _layers(unet.down_blocks), _layers([unet.mid_block])
    up = _layers(unet.up_blocks)
    starts = (0, len(down) + len(mid), len(down))
    for start, layers in zip(starts, (down, up, mid), strict=True):
        for index, layer in enumerate(layers):
            for block in layer.transformer_blocks:
                if block.attn2 is not None:
                    yield start + index


def _layers(blocks: Any) -> list[Any]:
    return [layer for block in blocks for layer in getattr(block, "attentions", ())]
