"""Tracks: pictures along an animation, and how much of which picture each frame follows."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

from animatediff.errors import FileError, InputError
from animatediff.sampling.image_prompts.options import BetweenName
from animatediff.sampling.options.pictures import Picture
from animatediff.video.material import read_material

Pixels = UInt8[np.ndarray, "h w 3"]


@dataclass(frozen=True, eq=False)
class Track:
    """Pictures along an animation.

    Attributes:
        pictures: each once.
        before: for each frame of the animation, the number of the picture it comes from.
        after: the number of the picture it goes to.
        share: how much of the picture that it goes to it follows already, 0 to 1.
    """

    pictures: tuple[Pixels, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]
    share: tuple[float, ...]


def read_tracks(
    pictures: Sequence[Picture], *, num_frames: int, between: BetweenName
) -> list[Track]:
    """The pictures of an image prompt, laid out over an animation.

    Every picture, video or folder without a frame of its own is a track; pictures with frames are one
    track together. A frame follows all tracks.

    Raises:
        FileError: a picture cannot be read, or what should be one is a video.
        InputError: a frame is not one of the animation, or two pictures are for the same.
    """
    found: list[Track] = []
    placed: dict[int, Pixels] = {}
    for picture in pictures:
        material = read_material(picture.path)
        if picture.frame is not None:
            if not material.still:
                raise FileError(
                    f"{picture.path} has several pictures, and --ip-image gives it one frame; leave "
                    "the frame out, or give a picture."
                )
            place = _place(picture.frame, num_frames=num_frames)
            if place in placed:
                raise InputError(f"Two --ip-image pictures are for frame {place}; leave one out.")
            placed[place] = material.frames[0]
            continue
        kept = [row for row, place in enumerate(material.places) if place < num_frames]
        if not kept:
            raise InputError(
                f"{picture.path} begins at frame {material.places[0]}, and the animation has "
                f"{num_frames}; number its pictures from 0."
            )
        found.append(
            _track(
                {material.places[row]: material.frames[row] for row in kept},
                num_frames=num_frames,
                between=between,
            )
        )
    if placed:
        found.append(_track(placed, num_frames=num_frames, between=between))
    return found


def _place(frame: int, *, num_frames: int) -> int:
    if not -num_frames <= frame < num_frames:
        raise InputError(
            f"--ip-image names frame {frame}, and the animation has {num_frames}; the first is 0, the "
            "last -1."
        )
    return frame % num_frames


def _track(placed: dict[int, Pixels], *, num_frames: int, between: BetweenName) -> Track:
    places = sorted(placed)
    mixes = [_mix(frame, places, between=between) for frame in range(num_frames)]
    before, after, share = zip(*mixes, strict=True)
    return Track(tuple(placed[place] for place in places), before, after, share)


def _mix(frame: int, places: Sequence[int], *, between: BetweenName) -> tuple[int, int, float]:
    """Two pictures by their number, and the share of the second."""
    last = len(places) - 1
    before = max(0, bisect_right(places, frame) - 1)
    after = min(before + 1, last)
    if after == before or frame <= places[before]:
        return before, before, 0.0
    along = (frame - places[before]) / (places[after] - places[before])
    if between == "hold":
        along = 0.0
    elif between == "nearest":
        along = float(along > 0.5)
    return before, after, along
