"""Your own clips as training data, in any layout, one window at a time.

Bad clips are skipped before the first step (``data/checking/probing.py``). Frames are read as
``dataset build`` reads them, so training on a build equals training on its source. Only the frames
of one window are in memory.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
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
    """A clip that was once decoded to its end.

    Attributes:
        entry: its place and caption.
        facts: its properties.
    """

    entry: ClipEntry
    facts: ClipFacts

    @property
    def is_still(self) -> bool:
        """Whether it is a single picture."""
        return self.facts.frames == 1

    def available(self, fps: Fraction) -> int:
        """Return the number of frames at a rate."""
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
        """Read ``count`` frames from ``start`` seconds on; a shorter clip holds its last frame.

        Args:
            start: seconds from the clip's beginning.
            count: number of frames.
            fps: frames per second.
            size: width and height, as for ``decode``.
            side: as for ``decode``; not together with ``size``.
            limits: limits of decoding.

        Raises:
            FileError: the file has changed since it was probed.
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
        # If a part of a file starts between two frames, its length is uncertain by one frame.
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
    """The clips of a dataset; clip i is a pure function of i and a generator.

    Attributes:
        sources: readable clips in the order of their names, each as often as it counts.
        bad: the reason for each bad clip, by key.
        notes: sentences about the clips that a user should know.
        size: pixels of a side of the training frames.
        fps: frames per second of the training, whatever a file's own rate.
        pattern: a camera move to add to every clip; ``None`` for none.
        limits: limits of decoding.
        from_start: whether every window starts at the clip's beginning.
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
        """Return a window of a clip from a random start (unless ``from_start``), and its caption."""
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
        # A camera that moves closer needs more pixels than it shows.
        seen = filmed(frames(side=2 * self.size), move, size=self.size)
        return Footage(seen, source.entry.text)

    def filmed(self, pattern: str) -> OwnClips:
        """The same clips with a camera move."""
        return replace(self, pattern=pattern)

    def with_starts(self, *, fixed: bool) -> OwnClips:
        """The same clips, each window from the beginning of its clip or from anywhere."""
        return replace(self, from_start=fixed)

    def fingerprint(self) -> str:
        """Return a hash of the training data: names, lengths and captions, but not their place."""
        asked = [self.size, str(self.fps), self.pattern]
        lines = [json.dumps([*asked, "from the start"] if self.from_start else asked)]
        for source in self.sources:
            entry, facts = source.entry, source.facts
            row = [entry.key, entry.text, entry.start, entry.end, bytes_of(entry.media)]
            lines.append(json.dumps([*row, facts.frames, facts.seconds]))
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
    """Select the clips of a dataset to train on.

    Args:
        listing: the dataset.
        size: pixels of a side.
        fps: frames per second.
        num_frames: frames of a window; pictures are used one at a time, or with a camera move.
        pattern: a camera move, see ``data/camera.py``.
        first: number of the first clip, in the order of their names.
        count: number of clips; ``None`` for all.
        max_bad: the share of clips that may be bad.
        records: the folder for what is found out about the clips.
        limits: limits of decoding.

    Raises:
        InputError: nothing is left to train on, or there is no such pattern.
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
        where = f"; all reasons are in {probed.reasons_file}" if probed.reasons_file else ""
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
    """Count the properties of the clips that a user should know about."""
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
