"""The weights of one animation: LoRAs, domain adapter and MotionLoRAs, merged at its scales."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from animatediff.model.low_rank import changes_of
from animatediff.model.merging import exchanged, merged
from animatediff.model.weight_delta import Change
from animatediff.sampling.settled import Settled
from animatediff.weights.adapters import LoadedLowRank
from animatediff.weights.lora import Style

Unmoved = Callable[[], AbstractContextManager[None]]
"""Inside this context, the model has no MotionLoRA, or less of it."""


@dataclass(frozen=True)
class _Part:
    """One file's changes.

    Attributes:
        path: the file.
        changes: of the weights.
        scale: how much of them.
        unmoved: how much of them is left where guidance pulls towards the motion.
    """

    path: Path
    changes: Sequence[Change]
    scale: float
    unmoved: float


@contextmanager
def changed_weights(
    settled: Settled,
    *,
    styles: Sequence[Style],
    adapter: LoadedLowRank | None,
    motion_loras: Sequence[LoadedLowRank],
) -> Generator[Unmoved | None]:
    """Merge everything that a request adds to the weights, inside this context.

    Args:
        settled: the request; it has the scales.
        styles: its LoRAs, in the order of ``settled.styles``.
        adapter: the domain adapter in place.
        motion_loras: the MotionLoRAs in place.

    Yields:
        How to take off the share of MotionLoRAs that guidance pulls to; ``None`` if it pulls to none.
    """
    parts = [
        _Part(path, style.changes, scale, scale)
        for (path, scale), style in zip(settled.styles, styles, strict=True)
    ]
    if adapter is not None:
        parts.append(_part(adapter, settled.alpha))
    moves = [
        _part(each, scale, pull)
        for each, scale, pull in zip(
            motion_loras, settled.motion_scales, settled.motion_pulls, strict=True
        )
    ]
    # Sums are rounded, so the same files are always added in the same order.
    parts = sorted((*parts, *moves), key=lambda part: str(part.path))
    unmoved = None
    if settled.is_guided and any(part.unmoved != part.scale for part in moves):
        moved = {_weight(change) for part in moves for change in part.changes}
        left = [
            ([change for change in part.changes if _weight(change) in moved], part.unmoved)
            for part in parts
        ]
        unmoved = partial(exchanged, merged(left))
    with ExitStack() as stack:
        for loaded in (*motion_loras, *([adapter] if adapter is not None else [])):
            stack.enter_context(loaded.grafts.at(0.0))
        stack.enter_context(exchanged(merged((part.changes, part.scale) for part in parts)))
        yield unmoved


def _part(loaded: LoadedLowRank, scale: float, pull: float = 0.0) -> _Part:
    unmoved = scale * (1 - pull)
    return _Part(loaded.file.header.path, changes_of(loaded.grafts), scale, unmoved)


def _weight(change: Change) -> tuple[int, str]:
    return id(change.layer), change.parameter
