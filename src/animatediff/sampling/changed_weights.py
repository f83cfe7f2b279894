"""The weights of one animation: LoRAs, domain adapter and MotionLoRAs, merged at its scales."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial

from animatediff.model.low_rank import exchanged, merged, merged_weights
from animatediff.model.weight_delta import merged_deltas
from animatediff.sampling.settled import Settled
from animatediff.weights.adapters import LoadedLowRank
from animatediff.weights.lora import Style

Unmoved = Callable[[], AbstractContextManager[None]]
"""While it lasts, the model has no MotionLoRA, or less of it."""


@contextmanager
def changed_weights(
    settled: Settled,
    *,
    styles: Sequence[tuple[Style, float]],
    adapter: LoadedLowRank | None,
    motion_loras: Sequence[LoadedLowRank],
) -> Generator[Unmoved | None]:
    """Merge everything that a request adds to the weights, which cost nothing at the steps then.

    Args:
        settled: the request; it has the scales.
        styles: its LoRAs, and how much of each.
        adapter: the domain adapter in place.
        motion_loras: the MotionLoRAs in place.

    Yields:
        How to take off the share of MotionLoRAs that guidance pulls to; ``None`` if it pulls to none.
    """
    scaled = list(zip(motion_loras, settled.motion_scales, strict=True))
    if adapter is not None:
        scaled.insert(0, (adapter, settled.alpha))
    with ExitStack() as stack:
        stack.enter_context(merged_deltas((style.changes, scale) for style, scale in styles))
        # Sums are rounded, so the same MotionLoRAs are always added in the same order.
        pulls = dict(zip(map(id, motion_loras), settled.motion_pulls, strict=True))
        ordered = sorted(scaled, key=lambda each: str(each[0].file.header.path))
        moves = [(each, scale, pulls[id(each)]) for each, scale in ordered if id(each) in pulls]
        unmoved = None
        if settled.is_guided and any(scale * pull for _, scale, pull in moves):
            weights = merged_weights(
                [(each.grafts, scale * (1 - pull)) for each, scale, pull in moves]
            )
            unmoved = partial(exchanged, weights)
        for each, scale in ordered:
            each.grafts.scale = scale
            if scale != 0:
                stack.enter_context(merged(each.grafts))
        yield unmoved
