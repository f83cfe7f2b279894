"""Layers that compute the same in another way for a while: what a fast path is made of.

The layer keeps its class, its weights and their names, and its hooks run as ever; only what it does
when called is another function, until ``remove``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn


class Replaced:
    """Layers whose ``forward`` is another function until ``remove``."""

    def __init__(self) -> None:
        self._layers: list[nn.Module] = []

    def put(self, layer: nn.Module, forward: Callable[..., Any]) -> None:
        """Let ``layer`` compute ``forward``, which must equal what it computes by itself."""
        layer.forward = forward
        self._layers.append(layer)

    def remove(self) -> None:
        """Let every layer compute by itself again; harmless if repeated."""
        for layer in self._layers:
            vars(layer).pop("forward", None)
        self._layers.clear()

    def __len__(self) -> int:
        return len(self._layers)

    def __repr__(self) -> str:
        return f"{len(self)} layers compute in another way"
