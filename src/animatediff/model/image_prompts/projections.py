"""From what an image encoder sees to tokens that attention reads (IP-Adapter, arXiv 2308.06721).

Three published forms, whose parameters carry the published names: a linear layer on the pooled
embedding (base), a resampler on the hidden states of all patches (plus), and a small network on each
of them (full face).
"""

from __future__ import annotations

from typing import Protocol

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from jaxtyping import Float
from torch import Tensor, nn

HEAD_WIDTH = 64
"""Channels of each head of the resampler."""


class ImageProjection(Protocol):
    """Image features to tokens."""

    @property
    def reads_patches(self) -> bool:
        """Whether it reads the hidden states of every patch instead of the pooled embedding."""
        ...

    def __call__(self, features: Tensor) -> Float[Tensor, "images tokens cross"]:
        """The tokens of each image."""
        ...


class LinearProjection(nn.Module):
    """A linear layer that makes several tokens of one pooled embedding (IP-Adapter base).

    Args:
        features: channels of the pooled embedding.
        cross: channels of a text token.
        tokens: how many tokens each image becomes; 4 in every published file.
    """

    reads_patches = False

    def __init__(self, features: int, *, cross: int, tokens: int) -> None:
        super().__init__()
        self.proj = nn.Linear(features, tokens * cross)
        self.norm = nn.LayerNorm(cross)

    def forward(self, features: Float[Tensor, "i e"]) -> Float[Tensor, "i tokens cross"]:
        """The tokens of each image, normalised."""
        return self.norm(
            rearrange(self.proj(features), "i (t c) -> i t c", c=self.norm.normalized_shape[0])
        )


class PatchProjection(nn.Module):
    """A small network on every patch: as many tokens as patches, and one (IP-Adapter full face).

    Args:
        features: channels of a hidden state.
        cross: channels of a text token.
    """

    reads_patches = True

    def __init__(self, features: int, *, cross: int) -> None:
        super().__init__()
        self.proj = nn.Sequential(
            nn.Linear(features, features),
            nn.GELU(),
            nn.Linear(features, cross),
            nn.LayerNorm(cross),
        )

    def forward(self, features: Float[Tensor, "i p e"]) -> Float[Tensor, "i p cross"]:
        """One token for each hidden state."""
        return self.proj(features)


class Resampler(nn.Module):
    """Learned queries that gather from every patch (IP-Adapter plus; a perceiver, arXiv 2204.14198).

    Args:
        features: channels of a hidden state.
        cross: channels of a text token.
        width: channels inside.
        heads: attention heads, of 64 channels each.
        depth: how many times the queries gather.
        tokens: how many queries there are.
        expansion: how much wider the feed-forward layers are.
    """

    reads_patches = True

    def __init__(
        self,
        features: int,
        *,
        cross: int,
        width: int,
        heads: int,
        depth: int,
        tokens: int,
        expansion: int = 4,
    ) -> None:
        super().__init__()
        self.latents = nn.Parameter(torch.randn(1, tokens, width) / width**0.5)
        self.proj_in = nn.Linear(features, width)
        self.proj_out = nn.Linear(width, cross)
        self.norm_out = nn.LayerNorm(cross)
        self.layers = nn.ModuleList(
            nn.ModuleList([_Gather(width, heads=heads), _feed_forward(width, expansion=expansion)])
            for _ in range(depth)
        )

    def forward(self, features: Float[Tensor, "i p e"]) -> Float[Tensor, "i tokens cross"]:
        """The tokens of each image, normalised."""
        patches = self.proj_in(features)
        queries = repeat(self.latents, "1 t c -> i t c", i=len(features))
        for gather, feed in self.layers:  # pyright: ignore[reportGeneralTypeIssues] - a pair, see above
            queries = gather(patches, queries) + queries
            queries = feed(queries) + queries
        return self.norm_out(self.proj_out(queries))


class _Gather(nn.Module):
    """Attention of queries to patches and to themselves."""

    def __init__(self, width: int, *, heads: int) -> None:
        super().__init__()
        inner = heads * HEAD_WIDTH
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.to_q = nn.Linear(width, inner, bias=False)
        self.to_kv = nn.Linear(width, 2 * inner, bias=False)
        self.to_out = nn.Linear(inner, width, bias=False)

    def forward(
        self, patches: Float[Tensor, "i p c"], queries: Float[Tensor, "i t c"]
    ) -> Float[Tensor, "i t c"]:
        patches, queries = self.norm1(patches), self.norm2(queries)
        key, value = self.to_kv(torch.cat([patches, queries], dim=1)).chunk(2, dim=-1)
        query, key, value = (
            rearrange(x, "i s (n d) -> i n s d", n=self.heads)
            for x in (self.to_q(queries), key, value)
        )
        gathered = F.scaled_dot_product_attention(query, key, value)
        return self.to_out(rearrange(gathered, "i n t d -> i t (n d)"))


def _feed_forward(width: int, *, expansion: int) -> nn.Sequential:
    return nn.Sequential(
        nn.LayerNorm(width),
        nn.Linear(width, expansion * width, bias=False),
        nn.GELU(),
        nn.Linear(expansion * width, width, bias=False),
    )
