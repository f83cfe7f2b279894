"""A data set made ready to learn from: even rate and size, one scene each, encoded once, in shards.

First every clip is looked at and its samples are planned; then what is planned and not yet there is
decoded, encoded and written. A sample is named by a hash of all that decides it, so that a build that
was killed goes on, one whose data set changed does only what is new, and nothing is done twice.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
import tarfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from safetensors.torch import load, save
from torch import Tensor

from animatediff.data.confined import Decoder
from animatediff.data.decoding import Frames, Limits, Media, frames_within
from animatediff.data.layouts import ClipEntry, Listing
from animatediff.data.mirroring import may_mirror
from animatediff.data.parallel import in_order
from animatediff.data.quarantine import FILE, MAX_BAD, Quarantine
from animatediff.data.survey import ClipFacts
from animatediff.errors import FileError, InputError, OutputError

Watch = Callable[[str, int, int], None]

BUILD, SURVEYS = "build.json", "surveys.jsonl"
FORMAT = 1
MAX_SHARD_BYTES = 512 << 20
FLUSH_SECONDS = 300.0
"""A shard is closed after so long, so that a kill never costs more."""


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


@dataclass(frozen=True)
class BuildReport:
    """What a build did.

    Attributes:
        samples: how many there are now.
        made: how many of them are new.
        dropped: how many were there, and are of this data set no more.
        left_out: clips or scenes that gave no sample, counted by the reason.
        bad: why clips are bad, by their keys.
        shards: how many files they are in.
    """

    samples: int
    made: int
    dropped: int
    left_out: Mapping[str, int]
    bad: Mapping[str, str]
    shards: int


def build_shards(
    listing: Listing,
    folder: Path,
    options: BuildOptions,
    *,
    encoder: Encoder | None = None,
    per_shard: int = 256,
    workers: int = 1,
    limits: Limits | None = None,
    watch: Watch | None = None,
) -> BuildReport:
    """Make a data set's samples, or those that are missing.

    Args:
        listing: the data set.
        folder: where the shards are, or will be.
        options: what samples are like.
        encoder: what they are encoded with; without one, frames are only resampled.
        per_shard: how many samples a file holds at most.
        workers: how many clips are decoded at once.
        limits: how much of a clip is decoded.
        watch: told the stage, and how many of how many are done.

    Raises:
        InputError: the folder holds shards of other options or another encoder.
        FileError: too many clips are bad.
        OutputError: the shards cannot be written; those that were are whole.
    """
    if encoder is None and not options.pixels:
        raise InputError("Without a model and without pixels there is nothing to build.")
    _claim(folder, options, encoder)
    quarantine = Quarantine(
        len(listing) + len(listing.broken), path=folder / FILE, max_bad=options.max_bad
    )
    quarantine.note_rows(listing.broken)
    quarantine.check()
    plans, left_out = _plan_all(
        listing, folder, options, encoder, quarantine, workers=workers, limits=limits, watch=watch
    )
    there, dropped = _keep_only({plan.key for plan in plans}, folder)
    missing = [plan for plan in plans if plan.key not in there]

    def decode(decoder: Decoder, plan: Planned) -> Frames:
        video = decoder.decode(
            plan.entry.media,
            fps=options.fps,
            start=plan.start,
            count=plan.count,
            size=options.size,
        )
        if video.num_frames < plan.count:
            path = plan.entry.media.path
            raise FileError(f"{path} gave {video.num_frames} of {plan.count} frames; get it again.")
        return video.frames

    made = 0
    shelf = _Shelf(folder, per_shard)
    decoded = in_order(missing, decode, workers=workers, limits=limits)
    for number, (plan, frames) in enumerate(decoded, 1):
        if isinstance(frames, FileError):
            quarantine.set_aside(plan.entry.key, str(frames))
        else:
            shelf.add(plan.key, _members_of(plan, frames, options, encoder))
            made += 1
        if watch is not None:
            watch("encode", number, len(missing))
    shelf.close()
    return BuildReport(
        samples=len(there) + made,
        made=made,
        dropped=dropped,
        left_out=dict(left_out),
        bad=dict(quarantine.reasons),
        shards=len(_shards_in(folder)),
    )


# --- planning -------------------------------------------------------------------------------------


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


def _plan_all(
    listing: Listing,
    folder: Path,
    options: BuildOptions,
    encoder: Encoder | None,
    quarantine: Quarantine,
    *,
    workers: int,
    limits: Limits | None,
    watch: Watch | None,
) -> tuple[list[Planned], Counter[str]]:
    known = _read_surveys(folder / SURVEYS)

    def look(decoder: Decoder, entry: ClipEntry) -> tuple[str, str, ClipFacts]:
        source = _sha256_of(entry.media)
        window = f"{source} {entry.start} {entry.end}"
        facts = known.get(window)
        if facts is None:
            facts, _ = decoder.survey(entry.media, start=entry.start, end=entry.end)
        return source, window, facts

    plans: dict[str, Planned] = {}
    left_out: Counter[str] = Counter()
    with (folder / SURVEYS).open("a", encoding="utf-8") as journal:
        looked = in_order(listing.entries, look, workers=workers, limits=limits)
        for number, (entry, result) in enumerate(looked, 1):
            if isinstance(result, FileError):
                quarantine.set_aside(entry.key, str(result))
            else:
                source, window, facts = result
                if window not in known:
                    known[window] = facts
                    journal.write(json.dumps({"clip": window, "facts": asdict(facts)}) + "\n")
                    journal.flush()
                windows, none = plan_samples(facts, start=entry.start, options=options)
                left_out += none
                for start, count in windows:
                    key = _key_of(entry, source, start, count, options, encoder)
                    if key in plans:
                        left_out["the same as another"] += 1
                    plans.setdefault(key, Planned(key, entry, source, start, count))
            if watch is not None:
                watch("look", number, len(listing))
    return list(plans.values()), left_out


def _read_surveys(path: Path) -> dict[str, ClipFacts]:
    """What earlier runs saw; the last line of one that was killed may be torn."""
    known: dict[str, ClipFacts] = {}
    if not path.exists():
        return known
    for line in path.read_text(encoding="utf-8").split("\n"):
        try:
            row = json.loads(line)
            known[row["clip"]] = ClipFacts(**row["facts"] | {"cuts": tuple(row["facts"]["cuts"])})
        except (ValueError, KeyError, TypeError):
            continue
    return known


def _sha256_of(media: Media) -> str:
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
        reason = (error.strerror or str(error)).lower()
        raise FileError(f"{media.path} cannot be read: {reason}.") from None
    return digest.hexdigest()


def _key_of(
    entry: ClipEntry,
    source: str,
    start: float,
    count: int,
    options: BuildOptions,
    encoder: Encoder | None,
) -> str:
    decides = [source, entry.text, f"{start:.4f}", count, entry.repeats, dict(entry.facts)]
    decides += [entry.media.strip, str(entry.media.fps), _said(options, encoder)]
    text = json.dumps(decides, sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _said(options: BuildOptions, encoder: Encoder | None) -> dict[str, Any]:
    """What makes shards of one kind; how many clips may be bad is no part of it."""
    table = asdict(dataclasses.replace(options, max_bad=MAX_BAD))
    del table["max_bad"]
    return table | {
        "size": list(options.size),
        "fps": str(options.fps),
        "format": FORMAT,
        "encoder": encoder.name if encoder else None,
    }


def _claim(folder: Path, options: BuildOptions, encoder: Encoder | None) -> None:
    """Make the folder, or find that it holds shards of the same kind."""
    said, path = _said(options, encoder), folder / BUILD
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if path.exists():
            before = json.loads(path.read_text(encoding="utf-8"))
            differing = [key for key in said if before.get(key) != said[key]]
            if differing:
                key = differing[0]
                raise InputError(
                    f"{folder} was built with {key} = {before.get(key)}, not {said[key]}; "
                    "choose another folder."
                )
        elif _shards_in(folder):
            raise InputError(f"{folder} holds shards of something else; choose another folder.")
        else:
            _write_whole(path, json.dumps(said, indent=1).encode())
    except OSError as error:
        raise _unwritable(folder, error) from None
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise FileError(f"{path} is broken; delete {folder} and build it again.") from None


# --- shards ---------------------------------------------------------------------------------------


def _members_of(
    plan: Planned, frames: Frames, options: BuildOptions, encoder: Encoder | None
) -> dict[str, bytes]:
    """The files of one sample, by their suffixes."""
    entry = plan.entry
    facts = {
        "caption": entry.text,
        "fps": str(options.fps),
        "frames": plan.count,
        "size": list(options.size),
        "clip": entry.key,
        "start": round(plan.start, 4),
        "repeats": entry.repeats,
        "may_mirror": may_mirror(entry.text, str(entry.facts.get("camera") or "")),
        "source_sha256": plan.source,
        "facts": dict(entry.facts),
    }
    members = {"json": json.dumps(facts, ensure_ascii=False, default=str).encode()}
    if encoder is not None:
        tensors = {**encoder.frames(frames), **encoder.text(entry.text)}
        members["safetensors"] = save({k: t.contiguous().cpu() for k, t in tensors.items()})
    if options.pixels:
        members["mp4"] = lossless_mp4(frames, options.fps)
    return members


def lossless_mp4(frames: Frames, fps: Fraction) -> bytes:
    """Frames as H.264 in RGB, bit for bit, which every FFmpeg plays."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream: Any = container.add_stream(
            "libx264rgb", rate=fps, options={"qp": "0", "preset": "veryfast", "threads": "1"}
        )
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "rgb24"
        for frame in frames:
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return file.getvalue()


