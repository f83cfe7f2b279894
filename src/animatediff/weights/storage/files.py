"""Safetensors files, behind a check of their header, and written whole or not at all.

A header of safetensors is cheap to read and says everything but the numbers. Reading it ourselves
first means that a broken, hostile or wrong file is named in a sentence before memory is spent on it:
the library accepts duplicate names, and takes a gigabyte to open a million empty tensors.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
import os
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from animatediff.errors import FileError, OutputError, reason_of
from animatediff.weights.storage.mapped import DTYPES, Mapped, is_finite

MAX_HEADER_BYTES = 16 << 20
MAX_TENSORS = 50_000
MAX_JSON_BYTES = 16 << 20

_MOST_AXES = 64
_MOST_BYTES = 1 << 60
_START = 512
"""Bytes that tell one format from another."""
_TEXT_OPCODES = tuple(bytes([code]) for code in b"(]}c)INSVFLlpdg")
"""What a pickle of protocol 0 or 1 can begin with."""

_BITS = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2"), 8),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 16),
    **dict.fromkeys(("U32", "I32", "F32"), 32),
    **dict.fromkeys(("U64", "I64", "F64"), 64),
}


@dataclass(frozen=True)
class Header:
    """What a safetensors file says of itself.

    Attributes:
        path: the file.
        shapes: the shape of every tensor, by name.
        metadata: its free texts.
        dtypes: the type of every tensor's numbers, in the format's words, by name.
        begins: the byte of the file where every tensor's numbers begin, by name.
    """

    path: Path
    shapes: Mapping[str, tuple[int, ...]]
    metadata: Mapping[str, str]
    dtypes: Mapping[str, str] = field(default_factory=dict[str, str])
    begins: Mapping[str, int] = field(default_factory=dict[str, int])


def read_header(path: Path) -> Header:
    """The header of a safetensors file, checked against the file's size.

    Raises:
        FileError: the file is missing, truncated, of another kind, or breaks the format's rules.
    """
    try:
        with path.open("rb") as file:
            return _header_of(file, path=path)
    except OSError as error:
        raise FileError(f"{path} cannot be read: {reason_of(error)}.") from None


def _header_of(file: BinaryIO, *, path: Path) -> Header:
    size = os.fstat(file.fileno()).st_size
    start = _header_end(file, path=path, size=size)
    table = _parsed(file.read(start - 8), path=path)
    metadata = table.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise FileError(f"{path} is not a valid safetensors file: its metadata are not texts.")
    if len(table) > MAX_TENSORS:
        raise FileError(f"{path} holds {len(table)} tensors, and at most {MAX_TENSORS} are read.")
    entries = {name: _checked_entry(name, entry, path=path) for name, entry in table.items()}
    del table
    _check_extent((entry.span for entry in entries.values()), path=path, start=start, size=size)
    return Header(
        path,
        {name: entry.shape for name, entry in entries.items()},
        metadata,
        {name: entry.dtype for name, entry in entries.items()},
        {name: start + entry.span[0] for name, entry in entries.items()},
    )


def is_pickle(path: Path) -> bool:
    """Whether a file begins as pickles do, torch's zip files among them; its name says nothing.

    Raises:
        FileError: it is missing or cannot be read.
    """
    try:
        with path.open("rb") as file:
            return _starts_as_pickle(file.read(_START))
    except OSError as error:
        raise FileError(f"{path} cannot be read: {reason_of(error)}.") from None


def _starts_as_pickle(start: bytes) -> bool:
    if start.startswith(b"PK\x03\x04") or start[257:262] == b"ustar":
        return True
    if start[:1] == b"\x80":  # then the protocol
        # A header of 640 bytes begins so too, but no pickle goes on with five zeros.
        return start[1:2] <= b"\x05" and start[3:8] != bytes(5)
    # The oldest protocols are text, and as the length of a header text is absurd.
    return (
        len(start) >= 2
        and start[8:9] != b"{"
        and start[:1] in _TEXT_OPCODES
        and start[:8].isascii()
    )


def read_weights(
    header: Header,
    *,
    dtype: torch.dtype | None = None,
    device: torch.device | str = "cpu",
    refuse_nan: bool = False,
    channels_last: bool = False,
) -> dict[str, Tensor]:
    """All tensors of a file whose header was read; what is kept as it is stored is not copied.

    Args:
        header: the file, and the names that are wanted.
        dtype: of floating numbers, if not the file's.
        device: where they go.
        refuse_nan: whether NaN and infinity are damage.
        channels_last: lay convolutions out so that they run fastest, as ``runtime`` does.

    Raises:
        FileError: the file changed since, or holds a NaN or infinity and ``refuse_nan`` is set.
    """
    weights: dict[str, Tensor] = {}
    try:
        with header.path.open("rb") as file:
            now = _header_of(file, path=header.path)
            mapped = Mapped(file)
        # In the order of the file, so that a disk reads it in one go.
        for name in sorted(header.shapes, key=lambda name: now.begins.get(name, 0)):
            if now.shapes.get(name) != tuple(header.shapes[name]):
                raise FileError(f"{header.path} changed while it was read; load it again.")
            begin, stored = now.begins[name], DTYPES[now.dtypes[name]]
            tensor = mapped.tensor(stored, now.shapes[name], begin=begin)
            floating = tensor.is_floating_point()
            if refuse_nan and floating and not is_finite(tensor):
                raise FileError(
                    f"{header.path} is damaged: {name} holds numbers that are not finite; "
                    "get the file again."
                )
            weights[name] = tensor.to(
                device=device,
                dtype=dtype if floating and dtype is not None else stored,
                memory_format=torch.channels_last
                if channels_last and tensor.ndim == 4
                else torch.preserve_format,
            )
            if weights[name].data_ptr() != tensor.data_ptr():
                mapped.forget(begin=begin, end=begin + tensor.nbytes)
    except OSError as error:
        raise FileError(f"{header.path} cannot be read: {reason_of(error)}.") from None
    return weights


def write_weights(
    path: Path, weights: Mapping[str, Tensor], *, metadata: Mapping[str, str]
) -> Path:
    """Write a safetensors file, under its name only once it is complete; returns its path.

    Raises:
        OutputError: the folder cannot be written or is full; a file that was there is untouched.
    """
    temporary: str | None = None
    try:
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        os.close(descriptor)
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
        save_file(tensors, temporary, metadata=dict(metadata))
        replace_by(Path(temporary), path)
    except (OSError, SafetensorError) as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        reason = getattr(error, "strerror", None) or error
        raise OutputError(f"{path} cannot be written ({reason}); choose another folder.") from None
    return path


def replace_by(temporary: Path, path: Path) -> None:
    """Give a finished file beside ``path`` its name, so that a crash leaves the old or the new.

    Raises:
        OSError: the folder cannot be written or is full.
    """
    temporary.chmod(0o644)
    _sync(temporary)
    temporary.replace(path)
    _sync(path.parent)


def read_json(path: Path) -> dict[str, Any]:
    """The table that a JSON file holds.

    Raises:
        FileError: the file is missing, over 16 MiB, or not a JSON object.
    """
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise FileError(f"{path} is over 16 MiB, which no configuration is.")
        table = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise FileError(f"{path} cannot be read: {reason_of(error)}.") from None
    except (ValueError, RecursionError):
        raise FileError(f"{path} is not JSON; get the file again.") from None
    if not isinstance(table, dict):
        raise FileError(f"{path} holds no JSON object; get the file again.")
    return table


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, remembered while its size and time stay the same.

    Raises:
        FileError: the file cannot be read.
    """
    try:
        facts = path.stat()
        return _sha256(path, facts.st_size, facts.st_mtime_ns)
    except OSError as error:
        raise FileError(f"{path} cannot be read: {reason_of(error)}.") from None


