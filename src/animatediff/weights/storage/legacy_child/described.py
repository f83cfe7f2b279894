"""What a pickle describes: names, storages, tensors, and placeholders; never an object of a class."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any


class Refused(Exception):
    """The file is not read, and why: the rest of a sentence that begins with its path."""


@dataclass(frozen=True)
class Global:
    """A name that a pickle mentions; never the thing that it names."""

    module: str
    name: str

    def __str__(self) -> str:
        return shown(f"{self.module}.{self.name}")


@dataclass(eq=False)
class Inert:
    """What a call that is not understood would have made, and what went into it."""

    name: str
    parts: list[Any] = field(default_factory=list[Any])


@dataclass(frozen=True)
class Storage:
    """Numbers in the file, before shapes."""

    dtype: str
    key: str
    count: int


@dataclass(frozen=True)
class TensorRef:
    """A view of a storage: offset and strides count elements."""

    dtype: str
    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def size(self) -> int:
        """Bytes, once it is written contiguously."""
        return math.prod(self.shape) * ITEM[self.dtype]


ITEM = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2"), 1),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 2),
    **dict.fromkeys(("U32", "I32", "F32"), 4),
    **dict.fromkeys(("U64", "I64", "F64"), 8),
}


def shown(name: str) -> str:
    """Names are data from elsewhere: shortened, and without control characters."""
    printable = "".join(c if c.isprintable() else "?" for c in name[:400])
    return printable if len(printable) <= 100 else f"{printable[:97]}..."
