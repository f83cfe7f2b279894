"""Self-attention of an image model in which frames read the keys and values of other frames.

Text2Video-Zero reads the first frame alone (arXiv 2303.13439, Eq. 9), Tune-A-Video the first frame and
the previous one (arXiv 2212.11565, Eq. 1). Only the attention processors of the self-attention layers
are exchanged, and only for a while; queries, keys and values are the image model's own.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from animatediff.model.clip import Clip
from animatediff.model.processors import exchanged_processors

if TYPE_CHECKING:
    from diffusers.models.attention_processor import Attention
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

Gather = Callable[[Float[Tensor, "b f s c"]], Float[Tensor, "b f t c"]]
"""The tokens that each frame reads, from those of all frames."""


def first_frame(tokens: Float[Tensor, "b f s c"]) -> Float[Tensor, "b f s c"]:
    """Every frame reads the first (Text2Video-Zero)."""
    return tokens[:, :1].expand_as(tokens)


def first_and_previous(tokens: Float[Tensor, "b f s c"]) -> Float[Tensor, "b f two_s c"]:
    """Every frame reads the first and the one before; the first reads itself twice (Tune-A-Video)."""
    previous = torch.cat([tokens[:, :1], tokens[:, :-1]], dim=1)
    return torch.cat([tokens[:, :1].expand_as(tokens), previous], dim=2)


class FrameAttention:
    """A processor of diffusers for self-attention whose keys and values come from other frames."""

    def __init__(self, gather: Gather, *, clip: Clip) -> None:
        self.gather = gather
        self.clip = clip

    def __call__(
        self,
        attn: Attention,
        hidden_states: Float[Tensor, "bf s c"],
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
    ) -> Float[Tensor, "bf s c"]:
        """What each token gathers; masks and time embeddings do not occur in these layers."""
        del encoder_hidden_states, attention_mask, temb
        assert attn.to_k is not None
        assert attn.to_v is not None
        assert attn.to_out is not None
        query = rearrange(attn.to_q(hidden_states), "b s (n d) -> b n s d", n=attn.heads)
        key, value = (
            rearrange(self._read(layer(hidden_states)), "b f t (n d) -> (b f) n t d", n=attn.heads)
            for layer in (attn.to_k, attn.to_v)
        )
        attended = F.scaled_dot_product_attention(query, key, value)
        attended = rearrange(attended, "b n s d -> b s (n d)")
        for layer in attn.to_out:
            attended = layer(attended)
        return attended

    def _read(self, tokens: Float[Tensor, "bf s c"]) -> Float[Tensor, "b f t c"]:
        return self.gather(rearrange(tokens, "(b f) s c -> b f s c", f=self.clip.num_frames))


def reading_other_frames(
    unet: UNet2DConditionModel, gather: Gather, *, clip: Clip
) -> AbstractContextManager[None]:
    """While this lasts, the self-attention of ``unet`` reads the frames that ``gather`` chooses.

    Args:
        unet: frames are folded into its batch, those of one clip adjacent.
        gather: the tokens that each frame reads.
        clip: how many frames a clip has.
    """
    processor = FrameAttention(gather, clip=clip)
    return exchanged_processors(unet, chosen=is_self_attention, processor=processor)


def is_self_attention(name: str) -> bool:
    """Whether a processor of this name belongs to a spatial self-attention."""
    return ".attn1." in name
