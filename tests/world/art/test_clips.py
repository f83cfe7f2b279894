"""The built-in world's clips as pixels: loops, camera, and stock footage's marks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from animatediff.data.shards import Sample, write_shards
from animatediff.errors import InputError
from animatediff.runtime import seeded
from animatediff.world.art.clips import WorldClips, read_world_clips
from animatediff.world.art.degraded import Degradation, watermark, with_watermark

SIZE, FRAMES = 32, 5


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four clips to learn from and one held out, each frame a grey of its own."""
    path = tmp_path_factory.mktemp("clips")

    def sample(number: int) -> Sample:
        strip = np.full((FRAMES, SIZE, SIZE, 4), 255, np.uint8)
        strip[..., :3] = (np.arange(FRAMES) * 40)[:, None, None, None]
        meta = {
            "hexcode": f"{number:x}",
            "label": f"thing {number}",
            "tags": [],
            "style_phrase": "3d style",
            "motion": "waving",
            "split": "test" if number == 4 else "train",
            "frames": FRAMES,
        }
        return Sample(f"{number}_clip", meta, strip.reshape(-1, SIZE, 4))

    write_shards((sample(n) for n in range(5)), path)
    return path


def test_windows_go_round_the_end_and_held_out_clips_stay_out(folder: Path) -> None:
    clips = read_world_clips(folder, size=SIZE)
    assert len(clips) == 4
    footage = clips.footage(0, num_frames=8, generator=seeded(0))
    greys = footage.frames[:, 0, 0, 0] // 40
    assert ((np.diff(greys.astype(int)) % FRAMES) == 1).all()
    assert "thing" in footage.caption
    assert "thing 4" not in {m["label"] for m in clips.meta}


def test_some_clips_are_chosen_in_an_order_that_stays(folder: Path) -> None:
    every = read_world_clips(folder, size=SIZE)
    two = read_world_clips(folder, size=SIZE, first=1, count=2)
    assert two.meta == every.meta[1:3]
    with pytest.raises(InputError, match="too few for 9"):
        read_world_clips(folder, size=SIZE, count=9)


def test_a_camera_films_them_and_the_watermark_stays_where_it_is(folder: Path) -> None:
    def footage(clips: WorldClips) -> np.ndarray:
        return clips.footage(0, num_frames=4, generator=seeded(3)).frames

    plain = footage(read_world_clips(folder, size=SIZE))
    panned = footage(read_world_clips(folder, size=SIZE, pattern="pan-right", margin=0.35))
    assert panned.shape == plain.shape
    assert (panned == 255).any()  # white outside the picture
    marked = footage(
        read_world_clips(folder, size=SIZE, pattern="pan-right", degradation=Degradation())
    )
    cover, _ = watermark(SIZE, SIZE)
    differs = np.abs(marked.astype(int) - footage(read_world_clips(folder, size=SIZE))).mean(-1)
    assert differs[:, cover > 0.8 * cover.max()].mean() > 2 * differs[:, cover == 0].mean()


def test_the_fingerprint_tells_of_everything_that_is_done(folder: Path) -> None:
    prints = {
        read_world_clips(folder, size=SIZE).fingerprint(),
        read_world_clips(folder, size=SIZE, count=2).fingerprint(),
        read_world_clips(folder, size=SIZE, pattern="zoom-in").fingerprint(),
        read_world_clips(folder, size=SIZE, degradation=Degradation()).fingerprint(),
    }
    assert len(prints) == 4


def test_degrading_is_the_same_every_time_and_takes_detail_away() -> None:
    frames = np.random.default_rng(0).integers(0, 255, (2, 64, 64, 3)).astype(np.uint8)
    once, again = (Degradation(marked=False)(frames) for _ in range(2))
    assert np.array_equal(once, again)
    assert once.std() < 0.6 * frames.std()


def test_the_watermark_shows_on_white_and_on_black() -> None:
    for grey in (0, 255):
        frame = np.full((64, 64, 3), grey, np.uint8)
        change = np.abs(with_watermark(frame).astype(int) - grey).max(-1)
        assert change.max() > 50
        assert (change[:30] == 0).all()
