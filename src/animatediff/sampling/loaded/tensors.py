"""The tensors and networks in loaded values, wherever they are kept."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn


def tensors_in(value: Any) -> Iterator[Tensor]:
    """Every tensor in a network, a loaded file, or several of them; one that is shared comes again."""
    for found in _found(value):
        if isinstance(found, Tensor):
            yield found
        else:
            yield from found.parameters()
            yield from found.buffers()


def networks_in(value: Any) -> Iterator[nn.Module]:
    """Every network in a loaded file, or several of them; one that is shared comes again."""
    return (found for found in _found(value) if isinstance(found, nn.Module))


def _found(value: Any) -> Iterator[Tensor | nn.Module]:
    if isinstance(value, Tensor | nn.Module):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _found(each)
    elif isinstance(value, tuple | list):
        for each in value:
            yield from _found(each)
    elif dataclasses.is_dataclass(value) and not isinstance(value, Path | type):
        for field in dataclasses.fields(value):
            yield from _found(getattr(value, field.name))
