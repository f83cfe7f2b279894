"""One weight in 8 bits, as torchao stores it: a byte for each number and a factor for each row.

Such a weight looks like a tensor of its original shape and dtype, but its memory is that of a few plain
tensors inside it. Code that exchanges, compares or counts weights looks at those.
"""

from __future__ import annotations

import logging
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

from animatediff.runtime import Quantisation


def in_eight_bits(values: Tensor, kind: Quantisation) -> Tensor:
    """Round the weight of a linear layer ``[out, in]`` to 8 bits.

    Raises:
        ImportError: torchao is not installed.
    """
    with _quietly():
        from torchao import quantization  # pyright: ignore[reportMissingImports] - optional

    configs: dict[Quantisation, Any] = {
        "int8": quantization.Int8WeightOnlyConfig,
        "fp8": quantization.Float8WeightOnlyConfig,
    }
    # The settings of torch's compiler are left as they are.
    config = configs[kind](set_inductor_config=False)
    rows, columns = values.shape
    layer = nn.Linear(columns, rows, bias=False, device="meta")
    layer.weight = nn.Parameter(values.detach(), requires_grad=False)
    with torch.no_grad():
        quantization.quantize_(layer, config)
    return layer.weight.data


def stored_in(weight: Tensor) -> tuple[Tensor, ...]:
    """The plain tensors that hold a weight: itself, unless it is in 8 bits."""
    if not is_traceable_wrapper_subclass(weight):
        return (weight,)
    names, _ = weight.__tensor_flatten__()
    return tuple(getattr(weight, name) for name in names)


def expanded(weight: Tensor) -> Tensor:
    """A weight in the dtype that the model computes in; itself, unless it is in 8 bits."""
    return weight.dequantize() if is_traceable_wrapper_subclass(weight) else weight


def like(weight: Tensor, values: Tensor) -> Tensor:
    """Values in the form in which a weight is stored."""
    stored, *_ = stored_in(weight)
    if stored is weight:
        return values.to(weight)
    kind: Quantisation = "int8" if stored.dtype == torch.int8 else "fp8"
    return in_eight_bits(values.to(weight.dtype), kind)


def bytes_of(weight: Tensor) -> int:
    """The memory that a weight takes."""
    return sum(part.nbytes for part in stored_in(weight))


@contextmanager
def _quietly() -> Generator[None]:
    """Without warnings of kernels for other hardware, which torchao logs when it is imported."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
