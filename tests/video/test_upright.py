"""A video is shown as a player shows it: turned, mirrored or both."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.cases import videos_with_a_display_matrix as cases

from animatediff.data.decoding.confined import Decoder
from animatediff.data.decoding.frames import decode
from animatediff.data.decoding.media import Media
from animatediff.video import Video


@pytest.mark.parametrize("name", cases.MATRICES)
def test_a_video_is_turned_and_mirrored_as_its_file_asks(tmp_path: Path, name: str) -> None:
    path = cases.write(tmp_path / "a.mp4", name)
    shown = cases.SHOWN[name](cases.stored_frame())
    for frames in (decode(Media(path)).frames, Video.load(path).frames):
        assert np.array_equal(frames, np.stack([shown] * 2))


def test_the_confined_decoder_mirrors_too(tmp_path: Path) -> None:
    name = "mirrored along one diagonal"
    path = cases.write(tmp_path / "a.mp4", name)
    with Decoder() as decoder:
        frames = decoder.decode(Media(path)).frames
        facts, _ = decoder.measure(Media(path))
    assert np.array_equal(frames[0], cases.SHOWN[name](cases.stored_frame()))
    assert (facts.width, facts.height) == (48, 64)


def test_a_mirrored_video_covers_the_size_that_is_asked_for(tmp_path: Path) -> None:
    path = cases.write(tmp_path / "a.mp4", "mirrored left to right")
    frames = decode(Media(path), size=(32, 32)).frames
    assert frames.shape == (2, 32, 32, 3)
    assert frames[0, 2, 2, 1] > 200  # green, which is stored on the right
