"""Read safetensors files after a check of their header, and write them completely or not at all.

A safetensors header is cheap to read and describes everything except the values. We parse it
ourselves first, so that a broken, hostile or wrong file is reported before memory is spent on it:
the library accepts duplicate names, and takes a gigabyte to open a million empty tensors. Headers are
read without torch.
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
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from safetensors import SafetensorError

from animatediff.errors import FileError, OutputError, reason_of
from animatediff.weights.storage.foreign_files import START, foreign_file, starts_as_pickle

if TYPE_CHECKING:
    import torch
    from torch import Tensor

MAX_HEADER_BYTES = 16 << 20
MAX_TENSORS = 50_000
MAX_JSON_BYTES = 16 << 20
_MAX_CACHED = 1 << 20
"""The longest header, in bytes, that is kept; that of a Stable Diffusion XL checkpoint has 0.4 MiB."""

_MOST_AXES = 64
_MOST_BYTES = 1 << 60
_BITS = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2"), 8),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 16),
    **dict.fromkeys(("U32", "I32", "F32"), 32),
    **dict.fromkeys(("U64", "I64", "F64"), 64),
}


@dataclass(frozen=True)
class Header:
    """The header of a safetensors file.

    Attributes:
        path: the file.
        shapes: the shape of every tensor, by name.
        metadata: its text entries.
        dtypes: the type of every tensor, in the format's words, by name.
        begins: the byte of the file where every tensor starts, by name.
    """

    path: Path
    shapes: Mapping[str, tuple[int, ...]]
    metadata: Mapping[str, str]
    dtypes: Mapping[str, str] = field(default_factory=dict[str, str])
    begins: Mapping[str, int] = field(default_factory=dict[str, int])


def read_header(path: Path) -> Header:
    """Read the header of a safetensors file and check it against the file's size.

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
    text = file.read(start - 8)
    read = _understood if len(text) <= _MAX_CACHED else _understood.__wrapped__
    return read(text, path=path, start=start, size=size)


@functools.lru_cache(maxsize=16)
def _understood(text: bytes, *, path: Path, start: int, size: int) -> Header:
    """Check a header, once while a file is recognised, planned and loaded.

    Raises:
        FileError: it breaks the format's rules, or does not fit the file's size.
    """
    table = _parsed(text, path=path)
    metadata = table.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise FileError(
            f"{path} is not a valid safetensors file: its metadata contains "
            "something other than text."
        )
    if len(table) > MAX_TENSORS:
        raise FileError(
            f"{path} contains {len(table)} tensors; at most {MAX_TENSORS} are supported."
        )
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
    """Return whether a file starts like a pickle, including torch's zip files; its name is ignored.

    Raises:
        FileError: it is missing or cannot be read.
    """
    try:
        with path.open("rb") as file:
            return starts_as_pickle(file.read(START))
    except OSError as error:
        raise FileError(f"{path} cannot be read: {reason_of(error)}.") from None


