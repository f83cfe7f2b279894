#!/usr/bin/env python
"""Draws the pictures of docs/guides/length-and-loops.md; prompts and seeds are fixed.

usage: recipes/emoji/length_pictures.py [--docs docs]

``long.webp``: every third frame of 48. ``loop.webp``: 16 frames without and with ``--loop``, playing.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from animatediff.runtime import Runtime
from animatediff.sampling.animator import Animator
from animatediff.video import Video, grid

LONG = "a fish, 3d style"
LOOPED = "a butterfly, 3d style"
EVERY = 3
SIDE = 144
"""Pixels of a side of a frame in the pictures."""


def small(video: Video, *, side: int) -> Video:
    """The video with frames of this side."""
    shown = [
        Image.fromarray(frame).resize((side, side), Image.Resampling.LANCZOS)
        for frame in video.frames
    ]
    return Video(np.stack([np.asarray(frame) for frame in shown]), video.fps)


def main() -> None:
    """Draw both pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--docs", type=Path, default=Path("docs"))
    media = parser.parse_args().docs / "media"
    animator = Animator.load("emoji", runtime=Runtime())
    long = small(animator.animate(LONG, num_frames=48).video, side=SIDE)
    shown = Video(long.frames[::EVERY], long.fps)
    shown.contact_sheet(columns=8).save(media / "long.webp", quality=80, method=6)
    open_, closed = (
        small(animator.animate(LOOPED, loop=loop).video, side=192) for loop in (False, True)
    )
    both = grid([open_, closed], ["without --loop", "with --loop"])
    first, *others = [Image.fromarray(frame) for frame in both.frames]
    first.save(
        media / "loop.webp",
        save_all=True,
        append_images=others,
        duration=round(1000 / both.fps),
        loop=0,
        quality=70,
        method=6,
    )


if __name__ == "__main__":
    main()
