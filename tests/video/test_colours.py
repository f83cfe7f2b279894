"""Written films have the colours they were given, also where a browser decodes them."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.reformatter import Colorspace, VideoReformatter
from tests.cases import saturated_colours, untagged_high_definition

from animatediff.data.decoding.frames import decode
from animatediff.data.decoding.media import Media
from animatediff.video import Video
from animatediff.video.colours import in_bt709

LUMA = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 6: (0.299, 0.114)}
"""The weights of red and blue in luma, by the number that a file names (ITU-T H.273)."""


def as_a_browser(path: Path) -> np.ndarray:
    """The first frame by the arithmetic of ITU-T H.273: the tagged matrix, or BT.709 without one."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frame = next(container.decode(stream))
        red, blue = LUMA.get(int(stream.codec_context.colorspace), LUMA[1])
        height, width = frame.height, frame.width
        planes = frame.to_ndarray().astype(float).reshape(-1)
    y = planes[: height * width].reshape(height, width)
    u, v = planes[height * width :].reshape(2, height // 2, width // 2)
    y, u, v = (y - 16) / 219, (u - 128) / 224, (v - 128) / 224
    u, v = (part.repeat(2, 0).repeat(2, 1) for part in (u, v))
    r, b = y + 2 * (1 - red) * v, y + 2 * (1 - blue) * u
    g = (y - red * r - blue * b) / (1 - red - blue)
    return np.clip(np.stack([r, g, b], -1) * 255, 0, 255)


@pytest.mark.parametrize("size", [(63, 97), (96, 160), (722, 1283)])
@pytest.mark.parametrize("suffix", ["mp4", "webm"])
def test_a_browser_shows_the_colours_that_were_drawn(
    tmp_path: Path, suffix: str, size: tuple[int, int]
) -> None:
    frames = saturated_colours.frames(height=size[0], width=size[1], count=1)
    path = Video(frames, Fraction(8)).save(tmp_path / f"a.{suffix}")
    seen = saturated_colours.patches(as_a_browser(path)[: size[0], : size[1]])
    assert np.abs(seen - saturated_colours.COLOURS).max() <= 4
    back = saturated_colours.patches(Video.load(path).frames[0]).astype(int)
    assert np.abs(back - saturated_colours.COLOURS).max() <= 4
    learned = saturated_colours.patches(decode(Media(path)).frames[0, : size[0], : size[1]])
    assert np.abs(learned.astype(int) - saturated_colours.COLOURS).max() <= 4


@pytest.mark.parametrize("suffix", ["mp4", "webm"])
def test_a_film_names_its_colours(tmp_path: Path, suffix: str) -> None:
    frames = saturated_colours.frames(count=1)
    path = Video(frames, Fraction(8)).save(tmp_path / f"a.{suffix}")
    with av.open(str(path)) as container:
        codec = container.streams.video[0].codec_context
        tags = codec.colorspace, codec.color_primaries, codec.color_trc, codec.color_range
    assert tuple(map(int, tags)) == (1, 1, 1, 1)
    if suffix == "mp4":  # also in the container, where QuickTime and Safari look
        assert b"colrnclx\x00\x01\x00\x01\x00\x01" in path.read_bytes()


@pytest.mark.parametrize(
    ("size", "matrix"),
    [((480, 640), Colorspace.ITU601), ((720, 1280), Colorspace.ITU709)],
    ids=["small", "high definition"],
)
def test_footage_without_a_tag_is_read_as_players_read_it(
    tmp_path: Path, size: tuple[int, int], matrix: Colorspace
) -> None:
    frame = saturated_colours.frames(height=size[0], width=size[1], count=1)[0]
    path = untagged_high_definition.write(tmp_path / "a.mp4", frame, matrix=matrix)
    for shown in (decode(Media(path)).frames[0], Video.load(path).frames[0]):
        seen = saturated_colours.patches(shown).astype(int)
        assert np.abs(seen - saturated_colours.COLOURS).max() <= 4


def test_the_same_frame_is_converted_to_the_same_bytes() -> None:
    """Threads that shared a frame overwrote the first pixels of each other's rows."""
    pixels = np.random.default_rng(0).integers(0, 256, (66, 68, 3), np.uint8)
    frame, converter = av.VideoFrame.from_ndarray(pixels, format="rgb24"), VideoReformatter()
    converted = (in_bt709(frame, pixels="yuv422p10le", by=converter) for _ in range(2000))
    assert len({picture.to_ndarray().tobytes() for picture in converted}) == 1
