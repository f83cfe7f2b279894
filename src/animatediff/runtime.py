"""How to run, never what to compute: device, precision, threads and random generators."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, get_args

import torch
from torch import nn

from animatediff.errors import InputError

Module = TypeVar("Module", bound=nn.Module)
Precision = Literal["auto", "fp32", "bf16", "fp16"]
Memory = Literal["full", "low"]
"""Whether weights are all where they compute, or are copied there a layer at a time."""
Quantisation = Literal["int8", "fp8"]
"""How weights of linear layers are stored in 8 bits (``model/quantised.py``)."""
FastPath = Literal[
    "linear",
    "feed-forward",
    "convolution",
    "small-maps",
    "upsampling",
    "layout",
    "text",
    "padded-text",
    "guidance",
    "attention",
    "temporal",
    "norms",
]
"""A way to compute a layer faster, with the same result (``model/fast/drawing.py``)."""
FAST_PATHS: tuple[FastPath, ...] = get_args(FastPath)
MOST_THREADS = 1024
_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def seeded(*keys: int | str) -> torch.Generator:
    """Return a CPU generator that depends only on its keys, e.g. ``seeded(seed, "noise", 3)``.

    It draws on the CPU so that every device agrees. Because it is derived from its keys, resuming
    needs no stored state.
    """
    digest = hashlib.sha256("/".join(map(str, keys)).encode()).digest()
    return torch.Generator("cpu").manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def channels_last(module: Module) -> Module:
    """Change a module's convolutions to the memory layout that runs fastest; returns the module."""
    # torch's annotations know this argument only together with others. The method of diffusers' models
    # does the same, and imports the code of offloading, which takes a second.
    to: Any = nn.Module.to
    to(module, memory_format=torch.channels_last)
    return module


def device_of(module: nn.Module) -> torch.device:
    """Return where a module's weights are.

    The property ``device`` of diffusers' models imports the code of offloading, which takes a second.
    """
    return next(module.parameters()).device


def dtype_of(module: nn.Module) -> torch.dtype:
    """Return the dtype of a module's first floating-point weight.

    The property ``dtype`` of diffusers' models looks at every layer first, for hooks of its own.
    """
    return next(each.dtype for each in module.parameters() if each.is_floating_point())


def computes_bf16(device: torch.device) -> bool:
    """Return whether a device computes in bf16 natively; emulated, bf16 is many times slower.

    Processors list bf16 among their instructions if they support it; AVX-512 alone is not enough.
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        instructions = getattr(torch.cpu, "get_capabilities", dict)()  # not in every torch >= 2.10
        return any(instructions.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))
    return True


@dataclass(frozen=True)
class Runtime:
    """Where and in which precision models run.

    Attributes:
        device: ``auto`` (a GPU if there is one), ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        precision: ``auto`` is fp16 on a GPU, bf16 on a CPU that computes in it natively, else fp32.
        threads: CPU threads; ``None`` keeps torch's choice.
        without: fast paths that are not taken, to measure what each gains.
        compile: predict by ``torch.compile`` instead of the fast paths: minutes at the first step,
            less in later processes. On a GPU with CUDA graphs.
        memory: ``low`` keeps weights in the machine's memory, and copies each layer's to the GPU while
            it computes; the animation is the same.
        quantise: store the weights of linear layers in 8 bits; ``None`` in the precision.
    """

    device: str = "auto"
    precision: Precision = "auto"
    threads: int | None = None
    without: frozenset[FastPath] = frozenset()
    compile: bool = False
    memory: Memory = "full"
    quantise: Quantisation | None = None

    def torch_device(self) -> torch.device:
        """The torch device.

        Raises:
            InputError: the device is unknown, or this machine does not have it.
        """
        if self.device == "auto":
            return torch.device("cuda" if torch.cuda.is_available() else "cpu")
        try:
            device = torch.device(self.device)
        except RuntimeError:
            raise InputError(
                f"There is no device called {self.device!r}; use auto, cpu, cuda, cuda:0 or mps."
            ) from None
        if device.type == "cuda" and not torch.cuda.is_available():
            raise InputError("This machine has no CUDA device that torch can use; use device cpu.")
        if device.type == "mps" and not torch.backends.mps.is_available():
            raise InputError("This machine has no MPS device that torch can use; use device cpu.")
        return device

    def weights_device(self) -> torch.device:
        """Where weights wait to be computed with; raises as ``torch_device``."""
        return torch.device("cpu") if self.memory == "low" else self.torch_device()

    def torch_dtype(self) -> torch.dtype:
        """The dtype of the U-Net."""
        if self.precision == "auto":
            device = self.torch_device()
            if device.type == "cpu":
                return torch.bfloat16 if computes_bf16(device) else torch.float32
            return torch.float16 if device.type == "cuda" else torch.float32
        return _DTYPES[self.precision]

    def apply(self) -> None:
        """Apply the settings that torch keeps per process (the number of threads), before loading.

        Raises:
            InputError: the number of threads is out of range, or low memory cannot be had.
        """
        if self.memory == "low" and self.torch_device().type == "cpu":
            raise InputError(
                "--memory low keeps weights in the machine's memory and computes on a GPU, and this "
                "would compute on the CPU; leave it out, or name a GPU with --device."
            )
        if self.memory == "low" and self.compile:
            raise InputError(
                "--memory low moves weights at every layer, which a compiled model cannot follow; "
                "leave out --compile or --memory low."
            )
        if self.memory == "low" and self.quantise is not None:
            raise InputError(
                "--memory low copies plain weights to the GPU, which weights in 8 bits are not; leave "
                "out --quantise or --memory low."
            )
        if self.threads is not None:
            if not 1 <= self.threads <= MOST_THREADS:
                raise InputError(
                    f"--threads {self.threads} is out of range; use 1 to {MOST_THREADS}, or "
                    "leave it out for one thread per core."
                )
            torch.set_num_threads(self.threads)
