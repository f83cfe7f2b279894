"""Attention processors of diffusers, exchanged for a while and put back."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel


@contextmanager
def exchanged_processors(
    unet: UNet2DConditionModel, *, chosen: Callable[[str], bool], processor: object
) -> Generator[None]:
    """While this lasts, the chosen attention layers of ``unet`` compute by ``processor``.

    Args:
        unet: the image model.
        chosen: whether a processor, by its name in ``unet.attn_processors``, is exchanged.
        processor: takes what diffusers' processors take, and returns what they return.
    """
    before = dict(unet.attn_processors)
    inside = {name: processor if chosen(name) else own for name, own in before.items()}
    unet.set_attn_processor(inside)  # pyright: ignore[reportArgumentType] - any callable will do
    try:
        yield
    finally:
        unet.set_attn_processor(before)
