"""Datasets as archives: clips and their captions as members of tar files."""

from __future__ import annotations

import tarfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from animatediff.data.decoding.media import Media
from animatediff.data.layouts.listing import (
    CAPTION_COLUMNS,
    CAPTION_SUFFIXES,
    MAX_CAPTION_BYTES,
    BrokenRow,
    ClipEntry,
    Rows,
    flat,
    json_object,
)
from animatediff.data.layouts.media_files import (
    is_no_clip,
    kind_by_name,
    kind_of_content,
)
from animatediff.errors import FileError
from animatediff.video.content import HEAD


def read_webdataset(source: Path, rows: Rows) -> None:
    """Read shards: ``KEY.mp4`` with ``KEY.txt`` or ``KEY.json`` beside it in a tar."""
    shards = [source] if source.is_file() else sorted(source.rglob("*.tar"))
    for shard in shards:
        prefix = (
            f"{shard.relative_to(source).with_suffix('').as_posix()}/" if len(shards) > 1 else ""
        )
        parts: dict[str, dict[str, tarfile.TarInfo]] = {}
        texts: dict[str, dict[str, bytes]] = {}
        clips: dict[str, list[str]] = {}
        try:
            with tarfile.open(shard, "r:") as tar:
                for member in tar:
                    stem, suffix = _split_member(member.name.removeprefix("./"))
                    if not member.isreg() or not suffix:
                        continue
                    parts.setdefault(stem, {})[suffix] = member
                    if suffix in (".json", *CAPTION_SUFFIXES):
                        stream = tar.extractfile(member)
                        content = stream.read(MAX_CAPTION_BYTES + 1) if stream else b""
                        texts.setdefault(stem, {})[suffix] = content
                    elif _is_clip(tar, member):
                        clips.setdefault(stem, []).append(suffix)
        except (OSError, tarfile.TarError) as error:
            reason = f"{shard} is broken ({error}); clips after that are lost, so get it again."
            rows.broken.append(BrokenRow(shard.name, reason))
        for stem, members in parts.items():
            where = f"{shard.name}: {stem}"
            rows.add(
                where,
                partial(
                    _member_entry,
                    shard,
                    prefix + stem,
                    members,
                    clips.get(stem, []),
                    texts.get(stem, {}),
                    where=where,
                ),
            )


def _split_member(name: str) -> tuple[str, str]:
    """Split a name as WebDataset does: a key ends at the first dot of the file's name."""
    folder, slash, file = name.rpartition("/")
    stem, dot, suffix = file.partition(".")
    return f"{folder}{slash}{stem}", f"{dot}{suffix}".lower()


def _is_clip(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bool:
    """Return whether a member is a video or picture, by its name or, if unclear, its content."""
    if is_no_clip(member.name) or kind_by_name(member.name):
        return not is_no_clip(member.name)
    stream = tar.extractfile(member)
    return stream is not None and kind_of_content(stream.read(HEAD)) is not None


def _member_entry(
    shard: Path,
    key: str,
    members: Mapping[str, tarfile.TarInfo],
    shown: list[str],
    texts: Mapping[str, bytes],
    *,
    where: str,
) -> ClipEntry:
    if len(shown) != 1:
        raise FileError(f"{where} has {len(shown)} videos or pictures; a clip has one.")
    facts = json_object(texts[".json"], where=f"{where}.json") if ".json" in texts else {}
    caption: object = None
    for suffix in CAPTION_SUFFIXES:
        if suffix in texts:
            try:
                caption = texts[suffix].decode("utf-8-sig")
            except UnicodeDecodeError:
                raise FileError(f"{where}{suffix} is not UTF-8 text.") from None
            break
    else:
        caption = next((facts[c] for c in CAPTION_COLUMNS if facts.get(c) is not None), None)
    member, frames = members[shown[0]], facts.get("frames")
    # The built-in world's clips are stacked frames.
    strip = frames if shown == [".webp"] and isinstance(frames, int) and frames > 1 else 0
    media = Media(shard, offset=member.offset_data, length=member.size, strip=strip)
    return ClipEntry(key, media, flat(caption), origin=where, facts=facts)
