"""Locate a pickle and the values of its tensors, in torch's zip file or in its older format."""

from __future__ import annotations

import io
import mmap
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

from animatediff.weights.storage.legacy_child.described import (
    ITEM,
    Inert,
    Refused,
    Storage,
    TensorRef,
)
from animatediff.weights.storage.legacy_child.machine import interpret

MAX_PICKLE_BYTES = 64 << 20
MAX_MEMBERS = 200_000
MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001


@dataclass(frozen=True)
class Opened:
    """A parsed pickle, and the location of its storages.

    Attributes:
        root: what it describes.
        place: the first byte of a storage, and the checksum of its bytes if there is one.
    """

    root: Any
    place: Callable[[Storage], tuple[int, int | None]]


def open_zip(file: BinaryIO, data: mmap.mmap) -> Opened:
    """A file of torch since 1.6: a zip with a pickle and a member for each storage."""
    try:
        archive = zipfile.ZipFile(file)
    except (zipfile.BadZipFile, ValueError, OverflowError, NotImplementedError, struct.error):
        raise Refused("is a damaged or truncated zip file; get the file again") from None
    infos = archive.infolist()
    if len(infos) > MAX_MEMBERS:
        raise Refused(f"is a zip file of {len(infos)} members, more than weights can have")
    members = {info.filename: info for info in infos}
    if len(members) != len(infos):
        raise Refused("is a zip file with two members of the same name, which torch never writes")
    pickles = [name for name in members if name.rpartition("/")[2] == "data.pkl"]
    if len(pickles) != 1:
        raise Refused("is a zip file without torch's table of tensors; unpack it first")
    root = pickles[0].removesuffix("data.pkl")
    if f"{root}constants.pkl" in members or any(n.startswith(f"{root}code/") for n in members):
        raise Refused("is a TorchScript program, not a table of weights")
    order = members.get(f"{root}byteorder")
    if order is not None and member_bytes(order, data, limit=16).strip() != b"little":
        raise Refused("was written on a machine with another order of bytes")
    pickle = member_bytes(members[pickles[0]], data, limit=MAX_PICKLE_BYTES)

    def place(storage: Storage) -> tuple[int, int | None]:
        info = members.get(f"{root}data/{storage.key}")
        if info is None:
            raise Refused("is damaged: the values of a tensor are missing; get the file again")
        start, size = member_span(info, data)
        if size < storage.count * ITEM[storage.dtype]:
            raise Refused("is damaged: a tensor has fewer values than its shape needs")
        if size != storage.count * ITEM[storage.dtype]:
            return start, None  # the checksum covers more than the values
        return start, info.CRC

    opened = interpret(io.BytesIO(pickle), limit=MAX_PICKLE_BYTES)
    return Opened(opened, place)


def member_span(info: zipfile.ZipInfo, data: mmap.mmap) -> tuple[int, int]:
    """Return where a member's bytes are in the file; torch stores them uncompressed."""
    if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
        raise Refused("has compressed values, which torch never writes")
    if info.flag_bits & 1:
        raise Refused("is encrypted")
    header = data[info.header_offset : info.header_offset + 30]
    if len(header) != 30 or not header.startswith(b"PK\x03\x04"):
        raise Refused("is a damaged zip file; get the file again")
    name, extra = struct.unpack("<HH", header[26:30])
    start = info.header_offset + 30 + name + extra
    if start + info.file_size > len(data):
        raise Refused(
            "is truncated: its zip directory lists more bytes than the file has; get the file again"
        )
    return start, info.file_size


def member_bytes(info: zipfile.ZipInfo, data: mmap.mmap, *, limit: int) -> bytes:
    """Read a small member completely."""
    if info.file_size > limit:
        raise Refused(f"has a member of {info.file_size} bytes; at most {limit} are supported")
    start, size = member_span(info, data)
    content = data[start : start + size]
    if zlib.crc32(content) != info.CRC:
        raise Refused("is damaged: a checksum in its zip file is wrong; get the file again")
    return content


def open_old(data: mmap.mmap) -> Opened:
    """A file of torch before 1.6: five pickles, then the storages one after the other."""
    if interpret(data, limit=64) != MAGIC or interpret(data, limit=128) != PROTOCOL:
        raise Refused("is a pickle, but not one of torch's")
    facts = interpret(data, limit=4096)
    if not isinstance(facts, dict) or facts.get("little_endian") is not True:
        raise Refused("was written on a machine with another order of bytes")
    start = data.tell()
    root = interpret(data, limit=start + MAX_PICKLE_BYTES)
    keys = interpret(data, limit=data.tell() + MAX_PICKLE_BYTES)
    if not isinstance(keys, list) or not all(isinstance(key, (str, int)) for key in keys):
        raise Refused("is damaged: its list of storages is invalid; get the file again")
    rank = {str(key): index for index, key in enumerate(keys)}
    return Opened(root, old_places(data, rank=rank, start=data.tell(), root=root))


def old_places(
    data: mmap.mmap, *, rank: Mapping[str, int], start: int, root: Any
) -> Callable[[Storage], tuple[int, int | None]]:
    """Locate storages, which follow each other, each after its size; all must be read to find one."""
    items = {storage.key: ITEM[storage.dtype] for storage in storages_in(root)}
    if set(items) != set(rank):
        raise Refused("is damaged: its storages are not those of its tensors; get the file again")
    places: dict[str, tuple[int, int]] = {}
    here = start
    for key in sorted(rank, key=rank.__getitem__):
        head = data[here : here + 8]
        count = int.from_bytes(head, "little", signed=True) if len(head) == 8 else -1
        end = here + 8 + count * items[key]
        if count < 0 or end > len(data):
            raise Refused("is truncated: the values of a tensor are missing; get the file again")
        places[key] = (here + 8, count)
        here = end

    def place(storage: Storage) -> tuple[int, int | None]:
        begin, count = places[storage.key]
        if storage.count > count:
            raise Refused("is damaged: a tensor has fewer values than its shape needs")
        return begin, None

    return place


def storages_in(root: Any) -> Iterator[Storage]:
    """Yield every storage that is mentioned, also those that are not used."""
    waiting, seen = [root], set[int]()
    while waiting:
        here = waiting.pop()
        if id(here) in seen:
            continue
        seen.add(id(here))
        if isinstance(here, TensorRef):
            yield here.storage
        elif isinstance(here, Storage):
            yield here
        elif isinstance(here, Inert):
            waiting.extend(here.parts)
        elif isinstance(here, dict):
            waiting.extend(here.values())
        elif isinstance(here, (list, tuple)):
            waiting.extend(here)


def open_pickle(file: BinaryIO, data: mmap.mmap) -> Opened:
    """Open any of the formats; the first bytes decide."""
    start = data[:512]
    if start.startswith(b"PK\x03\x04"):
        return open_zip(file, data)
    if start[257:262] == b"ustar":
        raise Refused(
            "is a tar file, as torch wrote them before 0.1.10; save it again with a newer torch"
        )
    if start.startswith(b"\x80\x02\x8a\x0a" + MAGIC.to_bytes(10, "little")):
        return open_old(data)
    root = interpret(data, limit=MAX_PICKLE_BYTES)
    if root == MAGIC:
        data.seek(0)
        return open_old(data)

    def nowhere(_: Storage) -> tuple[int, int | None]:
        raise Refused("is a pickle, but not one of torch's")

    return Opened(root, nowhere)
