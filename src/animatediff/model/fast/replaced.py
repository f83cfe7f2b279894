"""Layers whose forward function is replaced for a while; every fast path uses this.

A layer keeps its class, its weights and their names, and its hooks still run. Only its ``forward``,
or another of its methods, is another function, until ``remove``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn


class Replaced:
    """Layers with a replaced ``forward``, until ``remove``."""

    def __init__(self) -> None:
        self._before: list[tuple[nn.Module, str, Any]] = []

    def put(
        self, layer: nn.Module, function: Callable[..., Any], *, method: str = "forward"
    ) -> None:
        """Replace a method of ``layer`` with ``function``, which must compute the same.

        What another fast path put there before is restored by ``remove``.
        """
        self._before.append((layer, method, vars(layer).get(method)))
        # Not by assignment, which nn.Module would make a submodule of a function that is a module.
        vars(layer)[method] = function

    def join(self, other: Replaced) -> None:
        """Take over what another one replaced after this one."""
        self._before += other._before
        other._before = []

    def remove(self) -> None:
        """Restore every layer's own methods; may be called again."""
        for layer, method, before in reversed(self._before):
            vars(layer).pop(method, None)
            if before is not None:
                vars(layer)[method] = before
        self._before.clear()

    def __len__(self) -> int:
        return len(self._before)

    def __repr__(self) -> str:
        return f"{len(self)} layers with a replaced function"


def is_hooked(layer: nn.Module) -> bool:
    """Return whether something is attached to ``layer`` that must see its inputs and outputs."""
    own = vars(layer)
    return bool(own["_forward_hooks"] or own["_forward_pre_hooks"])


def is_hooked_inside(layer: nn.Module) -> bool:
    """Return whether something is attached to a part of ``layer``."""
    return any(is_hooked(inner) for inner in layer.modules() if inner is not layer)
