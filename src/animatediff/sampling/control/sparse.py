"""Control with hints for a few frames: SparseCtrl (arXiv 2311.16933), also in windows without any."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from animatediff.model.control.network import Embedded
from animatediff.model.control.residuals import Residuals
from animatediff.model.control.sparse_control import SparseControl
from animatediff.sampling.ask import Ask
from animatediff.sampling.control.asked import question_of
from animatediff.sampling.control.counted import Counted
from animatediff.sampling.text.conditions import Texts


@dataclass(frozen=True)
class SparseHints:
    """A SparseCtrl network, and the frames that its hints are for.

    Attributes:
        network: makes residuals.
        embedded: what it made of the hints, and last of a frame without one.
        places: the number of the hint of each frame that has one.
        hinted: a further strength of frames with a hint.
        others: a further strength of frames without one.
        nearest: whether a window without a hint is given the nearest.
        counted: how much the residuals count.
        texts: the prompts of the animation.
        dtype: in which the network computes.
    """

    network: SparseControl
    embedded: Embedded
    places: Mapping[int, int]
    hinted: float
    others: float
    nearest: bool
    counted: Counted
    texts: Texts
    dtype: torch.dtype

    def __call__(self, ask: Ask, /) -> Residuals:
        """What is added for an ask; nothing at all where nothing counts."""
        if self.counted.nowhere(ask):
            return Residuals()
        given = hints_in_window(ask.frames.tolist(), self.places, nearest=self.nearest)
        empty = len(self.embedded[0]) - 1
        rows = [empty if hint is None else hint for hint in given]
        further = self._further(given)
        if not bool(further.any()):
            return Residuals()
        question = question_of(ask, self.texts, dtype=self.dtype)
        found = self.network(question, tuple(each[rows] for each in self.embedded))
        return self.counted.of(found, ask, further=further)

    def _further(self, given: Sequence[int | None]) -> Float[Tensor, " f"]:
        return torch.tensor([self.others if hint is None else self.hinted for hint in given])


def hints_in_window(
    frames: Sequence[int], places: Mapping[int, int], *, nearest: bool
) -> list[int | None]:
    """The hint of each frame of a window, ``None`` where it has none.

    A window that holds hints uses those. One that holds none is, with ``nearest``, given the hint
    closest to it: on its first frame if that one is closer to its hint than the last frame is, on its
    last frame if that one is closer. If both are as close, a single hint goes to the middle of the
    window, and of several each end gets its own.

    Args:
        frames: of the window.
        places: the number of the hint of each frame that has one.
        nearest: whether a window without hints is given one.
    """
    given = [places.get(frame) for frame in frames]
    if not nearest or not places or any(hint is not None for hint in given):
        return given
    first, last = (min(places, key=lambda place: (abs(place - end), place)) for end in
                   (frames[0], frames[-1]))  # fmt: skip
    to_first, to_last = abs(first - frames[0]), abs(last - frames[-1])
    if to_first < to_last:
        given[0] = places[first]
    elif to_last < to_first:
        given[-1] = places[last]
    elif len(places) == 1:
        given[len(given) // 2] = places[first]
    else:
        given[0], given[-1] = places[first], places[last]
    return given
