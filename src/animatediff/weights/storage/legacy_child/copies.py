"""Write a safetensors copy of the tensors: the header, then their values in order."""

from __future__ import annotations

import itertools
import json
import math
import mmap
import struct
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO, Literal

from animatediff.weights.storage.legacy_child.containers import Opened
from animatediff.weights.storage.legacy_child.described import ITEM, Refused, TensorRef, shown
from animatediff.weights.storage.legacy_child.tables import Found, is_text

MAX_HEADER_BYTES = 16 << 20
CHUNK = 4 << 20
FORMATS: Mapping[int, Literal["B", "H", "I", "Q"]] = {1: "B", 2: "H", 4: "I", 8: "Q"}


def header_of(found: Found, *, texts: Mapping[str, str], limit: int) -> tuple[bytes, list[str]]:
    """Return the header of the copy, and the names in the order of their values."""
    table: dict[str, Any] = {"__metadata__": dict(texts)}
    # Wide types first, so that each tensor starts at a multiple of its own element size.
    names = sorted(found.tensors, key=lambda name: -ITEM[found.tensors[name].dtype])
    here = 0
    for name in names:
        tensor = found.tensors[name]
        if name == "__metadata__" or not is_text(name):
            raise Refused("has a tensor whose name safetensors cannot write")
        end = here + tensor.size
        entry = {"dtype": tensor.dtype, "shape": tensor.shape, "data_offsets": [here, end]}
        table[name] = entry
        here = end
        if here > limit:
            raise Refused(f"would unpack to more than {limit} bytes, many times its own size")
    text = json.dumps(table, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > MAX_HEADER_BYTES:
        raise Refused("has names of tensors that are longer than any weights need")
    return struct.pack("<Q", len(text)) + text, names


def write_tensors(
    found: Found, names: Sequence[str], opened: Opened, data: mmap.mmap, out: BinaryIO
) -> None:
    """Yield all values, contiguous and in order."""
    checksums: dict[tuple[int, int], bool] = {}
    whole = memoryview(data)
    for name in names:
        tensor = found.tensors[name]
        start, checksum = opened.place(tensor.storage)
        size = tensor.storage.count * ITEM[tensor.storage.dtype]
        numbers = whole[start : start + size]
        if checksum is not None and (start, size) not in checksums:
            checksums[start, size] = crc_of(numbers) == checksum
            if not checksums[start, size]:
                raise Refused(
                    f"is damaged: the values of {shown(name)} do not match their checksum; get "
                    "the file again"
                )
        write_view(tensor, numbers, out)


def crc_of(numbers: memoryview) -> int:
    """Compute the checksum that zip files carry."""
    value = 0
    for begin in range(0, len(numbers), CHUNK):
        value = zlib.crc32(numbers[begin : begin + CHUNK], value)
    return value


def write_view(tensor: TensorRef, numbers: memoryview, out: BinaryIO) -> None:
    """Yield one tensor, directly from the file if it is contiguous."""
    item = ITEM[tensor.dtype]
    if not tensor.size:
        return
    begin = tensor.offset * item
    if is_contiguous(tensor):
        for here in range(begin, begin + tensor.size, CHUNK):
            out.write(numbers[here : min(here + CHUNK, begin + tensor.size)])
        return
    usable = len(numbers) // item * item
    source = numbers[:usable].cast("B").cast(FORMATS[item])
    out.write(contiguous(tensor, source))


def is_contiguous(tensor: TensorRef) -> bool:
    """Return whether the tensor is contiguous."""
    expected = 1
    for size, stride in zip(reversed(tensor.shape), reversed(tensor.strides), strict=True):
        if size != 1 and stride != expected:
            return False
        expected *= size
    return True


def contiguous(tensor: TensorRef, source: memoryview) -> bytearray:
    """Yield a strided tensor's values in order, copied along its longest axis at a time."""
    shape, strides = tensor.shape, tensor.strides
    target_strides = [math.prod(shape[i + 1 :]) for i in range(len(shape))]
    result = bytearray(tensor.size)
    target = memoryview(result).cast(FORMATS[ITEM[tensor.dtype]])
    longest = max(range(len(shape)), key=shape.__getitem__)
    others = [i for i in range(len(shape)) if i != longest]
    count, step, target_step = shape[longest], strides[longest], target_strides[longest]
    for index in itertools.product(*(range(shape[i]) for i in others)):
        here = tensor.offset + sum(n * strides[i] for n, i in zip(index, others, strict=True))
        there = sum(n * target_strides[i] for n, i in zip(index, others, strict=True))
        places = slice(there, there + (count - 1) * target_step + 1, target_step)
        if step == 0:
            for place in range(places.start, places.stop, target_step):
                target[place] = source[here]
        else:
            target[places] = source[here : here + (count - 1) * step + 1 : step]
    target.release()
    return result
