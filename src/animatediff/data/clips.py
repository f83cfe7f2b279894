"""One's own clips to learn from, in whatever layout they are kept, read a window at a time.

What cannot be read is set aside before the first step (``data/checking/probing.py``). Frames come as
``dataset build`` takes them, so what is learned from a build is what is learned from its source; only
the frames of one window are ever in memory.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch

from animatediff.data.camera import CameraMove, filmed, parse_pattern
from animatediff.data.checking.clip_facts import ClipFacts
from animatediff.data.checking.probing import probe
from animatediff.data.checking.quarantine import MAX_BAD
from animatediff.data.decoding.confined import own_decoder
from animatediff.data.decoding.frames import frames_within
from animatediff.data.decoding.media import Frames, Limits
from animatediff.data.footage import Footage, some_of, window_start
from animatediff.data.layouts.listing import ClipEntry, Listing, bytes_of
from animatediff.errors import FileError, InputError


@dataclass(frozen=True)
class Source:
    """One clip that was decoded to its end once.

    Attributes:
        entry: where it is, and what is said of it.
        facts: what was seen of it.
    """

    entry: ClipEntry
    facts: ClipFacts

    @property
    def is_still(self) -> bool:
        """Whether it is a single picture."""
        return self.facts.frames == 1

    def available(self, fps: Fraction) -> int:
        """How many frames it has at a rate."""
        end = self.entry.end
        seconds = self.facts.seconds
        if end is not None:
            seconds = min(seconds, end - self.entry.start)
        return 1 if self.is_still else max(1, frames_within(seconds, fps))

    def window(
        self,
        start: float,
        *,
        count: int,
        fps: Fraction,
        size: tuple[int, int] | None = None,
        side: int | None = None,
        limits: Limits | None = None,
    ) -> Frames:
        """``count`` frames from ``start`` seconds on; where the clip is shorter, its last is held.

        Args:
            start: seconds from the clip's beginning.
            count: how many frames.
            fps: frames a second.
            size: width and height, as for ``decode``.
            side: as for ``decode``; not together with ``size``.
            limits: how much is decoded.

        Raises:
            FileError: the file is not any more what it was when it was probed.
        """
        entry = self.entry
        try:
            frames = (
                own_decoder(limits or Limits())
                .decode(
                    entry.media,
                    fps=fps,
                    start=entry.start + start,
                    end=entry.end,
                    count=count,
                    size=size,
                    side=side,
                )
                .frames
            )
        except FileError as error:
            raise _changed(str(error).rpartition(";")[0] or str(error)) from None
        # Where a part of a file begins between two frames, its length is not known to a frame.
        wanted = 0 if entry.start else min(count, self.available(fps) - int(start * fps))
        if len(frames) + 1 < wanted:
            raise _changed(f"{entry.media.path} gave {len(frames)} of {wanted} frames")
        return np.concatenate([frames, *[frames[-1:]] * (count - len(frames))])


def _changed(what: str) -> FileError:
    return FileError(
        f"{what.rstrip('.')}; it could be read when the run began, so put it back as it was and run "
        "the same command to resume."
    )


@dataclass(frozen=True)
class OwnClips:
    """The clips of a data set; clip i is a pure function of i and a generator.

    Attributes:
        sources: those that can be read, in the order of their names, as often as each counts.
        bad: why the others were set aside, by their keys.
        notes: what is worth knowing of them, in sentences.
        size: pixels of a side of what is learned from.
        fps: frames a second of what is learned from, whatever a file's own rate.
        pattern: a camera move to film every clip with; ``None`` leaves clips as they are.
        limits: how much of a clip is decoded.
        from_start: whether every window begins where the clip does.
    """

    sources: tuple[Source, ...]
    bad: Mapping[str, str]
    notes: tuple[str, ...]
    size: int
    fps: Fraction
    pattern: str | None = None
    limits: Limits = field(default_factory=Limits)
    from_start: bool = False

    def __len__(self) -> int:
        return len(self.sources)

    def footage(self, index: int, *, num_frames: int, generator: torch.Generator) -> Footage:
        """A window of a clip, from a random start unless all are to begin alike, and its caption."""
        source = self.sources[index]
        start = 0.0
        if not self.from_start:
            available = source.available(self.fps)
            start = window_start(available, num_frames, generator) / float(self.fps)

        def frames(size: tuple[int, int] | None = None, side: int | None = None) -> Frames:
            return source.window(
                start, count=num_frames, fps=self.fps, size=size, side=side, limits=self.limits
            )

        if self.pattern is None or num_frames == 1:
            return Footage(frames(size=(self.size, self.size)), source.entry.text)
        move = CameraMove.drawn(self.pattern, generator)
        # A camera that moves closer needs more than it shows.
        seen = filmed(frames(side=2 * self.size), move, size=self.size)
        return Footage(seen, source.entry.text)

    def fingerprint(self) -> str:
        """A hash of what is learned from: names, lengths and captions, but not where it lies."""
        asked = [self.size, str(self.fps), self.pattern]
        lines = [json.dumps([*asked, "from the start"] if self.from_start else asked)]
        for source in self.sources:
            entry, facts = source.entry, source.facts
            told = [entry.key, entry.text, entry.start, entry.end, bytes_of(entry.media)]
            lines.append(json.dumps([*told, facts.frames, facts.seconds]))
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def read_clips(
    listing: Listing,
    *,
    size: int,
    fps: Fraction,
    num_frames: int,
    pattern: str | None = None,
    first: int = 0,
    count: int | None = None,
    max_bad: float = MAX_BAD,
    records: Path | None = None,
    limits: Limits | None = None,
) -> OwnClips:
    """The clips of a data set that can be learned from.

    Args:
        listing: the data set.
        size: pixels of a side.
        fps: frames a second.
        num_frames: how many frames a window has; pictures are learned from one at a time, or filmed.
        pattern: a camera move, see ``data/camera.py``.
        first: the number of the first clip, in the order of their names.
        count: how many of them; all if ``None``.
        max_bad: the share of clips that may be bad.
        records: the folder where what is found of the clips is kept.
        limits: how much of a clip is decoded.

    Raises:
        InputError: nothing is left to learn from, or there is no such pattern.
        FileError: too many clips are bad.
        OutputError: the records cannot be written.
    """
    if pattern is not None:
        parse_pattern(pattern)
    limits = limits or Limits()
    probed = probe(listing, records=records, max_bad=max_bad, limits=limits)
    sources = [Source(entry, facts) for entry, facts in probed.good]
    moving = [s for s in sources if not s.is_still]
    chosen = sources if num_frames == 1 or pattern is not None else moving
    if not chosen:
        kinds = "videos" if chosen is moving else "videos or pictures"
        raise InputError(f"{listing.path} holds no {kinds} to learn from.")
    ordered = some_of(tuple(sorted(chosen, key=lambda s: s.entry.key)), first, count)
    notes = list(listing.notes)
    if probed.bad:
        reason = next(iter(probed.bad.values())).rstrip(".")
        where = f"; all reasons are in {probed.told}" if probed.told else ""
        total = len(listing) + len(listing.broken)
        notes.append(f"{len(probed.bad)} of {total} clips are set aside: {reason}{where}")
    if len(chosen) < len(sources):
        notes.append(f"pictures left out, in which nothing moves: {len(sources) - len(chosen)}")
    if num_frames > 1:
        notes += _concerns(ordered, num_frames, fps, pattern)
    return OwnClips(
        tuple(source for source in ordered for _ in range(source.entry.repeats)),
        probed.bad,
        tuple(notes),
        size,
        fps,
        pattern,
        limits,
    )


def _concerns(
    sources: tuple[Source, ...], num_frames: int, fps: Fraction, pattern: str | None
) -> list[str]:
    """What will be regretted of clips that are learned from, each counted."""
    words: dict[str, Callable[[Source], bool]] = {
        "shorter than a window, so the last frame is held": (
            lambda s: not s.is_still and s.available(fps) < num_frames
        ),
        "nothing moves": lambda s: pattern is None and s.facts.still,
        "the scene changes, and a window may span it; `animatediff dataset build` cuts there": (
            lambda s: bool(s.facts.cuts)
        ),
    }
    counts = Counter(word for source in sources for word, holds in words.items() if holds(source))
    return [f"{n} clip{'' if n == 1 else 's'}: {word}" for word, n in counts.items()]
