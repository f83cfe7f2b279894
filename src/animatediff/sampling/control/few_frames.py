"""Control of a long clip some frames at a time, so that only its residuals grow with the clip."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from animatediff.model.control.residuals import Plane, Residuals
from animatediff.model.temporal_views import TOGETHER
from animatediff.sampling.ask import Ask, Control
from animatediff.sampling.control.dense import DenseControl


def few_at_a_time(control: Control, *, together: int = TOGETHER) -> Control:
    """The same control, for some frames of a clip at a time where they do not know of each other.

    Args:
        control: SparseCtrl attends to all frames of a clip, and is returned as it is.
        together: frames at a time.
    """
    if not isinstance(control, DenseControl):
        return control

    def controlled(ask: Ask, /) -> Residuals:
        if len(ask.latents) > 1 or len(ask.frames) <= together:
            return control(ask)
        return _joined(
            [
                (control(part), len(part.frames))
                for part in (
                    replace(ask, latents=latents, frames=frames)
                    for latents, frames in zip(
                        ask.latents.split(together, dim=2),
                        ask.frames.split(together),
                        strict=True,
                    )
                )
            ]
        )

    return controlled


def _joined(parts: list[tuple[Residuals, int]]) -> Residuals:
    """Residuals of all frames from those of some each; where nothing counts, they are zero."""
    like = next((part for part, _ in parts if part), None)
    if like is None:
        return Residuals()

    def all_of(pattern: Tensor, plane_of: Callable[[Residuals], Tensor | None]) -> Tensor:
        found = ((plane_of(part) if part else None, count) for part, count in parts)
        return torch.cat(
            [
                pattern.new_zeros(count, *pattern.shape[1:]) if plane is None else plane
                for plane, count in found
            ]
        )

    return Residuals(
        tuple(all_of(plane, _skip(layer)) for layer, plane in enumerate(like.skips)),
        None if like.mid is None else all_of(like.mid, lambda part: part.mid),
        tuple(all_of(plane, _block(layer)) for layer, plane in enumerate(like.blocks)),
    )


def _skip(layer: int) -> Callable[[Residuals], Plane]:
    return lambda part: part.skips[layer]


def _block(layer: int) -> Callable[[Residuals], Plane]:
    return lambda part: part.blocks[layer]
