"""The built-in world's clips as pixels, with optional camera moves and degradation."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8

from animatediff.data.camera import CameraMove, Crop, cropped, filmed, parse_pattern
from animatediff.data.footage import Footage
from animatediff.data.shards import on_white, read_shards
from animatediff.errors import InputError
from animatediff.world.art.captions import caption_of
from animatediff.world.art.degraded import Degradation


@dataclass(frozen=True)
class WorldClips:
    """Seamlessly looping clips; a window may continue after the end.

    Attributes:
        clips: the frames of each clip, on white.
        meta: the facts of each clip.
        size: height and width of the training clips in pixels.
        pattern: a camera move of every clip.
        margin: how far the camera may leave the picture.
        degradation: applied to the frames last.
        from_start: whether windows begin at the clip's first frame.
    """

    clips: tuple[UInt8[np.ndarray, "f height width 3"], ...]
    meta: tuple[Mapping[str, Any], ...]
    size: int
    pattern: str | None
    margin: float
    degradation: Degradation | None
    from_start: bool = False

    def __len__(self) -> int:
        return len(self.clips)

    def footage(self, index: int, *, num_frames: int, generator: torch.Generator) -> Footage:
        """Return a window of a clip and a caption."""
        clip = self.clips[index]
        start = 0 if self.from_start else int(torch.randint(len(clip), (), generator=generator))
        frames = clip[(start + np.arange(num_frames)) % len(clip)]
        draw = random.Random(int(torch.randint(2**62, (), generator=generator)))
        caption = caption_of(dict(self.meta[index]), draw=draw)
        if self.pattern is not None and num_frames > 1:
            move = CameraMove.drawn(self.pattern, generator, margin=self.margin)
            frames = filmed(frames, move, size=self.size)
        elif frames.shape[1:3] != (self.size, self.size):
            frames = cropped(frames, [Crop(1.0)] * num_frames, size=self.size)
        return Footage(frames if self.degradation is None else self.degradation(frames), caption)

    def filmed(self, pattern: str) -> WorldClips:
        """Return the clips with a camera move."""
        return replace(self, pattern=pattern)

    def with_starts(self, *, fixed: bool) -> WorldClips:
        """Return the clips with windows from their first frames or from anywhere."""
        return replace(self, from_start=fixed)

    def fingerprint(self) -> str:
        """Return a hash of names, lengths and every change of the frames."""
        facts = [f"{self.size} {self.pattern} {self.margin} {self.degradation}"]
        facts += ["from the start"] if self.from_start else []
        facts += [
            f"{m.get('hexcode')} {len(c)}" for m, c in zip(self.meta, self.clips, strict=True)
        ]
        return hashlib.sha256("\0".join(facts).encode()).hexdigest()


def read_world_clips(
    folder: Path,
    *,
    size: int,
    split: str = "train",
    first: int = 0,
    count: int | None = None,
    pattern: str | None = None,
    margin: float = 0.0,
    degradation: Degradation | None = None,
    from_start: bool = False,
) -> WorldClips:
    """Read the clips of one split, or ``count`` of them from ``first`` on, in a fixed shuffled order.

    Raises:
        FileError: the folder has no shards.
        InputError: there are fewer clips, or there is no such pattern.
    """
    if pattern is not None:
        parse_pattern(pattern)
    # By a hash of the name: neighbours in the shards are much alike.
    samples = sorted(
        (s for s in read_shards(folder) if s.meta["split"] == split),
        key=lambda s: hashlib.sha256(s.key.encode()).digest(),
    )
    chosen = list(islice(samples, first, None if count is None else first + count))
    if not chosen or (count is not None and len(chosen) < count):
        raise InputError(
            f"{folder} has {len(samples)} clips to learn from, too few for {count} from {first} on."
        )
    return WorldClips(
        tuple(on_white(sample.frames()) for sample in chosen),
        tuple(sample.meta for sample in chosen),
        size,
        pattern,
        margin,
        degradation,
        from_start,
    )
