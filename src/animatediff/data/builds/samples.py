"""Which samples a clip gives: planned before any is made, each named by what decides it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any

from torch import Tensor

from animatediff.data.checking.clip_facts import ClipFacts
from animatediff.data.checking.quarantine import MAX_BAD
from animatediff.data.decoding.frames import frames_within
from animatediff.data.decoding.media import READER, Frames, Media
from animatediff.data.layouts.listing import ClipEntry
from animatediff.errors import FileError, InputError, reason_of

FORMAT = 1


@dataclass(frozen=True)
class BuildOptions:
    """What samples are like.

    Attributes:
        size: width and height; clips are scaled to cover it and cut in the middle.
        fps: frames a second.
        frames: the fewest frames that a sample has.
        longest: the most; a longer scene becomes several samples.
        cut_scenes: whether a clip is cut where its scene changes.
        keep_static: whether clips in which nothing moves are kept.
        pixels: whether the frames themselves are kept, losslessly, beside what they are encoded to.
        max_bad: the share of clips that may be bad.
    """

    size: tuple[int, int] = (256, 256)
    fps: Fraction = Fraction(8)
    frames: int = 16
    longest: int = 64
    cut_scenes: bool = True
    keep_static: bool = False
    pixels: bool = True
    max_bad: float = MAX_BAD

    def __post_init__(self) -> None:
        if min(self.size) < 1 or not 0 < self.fps <= 1000:
            raise InputError(
                f"Clips of {self.size[0]}x{self.size[1]} at {self.fps} fps cannot be made."
            )
        if not 1 <= self.frames <= self.longest:
            raise InputError(
                f"A sample cannot have {self.frames} frames at least and {self.longest} at most."
            )


@dataclass(frozen=True)
class Encoder:
    """What turns frames and captions into what is learned from.

    Attributes:
        name: tells it from others, weights included.
        frames: frames to named tensors, the first axis frames.
        text: a caption to named tensors.
    """

    name: str
    frames: Callable[[Frames], Mapping[str, Tensor]]
    text: Callable[[str], Mapping[str, Tensor]]


@dataclass(frozen=True)
class Planned:
    """One sample before it is made.

    Attributes:
        key: a hash of everything below, of the options and of the encoder.
        entry: the clip it comes from.
        source: the SHA-256 of the clip's bytes.
        start: seconds from the file's beginning.
        count: how many frames.
    """

    key: str
    entry: ClipEntry
    source: str
    start: float
    count: int


def plan_samples(
    facts: ClipFacts, *, start: float, options: BuildOptions
) -> tuple[list[tuple[float, int]], Counter[str]]:
    """The samples of one clip, each as its start in seconds and its frames; and what gave none.

    Args:
        facts: what was seen of it.
        start: seconds from the file's beginning to the clip's.
        options: what samples are like.
    """
    left_out: Counter[str] = Counter()
    if options.frames > 1 and facts.still and not options.keep_static:
        return [], Counter({"static": 1})
    samples: list[tuple[float, int]] = []
    cuts = facts.cuts if options.cut_scenes else ()
    for begin, end in zip((0.0, *cuts), (*cuts, facts.seconds), strict=True):
        # A single picture is shown for no certain time.
        room = frames_within(end - begin, options.fps) if facts.frames > 1 else 1
        if room < options.frames:
            left_out["short"] += 1
            continue
        parts = -(-room // options.longest)
        each = room // parts
        samples += [
            (start + begin + float(part * each / options.fps), each) for part in range(parts)
        ]
    return samples, left_out


def sha256_of_clip(media: Media) -> str:
    """Of the bytes of a clip, wherever they are.

    Raises:
        FileError: they cannot be read.
    """
    digest = hashlib.sha256()
    try:
        for path in media.pictures or (media.path,):
            with path.open("rb") as file:
                if media.length is not None:
                    file.seek(media.offset)
                    digest.update(file.read(media.length))
                else:
                    digest.update(hashlib.file_digest(file, "sha256").digest())
    except OSError as error:
        reason = reason_of(error)
        raise FileError(f"{media.path} cannot be read: {reason}.") from None
    return digest.hexdigest()


def sample_key(
    entry: ClipEntry,
    source: str,
    start: float,
    count: int,
    options: BuildOptions,
    encoder: Encoder | None,
) -> str:
    """A sample's name: a hash of its clip's bytes, its window, its words and what it is made with."""
    decides = [source, entry.text, f"{start:.4f}", count, entry.repeats, dict(entry.facts)]
    decides += [entry.media.strip, str(entry.media.fps), kind_of_shards(options, encoder)]
    decides += [READER]
    text = json.dumps(decides, sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def kind_of_shards(options: BuildOptions, encoder: Encoder | None) -> dict[str, Any]:
    """What makes shards of one kind; how many clips may be bad is no part of it."""
    table = asdict(dataclasses.replace(options, max_bad=MAX_BAD))
    del table["max_bad"]
    return table | {
        "size": list(options.size),
        "fps": str(options.fps),
        "format": FORMAT,
        "encoder": encoder.name if encoder else None,
    }
