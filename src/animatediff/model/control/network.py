"""What every control network has in common: hints are embedded once, residuals follow at each step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from jaxtyping import Float
from torch import Tensor

from animatediff.model.control.residuals import Residuals

Hints = Float[Tensor, "n c height width"]
"""Pictures, or their latents for SparseCtrl's ``rgb`` net, which a network is conditioned on."""
Embedded = tuple[Float[Tensor, "n ..."], ...]
"""What a network makes of hints before the first step; row ``n`` of each tensor belongs to hint n."""


@dataclass(frozen=True)
class Question:
    """What a U-Net is about to denoise, with frames folded into the batch.

    Attributes:
        latents: noisy latents.
        timestep: one for all, or one for each row of ``latents``.
        text: states of the prompt, a row for each of ``latents``.
        added: SDXL's ``text_embeds`` and ``time_ids``, likewise.
        num_frames: frames of a clip.
    """

    latents: Float[Tensor, "bf c h w"]
    timestep: int | float | Tensor
    text: Float[Tensor, "bf n d"]
    added: Mapping[str, Tensor]
    num_frames: int


class ControlNetwork(Protocol):
    """A network that steers an image U-Net by one hint for each frame."""

    def embed(self, hints: Hints) -> Embedded:
        """The part of the work that is the same at every step."""
        ...

    def __call__(self, question: Question, embedded: Embedded) -> Residuals:
        """What to add; ``embedded`` has a row for each frame, of one clip or of all clips."""
        ...


def for_every_clip(rows: Tensor, *, question: Question) -> Tensor:
    """Rows for the frames of one clip, repeated for every clip; rows for all clips, as they are."""
    return rows.repeat(len(question.latents) // len(rows), *[1] * (rows.ndim - 1))
