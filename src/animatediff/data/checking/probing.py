"""Decode every clip completely before the first training step, with a decoder that can be stopped.

A run thus knows what it can read before it trains. The findings are stored with the dataset's
records, so a resumed run finds the same clips good and bad as when it started.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from animatediff.data.checking.clip_facts import ClipFacts
from animatediff.data.checking.facts_cache import CACHE_FILE, FactsCache
from animatediff.data.checking.quarantine import FILE, MAX_BAD, Quarantine
from animatediff.data.decoding.confined import Decoder, own_decoder
from animatediff.data.decoding.media import Limits
from animatediff.data.decoding.parallel import in_order
from animatediff.data.layouts.listing import ClipEntry, Listing
from animatediff.errors import FileError, OutputError, reason_of

CLIPS_A_WORKER = 16
"""Number of clips that justify one more process."""


@dataclass(frozen=True)
class Probed:
    """The good and bad clips of a dataset.

    Attributes:
        good: clips that were decoded to their end, with their properties.
        bad: the reason for each bad clip, by key.
        reasons_file: the file with the same reasons; ``None`` if there is none.
    """

    good: tuple[tuple[ClipEntry, ClipFacts], ...]
    bad: Mapping[str, str]
    reasons_file: Path | None


def probe(
    listing: Listing,
    *,
    records: Path | None = None,
    max_bad: float = MAX_BAD,
    workers: int | None = None,
    limits: Limits | None = None,
) -> Probed:
    """Decode every clip of a dataset, except those whose files have not changed since the last time.

    A bad clip is decoded again if its file changes, or if ``quarantine.jsonl`` is deleted from the
    records.

    Args:
        listing: the dataset.
        records: the folder for the findings; ``None`` stores nothing.
        max_bad: the share of clips that may be bad.
        workers: number of clips to decode at once; by default one per core of this process.
        limits: limits of decoding.

    Raises:
        FileError: too many clips are bad.
        OutputError: the records cannot be written.
    """
    limits = limits or Limits()
    reasons_file = None if records is None else records / FILE
    if records is not None:
        _make(records)
    quarantine = Quarantine(len(listing) + len(listing.broken), max_bad=max_bad)
    seen = FactsCache(None if records is None else records / CACHE_FILE)
    before = {} if reasons_file is None else _verdicts_in(reasons_file)

    def look(decoder: Decoder, entry: ClipEntry) -> tuple[str, ClipFacts]:
        stamp = _stamp_of(entry)
        if stamp in before:
            raise FileError(before[stamp])
        facts = seen[stamp]
        if facts is None:
            facts, _ = decoder.measure(entry.media, start=entry.start, end=entry.end)
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
        # This verdict stops the run, so it is stored without stamps and does not bind the next run.
        if reasons_file is None:
            raise
        _write(reasons_file, ({"clip": key, "reason": r} for key, r in quarantine.reasons.items()))
        raise FileError(f"{str(error).rstrip('.')}; the reasons are in {reasons_file}.") from None
    if reasons_file is not None:
        rows = (
            {"clip": key, "reason": reason, "stamp": stamps.get(key, "")}
            for key, reason in quarantine.reasons.items()
        )
        _write(reasons_file, rows)
    return Probed(
        tuple(good), dict(quarantine.reasons), reasons_file if quarantine.reasons else None
    )


def _cores() -> int:
    """Return this process's share of the machine's cores."""
    here = os.environ.get("LOCAL_WORLD_SIZE", "1")
    return max(1, (os.cpu_count() or 1) // (int(here) if here.isdigit() and int(here) else 1))


def _one_by_one(
    entries: Iterable[ClipEntry],
    look: Callable[[Decoder, ClipEntry], tuple[str, ClipFacts]],
    limits: Limits,
) -> Iterator[tuple[ClipEntry, tuple[str, ClipFacts] | FileError]]:
    """Decode with the decoder that will read the clips later, so that no other is started."""
    for entry in entries:
        try:
            yield entry, look(own_decoder(limits), entry)
        except FileError as error:
            yield entry, error


def _stamp_of(entry: ClipEntry) -> str:
    """Return a stamp that changes when a clip's files do, without reading them.

    Raises:
        FileError: the files do not exist.
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
    """Load the reasons of clips that were bad when a run started, by stamp."""
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
        raise OutputError(
            f"{folder} cannot be created ({reason}); choose another --work."
        ) from None


def _write(path: Path, rows: Iterable[Mapping[str, str]]) -> None:
    """Replace the file atomically: several processes of a run write the same content."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    try:
        temporary.write_bytes(text.encode("utf-8", "surrogatepass"))
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        reason = reason_of(error)
        raise OutputError(f"{path} cannot be written ({reason}).") from None
