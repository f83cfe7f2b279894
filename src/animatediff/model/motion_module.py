"""The motion module: a temporal Transformer that lets each spatial position attend across frames.

It is AnimateDiff's learned motion prior (Guo et al., arXiv 2307.04725, Sec. 4.2 and Fig. 3).
Sinusoidal positions distinguish the frames, self-attention along the frames exchanges information
between them, and a zero-initialised output projection makes training start at the image model.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from jaxtyping import Float
from torch import Tensor, nn

from animatediff.errors import InputError
from animatediff.model.clip import Clip
from animatediff.model.fast.plain_norms import in_plain_layout
from animatediff.model.fast.products import attention_as_products
from animatediff.model.fast.recompute import Keep, gated, kept, recomputed
from animatediff.model.fast.sliced_attention import attention_within_grid

NormScope = Literal["frame", "video"]
"""What one GroupNorm statistic covers: one frame, or all frames of a clip."""


def frame_positions(num_frames: int, channels: int) -> Float[Tensor, "f c"]:
    """Return sinusoidal embeddings of the frame numbers: sine in even channels, cosine in odd ones.

    Wavelengths run geometrically from 2 pi to 20,000 pi (Vaswani et al., arXiv 1706.03762, Sec.
    3.5), so the table exists for any number of frames.
    """
    frame = torch.arange(num_frames, dtype=torch.float32)
    frequency = torch.exp(torch.arange(0, channels, 2) * (-math.log(10_000.0) / channels))
    angle = torch.outer(frame, frequency)
    return rearrange([angle.sin(), angle.cos()], "two f half -> f (half two)")


class FramePositions(nn.Module):
    """Adds ``frame_positions`` to the tokens of every frame.

    The table is cached between calls but is not a buffer: it is in no file, and a model on the meta
    device needs nothing to fill it.
    """

    def __init__(self, channels: int, *, clip: Clip) -> None:
        super().__init__()
        self.channels = channels
        self.clip = clip
        self._table = torch.empty(0, channels)

    def forward(self, tokens: Float[Tensor, "bf s c"]) -> Float[Tensor, "bf s c"]:
        """Return ``tokens`` plus the position of their frame."""
        table = self._table
        frames = self.clip.num_frames
        if (len(table), table.device, table.dtype) != (frames, tokens.device, tokens.dtype):
            table = frame_positions(frames, self.channels).to(tokens)
            self._table = table
        clips = tokens.shape[0] // frames
        return tokens + repeat(table, "f c -> (b f) 1 c", b=clips)


class TemporalAttention(nn.Module):
    """Self-attention along the frames, separately at each spatial position.

    Tokens keep the order of the image model, ``(b f) s c``. Heads are adjacent in ``c``, so
    position and head are one axis of a view: the activations are never permuted in memory.

    Raises:
        InputError: the width is not divisible by the number of heads.
    """

    def __init__(self, channels: int, *, heads: int, clip: Clip) -> None:
        super().__init__()
        if channels % heads:
            raise InputError(
                f"{heads} attention heads cannot share {channels} channels evenly; "
                "choose a number of heads that divides the width."
            )
        self.heads = heads
        self.clip = clip
        self.pos_encoder = FramePositions(channels, clip=clip)
        self.to_q = nn.Linear(channels, channels, bias=False)
        self.to_k = nn.Linear(channels, channels, bias=False)
        self.to_v = nn.Linear(channels, channels, bias=False)
        self.to_out = nn.ModuleList([nn.Linear(channels, channels)])

    def forward(self, tokens: Float[Tensor, "bf s c"]) -> Float[Tensor, "bf s c"]:
        """Attend to the other frames at the same position."""
        tokens = self.pos_encoder(tokens)  # so that positions enter queries, keys and values alike
        query, key, value = self.to_q(tokens), self.to_k(tokens), self.to_v(tokens)
        return self.to_out[0](self._attend(query, key, value))

    def _attend(
        self,
        query: Float[Tensor, "bf s c"],
        key: Float[Tensor, "bf s c"],
        value: Float[Tensor, "bf s c"],
    ) -> Float[Tensor, "bf s c"]:
        positions = query.shape[1]
        query, key, value = (
            rearrange(x, "(b f) s (n d) -> b (s n) f d", f=self.clip.num_frames, n=self.heads)
            for x in (query, key, value)
        )
        attended = scaled_dot_product_attention(query, key, value)
        return rearrange(attended, "b (s n) f d -> (b f) s (n d)", s=positions)


def scaled_dot_product_attention(
    query: Float[Tensor, "b n f d"], key: Float[Tensor, "b n f d"], value: Float[Tensor, "b n f d"]
) -> Float[Tensor, "b n f d"]:
    """Compute attention, avoiding what torch's kernels do badly with many short sequences."""
    if query.device.type == "cpu" and query.dtype != torch.float32 and query.requires_grad:
        # The backward pass of the CPU's fused kernel is several times slower in half precision.
        return attention_as_products(query, key, value)
    return attention_within_grid(query, key, value)


class GatedProjection(nn.Module):
    """GEGLU: half of a projection multiplied by the GELU of the other half (arXiv 2002.05202)."""

    def __init__(self, channels: int, *, width: int) -> None:
        super().__init__()
        self.proj = nn.Linear(channels, 2 * width)

    def forward(self, tokens: Float[Tensor, "bf s c"]) -> Float[Tensor, "bf s w"]:
        """Return the gated projection, ``width`` wide."""
        return gated(self.proj(tokens))


