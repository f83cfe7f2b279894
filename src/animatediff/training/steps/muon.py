"""Muon in fp32, for devices that do not compute in bf16 natively.

torch's Muon orthogonalises only in bf16. Emulated, that took two thirds of a step of the built-in
motion modules (``docs/log.md``, experiment 51). Here it is computed in fp32, with the same
coefficients.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor


class Fp32Muon(torch.optim.Optimizer):
    """Muon (Keller Jordan et al., 2024) in fp32, with the state and defaults of torch's Muon.

    A step has about AdamW's size: 0.2 times the root of the matrix's longer side (arXiv 2502.16982,
    Sec. 2.2).
    """

    def __init__(
        self, matrices: Iterable[Tensor], *, lr: float = 1e-3, weight_decay: float = 0.1
    ) -> None:
        matrices = list(matrices)
        super().__init__(matrices, torch.optim.Muon(matrices, lr, weight_decay).defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Move every matrix along its orthogonalised momentum."""
        del closure
        for group in self.param_groups:
            rate, momentum = group["lr"], group["momentum"]
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                if "momentum_buffer" not in state:
                    state["momentum_buffer"] = torch.zeros_like(weight.grad)
                moving = state["momentum_buffer"].lerp_(weight.grad, 1 - momentum)
                ahead = weight.grad.lerp(moving, momentum) if group["nesterov"] else moving
                weight.mul_(1 - rate * group["weight_decay"])
                move = orthogonal(
                    ahead, group["ns_coefficients"], steps=group["ns_steps"], eps=group["eps"]
                )
                weight.add_(move, alpha=-rate * 0.2 * max(weight.shape) ** 0.5)


def orthogonal(
    matrix: Float[Tensor, "rows columns"],
    coefficients: tuple[float, float, float],
    *,
    steps: int,
    eps: float,
) -> Float[Tensor, "rows columns"]:
    """Bring a matrix's singular values close to 1 with Newton-Schulz iterations."""
    a, b, c = coefficients
    wide = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    wide = wide / wide.norm().clamp(min=eps)
    for _ in range(steps):
        gram = wide @ wide.T
        wide = torch.addmm(wide, torch.addmm(gram, gram, gram, beta=b, alpha=c), wide, beta=a)
    return wide.T if matrix.shape[0] > matrix.shape[1] else wide