class _Shelf:
    """Samples on their way into shards, each of which appears whole or not at all."""

    def __init__(self, folder: Path, per_shard: int) -> None:
        self._folder, self._per_shard = folder, per_shard
        self._pending: list[tuple[str, bytes]] = []
        self._keys: set[str] = set()
        self._since = time.monotonic()

    def add(self, key: str, members: Mapping[str, bytes]) -> None:
        self._pending += [(f"{key}.{suffix}", content) for suffix, content in members.items()]
        self._keys.add(key)
        size = sum(len(content) for _, content in self._pending)
        late = time.monotonic() - self._since > FLUSH_SECONDS
        if len(self._keys) >= self._per_shard or size > MAX_SHARD_BYTES or late:
            self.close()

    def close(self) -> None:
        if self._pending:
            numbers = (int(p.stem) for p in _shards_in(self._folder) if p.stem.isdigit())
            number = max(numbers, default=-1) + 1
            _write_tar(self._folder / f"{number:05d}.tar", self._pending)
        self._pending, self._keys, self._since = [], set(), time.monotonic()


def _shards_in(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.tar"))


def _keep_only(wanted: set[str], folder: Path) -> tuple[set[str], int]:
    """The samples that are there and wanted; others, of clips that changed or went, are taken out."""
    there: set[str] = set()
    dropped: set[str] = set()
    for shard in _shards_in(folder):
        try:
            with tarfile.open(shard, "r:") as tar:
                names = tar.getnames()
                keys = {name.partition(".")[0] for name in names}
                if keys <= wanted:
                    there |= keys
                    continue
                kept = [
                    (member.name, stream.read())
                    for member in tar
                    if member.name.partition(".")[0] in wanted
                    and (stream := tar.extractfile(member)) is not None
                ]
        except (OSError, tarfile.TarError) as error:
            raise FileError(f"{shard} is broken ({error}); delete it and build again.") from None
        there |= keys & wanted
        dropped |= keys - wanted
        if kept:
            _write_tar(shard, kept)
        else:
            shard.unlink()
    return there, len(dropped)


def _write_tar(path: Path, members: Sequence[tuple[str, bytes]]) -> None:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    _write_whole(path, file.getbuffer())


def _write_whole(path: Path, content: bytes | memoryview) -> None:
    """Write under the name only what is complete and on the disk."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        descriptor = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise _unwritable(path, error) from None


def _unwritable(path: Path, error: OSError) -> OutputError:
    reason = (error.strerror or str(error)).lower()
    return OutputError(
        f"{path} cannot be written ({reason}); free some space or choose another folder."
    )


# --- reading --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class BuiltClip:
    """One sample of a build, of which nothing large is read yet.

    Attributes:
        key: its name.
        facts: its caption and what else is known of it.
        media: its frames; ``None`` if they were not kept.
        encoded: where its tensors are: file, offset and length; ``None`` if it was not encoded.
    """

    key: str
    facts: Mapping[str, Any]
    media: Media | None
    encoded: tuple[Path, int, int] | None

    def tensors(self) -> dict[str, Tensor]:
        """What its frames and caption were encoded to, read from the disk.

        Raises:
            FileError: it was not encoded, or the shard is cut short.
        """
        if self.encoded is None:
            raise FileError(f"{self.key} was built without a model; build it with one.")
        path, offset, length = self.encoded
        with path.open("rb") as file:
            file.seek(offset)
            content = file.read(length)
        if len(content) < length:
            raise FileError(f"{path} is cut short; delete it and build again.")
        return load(content)


def read_built(folder: Path) -> tuple[BuiltClip, ...]:
    """Every sample of a build, in the order of their names, whatever run made them.

    Raises:
        FileError: the folder is no build, or a shard is broken.
    """
    if not (folder / BUILD).is_file():
        raise FileError(
            f"{folder} holds no {BUILD}; make it with `animatediff dataset build DATA -o {folder}`."
        )
    clips: list[BuiltClip] = []
    for shard in _shards_in(folder):
        try:
            with tarfile.open(shard, "r:") as tar:
                clips += _built_in(shard, tar, list(tar))
        except (OSError, tarfile.TarError, ValueError) as error:
            raise FileError(f"{shard} is broken ({error}); delete it and build again.") from None
    return tuple(sorted(clips, key=lambda clip: clip.key))


def _built_in(
    shard: Path, tar: tarfile.TarFile, members: Iterable[tarfile.TarInfo]
) -> Iterator[BuiltClip]:
    parts: dict[str, dict[str, tarfile.TarInfo]] = {}
    for member in members:
        key, _, suffix = member.name.partition(".")
        parts.setdefault(key, {})[suffix] = member
    for key, part in parts.items():
        stream = tar.extractfile(part["json"]) if "json" in part else None
        if stream is None:
            raise ValueError(f"{key} has no json")
        frames, encoded = part.get("mp4"), part.get("safetensors")
        yield BuiltClip(
            key,
            json.loads(stream.read()),
            Media(shard, offset=frames.offset_data, length=frames.size) if frames else None,
            (shard, encoded.offset_data, encoded.size) if encoded else None,
        )
