"""Control of some frames at a time equals control of all."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from animatediff.model.control.residuals import Residuals
from animatediff.sampling.ask import WITH_PROMPT, Ask
from animatediff.sampling.control.dense import DenseControl
from animatediff.sampling.control.few_frames import few_at_a_time


class Numbered(DenseControl):
    """Residuals that are the numbers of the frames; nothing in frames from 4 on."""

    def __call__(self, ask: Ask, /) -> Residuals:
        frames = ask.frames[:, None, None, None].float().expand(-1, 2, 3, 3)
        counts = ask.frames < 4
        if not bool(counts.any()):
            return Residuals()
        frames = frames * counts[:, None, None, None]
        return Residuals((frames, 2 * frames), 3 * frames)


ASK = Ask(torch.zeros(1, 4, 7, 3, 3), torch.tensor(500), 0, WITH_PROMPT, torch.arange(7))


@pytest.mark.parametrize("together", [2, 4, 7])
def test_some_frames_at_a_time_equal_all_frames(together: int) -> None:
    control = Numbered.__new__(Numbered)
    whole, few = control(ASK), few_at_a_time(control, together=together)(ASK)
    for one, other in zip((*whole.skips, whole.mid), (*few.skips, few.mid), strict=True):
        assert one is not None
        assert other is not None
        assert torch.equal(one, other)


def test_where_nothing_counts_there_is_nothing() -> None:
    control = Numbered.__new__(Numbered)
    later = replace(ASK, frames=ASK.frames + 4)
    assert not few_at_a_time(control, together=2)(later)
