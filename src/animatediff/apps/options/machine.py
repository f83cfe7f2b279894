"""How a command runs its model: options that several commands declare, and their ``Runtime``."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal, Protocol

from animatediff.options.declaration import Option

if TYPE_CHECKING:
    from animatediff.runtime import Runtime
    from animatediff.sampling.request import AnimationRequest

Memory = Literal["full", "low"]
"""As in ``runtime.py``, which imports torch."""

COMPILE = Option(
    "Compile the model with torch.compile. The first step then takes minutes, and no gain has been "
    "measured yet. Compiled code is kept for later runs.",
    group="Machine",
    foreign=("torch-compile",),
)
MEMORY = Option(
    "low keeps weights in the machine's memory and copies each layer's to the GPU while it computes, "
    "for GPUs of little memory. On a CPU it is refused, as nothing would be saved.",
    group="Machine",
)


class Machine(Protocol):
    """Options that say how a model runs."""

    @property
    def device(self) -> str:
        """Where: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``."""
        ...

    @property
    def threads(self) -> int | None:
        """CPU threads; ``None`` keeps torch's choice."""
        ...

    @property
    def compile(self) -> bool:
        """Whether by ``torch.compile``."""
        ...

    @property
    def memory(self) -> Memory:
        """Whether weights are all where they compute."""
        ...


def runtime_of(machine: Machine, *, request: AnimationRequest | None = None) -> Runtime:
    """The runtime that options ask for, and a request if there is one already."""
    from animatediff.runtime import Runtime

    runtime = Runtime(
        device=machine.device,
        threads=machine.threads,
        compile=machine.compile,
        memory=machine.memory,
    )
    return runtime if request is None else suited(runtime, request)


def suited(runtime: Runtime, request: AnimationRequest) -> Runtime:
    """A runtime with what a request decides of it: precision and quantisation."""
    return replace(runtime, precision=request.precision, quantise=request.quantise)
