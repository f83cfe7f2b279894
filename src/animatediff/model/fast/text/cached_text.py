"""Attention of the image model while it draws: keys and values of the text once for a prompt.

The text is the same in all frames of a clip and at all steps. So its keys and values are computed once
and kept, and the frames of a clip are concatenated as queries. They are computed again if the text or
the weights change, which is found by comparing the text, and the addresses of the weights.

torch's fused attention is fastest on a CPU if the keys fill whole vectors of 16. CLIP's texts have 77
tokens. With three more keys that a mask hides, attention to 8 frames of 32 x 32 pixels and 320 channels
takes 20 ms of one core instead of 41 in bf16, by AMX, and 36 instead of 60 in fp32.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

import torch
from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from animatediff.model.eight_bits import stored_in
from animatediff.model.fast.blocked_attention import NARROWEST, attention_in_blocks
from animatediff.model.fast.replaced import is_hooked
from animatediff.model.fast.sliced_attention import attention_within_grid

VECTOR = 16
"""Numbers of a vector of AVX-512, and of a row of a tile of AMX."""


@dataclass(frozen=True)
class _Kept:
    """Keys and values of a text, and what they were computed from.

    Attributes:
        text: tokens.
        weights: of both projections.
        key: of every token, and zeros that fill the last vector.
        value: likewise.
        mask: added to the scores: 0 for a token, minus infinity for zeros; ``None`` without zeros.
    """

    text: Float[Tensor, "b t e"]
    weights: tuple[Tensor, ...]
    key: Float[Tensor, "b n c"]
    value: Float[Tensor, "b n c"]
    mask: Float[Tensor, " n"] | None


@dataclass
class _Recent:
    """The last texts of one layer, such as with and without the prompt."""

    kept: list[_Kept] = field(default_factory=list["_Kept"])


class CachedText:
    """diffusers' attention processor for self-attention, and for a text per clip or per frame.

    Args:
        most: how many texts a layer keeps.
        in_blocks: compute self-attention by products of blocks, which is faster in half precision on a
            CPU without AMX (``blocked_attention.py``).
        padded: add keys to a text until they fill whole vectors.
    """

    def __init__(self, *, most: int = 4, in_blocks: bool = False, padded: bool = False) -> None:
        self.most = most
        self.in_blocks = in_blocks
        self.padded = padded
        self._recent: WeakKeyDictionary[nn.Module, _Recent] = WeakKeyDictionary()

    def __call__(
        self,
        attn: Attention,
        hidden_states: Float[Tensor, "bf s c"],
        encoder_hidden_states: Float[Tensor, "b n d"] | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
    ) -> Float[Tensor, "bf s c"]:
        """Compute attention; masks are left to diffusers' own processor."""
        assert attn.to_k is not None
        assert attn.to_v is not None
        assert attn.to_out is not None
        hooked = is_hooked(attn.to_k) or is_hooked(attn.to_v)
        text = encoder_hidden_states
        if text is not None and (hooked or attention_mask is not None):
            text = text.repeat_interleave(len(hidden_states) // len(text), dim=0)
        if attention_mask is not None:
            return AttnProcessor2_0()(attn, hidden_states, text, attention_mask, temb)
        query, mask = attn.to_q(hidden_states), None
        if text is None or hooked:
            source = hidden_states if text is None else text
            key, value = attn.to_k(source), attn.to_v(source)
            if text is not None:  # a branch of no strength must not change a bit
                key, value, mask = self._filled(key, value)
        else:
            kept = self._of_text(attn, text)
            key, value, mask = kept.key, kept.value, kept.mask
        frames = len(query) // len(key)
        query = rearrange(query, "(b f) s (n d) -> b n (f s) d", b=len(key), n=attn.heads)
        key, value = (rearrange(x, "b s (n d) -> b n s d", n=attn.heads) for x in (key, value))
        if self.in_blocks and text is None and query.shape[-1] >= NARROWEST:
            attended = attention_in_blocks(query, key, value)
        elif mask is not None:
            attended = F.scaled_dot_product_attention(query, key, value, mask.expand(1, 1, 1, -1))
        else:
            attended = attention_within_grid(query, key, value)
        attended = rearrange(attended, "b n (f s) d -> (b f) s (n d)", f=frames)
        for layer in attn.to_out:
            attended = layer(attended)
        return attended

    def _of_text(self, attn: Attention, text: Float[Tensor, "b t e"]) -> _Kept:
        to_k, to_v = attn.to_k, attn.to_v
        assert isinstance(to_k, nn.Linear)
        assert isinstance(to_v, nn.Linear)
        # ``data`` is another tensor at each access, on the same memory.
        weights = tuple(part.data for to in (to_k, to_v) for part in stored_in(to.weight))
        recent = self._recent.setdefault(attn, _Recent()).kept
        for kept in recent:
            if _are_same(kept.weights, weights) and _is_same_text(kept.text, text):
                return kept
        key, value, mask = self._filled(to_k(text), to_v(text))
        # The address of a weight is its name only for as long as the weight is kept here.
        kept = _Kept(text, weights, key, value, mask)
        recent[:] = [kept, *recent[: self.most - 1]]
        return kept

    def _filled(
        self, key: Float[Tensor, "b t c"], value: Float[Tensor, "b t c"]
    ) -> tuple[Float[Tensor, "b n c"], Float[Tensor, "b n c"], Float[Tensor, " n"] | None]:
        """Keys and values with zeros up to whole vectors, and the mask that hides the zeros."""
        missing = -key.shape[1] % VECTOR if self.padded else 0
        if not missing:
            return key, value, None
        mask = F.pad(key.new_zeros(key.shape[1]), (0, missing), value=float("-inf"))
        key, value = (F.pad(each, (0, 0, 0, missing)) for each in (key, value))
        return key, value, mask


def _are_same(one: tuple[Tensor, ...], other: tuple[Tensor, ...]) -> bool:
    return all(a.data_ptr() == b.data_ptr() for a, b in zip(one, other, strict=True))


def _is_same_text(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape or one.dtype != other.dtype or one.device != other.device:
        return False
    return one.data_ptr() == other.data_ptr() or torch.equal(one, other)


def cached_text_check(unet: UNet2DConditionModel) -> Callable[[], bool]:
    """Return what tells whether every attention to the text takes one text for a clip now."""
    to_text = [layer for name, layer in unet.named_modules() if name.endswith(".attn2")]
    return lambda: all(isinstance(layer.processor, CachedText) for layer in to_text)