def read_weights(
    header: Header,
    *,
    dtype: torch.dtype | None = None,
    device: torch.device | str = "cpu",
    refuse_nan: bool = False,
    channels_last: bool = False,
) -> dict[str, Tensor]:
    """Read all tensors of a file whose header was read; values that keep their type are not copied.

    Args:
        header: the file, and the names to read.
        dtype: of floating-point tensors, if different from the file's.
        device: where the tensors go.
        refuse_nan: whether NaN and infinity are an error.
        channels_last: store convolution weights in the layout that runs fastest, as in ``runtime``.

    Raises:
        FileError: the file has changed, or contains NaN or infinity and ``refuse_nan`` is set.
    """
    import torch

    from animatediff.weights.storage.mapped import DTYPES, Mapped, is_finite

    weights: dict[str, Tensor] = {}
    try:
        with header.path.open("rb") as file:
            now = _header_of(file, path=header.path)
            mapped = Mapped(file, scattered=8 * len(header.shapes) < len(now.shapes))
        # Read in the order of the file, so that a disk reads sequentially.
        for name in sorted(header.shapes, key=lambda name: now.begins.get(name, 0)):
            if now.shapes.get(name) != tuple(header.shapes[name]):
                raise FileError(f"{header.path} changed while it was read; load it again.")
            begin, stored = now.begins[name], DTYPES[now.dtypes[name]]
            tensor = mapped.tensor(stored, now.shapes[name], begin=begin)
            floating = tensor.is_floating_point()
            if refuse_nan and floating and not is_finite(tensor):
                raise FileError(
                    f"{header.path} is damaged: {name} contains NaN or infinity; get the file "
                    "again."
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
    """Write a safetensors file and return its path. The file is complete or absent.

    Raises:
        OutputError: the folder is read-only or full; an existing file is unchanged.
    """
    from safetensors.torch import save_file

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
    """Rename a finished file beside ``path`` to ``path``; a crash leaves the old or the new file.

    Raises:
        OSError: the folder is read-only or full.
    """
    temporary.chmod(0o644)
    _sync(temporary)
    temporary.replace(path)
    _sync(path.parent)


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object from a file.

    Raises:
        FileError: the file is missing, over 16 MiB, or not a JSON object.
    """
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise FileError(f"{path} is over 16 MiB, too large for a configuration.")
        table = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise FileError(f"{path} cannot be read: {reason_of(error)}.") from None
    except (ValueError, RecursionError):
        raise FileError(f"{path} is not JSON; get the file again.") from None
    if not isinstance(table, dict):
        raise FileError(f"{path} contains no JSON object; get the file again.")
    return table


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, cached while its size and time stay the same.

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
    del size, time  # they identify a version of the file
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class _Entry(NamedTuple):
    """One tensor in the header; with fifty thousand of them, every byte counts."""

    dtype: str
    shape: tuple[int, ...]
    span: tuple[int, int]


def _header_end(file: BinaryIO, *, path: Path, size: int) -> int:
    """Return where the values start; the file is left at the start of the header's JSON."""
    start = file.read(START)
    first = start[:8]
    foreign = foreign_file(start)
    if foreign is not None:
        raise FileError(f"{path} is {foreign.title}, not weights; {foreign.advice}.")
    if starts_as_pickle(start):
        raise FileError(
            f"{path} is a pickle, which can run programs; convert it with animatediff convert."
        )
    if len(first) < 8:
        raise FileError(f"{path} is truncated: it has {size} bytes, too few for any weights.")
    length = int.from_bytes(first, "little")
    if length > MAX_HEADER_BYTES:
        raise FileError(
            f"{path} is not a safetensors file: its first bytes are no length of a header of at most "
            f"{MAX_HEADER_BYTES >> 20} MiB; check that it is the right file, and whole."
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
            raise FileError(
                f"{path} is not a valid safetensors file: it contains a tensor name twice."
            )
        # Compared in plain code: a pattern takes three times as long, fifty thousand times.
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
    """Return the entry, if its shape and its byte range agree."""
    if isinstance(entry, _Entry):
        if entry.dtype not in _BITS:
            raise FileError(
                f"{path} stores {shown(name)} as {shown(entry.dtype)}, which is not supported."
            )
        begin, end = entry.span
        # With unbounded dimensions, computing the product alone could take hours.
        whole = len(entry.shape) <= _MOST_AXES and all(
            type(n) is int and 0 <= n < _MOST_BYTES for n in (*entry.shape, begin, end)
        )
        if whole and end - begin == math.prod(entry.shape) * _BITS[entry.dtype] // 8:
            return entry
    raise FileError(f"{path} is not a valid safetensors file: its entry {shown(name)} is wrong.")


def _check_extent(spans: Iterable[tuple[int, int]], *, path: Path, start: int, size: int) -> None:
    """Check that the tensors follow each other without gap or overlap, up to the file's last byte."""
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
    """Shorten a name from an untrusted file and remove control characters."""
    printable = "".join(c if c.isprintable() else "?" for c in name[:200])
    return printable if len(printable) <= 100 else f"{printable[:97]}..."


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
