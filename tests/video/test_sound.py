"""Sound is copied as it is, cut to the length of the pictures."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from tests.video.sound_files import packets, write_with_sound

from animatediff.video import Video
from animatediff.video.sound import sound_codec


@pytest.fixture(scope="module")
def tone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_with_sound(tmp_path_factory.mktemp("sound") / "tone.mp4", codec="aac")


def test_sound_is_copied_bit_for_bit_and_cut_to_the_pictures(tone: Path, tmp_path: Path) -> None:
    grey = np.full((6, 32, 32, 3), 100, np.uint8)
    path = Video(grey, Fraction(10)).save(tmp_path / "made.mp4", sound=tone)
    theirs, ours = packets(tone), packets(path)
    expected = [data for time, data in theirs if time < 0.6]
    assert [data for _, data in ours] == expected
    assert len(expected) < len(theirs)
    # Times agree to a tick of the container.
    assert all(abs(a - b) < 1e-3 for (a, _), (b, _) in zip(ours, theirs, strict=False))
    back = Video.load(path)
    assert (back.num_frames, back.fps) == (6, 10)


def test_what_a_container_cannot_hold_is_left_out(tone: Path, tmp_path: Path) -> None:
    grey = np.full((3, 32, 32, 3), 100, np.uint8)
    for name in ("made.webm", "made.gif", "made.webp"):
        path = Video(grey, Fraction(10)).save(tmp_path / name, sound=tone)
        assert sound_codec(path) is None
        assert Video.load(path).num_frames == 3


@pytest.mark.parametrize("name", ["made.mkv", "made.mov"])
def test_other_containers_hold_it_too(tone: Path, tmp_path: Path, name: str) -> None:
    grey = np.full((6, 32, 32, 3), 100, np.uint8)
    path = Video(grey, Fraction(10)).save(tmp_path / name, sound=tone)
    assert [data for _, data in packets(path)] == [data for t, data in packets(tone) if t < 0.6]
    assert Video.load(path).num_frames == 6


def test_opus_goes_into_webm(tmp_path: Path) -> None:
    theirs = write_with_sound(tmp_path / "tone.webm", codec="libopus", rate=48000)
    grey = np.full((10, 32, 32, 3), 100, np.uint8)
    path = Video(grey, Fraction(10)).save(tmp_path / "made.webm", sound=theirs)
    assert sound_codec(path) == "opus"
    assert [data for _, data in packets(path)] == [d for t, d in packets(theirs) if t < 1]


def test_pictures_and_files_without_sound_have_none(tmp_path: Path) -> None:
    grey = np.full((3, 32, 32, 3), 100, np.uint8)
    silent = Video(grey, Fraction(10)).save(tmp_path / "silent.mp4")
    picture = Video(grey, Fraction(10)).save(tmp_path / "grey.gif")
    assert sound_codec(silent) is None
    assert sound_codec(picture) is None
    assert sound_codec(tmp_path / "nothing.mp4") is None
