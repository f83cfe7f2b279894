"""ControlNet union (ControlNet++): one net for several kinds of hints, by a type embedding.

The kind of a hint, a one-hot vector, joins the time embedding, and a Transformer of one layer turns
the mean features of hint and latents into a shift of the hint's.

As published, that Transformer attends along the pictures of a batch and not along the tokens of one
picture. For one picture (twice the same, under guidance) every token sees only itself; here frames
are kept apart so that each gets exactly that, whatever else is in the batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch
from einops import rearrange
from torch import Tensor, nn

from animatediff.model.control.controlnet import take_stem
from animatediff.model.control.network import Embedded, Hints, Question, for_every_clip
from animatediff.model.control.residuals import Residuals
from animatediff.runtime import dtype_of

if TYPE_CHECKING:
    from diffusers.models.controlnets.controlnet_union import ControlNetUnionModel

UNION_TYPES: Mapping[str, int] = {
    "pose": 0,
    "depth": 1,
    "softedge": 2,
    "canny": 3,
    "normal": 4,
    "segment": 5,
    "tile": 6,
    "repaint": 7,
}
"""Kinds of hints, by their index; the first six are in every file, the last two in promax alone."""


class HintedUnion(nn.Module):
    """A union net whose hints are embedded once; ``for_type`` is a network for one kind of hint.

    Args:
        net: diffusers' ControlNetUnion with its weights; its stem moves into this module.
    """

    def __init__(self, net: ControlNetUnionModel) -> None:
        super().__init__()
        self.stem = take_stem(net)
        self.net = net
        for layer in net.get_submodule("transformer_layes").children():
            layer.register_forward_pre_hook(_part_rows)
            layer.register_forward_hook(_join_rows)

    def embed(self, hints: Hints) -> Embedded:
        """The stem's features of pictures in [0, 1]."""
        return (self.stem(hints.to(dtype_of(self.net))),)

    @property
    def types(self) -> tuple[str, ...]:
        """The kinds of hints that it knows."""
        count = cast(int, self.net.config["num_control_type"])
        return tuple(name for name, index in UNION_TYPES.items() if index < count)

    def for_type(self, name: str) -> UnionOfType:
        """The same network for one kind of hint, one of ``types``."""
        return UnionOfType(self, UNION_TYPES[name])

    def forward(self, question: Question, embedded: Embedded, *, hint_type: int = 0) -> Residuals:
        """Residuals for the skip connections and the middle block, for hints of a kind by its index."""
        types = torch.zeros(len(question.latents), self.net.config["num_control_type"])
        types[:, hint_type] = 1
        skips, mid = self.net(
            question.latents,
            question.timestep,
            question.text,
            [for_every_clip(embedded[0], question=question)],
            types.to(question.latents),
            [hint_type],
            added_cond_kwargs=dict(question.added),
            return_dict=False,
        )
        return Residuals(tuple(cast("list[Tensor]", skips)), cast(Tensor, mid))


@dataclass(frozen=True)
class UnionOfType:
    """A union net for one kind of hint.

    Attributes:
        union: the net.
        hint_type: the index of the kind.
    """

    union: HintedUnion
    hint_type: int

    def embed(self, hints: Hints) -> Embedded:
        """As ``HintedUnion.embed``."""
        return self.union.embed(hints)

    def __call__(self, question: Question, embedded: Embedded) -> Residuals:
        """Residuals for the skip connections and the middle block."""
        return self.union(question, embedded, hint_type=self.hint_type)


def _part_rows(layer: nn.Module, inputs: tuple[Tensor]) -> Tensor:
    del layer
    return rearrange(inputs[0], "rows tokens c -> 1 (rows tokens) c")


def _join_rows(layer: nn.Module, inputs: tuple[Tensor], output: Tensor) -> Tensor:
    del layer, inputs
    # One hint and the latents: two tokens.
    return rearrange(output, "1 (rows tokens) c -> rows tokens c", tokens=2)
