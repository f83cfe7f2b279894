"""A stand-in for a GPU on a machine without one: the same memory, told apart as two.

What waits is marked. As with a CPU and a GPU, an operation raises if it reads what waits together with
what does not, and what it makes from what waits, waits. Only ``bring`` copies from one to the other.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

_MAY_MIX = ("aten.copy_", "aten.equal", "aten._has_compatible_shallow_copy_type")
"""What torch allows between devices, or what tests do themselves."""


class TwoMemories(TorchDispatchMode):
    """Raises where waiting weights are computed with, until the ``with`` block ends.

    Args:
        waiting: tensors that wait.

    Attributes:
        brought: how many weights were copied.
        here: bytes of the copies that are there now.
        most: the most of them at any time.
    """

    def __init__(self, waiting: Iterable[Tensor]) -> None:
        super().__init__()
        self.brought = self.here = self.most = 0
        self._waiting: set[int] = set()
        self._copying = False
        for tensor in waiting:
            self._mark(tensor)

    def bring(self, weight: Tensor) -> Tensor:
        """Copy a weight to where it is computed with; as it is if it is there."""
        if not self._waits(weight):
            return weight
        self._copying = True
        copy = weight.clone()
        self._copying = False
        size = copy.nbytes
        self.brought += 1
        self.here += size
        self.most = max(self.most, self.here)
        weakref.finalize(copy.untyped_storage(), self._leave, size)
        return copy

    def _leave(self, size: int) -> None:
        self.here -= size

    def _waits(self, tensor: Tensor) -> bool:
        return tensor.untyped_storage().data_ptr() in self._waiting

    def _mark(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        place = storage.data_ptr()
        if storage.nbytes() and place not in self._waiting:
            self._waiting.add(place)
            weakref.finalize(storage, self._waiting.discard, place)

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run an operation, if a GPU could."""
        made = func(*args, **(kwargs or {}))
        if self._copying:
            return made
        given = [each for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)]
        here = [each for each in given if not self._waits(each) and each.ndim > 0]
        waiting = [each for each in given if self._waits(each)]
        if waiting and here and not str(func).startswith(_MAY_MIX):
            shapes = [tuple(each.shape) for each in waiting]
            raise AssertionError(f"{func} reads {shapes}, which wait, with what does not.")
        if waiting:
            for each in tree_leaves(made):
                if isinstance(each, Tensor):
                    self._mark(each)
        return made
