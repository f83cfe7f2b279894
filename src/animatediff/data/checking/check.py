"""Check a dataset before training: bad clips, and clips that need attention.

Every clip is decoded completely. Nothing is changed; the report lists clips and reasons.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from animatediff.data.checking.clip_facts import ClipFacts
from animatediff.data.checking.quarantine import MAX_BAD, Quarantine
from animatediff.data.decoding.confined import Decoder
from animatediff.data.decoding.frames import frames_within
from animatediff.data.decoding.media import Limits
from animatediff.data.decoding.parallel import in_order
from animatediff.data.layouts.listing import ClipEntry, Listing
from animatediff.data.mirroring import may_mirror
from animatediff.errors import FileError, OutputError, reason_of

Watch = Callable[[int, int], None]
Thumbnails = UInt8[np.ndarray, "moments height width 3"]

CAPTION_TOKENS = 75
"""Tokens of a caption that Stable Diffusion's text encoder reads; the rest is cut off."""
MAX_SHEET_CLIPS = 60
DUPLICATE_BITS, DUPLICATE_COLOUR = 16, 6.0
"""Clips look alike below this many of 256 different bits and this mean difference of 192 colours ..."""
DUPLICATE_SHAPE, LEAST_SHAPE = 0.3, 16.0
"""... if no patch of their first frames differs by more than this share of the contrast, or this many
levels. A red circle and a red square differ in few patches, but there completely."""

_TOKEN = re.compile(r"'(?:s|t|re|ve|m|ll|d)|[^\W\d_]+|\d|[^\s\w]+|_+", re.IGNORECASE)


@dataclass(frozen=True)
class CheckOptions:
    """Options of a check.

    Attributes:
        fps: the frame rate of the training.
        frames: the number of consecutive frames of the training.
        flip: whether clips will be mirrored.
        max_bad: the share of clips that may be bad.
    """

    fps: float = 8.0
    frames: int = 16
    flip: bool = False
    max_bad: float = MAX_BAD


