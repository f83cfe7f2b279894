"""The weights of one animation: LoRAs, domain adapter and MotionLoRAs, merged at its scales.

What has one scale, or one that changes over the steps, is merged into the weights and costs nothing at
a step. What has another scale for each frame stays a branch beside its layer, because all frames share
their weights.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from animatediff.model.graft import Grafts
from animatediff.model.low_rank import changes_of
from animatediff.model.merging import Weights, exchanged, merged
from animatediff.model.weight_delta import Change
from animatediff.sampling.ask import Around, Ask, Latents, PredictNoise
from animatediff.sampling.scale import Scale
from animatediff.sampling.settled import Settled
from animatediff.weights.adapters import LoadedLowRank
from animatediff.weights.lora import LoadedLora

Unmoved = Callable[[Ask], AbstractContextManager[None]]
"""Inside this context, the model has no MotionLoRA, or less of it."""


@dataclass(frozen=True)
class ChangedWeights:
    """Weights of one animation that are in place.

    Attributes:
        around: gives each ask its scales, if any changes over steps or frames.
        unmoved: takes off the share of MotionLoRAs that guidance pulls to, if it pulls to any.
    """

    around: Around
    unmoved: Unmoved | None


@dataclass(frozen=True)
class _Part:
    """One file's changes.

    Attributes:
        path: the file.
        changes: of the weights.
        scale: how much of them.
        left: the share that is left where guidance pulls towards the motion; 1 for other changes.
        grafts: its branches; none of a LoRA.
    """

    path: Path
    changes: Sequence[Change]
    scale: Scale
    left: float
    grafts: tuple[Grafts, ...]


class _MergedWeights:
    """Weights with parts merged into them, step by step; those of the last step are kept."""

    def __init__(self, parts: Sequence[_Part], *, steps: int, unmoved: bool) -> None:
        self.parts = [part for part in parts if part.scale.over != "frames"]
        self.steps = steps
        self.unmoved = unmoved
        every = [change for part in self.parts for change in part.changes]
        self.own = {_weight(change): _weight(change).data for change in every}
        self._scales: list[float] = []
        self._weights: Weights = {}

    def at(self, step: int) -> Weights:
        """The weights of a step, computed again only if a scale differs from the step before."""
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
    """Merge everything that a request adds to the weights, inside this context.

    The weights that text is encoded with are those of the first step.

    Args:
        settled: the request; it has the scales.
        styles: its LoRAs, in the order of ``settled.styles``.
        adapter: the domain adapter in place.
        motion_loras: the MotionLoRAs in place.
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
    """Leave less of the MotionLoRAs; weights that they do not change stay what they are."""
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
