"""What is known of a published file: its names and shapes, and what it should be recognised as."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch

Size = Literal["real", "small"]
Shape = tuple[int, ...]
Shapes = dict[str, Shape]
Wrapper = Literal["plain", "state_dict", "controlnet", "ddp", "nested", "a1111-embedding"]

BITS = {"F16": 16, "BF16": 16, "F32": 32, "F64": 64, "I64": 64, "I32": 32, "U8": 8, "BOOL": 8}
DTYPES = {
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F32": torch.float32,
    "F64": torch.float64,
    "I64": torch.int64,
}


@dataclass(frozen=True)
class Sample:
    """One published file, and what it should be recognised as.

    Attributes:
        kind, family, version, layout, base: the truth, in the words of ``weights/inspection``.
        shapes: every name and shape, at a size.
        dtype: of its floating numbers.
        wrapper: what a pickle of it has around the table of tensors.
        extra: entries of the pickle that are not tensors.
        metadata: texts of the safetensors file.
        also: other families that have the same names and shapes.
        rank: of a LoRA.
    """

    kind: str
    family: str
    shapes: Callable[[Size], Shapes]
    version: str = ""
    layout: str = ""
    base: str = ""
    dtype: str = "F16"
    wrapper: Wrapper = "plain"
    extra: Mapping[str, Any] = field(default_factory=dict[str, Any])
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])
    also: tuple[str, ...] = ()
    rank: int | None = None
