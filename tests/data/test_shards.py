"""Shards: what is written is what is read, and motion words say what moves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from animatediff.data.shards import Sample, on_white, read_shards, write_shards
from animatediff.errors import FileError
from animatediff.world.art.motion_words import motion_of


def picture(seed: int, *, frames: int = 1) -> Sample:
    pixels = np.random.default_rng(seed).integers(0, 256, (frames * 8, 8, 4), dtype=np.uint8)
    return Sample(f"key_{seed}", {"label": "ñandú 🦤", "frames": frames}, pixels)


def test_samples_come_back_bit_for_bit_and_in_order(tmp_path: Path) -> None:
    samples = [picture(i, frames=1 + i % 3) for i in range(5)]
    assert write_shards(samples, tmp_path / "deep", per_shard=2) == 5
    back = list(read_shards(tmp_path))
    assert [s.key for s in back] == [s.key for s in samples]
    assert all(np.array_equal(a.image, b.image) for a, b in zip(samples, back, strict=True))
    assert back[0].meta["label"] == "ñandú 🦤"
    assert back[2].frames().shape == (3, 8, 8, 4)


def test_a_folder_without_shards_says_how_to_make_them(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="animatediff dataset emoji"):
        list(read_shards(tmp_path))


def test_compositing_on_white() -> None:
    rgba = np.array([[0, 0, 0, 255], [10, 20, 30, 0], [0, 0, 0, 51]], dtype=np.uint8)
    assert on_white(rgba).tolist() == [[0, 0, 0], [255, 255, 255], [204, 204, 204]]


def moving_box(shift_x: int, shift_y: int, grow: int) -> np.ndarray:
    frames = np.zeros((8, 64, 64, 4), dtype=np.uint8)
    for i in range(8):
        phase = np.sin(2 * np.pi * i / 8)
        x, y = 24 + round(shift_x * phase), 20 + round(shift_y * phase)
        side = 12 + round(grow * phase)
        frames[i, y : y + 2 * side, x : x + side] = 255
    return frames


@pytest.mark.parametrize(
    ("box", "phrase"),
    [
        ((8, 0, 0), "swaying from side to side"),
        ((0, 8, 0), "bouncing up and down"),
        ((0, 0, 5), "growing and shrinking"),
        ((0, 0, 0), "moving in place"),
    ],
)
def test_motion_is_named_after_what_moves(box: tuple[int, int, int], phrase: str) -> None:
    assert motion_of(moving_box(*box)).phrase == phrase
