"""The processes of a run: one, or those that ``torchrun`` or ``accelerate launch`` started.

They hold the same weights and share the micro-batches of a step. All communication between them
goes through here, including the news that one of them ended.
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
"""Values averaged per call: large enough to be fast, small enough not to double the memory."""


class Processes:
    """This process and the others of its run; with one process, communication does nothing."""

    def __init__(self) -> None:
        # With cpu=True accelerate joins the processes by gloo; otherwise each would take itself for
        # the only one.
        self._state = PartialState(cpu=not torch.accelerator.is_available())

    @property
    def count(self) -> int:
        """Number of processes."""
        return int(self._state.num_processes)

    @property
    def rank(self) -> int:
        """Number of this process."""
        return int(self._state.process_index)

    @property
    def is_first(self) -> bool:
        """Whether this process writes the files."""
        return self.rank == 0

    @property
    def device(self) -> torch.device:
        """The device that the launcher assigned to this process."""
        return cast(torch.device, self._state.device)

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace every gradient with its mean over the processes.

        Gradients are concatenated in a fixed order, independent of when each was ready, so that a
        resumed run adds them up as the uninterrupted one did.

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
        """Gather the rows of all processes.

        Raises:
            PeerLost: another process has ended.
        """
        if self.count == 1:
            return row[None]
        with peers_named():
            return cast(Tensor, gather(row[None].to(self.device))).to(row.device)

    def first_alone(self, action: Callable[[], object]) -> None:
        """Let the first process act while the others wait; if it fails, all fail.

        Raises:
            OutputError: the first process could not write.
            PeerLost: another process has ended.
        """
        failure: Exception | None = None
        if self.is_first:
            try:
                action()
            except Exception as error:  # noqa: BLE001 - sent to the others, then raised here
                failure = error
        failed = self.gathered(torch.tensor([float(failure is not None)])).any()
        if failure is not None:
            raise failure
        if failed:
            raise OutputError("The first process of this run could not save; its message says why.")

    def close(self) -> None:
        """Leave the group of processes."""
        if self.count > 1:
            state: Any = self._state
            state.destroy_process_group()


@contextmanager
def peers_named() -> Generator[None]:
    """Turn errors of a lost connection into one sentence.

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