@functools.lru_cache(maxsize=256)
def _sha256(path: Path, size: int, time: int) -> str:
    del size, time  # they tell one version of the file from another
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class _Entry(NamedTuple):
    """One tensor in the header: with fifty thousand of them, every byte counts."""

    dtype: str
    shape: tuple[int, ...]
    span: tuple[int, int]


def _header_end(file: BinaryIO, *, path: Path, size: int) -> int:
    """Where the numbers start; the file is left where the header's JSON does."""
    start = file.read(_START)
    first = start[:8]
    if first == b"version ":
        raise FileError(f"{path} only points to weights stored by Git LFS; run git lfs pull.")
    if start.lstrip()[:9].lower() in (b"<!doctype", b"<html><he") or start.startswith(b"<html"):
        raise FileError(f"{path} is a web page and not weights; download the file itself.")
    if _starts_as_pickle(start):
        raise FileError(
            f"{path} is a pickle, which can run programs; make a safetensors file of it with "
            "animatediff convert."
        )
    if len(first) < 8:
        raise FileError(f"{path} is truncated: it has {size} bytes, too few for any weights.")
    length = int.from_bytes(first, "little")
    if length > MAX_HEADER_BYTES:
        raise FileError(
            f"{path} is not a safetensors file: its header would have {length} bytes, "
            f"and at most {MAX_HEADER_BYTES} are read."
        )
    if 8 + length > size:
        raise FileError(
            f"{path} is truncated: its header alone needs {8 + length} bytes and the file has "
            f"{size}; get the file again."
        )
    file.seek(8)
    return 8 + length


