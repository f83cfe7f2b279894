"""Conditions of clips as rows for their frames, which are folded into the batch ``(b f)``."""

from __future__ import annotations

from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from animatediff.errors import InputError


def timestep_per_frame(
    timestep: int | float | Tensor, *, clips: int, frames: int
) -> int | float | Tensor:
    """A timestep for all rows, or one for each frame, from one for all, each clip or each frame."""
    if not isinstance(timestep, Tensor) or timestep.numel() == 1:
        return timestep
    if timestep.ndim == 2:
        return timestep.flatten()
    return row_per_frame(timestep, clips=clips, frames=frames, what="timestep")


def text_per_frame(text: Tensor, *, clips: int, frames: int) -> Float[Tensor, "bf n d"]:
    """The text of each frame, from one for each clip or for each frame."""
    if text.ndim == 4:
        return rearrange(text, "b f n d -> (b f) n d")
    return row_per_frame(text, clips=clips, frames=frames, what="encoder_hidden_states")


def row_per_frame(rows: Tensor, *, clips: int, frames: int, what: str) -> Tensor:
    """A row for each frame; frames of one clip are adjacent, so a clip's row is repeated in place.

    Raises:
        InputError: there are rows for neither the clips nor the frames.
    """
    if len(rows) == clips:
        return rows.repeat_interleave(frames, dim=0)
    if len(rows) == clips * frames:
        return rows
    raise InputError(
        f"{what} has {len(rows)} rows, but there are {clips} clips of {frames} frames; "
        "give one row for each clip or one for each frame."
    )
