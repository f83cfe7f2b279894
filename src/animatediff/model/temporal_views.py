"""Windows inside temporal attention: all frames are computed together, and attend within windows.

The positions begin at the first frame of each window, and where windows overlap the results of their
attention are averaged, in each attention by itself (FreeNoise, arXiv 2310.15169, Sec. 4.2). What does
not depend on the window is computed once for every frame: norms, projections and feed-forward layers.
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
from animatediff.model.fast.replaced import Replaced, is_hooked_inside
from animatediff.model.fast.sliced_attention import attention_within_grid
from animatediff.model.motion_module import (
    TemporalAttention,
    TemporalTransformerBlock,
    frame_positions,
)

TOGETHER = 32
"""Frames whose image layers are computed together: two clips of 16, as with guidance elsewhere."""


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
        self._views: tuple[View, ...] = ()
        self._placed: list[_Placed] | None = None
        self._replaced = Replaced()
        for block in animated.motion.modules():
            if isinstance(block, TemporalTransformerBlock):
                self._replaced.put(block, partial(self._forward, block, animated.clip))

    @property
    def views(self) -> Sequence[View]:
        """Together they cover every frame; without any, all frames attend to all."""
        return self._views

    @views.setter
    def views(self, views: Sequence[View]) -> None:
        self._views, self._placed = tuple(views), None

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
        if not self._views:
            return TemporalTransformerBlock.forward(block, tokens, keep=keep)
        # What is attached to an attention has to see the frames of one view.
        if torch.is_grad_enabled() or is_hooked_inside(block):
            return _one_by_one(block, clip, tokens, views=self._views)
        if self._placed is None:  # the same for every attention of a step
            self._placed = _Placed.of_all(self._views, device=tokens.device)
        return _sharing(block, clip, tokens, views=self._placed)


def _one_by_one(
    block: TemporalTransformerBlock,
    clip: Clip,
    tokens: Float[Tensor, "bf s c"],
    *,
    views: Sequence[View],
) -> Float[Tensor, "bf s c"]:
    """Call the attentions of a block for one view after another."""
    frames = clip.num_frames
    for attention, norm in zip(block.attention_blocks, block.norms, strict=True):
        by_frame = rearrange(tokens, "(b f) s c -> b f s c", f=frames)
        total = torch.zeros_like(by_frame, dtype=torch.float32)
        try:
            for view, share in zip(views, _shares(views, like=total), strict=True):
                index = torch.tensor(view.frames, device=tokens.device)
                clip.num_frames, clip.view = len(view.frames), view.frames
                part = attention(norm(by_frame[:, index].flatten(0, 1)))
                part = rearrange(part.float(), "(b f) s c -> b f s c", f=len(view.frames))
                total.index_add_(1, index, part * share[:, :, None])
        finally:
            clip.num_frames, clip.view = frames, None
        tokens = tokens + total.flatten(0, 1).to(tokens.dtype)
    return tokens + block.ff(block.ff_norm(tokens))


def _sharing(
    block: TemporalTransformerBlock,
    clip: Clip,
    tokens: Float[Tensor, "bf s c"],
    *,
    views: Sequence[_Placed],
) -> Float[Tensor, "bf s c"]:
    """The same, with what does not depend on the view computed once for each frame."""
    for attention, norm in zip(block.attention_blocks, block.norms, strict=True):
        assert isinstance(attention, TemporalAttention)
        tokens = tokens + _Attending(attention, clip, views).added_to(norm(tokens))
    return tokens + block.ff(block.ff_norm(tokens))


def is_fused(device: torch.device) -> bool:
    """Whether a device is faster with fused attention than with plain products."""
    return device.type != "cpu"


class _Attending:
    """One temporal attention within views, with projections that are computed once for each frame.

    A projection of tokens with positions is the sum of both projections. So those of the tokens are
    shared by all views, and so is the projection of the averaged result. On a CPU, attention itself is
    computed as plain products in fp32: sequences of a few frames are too short for fused kernels (on a
    core of an AMD EPYC, 4,096 of 16 frames and 40 channels take 18 ms fused, and 4.4 ms so).

    Args:
        layer: the attention.
        clip: gives the number of frames.
        views: of the clip.
    """

    def __init__(self, layer: TemporalAttention, clip: Clip, views: Sequence[_Placed]) -> None:
        self._layer, self._clip, self._views = layer, clip, views
        channels = layer.to_q.in_features
        longest = max(view.count for view in views)
        weight = layer.to_q.weight
        table = frame_positions(longest, channels).to(device=weight.device, dtype=weight.dtype)
        self._fused = is_fused(weight.device)
        self._dtype = weight.dtype if self._fused else torch.float32
        self._positions = [
            rearrange(project(table).to(self._dtype), "w (n d) -> n w d", n=layer.heads)
            for project in (layer.to_q, layer.to_k, layer.to_v)
        ]

    def added_to(self, tokens: Float[Tensor, "bf s c"]) -> Float[Tensor, "bf s c"]:
        """What attention adds to normalised tokens."""
        layer = self._layer
        query, key, value = (
            self._by_head(project(tokens)) for project in (layer.to_q, layer.to_k, layer.to_v)
        )
        total = torch.zeros_like(query, dtype=torch.float32)
        for view in self._views:
            seen = (
                rows[..., view.frames, :] + table[:, : view.count]
                for rows, table in zip((query, key, value), self._positions, strict=True)
            )
            attended = self._attended(*seen).float()
            view.add_to(total, attended)
        joined = rearrange(total, "b s n f d -> (b f) s (n d)").to(tokens.dtype)
        return layer.to_out[0](joined)

    def _by_head(self, rows: Float[Tensor, "bf s c"]) -> Float[Tensor, "b s n f d"]:
        split = rearrange(
            rows, "(b f) s (n d) -> b s n f d", f=self._clip.num_frames, n=self._layer.heads
        )
        return split.to(self._dtype, memory_format=torch.contiguous_format, copy=True)

    def _attended(
        self,
        query: Float[Tensor, "b s n w d"],
        key: Float[Tensor, "b s n w d"],
        value: Float[Tensor, "b s n w d"],
    ) -> Float[Tensor, "b s n w d"]:
        if self._fused:
            parts = (rows.flatten(0, 1) for rows in (query, key, value))
            return attention_within_grid(*parts).unflatten(0, query.shape[:2])
        scores = query.mul_(query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
        return scores.softmax(dim=-1) @ value


@dataclass(frozen=True)
class _Placed:
    """A view in its clip.

    Attributes:
        frames: as a slice, if they follow each other; else their numbers.
        count: how many.
        share: how much each counts.
    """

    frames: slice | Tensor
    count: int
    share: Float[Tensor, "w 1"]

    @classmethod
    def of_all(cls, views: Sequence[View], *, device: torch.device) -> list[_Placed]:
        shares = _shares(views, like=torch.empty(0, device=device))
        return [cls._of(view, share) for view, share in zip(views, shares, strict=True)]

    @classmethod
    def _of(cls, view: View, share: Float[Tensor, "w 1"]) -> _Placed:
        count = len(view.frames)
        run = range(view.frames[0], view.frames[0] + count)
        if view.frames == tuple(run):
            return cls(slice(run.start, run.stop), count, share)
        return cls(torch.tensor(view.frames, device=share.device), count, share)

    def add_to(self, total: Float[Tensor, "b s n f d"], part: Float[Tensor, "b s n w d"]) -> None:
        """Add the result of the view to the average of all, in place."""
        if isinstance(self.frames, slice):
            total[..., self.frames, :].addcmul_(part, self.share)
        else:
            total.index_add_(3, self.frames, part * self.share)


def _shares(views: Sequence[View], *, like: Tensor) -> list[Float[Tensor, "w 1"]]:
    """How much each frame of each view counts; those of one frame add up to 1."""
    weights = [like.new_tensor(view.weights) for view in views]
    indices = [torch.tensor(view.frames, device=like.device) for view in views]
    total = like.new_zeros(1 + max(max(view.frames) for view in views))
    for index, weight in zip(indices, weights, strict=True):
        total.index_add_(0, index, weight)
    return [
        (weight / total[index])[:, None] for index, weight in zip(indices, weights, strict=True)
    ]
