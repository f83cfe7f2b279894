"""The optimisers of a run: AdamW, or Muon for matrices with AdamW for everything else.

Muon orthogonalises the momentum of every weight matrix, so all of its directions are trained at the
same pace (Keller Jordan et al., 2024). Scaled to the size of AdamW's updates (arXiv 2502.16982,
Sec. 2.2), it uses the same learning rate.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn

from animatediff.runtime import computes_bf16
from animatediff.training.recipe import OptimizerName
from animatediff.training.steps.muon import Fp32Muon


class Optimizers:
    """Updates the trained weights; its state is keyed by their names.

    Args:
        parameters: the trained weights by name; they stay where they are in memory.
        name: ``adamw``, or ``muon``: Muon updates weights of two and more axes (a convolution as
            the matrix of its kernel), AdamW all others.
        weight_decay: decoupled, of every weight.
        adam_betas: the decay of AdamW's two moments.
    """

    def __init__(
        self,
        parameters: Mapping[str, nn.Parameter],
        *,
        name: OptimizerName,
        weight_decay: float,
        adam_betas: tuple[float, float] = (0.9, 0.99),
    ) -> None:
        self._moved: dict[str, nn.Parameter] = dict(parameters)
        self._matrices: list[tuple[nn.Parameter, nn.Parameter]] = []
        if name == "muon":
            for key, parameter in parameters.items():
                if parameter.ndim > 2:
                    self._moved[key] = nn.Parameter(matrix_of(parameter.detach()))
                    self._matrices.append((parameter, self._moved[key]))
        muon = [p for p in self._moved.values() if name == "muon" and p.ndim == 2]
        adam = [p for p in self._moved.values() if name != "muon" or p.ndim != 2]
        self._parts: list[torch.optim.Optimizer] = []
        if muon:
            self._parts.append(
                torch.optim.Muon(muon, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw")
                if computes_bf16(muon[0].device)
                else Fp32Muon(muon, weight_decay=weight_decay)
            )
        if adam:
            self._parts.append(torch.optim.AdamW(adam, weight_decay=weight_decay, betas=adam_betas))

    def step(self, *, rate: float) -> None:
        """Update every weight along its gradient."""
        for parameter, matrix in self._matrices:
            matrix.grad = None if parameter.grad is None else matrix_of(parameter.grad)
        for part in self._parts:
            for group in part.param_groups:
                group["lr"] = rate
            part.step()
        for _, matrix in self._matrices:
            matrix.grad = None

    def state(self) -> dict[str, Tensor]:
        """Return every moment as ``NAME::MOMENT``."""
        return {
            f"{name}::{moment}": value
            for name, parameter in self._moved.items()
            for part in self._parts
            if parameter in part.state
            for moment, value in part.state[parameter].items()
        }

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Restore what ``state`` returned."""
        moments: dict[str, dict[str, Tensor]] = {}
        for key, value in state.items():
            name, moment = key.rsplit("::", 1)
            device = self._moved[name].device if value.ndim else value.device
            moments.setdefault(name, {})[moment] = value.to(device)
        for part in self._parts:
            for group in part.param_groups:
                owned = {id(p) for p in group["params"]}
                for name, parameter in self._moved.items():
                    if id(parameter) in owned and name in moments:
                        part.state[parameter] = moments[name]


def matrix_of(weight: Float[Tensor, "out ..."]) -> Float[Tensor, "out inputs"]:
    """View a weight as a matrix, without a copy if it is contiguous in either memory format.

    The order of the columns follows the memory; Muon's step does not depend on it.
    """
    if weight.ndim == 4 and weight.is_contiguous(memory_format=torch.channels_last):
        return weight.permute(0, 2, 3, 1).flatten(1)
    return weight.flatten(1)
