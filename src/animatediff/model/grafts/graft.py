"""``Graft``, the one mechanism of AnimateDiff: an additive, removable branch on a frozen layer.

Everything that AnimateDiff trains (Guo et al., arXiv 2307.04725, Sec. 4) is such a branch: the
domain adapter, the motion module, MotionLoRA. The layer itself is never copied, subclassed or
edited, so the image model's weights keep their names, and a removed graft leaves no trace.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from torch.utils.hooks import RemovableHandle

from animatediff.errors import InputError


class Graft(nn.Module):
    """An additive, removable branch on the output of one frozen layer.

    The host returns ``output + scale * branch(input, output)``, where ``input`` is its first
    positional argument. With a scale of zero the branch is not computed.

    Args:
        branch: a module called as ``branch(input, output)`` that returns a tensor shaped like
            ``output``.
        scale: factor of the branch; may be changed at any time.
    """

    def __init__(self, branch: nn.Module, *, scale: float = 1.0) -> None:
        super().__init__()
        self.branch = branch
        self._scale = scale
        self._factor: Tensor | None = None
        self.frame_scales: Tensor | None = None
        """How much of the branch is added to each frame of a clip, besides ``scale``."""
        self.checkpointed = False
        """Recompute the branch in the backward pass instead of saving its activations."""
        self._handle: RemovableHandle | None = None
        self._host: tuple[nn.Module, ...] = ()  # in a tuple, so that it is not a submodule

    @property
    def host(self) -> nn.Module:
        """The layer that carries this graft.

        Raises:
            InputError: the graft has no host.
        """
        if not self._host:
            raise InputError("This graft has no host; attach() it first.")
        return self._host[0]

    @property
    def scale(self) -> float:
        """Factor of the branch; a change takes effect at the next forward pass."""
        return self._scale

    @scale.setter
    def scale(self, scale: float) -> None:
        self._scale = scale
        if self._factor is not None:
            self._factor.fill_(scale)

    def hold_scale(self, device: torch.device | None) -> None:
        """Keep the scale as a tensor on ``device``, for a compiled model; ``None`` ends that.

        The branch is then computed at a scale of zero too.
        """
        # Not an inference tensor, so that the scale may change inside and outside of inference mode.
        with torch.inference_mode(False):
            self._factor = None if device is None else torch.tensor(self._scale, device=device)

    @property
    def attached(self) -> bool:
        """Whether the graft is attached to a host."""
        return self._handle is not None

    def attach(self, host: nn.Module) -> Graft:
        """Attach the branch to ``host``; returns the graft.

        Raises:
            InputError: the graft already has a host.
        """
        if self._handle is not None:
            raise InputError(
                "This graft already has a host; call remove() before you attach it again."
            )
        self._handle = host.register_forward_hook(self._add)
        self._host = (host,)
        return self

    def remove(self) -> None:
        """Detach the branch from its host, which is then as before; may be called again."""
        if self._handle is not None:
            self._handle.remove()
            self._handle = None
            self._host = ()

    def _add(self, host: nn.Module, inputs: tuple[Tensor, ...], output: Any) -> Any:
        if self._factor is None and self._scale == 0:
            return output
        if isinstance(output, tuple):  # diffusers' transformers return (sample,)
            return (self._add(host, inputs, output[0]), *output[1:])
        if not isinstance(output, Tensor):  # or an output of one sample
            return type(output)(sample=self._add(host, inputs, output.sample))
        residual = self._residual(inputs[0], output)
        if self.frame_scales is not None:
            residual = residual * _row_of_each(self.frame_scales, residual)
        if self._factor is not None or self._scale != 1:
            residual = (self._scale if self._factor is None else self._factor) * residual
        # An fp32 branch on a bf16 host must not change the precision of what follows.
        return output + residual.to(output.dtype)

    def _residual(self, inputs: Tensor, output: Tensor) -> Tensor:
        if self.checkpointed and torch.is_grad_enabled():
            # No branch draws random numbers, so their state is not saved.
            return checkpoint(
                self.branch, inputs, output, use_reentrant=False, preserve_rng_state=False
            )
        return self.branch(inputs, output)

    def extra_repr(self) -> str:
        """Scale and state, for ``repr``."""
        return f"scale={self.scale}, attached={self.attached}"


def _row_of_each(frame_scales: Tensor, residual: Tensor) -> Tensor:
    """The scale of each frame's row in a batch ``(b f) ...``, to be multiplied with it."""
    clips = len(residual) // len(frame_scales)
    return frame_scales.to(residual).repeat(clips).view(-1, *[1] * (residual.ndim - 1))


class Grafts(Mapping[str, Graft]):
    """Named grafts with one common scale, removed together.

    Raises:
        InputError: there are no hosts.
    """

    def __init__(self, grafts: Mapping[str, Graft]) -> None:
        if not grafts:
            raise InputError("There is no layer to graft on: the list of hosts is empty.")
        self._grafts = dict(grafts)

    def __getitem__(self, name: str) -> Graft:
        return self._grafts[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._grafts)

    def __len__(self) -> int:
        return len(self._grafts)

    def __repr__(self) -> str:
        state = "attached" if self.attached else "removed"
        return f"{len(self)} grafts, {state}, scale {self.scale:g}"

    @property
    def attached(self) -> bool:
        """Whether every graft is attached."""
        return all(graft.attached for graft in self.values())

    @property
    def scale(self) -> float:
        """Scale of every branch; a change takes effect at the next forward pass."""
        return next(iter(self.values())).scale

    @scale.setter
    def scale(self, scale: float) -> None:
        for graft in self.values():
            graft.scale = scale

    @contextmanager
    def at(self, scale: float) -> Generator[None]:
        """Have another scale inside this context."""
        before = self.scale
        self.scale = scale
        try:
            yield
        finally:
            self.scale = before

    @contextmanager
    def over_frames(self, frame_scales: Tensor | None) -> Generator[None]:
        """Add another share to each frame of a clip inside this context; ``None`` is all to each."""
        before = [graft.frame_scales for graft in self.values()]
        for graft in self.values():
            graft.frame_scales = frame_scales
        try:
            yield
        finally:
            for graft, scales in zip(self.values(), before, strict=True):
                graft.frame_scales = scales

    @property
    def checkpointed(self) -> bool:
        """Whether the backward pass recomputes the branches."""
        return next(iter(self.values())).checkpointed

    @checkpointed.setter
    def checkpointed(self, checkpointed: bool) -> None:
        for graft in self.values():
            graft.checkpointed = checkpointed

    def remove(self) -> None:
        """Detach every branch."""
        for graft in self.values():
            graft.remove()
