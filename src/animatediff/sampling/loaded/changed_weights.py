"""Merge LoRAs, domain adapter and MotionLoRAs into the weights for one animation.

Files with one scale, or a scale that changes over the steps, are merged and add no work to a step.
Files with a scale for each frame stay branches beside their layers, because all frames share weights.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from animatediff.model.grafts.graft import Grafts
from animatediff.model.grafts.low_rank import changes_of
from animatediff.model.grafts.merging import Weights, exchanged, merged
from animatediff.model.grafts.weight_delta import Change
from animatediff.sampling.ask import Around, Ask, Latents, PredictNoise
from animatediff.sampling.options.scale import Scale
from animatediff.sampling.settled import Settled
from animatediff.weights.adapters import LoadedLowRank
from animatediff.weights.lora import LoadedLora

Unmoved = Callable[[Ask], AbstractContextManager[None]]
"""Inside this context, the model has no MotionLoRA, or less of it."""


@dataclass(frozen=True)
class ChangedWeights:
    """The changed weights of one animation.

    Attributes:
        around: sets the scales for each ask, if any changes over steps or frames.
        unmoved: context without the share of MotionLoRAs that motion guidance pulls towards.
    """

    around: Around
    unmoved: Unmoved | None


@dataclass(frozen=True)
class _Part:
    """One file's changes.

    Attributes:
        path: the file.
        changes: of the weights.
        scale: of the changes.
        left: the share that stays inside ``unmoved``; 1 for everything but MotionLoRAs.
        grafts: its branches; ``None`` for a LoRA.
    """

    path: Path
    changes: Sequence[Change]
    scale: Scale
    left: float
    grafts: tuple[Grafts, ...]


class _MergedWeights:
    """Merges parts into the weights step by step; keeps the last step's result."""

    def __init__(self, parts: Sequence[_Part], *, steps: int, unmoved: bool) -> None:
        self.parts = [part for part in parts if part.scale.over != "frames"]
        self.steps = steps
        self.unmoved = unmoved
        every = [change for part in self.parts for change in part.changes]
        self.own = {_weight(change): _weight(change).data for change in every}
        self._scales: list[float] = []
        self._weights: Weights = {}

    def at(self, step: int) -> Weights:
        """Merge the weights of a step, if a scale differs from the previous step."""
        scales = [
            part.scale.at_step(step, steps=self.steps) * (part.left if self.unmoved else 1)
            for part in self.parts
        ]
        if scales != self._scales:
            self._weights = {}  # so that there is memory for the next
            with torch.inference_mode(False), exchanged(self.own):
                sets = zip((part.changes for part in self.parts), scales, strict=True)
                self._weights = merged(sets)
            self._scales = scales
        return self._weights


@contextmanager
def changed_weights(
    settled: Settled,
    *,
    styles: Sequence[LoadedLora],
    adapter: LoadedLowRank | None,
    motion_loras: Sequence[LoadedLowRank],
) -> Generator[ChangedWeights]:
    """Merge everything that a request adds to the weights, while the context lasts.

    Text is encoded with the weights of the first step.

    Args:
        settled: the request, with the scales.
        styles: its LoRAs, in the order of ``settled.styles``.
        adapter: the loaded domain adapter.
        motion_loras: the loaded MotionLoRAs.
    """
    parts = [
        _Part(path, style.changes, scale, 1.0, ())
        for (path, scale), style in zip(settled.styles, styles, strict=True)
    ]
    if adapter is not None:
        parts.append(_part(adapter, settled.alpha, left=1.0))
    moves = [
        _part(each, scale, left=1 - pull)
        for each, scale, pull in zip(
            motion_loras, settled.motion_scales, settled.motion_pulls, strict=True
        )
    ]
    # Sums are rounded, so the same files are always added in the same order.
    parts = sorted((*parts, *moves), key=lambda part: str(part.path))
    live = [part for part in parts if part.scale.over == "frames"]
    weights = _MergedWeights(parts, steps=settled.steps, unmoved=False)
    pulls = settled.is_guided and any(part.left != 1 and not part.scale.is_zero for part in moves)
    unmoved = _unmoved(parts, moves, steps=settled.steps) if pulls else None
    changes_over_steps = any(part.scale.over == "steps" for part in parts)

    def around(predict_noise: PredictNoise) -> PredictNoise:
        def predict(ask: Ask) -> Latents:
            with ExitStack() as stack:
                if changes_over_steps:
                    stack.enter_context(exchanged(weights.at(ask.step)))
                for part in live:
                    scales = torch.tensor(part.scale.of_frames(ask.frames.tolist()))
                    for grafts in part.grafts:
                        stack.enter_context(grafts.over_frames(scales))
                return predict_noise(ask)

        return predict if changes_over_steps or live else predict_noise

    with ExitStack() as stack:
        for part in parts:
            for grafts in part.grafts:
                stack.enter_context(grafts.at(1.0 if part in live else 0.0))
        stack.enter_context(exchanged(weights.at(0)))
        yield ChangedWeights(around, unmoved)


def _unmoved(parts: Sequence[_Part], moves: Sequence[_Part], *, steps: int) -> Unmoved:
    """Reduce the MotionLoRAs to the share ``left``; other weights do not change."""
    moved = {_weight(change) for part in moves for change in part.changes}
    touching = [
        _Part(
            part.path,
            [change for change in part.changes if _weight(change) in moved],
            part.scale,
            part.left,
            part.grafts,
        )
        for part in parts
    ]
    weights = _MergedWeights(touching, steps=steps, unmoved=True)

    @contextmanager
    def unmoved(ask: Ask) -> Generator[None]:
        with ExitStack() as stack:
            stack.enter_context(exchanged(weights.at(ask.step)))
            for part in moves:
                for grafts in part.grafts if part.scale.over == "frames" else ():
                    stack.enter_context(grafts.at(part.left))
            yield

    return unmoved


def _part(loaded: LoadedLowRank, scale: Scale, *, left: float) -> _Part:
    return _Part(loaded.file.header.path, changes_of(loaded.grafts), scale, left, (loaded.grafts,))


def _weight(change: Change) -> nn.Parameter:
    weight = getattr(change.layer, change.parameter)
    assert isinstance(weight, nn.Parameter)
    return weight
