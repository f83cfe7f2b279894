"""Plan the samples of a clip before any is made; each is named by what determines it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
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
    """Options of a build.

    Attributes:
        size: width and height; clips are scaled to cover it and cropped in the middle.
        fps: frames per second.
        frames: the fewest frames of a sample.
        longest: the most frames; a longer scene becomes several samples.
        cut_scenes: whether clips are cut at scene changes.
        keep_static: whether clips without any motion are kept.
        least_motion: the least mean change, as a share of full scale a second; 0 for any.
        most_motion: the largest; ``None`` for any.
        most_overlay: the largest share of the picture that may be edges of marks which stay in place;
            ``None`` for any.
        pixels: whether the frames are stored losslessly beside the encoded form.
        max_bad: the share of clips that may be bad.
    """

    size: tuple[int, int] = (256, 256)
    fps: Fraction = Fraction(8)
    frames: int = 16
    longest: int = 64
    cut_scenes: bool = True
    keep_static: bool = False
    least_motion: float = 0.0
    most_motion: float | None = None
    most_overlay: float | None = None
    pixels: bool = True
    max_bad: float = MAX_BAD

    def __post_init__(self) -> None:
        if min(self.size) < 1 or not 0 < self.fps <= 1000:
            raise InputError(
                f"The size {self.size[0]}x{self.size[1]} or the rate {self.fps} fps cannot be "
                "used for samples."
            )
        if not 1 <= self.frames <= self.longest:
            raise InputError(
                f"A sample needs at least {self.frames} frames, but at most {self.longest} are "
                "allowed."
            )
        most = math.inf if self.most_motion is None else self.most_motion
        if not 0 <= self.least_motion <= most:
            raise InputError(
                f"No clip moves at least {self.least_motion:g} and at most {most:g}; both are shares "
                "of full scale a second, from 0."
            )
        if self.most_overlay is not None and not 0 <= self.most_overlay <= 1:
            raise InputError(
                f"The overlay {self.most_overlay:g} is not a share of the picture, from 0 to 1."
            )


@dataclass(frozen=True)
class Encoder:
    """Encodes frames and captions for training.

    Attributes:
        name: identifies it, including its weights.
        frames: encodes frames as named tensors whose first axis is frames.
        text: encodes a caption as named tensors.
    """

    name: str
    frames: Callable[[Frames], Mapping[str, Tensor]]
    text: Callable[[str], Mapping[str, Tensor]]


@dataclass(frozen=True)
class Planned:
    """A sample that is planned but not made.

    Attributes:
        key: a hash of everything below, the options and the encoder.
        entry: the clip it comes from.
        source: SHA-256 of the clip's bytes.
        start: seconds from the file's beginning.
        count: number of frames.
    """

    key: str
    entry: ClipEntry
    source: str
    start: float
    count: int


def plan_samples(
    facts: ClipFacts, *, start: float, options: BuildOptions
) -> tuple[list[tuple[float, int]], Counter[str]]:
    """Plan the samples of one clip: start in seconds, frames, and the reasons for left-out parts.

    Args:
        facts: the clip's properties.
        start: seconds from the file's beginning to the clip's.
        options: options of the build.
    """
    left_out: Counter[str] = Counter()
    if options.frames > 1 and facts.still and not options.keep_static:
        return [], Counter({"static": 1})
    if options.frames > 1 and facts.motion < options.least_motion:
        return [], Counter({"too little motion": 1})
    if options.most_motion is not None and facts.motion > options.most_motion:
        return [], Counter({"too much motion": 1})
    if options.most_overlay is not None and facts.overlay > options.most_overlay:
        return [], Counter({"overlay": 1})
    samples: list[tuple[float, int]] = []
    cuts = facts.cuts if options.cut_scenes else ()
    for begin, end in zip((0.0, *cuts), (*cuts, facts.seconds), strict=True):
        # A single picture has no duration.
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
    """Hash the bytes of a clip, wherever they are.

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
    """Name a sample: a hash of its clip's bytes, its window, its caption and the build's options."""
    decides = [source, entry.text, f"{start:.4f}", count, entry.repeats, dict(entry.facts)]
    decides += [entry.media.strip, str(entry.media.fps), kind_of_shards(options, encoder)]
    decides += [READER]
    text = json.dumps(decides, sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def kind_of_shards(options: BuildOptions, encoder: Encoder | None) -> dict[str, Any]:
    """Return the options that must be equal within a folder of shards."""
    table = asdict(dataclasses.replace(options, max_bad=MAX_BAD))
    del table["max_bad"]
    # Options that came later: a folder that was built before them is of the same kind.
    for name, default in (("least_motion", 0.0), ("most_motion", None), ("most_overlay", None)):
        if table[name] == default:
            del table[name]
    return table | {
        "size": list(options.size),
        "fps": str(options.fps),
        "format": FORMAT,
        "encoder": encoder.name if encoder else None,
    }
