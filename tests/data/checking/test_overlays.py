"""Marks that stay in place are found on moving pictures, and what only looks like them is not."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw

from animatediff.data.checking.clip_facts import MARKED_ABOVE
from animatediff.data.checking.overlays import WIDTH, grey_size, overlay_share

HEIGHT = 144


def landscape(seed: int = 0, *, width: int = 3 * WIDTH) -> np.ndarray:
    """A wide picture with structure at every size."""
    draw = np.random.default_rng(seed)
    total = np.zeros((HEIGHT, width))
    for cells in (4, 8, 16, 32, 64):
        coarse = draw.integers(0, 256, (cells, cells * width // HEIGHT), np.uint8)
        total += np.asarray(
            Image.fromarray(coarse).resize((width, HEIGHT), Image.Resampling.BICUBIC)
        )
    return total / 5


def panned(seed: int = 0, *, count: int = 24, step: int = 12) -> list[np.ndarray]:
    wide = landscape(seed)
    return [wide[:, i * step : i * step + WIDTH] for i in range(count)]


def grey(frames: list[np.ndarray]) -> list[np.ndarray]:
    return [frame.clip(0, 255).astype(np.uint8) for frame in frames]


def stamped(frames: list[np.ndarray], *, opacity: float) -> list[np.ndarray]:
    """Frames with letters of a translucent white across their middle."""
    sheet = Image.new("L", (WIDTH, HEIGHT))
    ImageDraw.Draw(sheet).text((20, 50), "sample stock", fill=255, font_size=34)
    alpha = np.asarray(sheet) / 255 * opacity
    return [frame * (1 - alpha) + 255 * alpha for frame in frames]


def barred(frames: list[np.ndarray]) -> list[np.ndarray]:
    bars = [frame.copy() for frame in frames]
    for frame in bars:
        frame[:20] = frame[-20:] = 0
    return bars


def swaying() -> list[np.ndarray]:
    """A camera that stands still before a picture whose parts sway."""
    wide, draw = landscape(3), np.random.default_rng(1)
    return [
        wide[:, 100 + (shift := int(draw.integers(-1, 2))) : 100 + shift + WIDTH] for _ in range(24)
    ]


@pytest.mark.parametrize("opacity", [0.2, 0.35, 0.8])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_watermark_is_found_on_a_moving_picture(opacity: float, seed: int) -> None:
    assert overlay_share(grey(stamped(panned(seed), opacity=opacity))) > MARKED_ABOVE


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_moving_picture_has_none(seed: int) -> None:
    assert overlay_share(grey(panned(seed))) < MARKED_ABOVE / 5


def test_what_only_looks_like_a_mark_is_none() -> None:
    moving = panned()
    assert overlay_share(grey(barred(moving))) < MARKED_ABOVE / 5, "bars above and below"
    assert overlay_share(grey(swaying())) < MARKED_ABOVE / 5, "a camera that stands still"
    fade = [moving[0] * (0.3 + 0.03 * i) for i in range(24)]
    assert overlay_share(grey(fade)) == 0, "a picture that becomes brighter"


def test_too_few_frames_say_nothing() -> None:
    assert overlay_share([]) == 0
    assert overlay_share(grey(stamped(panned(count=5), opacity=0.8))) == 0
    assert overlay_share(grey([np.zeros((16, WIDTH))] * 24)) == 0


def test_a_clip_of_any_shape_has_a_size_to_be_looked_at() -> None:
    assert grey_size(596, 336) == (WIDTH, 144)
    assert grey_size(4000, 10) == (WIDTH, 16)
    assert grey_size(10, 4000) == (WIDTH, 512)
