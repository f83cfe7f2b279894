"""A folder of one's own clips: windows by time, captions, and files that cannot be used."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from animatediff.data.clips import read_folder
from animatediff.errors import FileError, InputError
from animatediff.runtime import seeded
from animatediff.video import Video


def ramp(count: int, *, size: int = 32) -> np.ndarray:
    """Frames that say their number: each is one grey."""
    greys = (np.arange(count) * 8).astype(np.uint8)
    return np.broadcast_to(greys[:, None, None, None], (count, size, size, 3)).copy()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Video(ramp(24), Fraction(24)).save(tmp_path / "fast_fox.mp4")
    Video(ramp(8), Fraction(8)).save(tmp_path / "slow.mp4")
    (tmp_path / "slow.txt").write_text("  a slow\n fox ")
    return tmp_path


def test_captions_come_from_beside_the_file_or_from_its_name(folder: Path) -> None:
    clips = read_folder(folder, size=16)
    assert [source.caption for source in clips.sources] == ["fast fox", "a slow fox"]


def test_frames_are_taken_by_their_times_whatever_the_file_s_rate(folder: Path) -> None:
    clips = read_folder(folder, size=16, fps=8.0)
    fast = clips.sources[0].window(start=0.0, count=8, fps=8.0, side=32)
    greys = fast[:, 16, 16, 0].astype(int)
    assert np.abs(greys - np.arange(8) * 3 * 8).max() <= 4
    late = clips.sources[0].window(start=0.5, count=3, fps=8.0, side=32)[:, 16, 16, 0].astype(int)
    assert np.abs(late - (12 + 3 * np.arange(3)) * 8).max() <= 4


def test_a_clip_that_is_too_short_holds_its_last_frame(folder: Path) -> None:
    clips = read_folder(folder, size=16)
    frames = clips.footage(1, num_frames=12, generator=seeded(0)).frames
    assert frames.shape == (12, 16, 16, 3)
    assert np.array_equal(frames[-1], frames[-3])


def test_a_window_is_a_pure_function_of_clip_and_generator(folder: Path) -> None:
    clips = read_folder(folder, size=16, pattern="zoom-in")
    one, two = (clips.footage(0, num_frames=4, generator=seeded(7)).frames for _ in range(2))
    assert np.array_equal(one, two)
    other = clips.footage(0, num_frames=4, generator=seeded(8)).frames
    assert not np.array_equal(one, other)


def test_pictures_count_only_where_they_can_be_learned_from(folder: Path) -> None:
    Image.fromarray(ramp(1)[0]).save(folder / "a.png")
    assert len(read_folder(folder, size=16)) == 2
    assert len(read_folder(folder, size=16, stills=True)) == 3
    assert len(read_folder(folder, size=16, pattern="zoom-in")) == 3
    still = read_folder(folder, size=16, stills=True).footage(0, num_frames=1, generator=seeded(0))
    assert still.frames.shape == (1, 16, 16, 3)


def test_transparent_pictures_lie_on_white(tmp_path: Path) -> None:
    Image.new("RGBA", (20, 20), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    clips = read_folder(tmp_path, size=16, stills=True)
    assert (clips.footage(0, num_frames=1, generator=seeded(0)).frames == 255).all()


def test_a_few_broken_files_are_set_aside_with_their_reasons(folder: Path) -> None:
    for number in range(10):
        (folder / f"copy{number}.mp4").write_bytes((folder / "slow.mp4").read_bytes())
    (folder / "broken.mp4").write_bytes(b"not a video")
    clips = read_folder(folder, size=16)
    assert len(clips) == 12
    assert len(clips.rejected) == 1
    assert "broken.mp4" in clips.rejected[0]


def test_a_folder_that_is_mostly_broken_is_refused_in_one_sentence(folder: Path) -> None:
    whole = (folder / "slow.mp4").read_bytes()
    (folder / "half.mp4").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FileError, match=r"1 of 3 clips .*half\.mp4"):
        read_folder(folder, size=16)


def test_a_folder_that_is_missing_or_empty_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no folder"):
        read_folder(tmp_path / "absent", size=16)
    with pytest.raises(InputError, match="holds no videos"):
        read_folder(tmp_path, size=16)


def test_the_fingerprint_is_of_what_is_learned_and_not_of_where_it_lies(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    moved = tmp_path_factory.mktemp("moved")
    for path in folder.iterdir():
        (moved / path.name).write_bytes(path.read_bytes())
    before = read_folder(folder, size=16).fingerprint()
    assert read_folder(moved, size=16).fingerprint() == before
    (moved / "slow.txt").write_text("another fox")
    assert read_folder(moved, size=16).fingerprint() != before
    assert read_folder(folder, size=16, pattern="pan-left").fingerprint() != before


def test_some_of_the_clips_can_be_chosen(folder: Path) -> None:
    clips = read_folder(folder, size=16)
    assert clips.some(1, 1).sources == clips.sources[1:]
    with pytest.raises(InputError, match="too few"):
        clips.some(1, 2)


def test_randomness_comes_from_the_generator_alone(folder: Path) -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    read_folder(folder, size=16, pattern="tilt-up").footage(0, num_frames=4, generator=seeded(1))
    assert torch.equal(torch.get_rng_state(), before)
