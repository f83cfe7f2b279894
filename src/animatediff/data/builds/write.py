"""Build a dataset: constant rate and size, one scene each, encoded once, in shards.

First every clip is examined and its samples are planned. Then the missing samples are decoded,
encoded and written. A sample is named by a hash of everything that determines it, so an interrupted
build continues, a changed dataset needs only its new samples, and nothing is done twice.
"""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import av
import numpy as np
from safetensors.torch import save

from animatediff.data.builds.read import BUILD
from animatediff.data.builds.samples import (
    BuildOptions,
    Encoder,
    Planned,
    kind_of_shards,
    plan_samples,
    sample_key,
    sha256_of_clip,
)
from animatediff.data.builds.shard_writer import (
    ShardWriter,
    keep_only,
    shards_in,
    unwritable,
    write_whole,
)
from animatediff.data.checking.clip_facts import ClipFacts
from animatediff.data.checking.facts_cache import CACHE_FILE, FactsCache
from animatediff.data.checking.quarantine import FILE, Quarantine
from animatediff.data.decoding.confined import Decoder
from animatediff.data.decoding.media import Frames, Limits
from animatediff.data.decoding.parallel import Decoders
from animatediff.data.layouts.listing import ClipEntry, Listing
from animatediff.data.mirroring import may_mirror
from animatediff.errors import FileError, InputError

Watch = Callable[[str, int, int], None]


@dataclass(frozen=True)
class BuildReport:
    """The result of a build.

    Attributes:
        samples: number of samples now.
        made: number of new samples.
        dropped: number of removed samples.
        left_out: number of clips or scenes without a sample, by reason.
        bad: the reason for each bad clip, by key.
        shards: number of files.
    """

    samples: int
    made: int
    dropped: int
    left_out: Mapping[str, int]
    bad: Mapping[str, str]
    shards: int


Looked = tuple[str, ClipFacts]
"""The SHA-256 of a clip's bytes, and what the clip is."""


class Labour(Protocol):
    """Who does the work of a build: this machine (``Here``), or a cluster."""

    def look(
        self, entries: Sequence[ClipEntry], known: FactsCache
    ) -> Iterator[tuple[ClipEntry, Looked | FileError]]:
        """Hash and measure clips, in order; clips with cached measurements are skipped."""
        ...

    def make(
        self, plans: Sequence[Planned]
    ) -> Iterator[tuple[Planned, Mapping[str, bytes] | FileError]]:
        """Decode and encode samples, in order: the files of each, by suffix."""
        ...


@dataclass(frozen=True)
class Here:
    """This machine: several clips are decoded at once, and encoded one by one.

    Attributes:
        options: of the build.
        encoder: encodes the samples; ``None`` stores frames alone.
        decoders: measure the clips, and decode the samples.
    """

    options: BuildOptions
    encoder: Encoder | None
    decoders: Decoders

    def look(
        self, entries: Sequence[ClipEntry], known: FactsCache
    ) -> Iterator[tuple[ClipEntry, Looked | FileError]]:
        """As ``Labour`` says."""

        def job(decoder: Decoder, entry: ClipEntry) -> Looked:
            source = sha256_of_clip(entry.media)
            return source, known[window_of(entry, source)] or measured(decoder, entry)

        return self.decoders.in_order(entries, job)

    def make(
        self, plans: Sequence[Planned]
    ) -> Iterator[tuple[Planned, Mapping[str, bytes] | FileError]]:
        """As ``Labour`` says."""

        def job(decoder: Decoder, plan: Planned) -> Frames:
            return decoded(decoder, plan, self.options)

        for plan, frames in self.decoders.in_order(plans, job):
            if isinstance(frames, FileError):
                yield plan, frames
            else:
                yield plan, members_of(plan, frames, self.options, self.encoder)


def window_of(entry: ClipEntry, source: str) -> str:
    """What the properties of a clip are stored under."""
    return f"{source} {entry.start} {entry.end}"


def measured(decoder: Decoder, entry: ClipEntry) -> ClipFacts:
    """Measure a clip.

    Raises:
        FileError: it cannot be decoded.
    """
    return decoder.measure(entry.media, start=entry.start, end=entry.end)[0]


def decoded(decoder: Decoder, plan: Planned, options: BuildOptions) -> Frames:
    """Decode the frames of a sample.

    Raises:
        FileError: the clip cannot be decoded, or has fewer frames than it had.
    """
    video = decoder.decode(
        plan.entry.media, fps=options.fps, start=plan.start, count=plan.count, size=options.size
    )
    if video.num_frames < plan.count:
        path = plan.entry.media.path
        raise FileError(f"{path} gave {video.num_frames} of {plan.count} frames; get it again.")
    return video.frames


