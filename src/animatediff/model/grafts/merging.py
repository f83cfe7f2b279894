"""Merging: changes of weights become part of the weights for a while, and come off exactly.

Image LoRAs, the domain adapter and MotionLoRAs are all merged here. A merged change costs nothing at
the denoising steps, and weights come back bit for bit because they are exchanged, never subtracted.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from typing import TypeVar, cast

import torch
from torch import Tensor, nn

from animatediff.model.eight_bits import expanded, like, stored_in
from animatediff.model.grafts.weight_delta import Change, shaped_like

ScaledChanges = tuple[Iterable[Change], float]
"""Changes that belong together, such as a LoRA's, and how much of them."""

Weights = Mapping[nn.Parameter, Tensor]
"""Values of parameters."""

Kept = TypeVar("Kept", bound=Tensor)
"""A parameter or a buffer."""


def merged(sets: Iterable[ScaledChanges]) -> dict[nn.Parameter, Tensor]:
    """Compute the values that parameters have with changes merged into them.

    Every change is computed for the weight as it is now. Changes of one weight are summed in fp32, in
    the order of the sets, and rounded once; a weight in 8 bits is expanded first. A weight that is
    changed at a scale of 0 only keeps its own value.

    Raises:
        ValueError: a change has another shape than its weight.
    """
    wanted: dict[nn.Parameter, list[tuple[Change, float]]] = {}
    for changes, scale in sets:
        for change in changes:
            weight = cast(nn.Parameter, getattr(change.layer, change.parameter))
            wanted.setdefault(weight, []).append((change, scale))
    # Tensors of inference mode would have a compiled model compiled again.
    with torch.inference_mode(False), torch.no_grad():
        return {weight: _merged(weight.data, changes) for weight, changes in wanted.items()}


def _merged(own: Tensor, changes: Iterable[tuple[Change, float]]) -> Tensor:
    scaled = [(change, scale) for change, scale in changes if scale]
    if not scaled:
        return own
    plain = expanded(own)
    deltas = [shaped_like(plain, change.delta.of(plain, scale=scale)) for change, scale in scaled]
    return like(own, plain.float() + sum(deltas[1:], deltas[0]))


@contextmanager
def exchanged(weights: Mapping[Kept, Tensor]) -> Generator[None]:
    """Give parameters or buffers these values inside this context; nothing is computed or copied."""
    new = {
        part: value_part.data
        for weight, value in weights.items()
        for part, value_part in zip(stored_in(weight), stored_in(value), strict=True)
    }
    own = {part: part.data for part in new}
    try:
        for part, value in new.items():
            part.data = value
        yield
    finally:
        for part, value in own.items():
            part.data = value
