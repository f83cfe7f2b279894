"""Memory-mapped tensors, whose pages are released after they are copied.

Mapped files use memory only where they are read. A model that keeps the file's own types has the
values once. One that converts them would have both copies, if the file's pages were not released.
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Mapping
from typing import BinaryIO

import torch
from torch import Tensor

DTYPES: Mapping[str, torch.dtype] = {
    "BOOL": torch.bool,
    "U8": torch.uint8,
    "I8": torch.int8,
    "U16": torch.uint16,
    "I16": torch.int16,
    "U32": torch.uint32,
    "I32": torch.int32,
    "U64": torch.uint64,
    "I64": torch.int64,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F32": torch.float32,
    "F64": torch.float64,
}
"""Types of safetensors, in the format's words."""


class Mapped:
    """A memory-mapped file; nothing is read before it is accessed.

    Tensors keep the mapping alive. Writing to a tensor changes the tensor, never the file.

    Args:
        file: the file.
        scattered: whether little of it is read, here and there. The system then reads nothing around
            it, which may be megabytes.
    """

    def __init__(self, file: BinaryIO, *, scattered: bool = False) -> None:
        self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        self._scattered = scattered and hasattr(mmap, "MADV_RANDOM")
        if self._scattered:
            self._map.madvise(mmap.MADV_RANDOM)

    def tensor(self, dtype: torch.dtype, shape: tuple[int, ...], *, begin: int) -> Tensor:
        """Return the tensor that starts at a byte of the file."""
        count = math.prod(shape)
        if count == 0:
            return torch.empty(shape, dtype=dtype)
        end = begin + count * dtype.itemsize
        if self._scattered:
            first = begin // mmap.PAGESIZE * mmap.PAGESIZE
            self._map.madvise(mmap.MADV_WILLNEED, first, end - first)
        if begin % dtype.itemsize:  # not where a processor needs alignment
            numbers = torch.frombuffer(bytearray(self._map[begin:end]), dtype=dtype)
        else:
            numbers = torch.frombuffer(self._map, dtype=dtype, count=count, offset=begin)
        return numbers.reshape(shape)

    def forget(self, *, begin: int, end: int) -> None:
        """Release the pages between two bytes; they are read again when accessed."""
        if hasattr(self._map, "madvise") and hasattr(mmap, "MADV_DONTNEED"):
            first = -(-begin // mmap.PAGESIZE) * mmap.PAGESIZE
            last = end // mmap.PAGESIZE * mmap.PAGESIZE
            if last > first:
                self._map.madvise(mmap.MADV_DONTNEED, first, last - first)


def is_finite(tensor: Tensor) -> bool:
    """Return whether no value is NaN or infinite, from the extremes, which are NaN if any value is.

    This is one pass without a copy; checking every value takes ten times as long in half precision.
    """
    if tensor.numel() == 0:
        return True
    if tensor.itemsize == 1:  # torch has no extremes of eight-bit floats
        tensor = tensor.float()
    return all(math.isfinite(float(extreme)) for extreme in tensor.aminmax())
