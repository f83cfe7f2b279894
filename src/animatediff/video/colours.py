"""The colour matrix of video files: which one is written, and which one an untagged file has.

Browsers and players convert YUV to RGB with the matrix that a file names. Files without a name are
guessed by their size, so everything written here is BT.709 and says so.
"""

from __future__ import annotations

from typing import Any, cast

from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter
from av.video.stream import VideoStream

_BT709, _UNSPECIFIED = 1, 2
"""BT.709's code for matrices, primaries and transfer functions (ITU-T H.273)."""
CONVERTING_THREADS = 1
"""With several, each converts some rows and overwrites the first pixels of the next rows, which
another may have finished: the same frames gave different files, with spots of the wrong colour."""
_HIGH_DEFINITION = (1280, 577)
"""Players assume BT.709 for untagged files of at least this width or height, and BT.601 below."""


def tag_bt709(stream: VideoStream) -> None:
    """Tag a stream that is about to be written as BT.709 with limited range."""
    codec: Any = stream.codec_context
    codec.colorspace = codec.color_primaries = codec.color_trc = _BT709
    codec.color_range = int(ColorRange.MPEG)


def in_bt709(frame: VideoFrame, *, pixels: str, by: VideoReformatter) -> VideoFrame:
    """Convert an RGB frame to YUV in BT.709 with limited range.

    Args:
        frame: the RGB frame.
        pixels: FFmpeg's name of the pixel format, such as ``yuv420p``.
        by: the converter, one for all frames of a video, because it is slow to set up.
    """
    return by.reformat(
        frame,
        format=pixels,
        dst_colorspace=Colorspace.ITU709,
        dst_color_range=cast(int, ColorRange.MPEG),
        threads=CONVERTING_THREADS,
    )


def matrix_of(frame: VideoFrame) -> Colorspace | None:
    """Return the matrix for decoding an untagged frame; ``None`` if the file names one.

    High-definition video without a tag is BT.709, as in mpv and VLC; smaller video is BT.601.
    """
    if int(frame.colorspace) != _UNSPECIFIED or frame.format.is_rgb:
        return None
    wide, high = _HIGH_DEFINITION
    return Colorspace.ITU709 if frame.width >= wide or frame.height >= high else Colorspace.ITU601
