"""Build networks without values, which are read from a file afterwards."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

_DRAWS = (Tensor.normal_, Tensor.uniform_)


@contextmanager
def without_values() -> Generator[None]:
    """Make every new tensor on the meta device, and leave out what would fill it."""
    with torch.device("meta"), _NoValues():
        yield


class _NoValues(TorchFunctionMode):
    """Leaves out the values of new tensors: on the meta device there are none.

    torch would otherwise import its compiler, to find out that there is nothing to do.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        named = kwargs or {}
        if func in _DRAWS or getattr(func, "__module__", "") == nn.init.__name__:
            return args[0] if args else named["tensor"]
        if func is torch.arange and not named and all(isinstance(arg, int) for arg in args):
            return torch.empty(len(range(*args)), dtype=torch.int64)
        return func(*args, **named)
