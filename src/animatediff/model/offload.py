"""Weights that wait in one memory while another computes, so that a GPU needs room for one layer's.

A layer's weights are copied to the computing device when the layer is called, and the copies are
dropped when it returns. What a layer computes does not change. Weights are read where they wait:
LoRAs are merged there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from animatediff.model.fast.replaced import Replaced
from animatediff.model.grafts.merging import exchanged

Bring = Callable[[Tensor], Tensor]
"""Copies a weight to the computing device."""


class Offload:
    """Networks whose weights are on the computing device one layer at a time, until ``remove``.

    Enter it after everything that replaces how a layer is computed, and remove it before.

    Args:
        networks: every layer of theirs; where its weights are now is where they wait.
        bring: copies a weight to the computing device.
    """

    def __init__(self, networks: Iterable[nn.Module], *, bring: Bring) -> None:
        self._bring = bring
        self._replaced = Replaced()
        for layer in layers_of(networks):
            self._replaced.put(layer, self._brought(layer))

    def _brought(self, layer: nn.Module) -> Callable[..., Any]:
        compute = layer.forward

        def forward(*arguments: Any, **keywords: Any) -> Any:
            with exchanged(self._copies(layer)):
                return compute(*arguments, **keywords)

        return forward

    def _copies(self, layer: nn.Module) -> dict[Tensor, Tensor]:
        return {weight: self._copy(weight) for weight in weights_of(layer)}

    def _copy(self, weight: Tensor) -> Tensor:
        # What stands in for a tensor of inference mode must be one too, and for another must not.
        with torch.inference_mode(weight.is_inference()), torch.no_grad():
            return self._bring(weight.data)

    def remove(self) -> None:
        """Let every layer compute where its weights are; harmless if repeated."""
        self._replaced.remove()

    def __len__(self) -> int:
        return len(self._replaced)


def layers_of(networks: Iterable[nn.Module]) -> Iterator[nn.Module]:
    """Yield every layer of some networks that has weights of its own, each once."""
    seen: set[nn.Module] = set()
    for network in networks:
        for layer in network.modules():
            if layer not in seen and any(True for _ in weights_of(layer)):
                yield layer
            seen.add(layer)


def weights_of(layer: nn.Module) -> Iterator[Tensor]:
    """Yield what a layer computes with: its own parameters and buffers."""
    # torch's own attention reads the weight of its output layer without calling that layer.
    whole = isinstance(layer, nn.MultiheadAttention)
    yield from layer.parameters(recurse=whole)
    yield from layer.buffers(recurse=whole)


def copies_to(device: torch.device) -> Bring:
    """Return what copies a weight to a device."""
    return lambda weight: weight.to(device)