def build_shards(
    listing: Listing,
    folder: Path,
    options: BuildOptions,
    *,
    encoder: Encoder | None = None,
    per_shard: int = 256,
    workers: int = 1,
    limits: Limits | None = None,
    labour: Labour | None = None,
    watch: Watch | None = None,
) -> BuildReport:
    """Make a dataset's samples, or the missing ones.

    Args:
        listing: the dataset.
        folder: the folder of the shards.
        options: options of the build.
        encoder: encodes the samples; without one, frames are only resampled.
        per_shard: the most samples of a file.
        workers: number of clips to decode at once.
        limits: limits of decoding.
        labour: does the work; this machine if ``None``.
        watch: called with the stage, the number of finished clips and their total.

    Raises:
        InputError: the folder contains shards of other options or another encoder.
        FileError: too many clips are bad.
        OutputError: the shards cannot be written; finished ones are complete.
    """
    if encoder is None and not options.pixels:
        raise InputError("Without a model and without pixels there is nothing to build.")
    _claim(folder, options, encoder)
    quarantine = Quarantine(
        len(listing) + len(listing.broken), path=folder / FILE, max_bad=options.max_bad
    )
    quarantine.note_rows(listing.broken)
    quarantine.check()
    with Decoders(workers, limits) as decoders:
        return _built(
            listing,
            folder,
            options,
            encoder,
            quarantine,
            per_shard=per_shard,
            labour=labour or Here(options, encoder, decoders),
            watch=watch,
        )


def _built(
    listing: Listing,
    folder: Path,
    options: BuildOptions,
    encoder: Encoder | None,
    quarantine: Quarantine,
    *,
    per_shard: int,
    labour: Labour,
    watch: Watch | None,
) -> BuildReport:
    plans, left_out = _plan_all(
        listing, folder, options, encoder, quarantine, labour=labour, watch=watch
    )
    there, dropped = keep_only({plan.key for plan in plans}, folder)
    missing = [plan for plan in plans if plan.key not in there]
    made = 0
    writer = ShardWriter(folder, per_shard)
    for number, (plan, members) in enumerate(labour.make(missing), 1):
        if isinstance(members, FileError):
            quarantine.set_aside(plan.entry.key, str(members))
        else:
            writer.add(plan.key, members)
            made += 1
        if watch is not None:
            watch("encode", number, len(missing))
    writer.close()
    return BuildReport(
        samples=len(there) + made,
        made=made,
        dropped=dropped,
        left_out=dict(left_out),
        bad=dict(quarantine.reasons),
        shards=len(shards_in(folder)),
    )


def _plan_all(
    listing: Listing,
    folder: Path,
    options: BuildOptions,
    encoder: Encoder | None,
    quarantine: Quarantine,
    *,
    labour: Labour,
    watch: Watch | None,
) -> tuple[list[Planned], Counter[str]]:
    seen = FactsCache(folder / CACHE_FILE)
    plans: dict[str, Planned] = {}
    left_out: Counter[str] = Counter()
    for number, (entry, result) in enumerate(labour.look(listing.entries, seen), 1):
        if isinstance(result, FileError):
            quarantine.set_aside(entry.key, str(result))
        else:
            source, facts = result
            seen.keep(window_of(entry, source), facts)
            windows, none = plan_samples(facts, start=entry.start, options=options)
            left_out += none
            for start, count in windows:
                key = sample_key(entry, source, start, count, options, encoder)
                if key in plans:
                    left_out["the same as another"] += 1
                plans.setdefault(key, Planned(key, entry, source, start, count))
        if watch is not None:
            watch("look", number, len(listing))
    return list(plans.values()), left_out


def _claim(folder: Path, options: BuildOptions, encoder: Encoder | None) -> None:
    """Create the folder, or check that its shards have the same options."""
    said, path = kind_of_shards(options, encoder), folder / BUILD
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if path.exists():
            before = json.loads(path.read_text(encoding="utf-8"))
            differing = [key for key in before | said if before.get(key) != said.get(key)]
            if differing:
                key = differing[0]
                raise InputError(
                    f"{folder} was built with {key} = {before.get(key)}, not {said.get(key)}; "
                    "choose another folder."
                )
        elif shards_in(folder):
            raise InputError(f"{folder} holds shards of something else; choose another folder.")
        else:
            write_whole(path, json.dumps(said, indent=1).encode())
    except OSError as error:
        raise unwritable(folder, error) from None
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise FileError(f"{path} is broken; delete {folder} and build it again.") from None


def members_of(
    plan: Planned, frames: Frames, options: BuildOptions, encoder: Encoder | None
) -> dict[str, bytes]:
    """Return the files of one sample, by suffix."""
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
    """Encode frames as H.264 in RGB, bit for bit, which every FFmpeg plays."""
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