@dataclass(frozen=True)
class CheckReport:
    """The result of a check.

    Attributes:
        listing: the dataset.
        options: the options of the check.
        facts: properties of each good clip, by key.
        bad: the reason for each bad clip, by key.
        duplicates: groups of keys of clips that look alike.
        thumbnails: a few small frames of some clips.
    """

    listing: Listing
    options: CheckOptions
    facts: Mapping[str, ClipFacts]
    bad: Mapping[str, str]
    duplicates: tuple[tuple[str, ...], ...]
    thumbnails: Mapping[str, Thumbnails] = field(repr=False)

    @property
    def total(self) -> int:
        """Number of clips, including bad ones."""
        return len(self.facts) + len(self.bad)

    @property
    def usable(self) -> bool:
        """Whether the share of bad clips is allowed."""
        return len(self.bad) <= self.options.max_bad * self.total

    def concerns(self) -> dict[str, tuple[str, ...]]:
        """Clips that need attention, by reason."""
        entries = [entry for entry in self.listing.entries if entry.key in self.facts]
        fps, needed = self.options.fps, self.options.frames
        moving = self.options.frames > 1
        found = {
            "static": self._where(lambda f: moving and f.frames > 1 and f.still),
            "overlay": self._where(lambda f: moving and f.marked),
            "short": self._where(lambda f: moving and frames_within(f.seconds, fps) < needed),
            "cuts": self._where(lambda f: bool(f.cuts)),
            "varying rate": self._where(lambda f: f.varying_rate),
            "hdr": self._where(lambda f: bool(f.hdr)),
            "no caption": tuple(e.key for e in entries if e.caption is None),
            "empty caption": tuple(e.key for e in entries if e.caption == ""),
            "long caption": tuple(e.key for e in entries if least_tokens(e.text) > CAPTION_TOKENS),
            "left or right": tuple(
                e.key for e in entries if self.options.flip and not may_mirror(e.text)
            ),
        }
        return {name: keys for name, keys in found.items() if keys}

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain data, for programs."""
        return {
            "path": str(self.listing.path),
            "layout": self.listing.layout,
            "clips": self.total,
            "good": len(self.facts),
            "usable": self.usable,
            "bad": [{"clip": key, "reason": reason} for key, reason in self.bad.items()],
            "frames": sum(f.frames for f in self.facts.values()),
            "seconds": _spread([f.seconds for f in self.facts.values()]),
            "fps": _counted(f"{f.fps:g}" for f in self.facts.values()),
            "sizes": _counted(f"{f.width}x{f.height}" for f in self.facts.values()),
            "kinds": _counted(f.kind for f in self.facts.values()),
            "duplicates": [list(group) for group in self.duplicates],
            "motion": {key: f.motion for key, f in self.facts.items()},
            "overlay": {key: f.overlay for key, f in self.facts.items() if f.overlay},
            "cuts": {key: list(f.cuts) for key, f in self.facts.items() if f.cuts},
            "concerns": {name: list(keys) for name, keys in self.concerns().items()},
            "notes": list(self.listing.notes),
        }

    def lines(self) -> Iterator[str]:
        """Return the report as text."""
        seconds = _spread([f.seconds for f in self.facts.values()])
        yield (
            f"{self.total} clips ({self.listing.layout}), {len(self.facts)} of them good: "
            f"{seconds['total'] / 60:.1f} min, "
            f"{sum(f.frames for f in self.facts.values()):,} frames"
        )
        if self.facts:
            yield (
                f"{'duration':<14} {seconds['shortest']:.2f} to {seconds['longest']:.2f} s, "
                f"half of them under {seconds['median']:.2f} s"
            )
            for name, counts in (
                ("fps", _counted(f"{f.fps:g}" for f in self.facts.values())),
                ("size", _counted(f"{f.width}x{f.height}" for f in self.facts.values())),
                ("kind", _counted(f.kind for f in self.facts.values())),
            ):
                yield f"{name:<14} {_most(counts)}"
        yield from self._problems()

    def _problems(self) -> Iterator[str]:
        for key, reason in list(self.bad.items())[:20]:
            yield f"{'bad':<14} {key}: {reason}"
        if len(self.bad) > 20:
            yield f"{'bad':<14} and {len(self.bad) - 20} more"
        for group in self.duplicates[:10]:
            yield f"{'look alike':<14} {_some(group)}"
        if len(self.duplicates) > 10:
            yield f"{'look alike':<14} and {len(self.duplicates) - 10} groups more"
        for name, keys in self.concerns().items():
            yield f"{name:<14} {len(keys)}: {_some(keys)}"
        for note in self.listing.notes:
            yield f"{'note':<14} {note}"

    def _where(self, holds: Callable[[ClipFacts], bool]) -> tuple[str, ...]:
        return tuple(key for key, facts in self.facts.items() if holds(facts))


def check_clips(
    listing: Listing,
    options: CheckOptions,
    *,
    workers: int = 1,
    limits: Limits | None = None,
    watch: Watch | None = None,
) -> CheckReport:
    """Decode every clip of a dataset and report on it.

    Args:
        listing: the dataset.
        options: options of the check.
        workers: number of clips to decode at once.
        limits: limits of decoding.
        watch: called with the number of finished clips and their total.
    """
    total = len(listing) + len(listing.broken)
    bad = Quarantine(total, max_bad=options.max_bad)
    bad.note_rows(listing.broken)
    facts: dict[str, ClipFacts] = {}
    thumbnails: dict[str, Thumbnails] = {}
    every = max(1, len(listing) // MAX_SHEET_CLIPS)
    results = in_order(listing.entries, _facts_of, workers=workers, limits=limits)
    for number, (entry, result) in enumerate(results):
        if isinstance(result, FileError):
            bad.note(entry.key, str(result))
        else:
            facts[entry.key], seen = result
            if number % every == 0 and len(thumbnails) < MAX_SHEET_CLIPS:
                thumbnails[entry.key] = seen
        if watch is not None:
            watch(number + 1, len(listing))
    return CheckReport(
        listing, options, facts, dict(bad.reasons), duplicates_among(facts), thumbnails
    )


def _facts_of(decoder: Decoder, entry: ClipEntry) -> tuple[ClipFacts, Thumbnails]:
    return decoder.measure(entry.media, start=entry.start, end=entry.end)


def duplicates_among(facts: Mapping[str, ClipFacts]) -> tuple[tuple[str, ...], ...]:
    """Return groups of clips that look alike, whatever their size, rate and file."""
    keys = list(facts)
    if len(keys) < 2:
        return ()
    looks = np.array(
        [np.frombuffer(bytes.fromhex(facts[key].looks), np.uint64) for key in keys], np.uint64
    )
    colours = np.array(
        [np.frombuffer(bytes.fromhex(facts[key].colours), np.uint8) for key in keys], np.int16
    )
    outlines = np.array(
        [np.frombuffer(bytes.fromhex(facts[key].outline), np.uint8) for key in keys], np.int16
    )
    contrasts = np.ptp(outlines, axis=1)
    lengths = np.array([facts[key].seconds for key in keys], np.float32)
    leader = list(range(len(keys)))

    def first_of(index: int) -> int:
        while leader[index] != index:
            leader[index] = leader[leader[index]]
            index = leader[index]
        return index

    for index in range(1, len(keys)):
        differing = np.bitwise_count(looks[:index] ^ looks[index]).sum(axis=1)
        alike = (
            (differing <= DUPLICATE_BITS)
            & (np.abs(colours[:index] - colours[index]).mean(axis=1) <= DUPLICATE_COLOUR)
            & (np.abs(lengths[:index] - lengths[index]) <= 0.1 * lengths[index] + 0.1)
        )
        for other in np.flatnonzero(alike):
            most = max(LEAST_SHAPE, DUPLICATE_SHAPE * float(contrasts[index]))
            if np.abs(outlines[other] - outlines[index]).max() > most:
                continue
            leader[first_of(index)] = first_of(int(other))
    groups: dict[int, list[str]] = {}
    for index, key in enumerate(keys):
        groups.setdefault(first_of(index), []).append(key)
    return tuple(tuple(group) for group in groups.values() if len(group) > 1)


def least_tokens(caption: str) -> int:
    """Return a lower bound of a caption's CLIP tokens: its words, digits and punctuation."""
    return len(_TOKEN.findall(caption))


