"""What a machine reaches in the layers of Stable Diffusion 1.5, and the work that a function does."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

Kind = Literal["convolution", "linear", "attention"]
KINDS: tuple[Kind, ...] = ("convolution", "linear", "attention")


def ceilings(dtype: torch.dtype, *, seconds: float = 0.3, device: str = "cpu") -> dict[Kind, float]:
    """The FLOP/s that this machine reaches now, by kind of layer, in shapes of Stable Diffusion 1.5.

    Args:
        dtype: of the arithmetic.
        seconds: to spend on each kind.
        device: where; a GPU gets 16 times as many rows, as few do not fill it.
    """
    draw = torch.Generator().manual_seed(0)
    rows = 2 if device == "cpu" else 32

    def drawn(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=draw).to(device, dtype)

    maps = drawn(rows, 320, 32, 32).contiguous(memory_format=torch.channels_last)
    kernel = drawn(320, 320, 3, 3)
    tokens, weight = drawn(512 * rows, 1280), drawn(1280, 1280)
    query = drawn(rows, 8, 1024, 40)
    layers: dict[Kind, tuple[Callable[[], Tensor], float]] = {
        "convolution": (
            lambda: F.conv2d(maps, kernel, padding=1),
            2.0 * maps.numel() * 320 * 9,
        ),
        "linear": (lambda: F.linear(tokens, weight), 2.0 * tokens.numel() * 1280),
        "attention": (
            lambda: F.scaled_dot_product_attention(query, query, query),
            4.0 * query.numel() * 1024,
        ),
    }
    found: dict[Kind, float] = {}
    with torch.inference_mode():
        for kind, (layer, flops) in layers.items():
            layer()
            wait()
            best, end = float("inf"), time.perf_counter() + seconds
            while best == float("inf") or time.perf_counter() < end:
                began = time.perf_counter()
                layer()
                wait()
                best = min(best, time.perf_counter() - began)
            found[kind] = flops / best
    return found


def flops_of(function: Callable[[], object]) -> dict[Kind, float]:
    """The floating-point operations of a function, by kind of layer; it is run once."""
    # torch counts the attention kernels of GPUs, but not that of CPUs.
    on_cpu = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    counter = FlopCounterMode(display=False, custom_mapping={on_cpu: _attention_flops})
    with counter:
        function()
    found: dict[Kind, float] = dict.fromkeys(KINDS, 0.0)
    for operation, flops in counter.get_flop_counts().get("Global", {}).items():
        name = str(operation)
        kind: Kind = "linear"
        if "conv" in name:
            kind = "convolution"
        elif "scaled_dot_product" in name:
            kind = "attention"
        found[kind] += flops
    return found


def _attention_flops(
    query: Sequence[int], key: Sequence[int], value: Sequence[int], *_: object, **__: object
) -> int:
    *batches, queries, width = query
    return 2 * prod(batches) * queries * key[-2] * (width + value[-1])


def least_seconds(flops: Mapping[Kind, float], ceilings: Mapping[Kind, float]) -> float:
    """How long the work would take if every layer ran at its ceiling."""
    return sum(count / ceilings[kind] for kind, count in flops.items() if count)


def wait() -> None:
    """Wait for the GPU, if this process uses one; its work is queued."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