def _parsed(text: bytes, *, path: Path) -> dict[str, Any]:
    def compact(pairs: list[tuple[str, Any]]) -> Any:
        table = dict(pairs)
        if len(table) != len(pairs):
            raise FileError(f"{path} is not a valid safetensors file: it names a tensor twice.")
        # Asked for plainly: fifty thousand times, a pattern takes three times as long.
        dtype, shape, span = table.get("dtype"), table.get("shape"), table.get("data_offsets")
        if type(dtype) is str and type(shape) is list and type(span) is list and len(span) == 2:
            return _Entry(sys.intern(dtype), tuple(shape), (span[0], span[1]))
        return table

    try:
        table = json.loads(text.decode("utf-8"), object_pairs_hook=compact)
    except FileError:
        raise
    except (ValueError, RecursionError):
        raise FileError(f"{path} is not a safetensors file: its header is not JSON.") from None
    if not isinstance(table, dict):
        raise FileError(f"{path} is not a safetensors file: its header is not a table.")
    return table


def _checked_entry(name: str, entry: Any, *, path: Path) -> _Entry:
    """The entry, if its shape and its span in bytes agree."""
    if isinstance(entry, _Entry):
        if entry.dtype not in _BITS:
            raise FileError(
                f"{path} stores {shown(name)} as {shown(entry.dtype)}, which is not read."
            )
        begin, end = entry.span
        # Of unbounded numbers the product alone could take hours.
        whole = len(entry.shape) <= _MOST_AXES and all(
            type(n) is int and 0 <= n < _MOST_BYTES for n in (*entry.shape, begin, end)
        )
        if whole and end - begin == math.prod(entry.shape) * _BITS[entry.dtype] // 8:
            return entry
    raise FileError(f"{path} is not a valid safetensors file: its entry {shown(name)} is wrong.")


def _check_extent(spans: Iterable[tuple[int, int]], *, path: Path, start: int, size: int) -> None:
    """The tensors follow each other without hole or overlap, up to the file's last byte."""
    here = 0
    for begin, end in sorted(spans):
        if begin != here:
            raise FileError(
                f"{path} is not a valid safetensors file: its tensors overlap or leave gaps."
            )
        here = end
    if start + here != size:
        what = "truncated" if size < start + here else "not as it was written"
        raise FileError(
            f"{path} is {what}: its header promises {start + here} bytes and the file has {size}; "
            "get the file again."
        )


def shown(name: str) -> str:
    """Names are data from elsewhere: shortened, and without control characters."""
    printable = "".join(c if c.isprintable() else "?" for c in name[:200])
    return printable if len(printable) <= 100 else f"{printable[:97]}..."


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
