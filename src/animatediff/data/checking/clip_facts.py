"""Measure a clip frame by frame without storing it: length, rate, cuts, motion, appearance.

Nothing here imports torch: this runs in the child process of ``data/decoding/confined.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from animatediff.data.checking.overlays import Grey, grey_size, overlay_share
from animatediff.data.decoding.frames import opened
from animatediff.data.decoding.media import Frame, Limits, Media, Picture

STILL_BELOW = 0.01
"""A clip is static if no frame differs from the first by more than this share of full scale."""
CUT_ABOVE = 0.06
"""A cut is possible from this change between two frames, as a share of full scale ..."""
CUT_CONTRAST = 2.0
"""... if it is this many times larger than the changes around it: a shaking camera changes
constantly, and a flash changes twice."""
VARYING_ABOVE = 0.1
"""A rate is called varying if frame times differ from even ones by more than this share."""

_SIDE = 32
OUTLINE = 16
"""Patches along a side by which the shapes of two clips are compared."""
_MOMENTS = (0.125, 0.375, 0.625, 0.875)
THUMBNAILS, THUMBNAIL_HEIGHT = 4, 72
MARKED_ABOVE = 0.015
"""A clip is reported as marked if the edges of its overlay take more than this share of the picture."""
_GREYS = 32
"""The most grey frames that are kept to find an overlay."""


@dataclass(frozen=True)
class ClipFacts:
    """Properties of a clip.

    Attributes:
        kind: codec and container.
        frames: number of frames.
        seconds: duration.
        fps: average rate.
        width: as shown.
        height: as shown.
        varying_rate: whether frames have different durations.
        turned: rotation in degrees that the file asks a player for.
        hdr: ``PQ`` or ``HLG`` for HDR video; otherwise empty.
        change: largest mean change of a frame from the first, as a share of full scale.
        motion: mean change between one frame and the next, without cuts, as a share of full scale a
            second.
        overlay: share of the picture that is edges of marks which stay in place (watermark, logo).
        cuts: times of scene changes, in seconds.
        looks: 256 bits, similar for clips that look alike.
        colours: 4 x 4 colour patches at four moments, as bytes in hexadecimal.
        outline: 16 x 16 colour patches of the first frame, as bytes in hexadecimal.
    """

    kind: str
    frames: int
    seconds: float
    fps: float
    width: int
    height: int
    varying_rate: bool
    turned: int
    hdr: str
    change: float
    motion: float
    overlay: float
    cuts: tuple[float, ...]
    looks: str
    colours: str
    outline: str

    @property
    def still(self) -> bool:
        """Whether nothing moves."""
        return self.change < STILL_BELOW

    @property
    def marked(self) -> bool:
        """Whether marks stay in place while the picture behind them moves."""
        return self.overlay > MARKED_ABOVE


def measure_clip(
    media: Media, *, start: float = 0.0, end: float | None = None, limits: Limits | None = None
) -> tuple[ClipFacts, UInt8[np.ndarray, "moments height width 3"]]:
    """Measure a clip, and return a few small frames for a contact sheet.

    Raises:
        FileError: the file is missing, broken, cut short, not a clip, or beyond the limits.
    """
    seen = _Seen()
    with opened(media, limits=limits or Limits(), start=start) as clip:
        for frame in clip.frames:
            if frame.time + frame.length <= start:
                continue
            if end is not None and frame.time >= end:
                break
            seen.look(frame)
        return seen.facts(kind=clip.kind, fps=float(clip.fps), hdr=clip.hdr), seen.thumbnails()


class _Seen:
    """Running measurements, of constant size however long the clip is."""

    def __init__(self) -> None:
        self._first: Frame | None = None
        self._last: Frame | None = None
        self._small: list[Picture] = []  # the first and the latest frame
        self._changes: list[float] = []
        self._times: list[float] = []
        self._hashes: list[UInt8[np.ndarray, " bytes"]] = []
        self._largest = 0.0
        self._patches: list[UInt8[np.ndarray, " bytes"]] = []
        self._kept: list[Picture] = []
        self._every = 1
        self._greys: list[Grey] = []
        self._greys_every = 1

    def look(self, frame: Frame) -> None:
        small = frame.drawn(_SIDE, _SIDE)
        if self._first is None:
            self._first, self._small = frame, [small, small]
        first, before = self._small
        self._changes.append(_change(before, small))
        self._largest = max(self._largest, _change(first, small))
        self._small = [first, small]
        self._times.append(frame.time)
        self._hashes.append(_difference_hash(small))
        self._patches.append(_patches_of(small))
        if (len(self._times) - 1) % self._every == 0:
            height = THUMBNAIL_HEIGHT
            width = max(1, min(4 * height, round(frame.width * height / frame.height)))
            self._kept.append(frame.drawn(width, height))
            if len(self._kept) > 8 * THUMBNAILS:
                self._kept, self._every = self._kept[::2], 2 * self._every
        if (len(self._times) - 1) % self._greys_every == 0:
            wide = frame.drawn(*grey_size(self._first.width, self._first.height))
            self._greys.append(_grey_of(wide))
            if len(self._greys) > _GREYS:
                self._greys, self._greys_every = self._greys[::2], 2 * self._greys_every
        self._last = frame

    def facts(self, *, kind: str, fps: float, hdr: str | None) -> ClipFacts:
        assert self._first is not None, "a clip without frames is refused where it is decoded"
        assert self._last is not None
        count = len(self._times)
        intervals = np.diff(self._times)
        varying = count > 2 and float(np.ptp(intervals)) > max(
            VARYING_ABOVE * float(intervals.mean()), 0.003
        )
        moments = [int(moment * count) for moment in _MOMENTS]
        seconds = self._last.time + self._last.length - self._first.time
        cuts = cuts_in(self._changes)
        moved = sum(self._changes) - sum(self._changes[cut] for cut in cuts)
        return ClipFacts(
            kind=kind,
            frames=count,
            seconds=round(seconds, 3),
            fps=round(fps, 3),
            width=self._first.width,
            height=self._first.height,
            varying_rate=varying,
            turned=self._first.turned,
            hdr=hdr or "",
            change=round(self._largest, 4),
            motion=round(moved / seconds, 4) if seconds > 0 else 0.0,
            overlay=round(overlay_share(self._greys), 4),
            cuts=tuple(round(self._times[i] - self._times[0], 3) for i in cuts),
            looks=b"".join(self._hashes[i].tobytes() for i in moments).hex(),
            colours=b"".join(self._patches[i].tobytes() for i in moments).hex(),
            outline=_patches_of(self._small[0], count=OUTLINE).tobytes().hex(),
        )

    def thumbnails(self) -> UInt8[np.ndarray, "moments height width 3"]:
        places = [int(moment * len(self._kept)) for moment in _MOMENTS]
        shown = [self._kept[place] for place in places]
        if any(picture.shape != shown[0].shape for picture in shown):
            wanted = (shown[0].shape[1], shown[0].shape[0])
            shown = [np.asarray(Image.fromarray(p).resize(wanted)) for p in shown]
        return np.stack(shown)


def cuts_in(changes: Sequence[float]) -> list[int]:
    """Return the frames that start another scene.

    Args:
        changes: change of each frame from the previous one, as a share of full scale; the first is
            0.
    """
    found: list[int] = []
    for index in range(1, len(changes)):
        change = changes[index]
        if change < CUT_ABOVE:
            continue
        around = [*changes[max(1, index - 3) : index], *changes[index + 1 : index + 4]]
        if change >= CUT_CONTRAST * max(around, default=0.0):
            found.append(index)
    return found


def _grey_of(picture: Picture) -> Grey:
    """The mean of the channels, rounded down; in whole numbers, which is several times as fast."""
    red, green, blue = np.moveaxis(picture, 2, 0)
    return ((red.astype(np.uint16) + green + blue) // 3).astype(np.uint8)


def _change(one: Picture, other: Picture) -> float:
    return float(np.abs(one.astype(np.int16) - other).mean()) / 255


def _difference_hash(small: Picture) -> UInt8[np.ndarray, " bytes"]:
    """Return 64 bits: whether each of 8 x 8 patches is brighter than its right neighbour."""
    grey: Float[np.ndarray, "h w"] = small.astype(np.float32) @ np.array(
        [0.299, 0.587, 0.114], np.float32
    )
    patches = np.asarray(
        Image.fromarray(grey, mode=None).resize((9, 8), Image.Resampling.BOX), np.float32
    )
    # In flat areas, noise would decide.
    return np.packbits(patches[:, :-1] > patches[:, 1:] + 2)


def _patches_of(small: Picture, *, count: int = 4) -> UInt8[np.ndarray, " bytes"]:
    side = _SIDE // count
    return small.reshape(count, side, count, side, 3).mean((1, 3)).round().astype(np.uint8).ravel()
