"""A model whose weights take less memory: those of its linear layers are stored in 8 bits.

A layer expands its weight to the model's precision when it computes, so results differ by the rounding
of the weights alone. LoRAs, domain adapters and MotionLoRAs are merged into the expanded weight, which
is then rounded again.

Only the linear layers of Transformers are quantised, in the image model and in the motion modules:
they hold most weights. Convolutions and the layers that read the timestep keep their precision.
"""

from __future__ import annotations

import ctypes
import importlib.util
import sys
from collections.abc import Iterator

import torch
from torch import nn

from animatediff.errors import InputError
from animatediff.model.animated_unet import AnimatedUNet
from animatediff.model.eight_bits import in_eight_bits
from animatediff.model.motion_module import MotionModule
from animatediff.runtime import Quantisation


def linear_layers(animated: AnimatedUNet) -> Iterator[nn.Linear]:
    """Yield the layers that are quantised: the linear ones of Transformers that have values."""
    from diffusers.models.transformers.transformer_2d import Transformer2DModel

    for transformer in animated.modules():
        if isinstance(transformer, Transformer2DModel | MotionModule):
            for layer in transformer.modules():
                if isinstance(layer, nn.Linear) and not layer.weight.is_meta:
                    yield layer


def quantise(animated: AnimatedUNet, kind: Quantisation) -> None:
    """Store the weights of a model's linear layers in 8 bits, in place; there is no way back."""
    for layer in set(linear_layers(animated)):
        weight = in_eight_bits(layer.weight.data, kind)
        layer.weight = nn.Parameter(weight, requires_grad=False)
    _return_freed_memory()


def check_quantisation(kind: Quantisation, *, device: torch.device, dtype: torch.dtype) -> None:
    """Compute a small layer in 8 bits, to find out whether this machine can.

    Raises:
        InputError: torchao is not installed or cannot be imported, or the device cannot compute so.
    """
    if importlib.util.find_spec("torchao") is None:
        raise InputError(
            f"--quantise {kind} needs torchao; pip install 'animatediff[quantise]', or leave it out."
        )
    try:
        layer = nn.Linear(64, 64, device=device, dtype=dtype).requires_grad_(False)
        weight = in_eight_bits(layer.weight.data, kind)
        layer.weight = nn.Parameter(weight, requires_grad=False)
        layer(torch.ones(1, 64, device=device, dtype=dtype))
    except (ImportError, RuntimeError, NotImplementedError, AssertionError, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"--quantise {kind} cannot be computed on {device} in {_name(dtype)} ({reason:.120}); "
            "use another kind, or leave it out."
        ) from error


def _return_freed_memory() -> None:
    """Give the memory of the weights before back to the system; glibc may keep it otherwise."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
