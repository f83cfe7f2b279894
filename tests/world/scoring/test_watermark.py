"""The mark is found where it is, on drawings it was never set on, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw

from animatediff.errors import InputError
from animatediff.world.art.degraded import Degradation
from animatediff.world.scoring.watermark import WatermarkDetector, mark_strength


def drawings(seed: int, *, count: int = 40, size: int = 128) -> np.ndarray:
    """Coloured shapes on white, as emoji are."""
    draw = np.random.default_rng(seed)
    frames: list[np.ndarray] = []
    for _ in range(count):
        picture = Image.new("RGB", (size, size), "white")
        pen = ImageDraw.Draw(picture)
        for _ in range(6):
            left, top = draw.integers(5, 80, 2) * size // 128
            wide, high = draw.integers(8, 60, 2) * size // 128
            colour = tuple(int(c) for c in draw.integers(0, 255, 3))
            shape = pen.ellipse if draw.random() < 0.5 else pen.rectangle
            shape((left, top, left + wide, top + high), fill=colour)
        frames.append(np.asarray(picture))
    return np.stack(frames)


@pytest.mark.parametrize("size", [64, 128])
def test_marked_frames_are_told_from_clean_ones_that_were_never_seen(size: int) -> None:
    clean, marked = Degradation(marked=False), Degradation()
    seen, unseen = drawings(0, size=size), drawings(1, size=size)
    detector = WatermarkDetector.learned(clean=clean(seen), marked=marked(seen))
    assert detector.hits > 0.95
    assert detector.false_alarms <= 0.03
    assert detector.rate(marked(unseen)) > 0.9
    assert detector.rate(clean(unseen)) < 0.05
    assert detector.rate(unseen) < 0.05


def test_a_fainter_mark_is_less_of_one() -> None:
    frames = drawings(2, count=8)
    marked = Degradation()(frames)
    clean = Degradation(marked=False)(frames)
    half = ((marked.astype(int) + clean) // 2).astype(np.uint8)
    strengths = [mark_strength(x).mean() for x in (clean, half, marked)]
    assert strengths == sorted(strengths)


def test_both_kinds_of_frames_are_needed() -> None:
    frames = drawings(3, count=2)
    with pytest.raises(InputError, match="both"):
        WatermarkDetector.learned(clean=frames[:0], marked=frames)
