"""Descriptions of a pickle's content: names, storages, tensors and placeholders, never objects."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any


class Refused(Exception):
    """The file cannot be read; the message continues a sentence that starts with its path."""


@dataclass(frozen=True)
class Global:
    """A name in a pickle, never the thing that it names."""

    module: str
    name: str

    def __str__(self) -> str:
        return shown(f"{self.module}.{self.name}")


@dataclass(eq=False)
class Inert:
    """The result of a call that is not understood, with its arguments."""

    name: str
    parts: list[Any] = field(default_factory=list[Any])


@dataclass(frozen=True)
class Storage:
    """Values in the file, without a shape."""

    dtype: str
    key: str
    count: int


@dataclass(frozen=True)
class TensorRef:
    """A view of a storage; offset and strides count elements."""

    dtype: str
    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def size(self) -> int:
        """Size in bytes when written contiguously."""
        return math.prod(self.shape) * ITEM[self.dtype]


ITEM = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2"), 1),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 2),
    **dict.fromkeys(("U32", "I32", "F32"), 4),
    **dict.fromkeys(("U64", "I64", "F64"), 8),
}


def shown(name: str) -> str:
    """Shorten a name from an untrusted file and remove control characters."""
    printable = "".join(c if c.isprintable() else "?" for c in name[:400])
    return printable if len(printable) <= 100 else f"{printable[:97]}..."
