"""Residuals: what control networks add inside an image U-Net, and how several are summed.

ControlNet and SparseCtrl (arXiv 2302.05543, 2311.16933) add to the skip connections and after the
middle block; T2I-Adapter (arXiv 2302.08453) adds at the end of each down block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

Plane = Float[Tensor, "bf _ _ _"]
"""Features of every frame, the frames of one clip adjacent; each layer has a size of its own."""


@dataclass(frozen=True)
class Residuals:
    """Tensors that a U-Net adds to its own features; every field may be empty.

    Attributes:
        skips: one for each skip connection, the shallowest first (12 in Stable Diffusion 1.5, 9 in
            SDXL).
        mid: added after the middle block.
        blocks: one for the end of each down block, of a T2I-Adapter.
    """

    skips: tuple[Plane, ...] = ()
    mid: Plane | None = None
    blocks: tuple[Plane, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.skips) or self.mid is not None or bool(self.blocks)

    def each(self, change: Callable[[int, Plane], Plane]) -> Residuals:
        """Change every tensor; ``change`` gets its layer, from 0, and the middle block's is last.

        The layers of ``blocks`` are counted from 0 as well.
        """
        return Residuals(
            tuple(change(layer, plane) for layer, plane in enumerate(self.skips)),
            None if self.mid is None else change(len(self.skips), self.mid),
            tuple(change(layer, plane) for layer, plane in enumerate(self.blocks)),
        )


def summed(several: Iterable[Residuals]) -> Residuals:
    """The sum of residuals for the same U-Net, added in the order given."""
    total = Residuals()
    for one in several:
        total = Residuals(
            _added(total.skips, one.skips),
            one.mid if total.mid is None else total.mid if one.mid is None else total.mid + one.mid,
            _added(total.blocks, one.blocks),
        )
    return total


def _added(first: tuple[Plane, ...], second: tuple[Plane, ...]) -> tuple[Plane, ...]:
    if not first or not second:
        return first or second
    return tuple(a + b for a, b in zip(first, second, strict=True))
