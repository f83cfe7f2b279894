"""Every clip looked at before the first step, whole, by a decoder that can be stopped.

So a run knows what it can read before it learns anything. What was found is kept with the data set's
records: a run that goes on finds the same clips good, and the same ones bad, as when it began.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from animatediff.data.checking.clip_facts import ClipFacts
from animatediff.data.checking.facts_cache import SURVEYS, Surveys
from animatediff.data.checking.quarantine import FILE, MAX_BAD, Quarantine
from animatediff.data.decoding.confined import Decoder, own_decoder
from animatediff.data.decoding.media import Limits
from animatediff.data.decoding.parallel import in_order
from animatediff.data.layouts.listing import ClipEntry, Listing
from animatediff.errors import FileError, OutputError, reason_of

CLIPS_A_WORKER = 16
"""So many clips are worth the start of one more process."""


@dataclass(frozen=True)
class Probed:
    """What is known of a data set's clips.

    Attributes:
        good: the clips that were decoded to their end, and what was seen of each.
        bad: why each of the others was set aside, by its key.
        told: the file that tells the same; ``None`` if there is none.
    """

    good: tuple[tuple[ClipEntry, ClipFacts], ...]
    bad: Mapping[str, str]
    told: Path | None


def probe(
    listing: Listing,
    *,
    records: Path | None = None,
    max_bad: float = MAX_BAD,
    workers: int | None = None,
    limits: Limits | None = None,
) -> Probed:
    """Decode every clip of a data set, but those whose files are as they were when last looked at.

    A clip that was bad is looked at again when its file changes, or when ``quarantine.jsonl`` is
    deleted from the records.

    Args:
        listing: the data set.
        records: the folder where what is found is kept; ``None`` keeps nothing.
        max_bad: the share of clips that may be bad.
        workers: how many clips are decoded at once; if ``None``, as many as there are cores to it.
        limits: how much of a clip is decoded.

    Raises:
        FileError: too many clips are bad.
        OutputError: the records cannot be written.
    """
    limits = limits or Limits()
    told = None if records is None else records / FILE
    if records is not None:
        _make(records)
    quarantine = Quarantine(len(listing) + len(listing.broken), max_bad=max_bad)
    seen = Surveys(None if records is None else records / SURVEYS)
    before = {} if told is None else _verdicts_in(told)

    def look(decoder: Decoder, entry: ClipEntry) -> tuple[str, ClipFacts]:
        stamp = _stamp_of(entry)
        if stamp in before:
            raise FileError(before[stamp])
        facts = seen[stamp]
        if facts is None:
            facts, _ = decoder.survey(entry.media, start=entry.start, end=entry.end)
        return stamp, facts

    wanted = workers or min(_cores(), 1 + len(listing) // CLIPS_A_WORKER)
    good: list[tuple[ClipEntry, ClipFacts]] = []
    stamps: dict[str, str] = {}
    try:
        quarantine.note_rows(listing.broken)
        quarantine.check()
        looked = (
            in_order(listing.entries, look, workers=wanted, limits=limits)
            if wanted > 1
            else _one_by_one(listing.entries, look, limits)
        )
        for entry, result in looked:
            if isinstance(result, FileError):
                quarantine.set_aside(entry.key, str(result))
                stamps[entry.key] = _stamp_or_nothing(entry)
            else:
                seen.keep(*result)
                good.append((entry, result[1]))
    except FileError as error:
        # Such a verdict stops a run, so it is not one that a run goes on from: no stamps.
        if told is None:
            raise
        _write(told, ({"clip": key, "reason": r} for key, r in quarantine.reasons.items()))
        raise FileError(f"{str(error).rstrip('.')}; the reasons are in {told}.") from None
    if told is not None:
        rows = (
            {"clip": key, "reason": reason, "stamp": stamps.get(key, "")}
            for key, reason in quarantine.reasons.items()
        )
        _write(told, rows)
    return Probed(tuple(good), dict(quarantine.reasons), told if quarantine.reasons else None)


def _cores() -> int:
    """The share of this machine's cores that falls to this process of a run."""
    here = os.environ.get("LOCAL_WORLD_SIZE", "1")
    return max(1, (os.cpu_count() or 1) // (int(here) if here.isdigit() and int(here) else 1))


def _one_by_one(
    entries: Iterable[ClipEntry],
    look: Callable[[Decoder, ClipEntry], tuple[str, ClipFacts]],
    limits: Limits,
) -> Iterator[tuple[ClipEntry, tuple[str, ClipFacts] | FileError]]:
    """By the decoder that will read the clips afterwards, so that no other is started."""
    for entry in entries:
        try:
            yield entry, look(own_decoder(limits), entry)
        except FileError as error:
            yield entry, error


def _stamp_of(entry: ClipEntry) -> str:
    """Changes when a clip's files do; nothing of them is read.

    Raises:
        FileError: they are not there.
    """
    media = entry.media
    facts: list[object] = [media.offset, media.length, media.strip, str(media.fps)]
    facts += [entry.start, entry.end]
    try:
        for path in media.pictures or (media.path,):
            known = path.stat()
            facts += [str(path.resolve()), known.st_size, known.st_mtime_ns]
    except OSError as error:
        reason = reason_of(error)
        raise FileError(f"{media.path} cannot be read ({reason}).") from None
    return hashlib.sha256(json.dumps(facts).encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _stamp_or_nothing(entry: ClipEntry) -> str:
    try:
        return _stamp_of(entry)
    except FileError:
        return ""


def _verdicts_in(path: Path) -> dict[str, str]:
    """The reasons of clips that were set aside when a run began, by their stamps."""
    if not path.exists():
        return {}
    found: dict[str, str] = {}
    for line in path.read_text(encoding="utf-8", errors="replace").split("\n"):
        try:
            row = json.loads(line)
            if row["stamp"]:
                found[str(row["stamp"])] = str(row["reason"])
        except (ValueError, KeyError, TypeError):
            continue
    return found


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = reason_of(error)
        raise OutputError(f"{folder} cannot be made ({reason}); choose another --work.") from None


def _write(path: Path, rows: Iterable[Mapping[str, str]]) -> None:
    """Replace the file whole: several processes of one run write the same."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    try:
        temporary.write_bytes(text.encode("utf-8", "surrogatepass"))
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        reason = reason_of(error)
        raise OutputError(f"{path} cannot be written ({reason}).") from None
