"""The processes of a run: one, or as many as ``torchrun`` or ``accelerate launch`` started.

They hold the same weights and take turns at the micro-batches of a step. What one of them learns of
the others goes through here, and so does the news that one of them is gone.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from typing import Any, cast

import torch
from accelerate.state import PartialState
from accelerate.utils.operations import gather, reduce
from jaxtyping import Float
from torch import Tensor, nn

from animatediff.errors import OutputError, PeerLost

BUCKET = 32 << 20
"""Numbers averaged in one call: large enough to be fast, small enough not to double the memory."""


class Processes:
    """This process and the others of its run; alone, every method is what it is for one."""

    def __init__(self) -> None:
        # Told that there is only a CPU, accelerate joins the processes by gloo; otherwise it would
        # take each of several for the only one.
        self._state = PartialState(cpu=not torch.accelerator.is_available())

    @property
    def count(self) -> int:
        """How many there are."""
        return int(self._state.num_processes)

    @property
    def rank(self) -> int:
        """Which one this is."""
        return int(self._state.process_index)

    @property
    def is_first(self) -> bool:
        """Whether this is the one that writes."""
        return self.rank == 0

    @property
    def device(self) -> torch.device:
        """The device that the launcher gave this process."""
        return cast(torch.device, self._state.device)

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace every gradient by its mean over the processes.

        Gradients are laid one after another in a fixed order, whenever each of them was ready, so
        that a resumed run adds them up as the uninterrupted one did.

        Raises:
            PeerLost: another process has ended.
        """
        if self.count == 1:
            return
        learned = [p for p in parameters if p.requires_grad]
        for part in _parts(learned, most=BUCKET):
            flat = torch.cat([_gradient(p).flatten().float() for p in part])
            with peers_named():
                mean = cast(Tensor, reduce(flat, "mean"))
            for parameter, piece in zip(part, mean.split([p.numel() for p in part]), strict=True):
                parameter.grad = piece.view_as(parameter).to(parameter.dtype)

    def gathered(self, row: Float[Tensor, " n"]) -> Float[Tensor, "processes n"]:
        """The rows of all processes.

        Raises:
            PeerLost: another process has ended.
        """
        if self.count == 1:
            return row[None]
        with peers_named():
            return cast(Tensor, gather(row[None].to(self.device))).to(row.device)

    def first_alone(self, action: Callable[[], object]) -> None:
        """Let the first process act while the others wait; its failure is everybody's.

        Raises:
            OutputError: the first process could not write.
            PeerLost: another process has ended.
        """
        failure: Exception | None = None
        if self.is_first:
            try:
                action()
            except Exception as error:  # noqa: BLE001 - told to the others, then raised here
                failure = error
        failed = self.gathered(torch.tensor([float(failure is not None)])).any()
        if failure is not None:
            raise failure
        if failed:
            raise OutputError("The first process of this run could not save; its message says why.")

    def close(self) -> None:
        """Part from the others."""
        if self.count > 1:
            state: Any = self._state
            state.destroy_process_group()


@contextmanager
def peers_named() -> Generator[None]:
    """Turn whatever a lost connection raises into one sentence.

    Raises:
        PeerLost: another process has ended.
    """
    try:
        yield
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:160].rstrip(".")
        raise PeerLost(
            f"Another process of this run has ended ({reason}); "
            "see its message, then run the same command to resume."
        ) from None


def _gradient(parameter: nn.Parameter) -> Tensor:
    return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad


def _parts(parameters: list[nn.Parameter], *, most: int) -> list[list[nn.Parameter]]:
    parts: list[list[nn.Parameter]] = [[]]
    size = 0
    for parameter in parameters:
        if parts[-1] and size + parameter.numel() > most:
            parts.append([])
            size = 0
        parts[-1].append(parameter)
        size += parameter.numel()
    return parts if parts[0] else []
