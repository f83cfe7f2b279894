"""Formats for editing and archives: ProRes, FFV1, AV1 and folders of 16-bit PNG."""

from __future__ import annotations

import struct
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from animatediff.errors import InputError
from animatediff.video import Video, format_of, read_metadata

RATE = Fraction(24000, 1001)


def video(height: int = 70, width: int = 81) -> Video:
    y, x = np.mgrid[0:height, 0:width]
    frames = [np.stack([2 * x + 3 * i, 3 * y, x + y], -1) for i in range(4)]
    return Video(np.stack(frames).clip(0, 255).astype(np.uint8), RATE)


@pytest.mark.parametrize(
    ("name", "codec", "most"),
    [("a.mov", "prores", 3), ("a.mkv", "ffv1", 0), ("a.av1.mp4", "libdav1d", 6)],
)
def test_frames_rate_metadata_and_colours_survive(tmp_path, name, codec, most) -> None:
    path = video().save(tmp_path / name, metadata={"mine": "x: ж"})
    again = Video.load(path)
    assert again.frames.shape == video().frames.shape
    assert again.fps == RATE
    difference = np.abs(again.frames.astype(int) - video().frames).mean()
    assert difference <= most
    assert read_metadata(path)["mine"] == "x: ж"
    with av.open(str(path)) as container:
        context = container.streams.video[0].codec_context
        assert context.name == codec
        if codec != "ffv1":
            assert (context.colorspace, context.color_primaries, context.color_trc) == (1, 1, 1)


def test_av1_of_tiny_frames_is_refused_by_name(tmp_path) -> None:
    with pytest.raises(InputError, match="at least 64 pixels"):
        video(32, 32).save(tmp_path / "a.av1.mp4")


def test_a_folder_of_sixteen_bit_pictures(tmp_path) -> None:
    folder = video().save(tmp_path / "a.png16", metadata={"mine": "x"})
    assert folder == tmp_path / "a"
    head = (folder / "frame_0000.png").read_bytes()[:26]
    assert struct.unpack(">IIBB", head[16:26]) == (81, 70, 16, 2)
    again = Video.load(folder)
    np.testing.assert_array_equal(again.frames, video().frames)
    assert read_metadata(folder)["mine"] == "x"
    with Image.open(folder / "frame_0000.png") as picture:
        picture.load()
        assert picture.info["mine"] == "x"
    single = Video(video().frames[:1], RATE).save(tmp_path / "b.png16")
    assert single == tmp_path / "b.png"


def test_the_longest_ending_counts(tmp_path) -> None:
    assert format_of(tmp_path / "a.av1.mp4") == "av1.mp4"
    assert format_of(tmp_path / "a.b.mp4") == "mp4"
    assert format_of(tmp_path / "a.txt") is None


@pytest.mark.parametrize("suffix", ["gif", "webp", "apng"])
def test_how_often_a_file_plays_is_stored(tmp_path, suffix) -> None:
    path = video().save(tmp_path / f"a.{suffix}", loop=3)
    with Image.open(path) as picture:
        assert picture.info["loop"] == 3
