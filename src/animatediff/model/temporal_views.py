"""Windows inside temporal attention: all frames are computed together, and attend within windows.

The positions begin at the first frame of each window, and where windows overlap the results of their
attentions are averaged, in each motion module by itself (FreeNoise, arXiv 2310.15169, Sec. 4.2). The
feed-forward layer follows once, for every frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from animatediff.model.animated_unet import AnimatedUNet
from animatediff.model.clip import Clip
from animatediff.model.fast.recompute import Keep, kept
from animatediff.model.fast.replaced import Replaced
from animatediff.model.motion_module import TemporalTransformerBlock


@dataclass(frozen=True)
class View:
    """Frames that attend to each other.

    Attributes:
        frames: of the clip, in the order of their positions.
        weights: how much each frame's result counts where views overlap.
    """

    frames: tuple[int, ...]
    weights: tuple[float, ...]


class TemporalViews:
    """Lets the motion modules of a model attend within views, until ``remove``.

    Args:
        animated: the model.
    """

    def __init__(self, animated: AnimatedUNet) -> None:
        self.views: Sequence[View] = ()
        """Together they cover every frame; without any, all frames attend to all."""
        self._replaced = Replaced()
        for block in animated.motion.modules():
            if isinstance(block, TemporalTransformerBlock):
                self._replaced.put(block, partial(self._forward, block, animated.clip))

    def remove(self) -> None:
        """Let all frames attend to all again; harmless if repeated."""
        self._replaced.remove()

    def _forward(
        self,
        block: TemporalTransformerBlock,
        clip: Clip,
        tokens: Float[Tensor, "bf s c"],
        *,
        keep: Keep = kept,
    ) -> Float[Tensor, "bf s c"]:
        if not self.views:
            return TemporalTransformerBlock.forward(block, tokens, keep=keep)
        tokens = _attended(block, clip, tokens, views=self.views)
        return tokens + block.ff(block.ff_norm(tokens))


def _attended(
    block: TemporalTransformerBlock,
    clip: Clip,
    tokens: Float[Tensor, "bf s c"],
    *,
    views: Sequence[View],
) -> Float[Tensor, "bf s c"]:
    """Average the attentions of views, each over its own frames."""
    frames = clip.num_frames
    by_frame = rearrange(tokens, "(b f) s c -> b f s c", f=frames)
    total = torch.zeros_like(by_frame, dtype=torch.float32)
    weight = total.new_zeros(frames)
    try:
        for view in views:
            index = torch.tensor(view.frames, device=tokens.device)
            clip.num_frames, clip.view = len(view.frames), view.frames
            part = rearrange(by_frame[:, index], "b f s c -> (b f) s c")
            for attention, norm in zip(block.attention_blocks, block.norms, strict=True):
                part = part + attention(norm(part))
            counts = total.new_tensor(view.weights)
            part = rearrange(part.float(), "(b f) s c -> b f s c", f=len(view.frames))
            total.index_add_(1, index, part * rearrange(counts, "f -> f 1 1"))
            weight.index_add_(0, index, counts)
    finally:
        clip.num_frames, clip.view = frames, None
    mean = total / rearrange(weight, "f -> f 1 1")
    return rearrange(mean, "b f s c -> (b f) s c").to(tokens.dtype)
