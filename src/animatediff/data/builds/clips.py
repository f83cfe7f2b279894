"""Training data from the shards of ``dataset build``: no decoding, no encoding, the same windows.

A window equals the window of the source if the clip's own rate is the training rate, or the clip is
not longer than a window, and no scene was cut or left out.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch

from animatediff.data.builds.read import BUILD, BuiltClip, read_built
from animatediff.data.decoding.frames import TICK
from animatediff.data.footage import EncodedFootage, some_of, window_start
from animatediff.errors import FileError, InputError

_WORDS = {"vae": "autoencoder", "text_encoder": "text encoder"}


@dataclass(frozen=True)
class BuiltClips:
    """The samples of a build; sample i is a pure function of i and a generator.

    Attributes:
        clips: in the order of their clips' names and positions, each as often as it counts.
        fps: frames per second.
        notes: empty, because the build already reported everything.
    """

    clips: tuple[BuiltClip, ...]
    fps: Fraction
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.clips)

    def footage(self, index: int, *, num_frames: int, generator: torch.Generator) -> EncodedFootage:
        """Return a window of a sample from a random start, and its caption.

        Raises:
            FileError: the shard is damaged.
        """
        clip = self.clips[index]
        count = int(clip.facts["frames"])
        start = window_start(count, num_frames, generator)
        # The frame on screen where the source's window would start, see ``decode``.
        begin = min(math.floor(start + 0.5 + TICK * float(self.fps)), count - num_frames)
        tensors = clip.tensors()
        mean, spread = tensors.get("latents"), tensors.get("spread")
        if mean is None or spread is None or not len(mean) == len(spread) == count:
            raise FileError(f"{clip.key} lacks the latents of {count} frames; build it again.")
        part = slice(begin, begin + num_frames)
        return EncodedFootage(mean[part], spread[part], clip.facts["caption"], tensors.get("text"))

    def fingerprint(self) -> str:
        """Return a hash of the samples' names, which are hashes of all that determines them."""
        return hashlib.sha256("\n".join(clip.key for clip in self.clips).encode()).hexdigest()


def read_built_clips(
    folder: Path,
    said: Mapping[str, Any],
    *,
    size: int,
    fps: Fraction,
    num_frames: int,
    encoders: Mapping[str, str],
    first: int = 0,
    count: int | None = None,
) -> BuiltClips:
    """Return the samples of a build, if they are what a run would encode itself.

    Args:
        folder: the folder of the shards.
        said: their description, as the build wrote it.
        size: pixels of a side of the training frames.
        fps: frames per second of the training.
        num_frames: frames of a window.
        encoders: identify the model's autoencoder (``vae``) and ``text_encoder``.
        first: number of the first sample.
        count: number of samples; ``None`` for all.

    Raises:
        InputError: they were built for another model, size, rate or length, or there are too few.
        FileError: a shard is broken.
    """
    try:
        _refuse_others(folder, said, size=size, fps=fps, num_frames=num_frames, encoders=encoders)
        clips = sorted(read_built(folder), key=lambda c: (c.facts["clip"], c.facts["start"]))
        chosen = some_of(tuple(clips), first, count)
        repeated = tuple(clip for clip in chosen for _ in range(int(clip.facts["repeats"])))
    except (KeyError, TypeError, ArithmeticError):
        raise FileError(f"{folder / BUILD} does not fit its shards; build them again.") from None
    return BuiltClips(repeated, fps)


def _refuse_others(
    folder: Path,
    said: Mapping[str, Any],
    *,
    size: int,
    fps: Fraction,
    num_frames: int,
    encoders: Mapping[str, str],
) -> None:
    theirs = set(str(said["encoder"]).split(", "))
    for name, own in encoders.items():
        if f"{name} {own}" not in theirs:
            raise InputError(
                f"{folder} was encoded with another {_WORDS[name]} than this model's "
                f"({said['encoder']}); build it again with this model, or give the one of then."
            )
    width, height = said["size"]
    if (width, height) != (size, size):
        more = f"give --size {width} or build it again" if width == height else "build it again"
        raise InputError(f"{folder} holds clips of {width}x{height}, not {size}x{size}; {more}.")
    built = Fraction(said["fps"])
    if num_frames > 1 and not math.isclose(built, fps, rel_tol=1e-4):
        raise InputError(
            f"{folder} holds clips of {_told(built)} frames a second, not {_told(fps)}; give --fps "
            f"{_told(built)} or build it again."
        )
    if said["frames"] < num_frames:
        raise InputError(
            f"{folder} holds clips of {said['frames']} frames and more, and {num_frames} are learned; "
            f"give --frames {said['frames']} or build it again with --frames {num_frames}."
        )


def _told(fps: Fraction) -> str:
    return f"{float(fps):g}"