class FeedForward(nn.Module):
    """The feed-forward layer of a Transformer, four times as wide inside."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        # Index 1 is where the published files have dropout, which has no weights.
        self.net = nn.ModuleList(
            [
                GatedProjection(channels, width=4 * channels),
                nn.Identity(),
                nn.Linear(4 * channels, channels),
            ]
        )

    def forward(self, tokens: Float[Tensor, "bf s c"]) -> Float[Tensor, "bf s c"]:
        """Transform each token by itself."""
        for layer in self.net:
            tokens = layer(tokens)
        return tokens


class TemporalTransformerBlock(nn.Module):
    """Pre-norm self-attentions along the frames, then a feed-forward layer."""

    def __init__(self, channels: int, *, heads: int, attention_blocks: int, clip: Clip) -> None:
        super().__init__()
        self.attention_blocks = nn.ModuleList(
            TemporalAttention(channels, heads=heads, clip=clip) for _ in range(attention_blocks)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for _ in range(attention_blocks))
        self.ff = FeedForward(channels)
        self.ff_norm = nn.LayerNorm(channels)

    def forward(
        self, tokens: Float[Tensor, "bf s c"], *, keep: Keep = kept
    ) -> Float[Tensor, "bf s c"]:
        """Mix the frames; ``keep`` decides what the backward pass recomputes."""
        for attention, norm in zip(self.attention_blocks, self.norms, strict=True):
            tokens = tokens + keep(nn.Sequential(norm, attention), tokens)
        return tokens + keep(nn.Sequential(self.ff_norm, self.ff), tokens)


class MotionModule(nn.Module):
    """The temporal Transformer at one site of the U-Net, as the branch of a ``Graft``.

    Parameters are named as in the published files, below their ``temporal_transformer.``.

    Args:
        channels: width C of the host's output; there are 22 C^2 + 21 C parameters.
        heads: attention heads.
        norm_groups: groups of the first normalisation.
        norm_scope: statistics of that normalisation per frame (SD 1.5) or per video (SDXL beta).
        attention_blocks: temporal self-attentions (SparseCtrl has one).
        clip: gives the number of frames folded into the batch.
    """

    def __init__(
        self,
        channels: int,
        *,
        heads: int = 8,
        norm_groups: int = 32,
        norm_scope: NormScope = "frame",
        attention_blocks: int = 2,
        clip: Clip | None = None,
    ) -> None:
        super().__init__()
        clip = clip or Clip()
        self.norm_scope: NormScope = norm_scope
        self.clip = clip
        self.recomputes = False
        """Save only the inputs of each norm; the backward pass recomputes what follows."""
        self.norm = nn.GroupNorm(norm_groups, channels, eps=1e-6)
        self.proj_in = nn.Linear(channels, channels)
        self.transformer_blocks = nn.ModuleList(
            [
                TemporalTransformerBlock(
                    channels, heads=heads, attention_blocks=attention_blocks, clip=clip
                )
            ]
        )
        self.proj_out = nn.Linear(channels, channels)
        nn.init.zeros_(self.proj_out.weight)
        nn.init.zeros_(self.proj_out.bias)

    def forward(
        self, inputs: Tensor, output: Float[Tensor, "bf c h w"]
    ) -> Float[Tensor, "bf c h w"]:
        """Return the motion residual for ``output``; the host's ``inputs`` are not used."""
        height = output.shape[2]
        keep = recomputed if self.recomputes else kept
        tokens = keep(self.tokens, output)
        for block in self.transformer_blocks:
            tokens = block(tokens, keep=keep)
        return rearrange(self.proj_out(tokens), "bf (h w) c -> bf c h w", h=height)

    def tokens(self, output: Float[Tensor, "bf c h w"]) -> Float[Tensor, "bf s c"]:
        """Return the tokens of feature maps, normalised and projected."""
        normed = group_norm(self.norm, output, scope=self.norm_scope, clip=self.clip)
        return self.proj_in(rearrange(normed, "bf c h w -> bf (h w) c"))


def group_norm(
    norm: nn.GroupNorm, frames: Float[Tensor, "bf c h w"], *, scope: NormScope, clip: Clip
) -> Float[Tensor, "bf c h w"]:
    """Apply ``norm`` with statistics per frame, or over all frames of a clip."""
    if scope == "frame":
        return _group_norm(norm, frames)
    height = frames.shape[2]
    # Stacked vertically, frames are one tall image; in channels-last memory this is only a view.
    tall = rearrange(frames, "(b f) c h w -> b c (f h) w", f=clip.num_frames)
    return rearrange(_group_norm(norm, tall), "b c (f h) w -> (b f) c h w", h=height)


def _group_norm(norm: nn.GroupNorm, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
    learns = torch.is_grad_enabled() and norm.weight.requires_grad
    if learns and not images.requires_grad and images.device.type == "cpu":
        # The first site of a frozen U-Net: on the CPU in channels-last layout, torch (2.13) reads
        # an absent gradient and crashes if only the weights of a GroupNorm need one. Apply the
        # scale separately.
        standardised = F.group_norm(images, norm.num_groups, eps=norm.eps)
        weight, bias = (rearrange(x, "c -> c 1 1") for x in (norm.weight, norm.bias))
        return torch.addcmul(bias, standardised, weight).to(images.dtype)
    if learns and images.device.type == "cpu" and images.dtype == torch.bfloat16:
        return in_plain_layout(norm, images)
    return norm(images)
