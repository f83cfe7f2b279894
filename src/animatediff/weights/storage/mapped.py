"""Tensors where they lie in a file: mapped into memory, and let go of once they were copied.

What is mapped costs memory only where it is read. A model that keeps the file's own numbers has them
once; one that converts them would have both, if the file's were not let go of.
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
"""The types of safetensors, in the format's words."""


class Mapped:
    """A file in memory, of which nothing is read before it is touched.

    Tensors keep it mapped for as long as they live; writing to one changes it, and never the file.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)

    def tensor(self, dtype: torch.dtype, shape: tuple[int, ...], *, begin: int) -> Tensor:
        """The tensor whose numbers begin at a byte of the file."""
        count = math.prod(shape)
        if count == 0:
            return torch.empty(shape, dtype=dtype)
        end = begin + count * dtype.itemsize
        if begin % dtype.itemsize:  # not where a processor may want such numbers
            numbers = torch.frombuffer(bytearray(self._map[begin:end]), dtype=dtype)
        else:
            numbers = torch.frombuffer(self._map, dtype=dtype, count=count, offset=begin)
        return numbers.reshape(shape)

    def forget(self, *, begin: int, end: int) -> None:
        """Let go of what was read between two bytes; it is read anew if it is touched again."""
        if hasattr(self._map, "madvise") and hasattr(mmap, "MADV_DONTNEED"):
            first = -(-begin // mmap.PAGESIZE) * mmap.PAGESIZE
            last = end // mmap.PAGESIZE * mmap.PAGESIZE
            if last > first:
                self._map.madvise(mmap.MADV_DONTNEED, first, last - first)


def is_finite(tensor: Tensor) -> bool:
    """Whether no number is NaN or infinite: by the extremes, which NaN turns into NaN.

    One pass without a copy; asking every number takes ten times as long in half precision.
    """
    if tensor.numel() == 0:
        return True
    if tensor.itemsize == 1:  # torch has no extremes of eight-bit floats
        tensor = tensor.float()
    return all(math.isfinite(float(extreme)) for extreme in tensor.aminmax())
