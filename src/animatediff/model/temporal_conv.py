"""Temporal convolution, the baseline of the ablation in Sec. 5.3 of Guo et al., arXiv 2307.04725.

The paper replaces temporal attention with a 1-D convolution along the frames and finds that frames
then become identical. That model was never released. This one differs from ``MotionModule`` only in
the operator that mixes frames, with the same number of parameters.
"""

from __future__ import annotations

from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from animatediff.model.clip import Clip
from animatediff.model.motion_module import FeedForward, NormScope, group_norm


class FrameConvolution(nn.Module):
    """A convolution over three consecutive frames at each position, then a pointwise one.

    It has 3 C^2 + C^2 weights, as many as the four projections of an attention. Frames are padded
    with zeros.
    """

    def __init__(self, channels: int, *, clip: Clip) -> None:
        super().__init__()
        self.clip = clip
        self.along_frames = nn.Conv2d(
            channels, channels, kernel_size=(3, 1), padding=(1, 0), bias=False
        )
        self.pointwise = nn.Linear(channels, channels)

    def forward(self, tokens: Float[Tensor, "bf s c"]) -> Float[Tensor, "bf s c"]:
        """Mix each token with the frames before and after, at the same position."""
        # Frames times positions form an image, channels last in memory: a view in both directions.
        image = rearrange(tokens, "(b f) s c -> b c f s", f=self.clip.num_frames)
        mixed = rearrange(self.along_frames(image), "b c f s -> (b f) s c")
        return self.pointwise(nn.functional.silu(mixed))


class TemporalConvBlock(nn.Module):
    """Pre-norm convolutions along the frames, then a feed-forward layer."""

    def __init__(self, channels: int, *, conv_blocks: int, clip: Clip) -> None:
        super().__init__()
        self.conv_blocks = nn.ModuleList(
            FrameConvolution(channels, clip=clip) for _ in range(conv_blocks)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for _ in range(conv_blocks))
        self.ff = FeedForward(channels)
        self.ff_norm = nn.LayerNorm(channels)

    def forward(self, tokens: Float[Tensor, "bf s c"]) -> Float[Tensor, "bf s c"]:
        """Mix neighbouring frames."""
        for convolution, norm in zip(self.conv_blocks, self.norms, strict=True):
            tokens = tokens + convolution(norm(tokens))
        return tokens + self.ff(self.ff_norm(tokens))


class TemporalConv(nn.Module):
    """Residual convolutions along the frames at one site, as the branch of a ``Graft``.

    Args:
        channels: width C of the host's output; there are 22 C^2 + 21 C parameters.
        norm_groups: groups of the first normalisation.
        norm_scope: statistics of that normalisation per frame or per video.
        conv_blocks: number of convolutions, each in place of one temporal self-attention.
        clip: gives the number of frames folded into the batch.
    """

    def __init__(
        self,
        channels: int,
        *,
        norm_groups: int = 32,
        norm_scope: NormScope = "frame",
        conv_blocks: int = 2,
        clip: Clip | None = None,
    ) -> None:
        super().__init__()
        clip = clip or Clip()
        self.norm_scope: NormScope = norm_scope
        self.clip = clip
        self.norm = nn.GroupNorm(norm_groups, channels, eps=1e-6)
        self.proj_in = nn.Linear(channels, channels)
        self.transformer_blocks = nn.ModuleList(
            [TemporalConvBlock(channels, conv_blocks=conv_blocks, clip=clip)]
        )
        self.proj_out = nn.Linear(channels, channels)
        nn.init.zeros_(self.proj_out.weight)
        nn.init.zeros_(self.proj_out.bias)

    def forward(
        self, inputs: Tensor, output: Float[Tensor, "bf c h w"]
    ) -> Float[Tensor, "bf c h w"]:
        """Return the motion residual for ``output``; the host's ``inputs`` are not used."""
        height = output.shape[2]
        normed = group_norm(self.norm, output, scope=self.norm_scope, clip=self.clip)
        tokens = self.proj_in(rearrange(normed, "bf c h w -> bf (h w) c"))
        for block in self.transformer_blocks:
            tokens = block(tokens)
        return rearrange(self.proj_out(tokens), "bf (h w) c -> bf c h w", h=height)