# --- the contact sheet ----------------------------------------------------------------------------

_COLUMNS, _MARGIN, _LABEL = 3, 6, 14


def write_contact_sheet(report: CheckReport, path: Path) -> None:
    """Draw four moments of up to 60 clips, each above its name and the reasons for attention.

    Raises:
        OutputError: the picture cannot be written.
    """
    troubled = {key: name for name, keys in report.concerns().items() for key in keys}
    troubled |= {key: "look alike" for group in report.duplicates for key in group}
    strips = [
        _labelled(shown, f"{key}  {troubled.get(key, '')}".strip(), red=key in troubled)
        for key, shown in report.thumbnails.items()
    ]
    if not strips:
        strips = [Image.new("RGB", (320, 40), "white")]
    width = max(strip.width for strip in strips) + _MARGIN
    rows = [strips[i : i + _COLUMNS] for i in range(0, len(strips), _COLUMNS)]
    heights = [max(strip.height for strip in row) + _MARGIN for row in rows]
    sheet = Image.new(
        "RGB", (width * min(_COLUMNS, len(strips)) + _MARGIN, sum(heights) + _MARGIN), "white"
    )
    top = _MARGIN
    for row, height in zip(rows, heights, strict=True):
        for column, strip in enumerate(row):
            sheet.paste(strip, (_MARGIN + column * width, top))
        top += height
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("wb") as file:
            sheet.save(file, "PNG")
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        reason = reason_of(error)
        raise OutputError(f"{path} cannot be written ({reason}); choose another name.") from None


def _labelled(shown: Thumbnails, label: str, *, red: bool) -> Image.Image:
    count, height, width, _ = shown.shape
    strip = Image.new("RGB", (count * width, height + _LABEL), "white")
    for index, picture in enumerate(shown):
        strip.paste(Image.fromarray(picture), (index * width, 0))
    printable = label.encode("utf-8", "replace").decode("utf-8")
    ImageDraw.Draw(strip).text(
        (1, height + 1), printable, fill="firebrick" if red else "black", font=_font()
    )
    return strip


def _font() -> Any:
    return ImageFont.load_default(size=10)


def _spread(values: Sequence[float]) -> dict[str, float]:
    if not values:
        return {"total": 0.0, "shortest": 0.0, "median": 0.0, "longest": 0.0}
    return {
        "total": round(sum(values), 3),
        "shortest": min(values),
        "median": round(float(np.median(values)), 3),
        "longest": max(values),
    }


def _counted(values: Iterable[str]) -> dict[str, int]:
    return dict(Counter(values).most_common())


def _most(counts: Mapping[str, int], *, most: int = 6) -> str:
    shown = ", ".join(f"{name} ({count})" for name, count in list(counts.items())[:most])
    return shown if len(counts) <= most else f"{shown} and {len(counts) - most} others"


def _some(keys: Sequence[str], *, most: int = 5) -> str:
    shown = ", ".join(keys[:most])
    return shown if len(keys) <= most else f"{shown} and {len(keys) - most} more"
