"""Layers whose forward function is replaced for a while; every fast path uses this.

A layer keeps its class, its weights and their names, and its hooks still run. Only its ``forward``
is another function, until ``remove``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn


class Replaced:
    """Layers with a replaced ``forward``, until ``remove``."""

    def __init__(self) -> None:
        self._layers: list[nn.Module] = []

    def put(self, layer: nn.Module, forward: Callable[..., Any]) -> None:
        """Replace the forward function of ``layer`` with ``forward``, which must compute the same."""
        layer.forward = forward
        self._layers.append(layer)

    def remove(self) -> None:
        """Restore every layer's own forward function; may be called again."""
        for layer in self._layers:
            vars(layer).pop("forward", None)
        self._layers.clear()

    def __len__(self) -> int:
        return len(self._layers)

    def __repr__(self) -> str:
        return f"{len(self)} layers with a replaced forward function"
