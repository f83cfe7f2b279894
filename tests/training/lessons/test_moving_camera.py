"""A camera that moves over a share of the clips, as the captions tell."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from animatediff.data.camera import PATTERNS
from animatediff.data.footage import EncodedFootage
from animatediff.errors import InputError
from animatediff.runtime import seeded
from animatediff.training.lessons.moving_camera import WORDS, now_and_then_filmed
from animatediff.world.art.clips import WorldClips

SIZE, FRAMES, DRAWS = 16, 8, 240


@pytest.fixture(scope="module")
def clips() -> WorldClips:
    """One clip of a sharp corner that does not move."""
    frames = np.full((FRAMES, SIZE, SIZE, 3), 255, np.uint8)
    frames[:, : SIZE // 2, : SIZE // 2] = 0
    meta = {"label": "corner", "tags": [], "style_phrase": "flat style", "motion": "waving"}
    return WorldClips((frames,), (meta,), SIZE, None, 0.35, None)


def test_a_share_is_filmed_by_every_pattern_and_its_caption_tells(clips: WorldClips) -> None:
    some = now_and_then_filmed(clips, 0.5)
    told: set[str] = set()
    filmed = 0
    for draw in range(DRAWS):
        seen = some.footage(0, num_frames=FRAMES, generator=seeded(draw))
        assert not isinstance(seen, EncodedFootage)
        words = [phrase for phrase in WORDS.values() if seen.caption.endswith(f", {phrase}")]
        moves = bool((seen.frames != seen.frames[:1]).any())
        assert moves == bool(words)
        filmed += moves
        told.update(words)
    assert told == set(WORDS.values())
    assert abs(filmed / DRAWS - 0.5) < 0.15
    assert tuple(WORDS) == PATTERNS


def test_the_same_draw_is_the_same_footage_and_no_share_is_the_clips(clips: WorldClips) -> None:
    some = now_and_then_filmed(clips, 1.0)
    once, again = (some.footage(0, num_frames=4, generator=seeded(5)) for _ in range(2))
    assert once.caption == again.caption
    assert np.array_equal(once.frames, again.frames)  # pyright: ignore[reportAttributeAccessIssue]
    assert now_and_then_filmed(clips, 0.0) is clips
    prints = {now_and_then_filmed(clips, share).fingerprint() for share in (0.0, 0.3, 0.5)}
    assert len(prints) == 3


class Encoded:
    """Clips that were encoded before."""

    def __len__(self) -> int:
        return 1

    def footage(self, index: int, *, num_frames: int, generator: torch.Generator) -> EncodedFootage:
        """None of them is asked for."""
        raise AssertionError

    def fingerprint(self) -> str:
        """Of nothing."""
        return ""


def test_what_cannot_be_filmed_is_told(clips: WorldClips) -> None:
    for share in (-0.1, 1.5, float("nan")):
        with pytest.raises(InputError, match="from 0 to 1"):
            now_and_then_filmed(clips, share)
    with pytest.raises(InputError, match="built from"):
        now_and_then_filmed(Encoded(), 0.3)
