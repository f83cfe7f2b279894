"""The whole denoiser of every version once more, in plain torch on 5-D tensors.

Written from the published configurations and the behaviour of the authors' code; nothing of the
package and no layer of diffusers is used, only names of weights. Everything is written out: explicit
sums for norms, explicit softmax for attention.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

Weights = Mapping[str, Tensor]


@dataclass(frozen=True)
class Version:
    """Which statistics cover all frames, and where modules are."""

    resnets_over_frames: bool = False
    motion_over_frames: bool = False
    mid: bool = False
    sdxl: bool = False


VERSIONS = {
    "v1": Version(resnets_over_frames=True),
    "v2": Version(mid=True),
    "v3": Version(),
    "sdxl-beta": Version(motion_over_frames=True, sdxl=True),
    "animatelcm": Version(mid=True),
    "hotshot-xl": Version(resnets_over_frames=True, sdxl=True),
}


@dataclass(frozen=True)
class Denoiser:
    """One U-Net: its weights, those of its motion modules, and what its version decides.

    ``spatial`` has diffusers' names of the image model, ``motion`` the authors' names.
    """

    spatial: Weights
    motion: Weights
    version: Version
    groups: int
    spatial_heads: tuple[int, ...]
    motion_heads: int = 8

    def __call__(
        self, x: Tensor, t: int, text: Tensor, *, pooled: Tensor | None = None,
        sizes: Tensor | None = None, size_width: int = 0,
    ) -> Tensor:  # fmt: skip
        """The noise in ``x`` of shape (b, c, f, h, w)."""
        w = self.spatial
        width = w["time_embedding.linear_1.weight"].shape[1]
        time = two_layers(w, "time_embedding", sinusoid(torch.tensor([float(t)]), width))
        if pooled is not None and sizes is not None:
            numbers = torch.cat([sinusoid(row, size_width).flatten()[None] for row in sizes])
            time = time + two_layers(w, "add_embedding", torch.cat([pooled, numbers], dim=1))
        time = time.expand(len(x), -1)
        h = conv(w, "conv_in", x)
        skips = [h]
        blocks = len(self.spatial_heads)
        for i in range(blocks):
            for j in range(2):
                h = self.layer(f"down_blocks.{i}", j, h, time, text, heads=self.spatial_heads[i])
                skips.append(h)
            if f"down_blocks.{i}.downsamplers.0.conv.weight" in w:
                h = conv(w, f"down_blocks.{i}.downsamplers.0.conv", h, stride=2)
                skips.append(h)
        h = self.resnet("mid_block.resnets.0", h, time)
        h = self.transformer("mid_block.attentions.0", h, text, heads=self.spatial_heads[-1])
        if self.version.mid:
            h = self.temporal("mid_block.motion_modules.0", h)
        h = self.resnet("mid_block.resnets.1", h, time)
        for i in range(blocks):
            heads = self.spatial_heads[blocks - 1 - i]
            for j in range(3):
                h = torch.cat([h, skips.pop()], dim=1)
                h = self.layer(f"up_blocks.{i}", j, h, time, text, heads=heads)
            if f"up_blocks.{i}.upsamplers.0.conv.weight" in w:
                h = h.repeat_interleave(2, dim=3).repeat_interleave(2, dim=4)
                h = conv(w, f"up_blocks.{i}.upsamplers.0.conv", h)
        h = F.silu(self.image_norm("conv_norm_out", h, eps=1e-5))
        return conv(w, "conv_out", h)

    def layer(
        self, block: str, j: int, h: Tensor, time: Tensor, text: Tensor, *, heads: int
    ) -> Tensor:
        """ResNet, then spatial attention where the block has any, then motion."""
        h = self.resnet(f"{block}.resnets.{j}", h, time)
        if f"{block}.attentions.{j}.norm.weight" in self.spatial:
            h = self.transformer(f"{block}.attentions.{j}", h, text, heads=heads)
        return self.temporal(f"{block}.motion_modules.{j}", h)

    def image_norm(self, name: str, h: Tensor, *, eps: float) -> Tensor:
        """The norms that version 1 and Hotshot-XL take over all frames."""
        norm = over_frames if self.version.resnets_over_frames else per_frame
        return norm(self.spatial, name, h, groups=self.groups, eps=eps)

    def resnet(self, name: str, x: Tensor, time: Tensor) -> Tensor:
        w = self.spatial
        h = conv(w, f"{name}.conv1", F.silu(self.image_norm(f"{name}.norm1", x, eps=1e-5)))
        h = h + linear(w, f"{name}.time_emb_proj", F.silu(time))[:, :, None, None, None]
        h = conv(w, f"{name}.conv2", F.silu(self.image_norm(f"{name}.norm2", h, eps=1e-5)))
        if f"{name}.conv_shortcut.weight" in w:
            x = conv(w, f"{name}.conv_shortcut", x, padding=0)
        return x + h

    def transformer(self, name: str, x: Tensor, text: Tensor, *, heads: int) -> Tensor:
        """Spatial attention: each frame by itself, always normalised by itself."""
        w = self.spatial
        b, c, f, height, width = x.shape
        h = per_frame(w, f"{name}.norm", x, groups=self.groups, eps=1e-6)
        h = h.permute(0, 2, 3, 4, 1).reshape(b * f, height * width, c)
        h = matrix(w, f"{name}.proj_in", h)
        words = text.repeat_interleave(f, dim=0)
        k = 0
        while f"{name}.transformer_blocks.{k}.norm1.weight" in w:
            block = f"{name}.transformer_blocks.{k}"
            z = layer_norm(w, f"{block}.norm1", h)
            h = h + attention(w, f"{block}.attn1", z, z, heads=heads)
            z = layer_norm(w, f"{block}.norm2", h)
            h = h + attention(w, f"{block}.attn2", z, words, heads=heads)
            h = h + feed_forward(w, f"{block}.ff", layer_norm(w, f"{block}.norm3", h))
            k += 1
        h = matrix(w, f"{name}.proj_out", h)
        return x + h.reshape(b, f, height, width, c).permute(0, 4, 1, 2, 3)

    def temporal(self, name: str, x: Tensor) -> Tensor:
        """A motion module: each position attends along the frames."""
        w, name = self.motion, f"{name}.temporal_transformer"
        b, c, f, height, width = x.shape
        norm = over_frames if self.version.motion_over_frames else per_frame
        h = norm(w, f"{name}.norm", x, groups=self.groups, eps=1e-6)
        h = h.permute(0, 3, 4, 2, 1).reshape(b * height * width, f, c)
        h = linear(w, f"{name}.proj_in", h)
        block = f"{name}.transformer_blocks.0"
        for k in range(2):
            z = layer_norm(w, f"{block}.norms.{k}", h) + positions(f, c)
            h = h + attention(w, f"{block}.attention_blocks.{k}", z, z, heads=self.motion_heads)
        h = h + feed_forward(w, f"{block}.ff", layer_norm(w, f"{block}.ff_norm", h))
        h = linear(w, f"{name}.proj_out", h)
        return x + h.reshape(b, height, width, f, c).permute(0, 4, 3, 1, 2)


def normalised(x: Tensor, *, groups: int, eps: float) -> Tensor:
    """Zero mean and unit variance over everything but the first axis and the group."""
    grouped = x.reshape(len(x), groups, -1).double()
    mean = grouped.sum(-1, keepdim=True) / grouped.shape[-1]
    variance = ((grouped - mean) ** 2).sum(-1, keepdim=True) / grouped.shape[-1]
    return ((grouped - mean) / (variance + eps).sqrt()).reshape(x.shape).to(x.dtype)


def over_frames(w: Weights, name: str, x: Tensor, *, groups: int, eps: float) -> Tensor:
    gain, bias = (w[f"{name}.{part}"][None, :, None, None, None] for part in ("weight", "bias"))
    return normalised(x, groups=groups, eps=eps) * gain + bias


def per_frame(w: Weights, name: str, x: Tensor, *, groups: int, eps: float) -> Tensor:
    frames = [over_frames(w, name, x[:, :, i : i + 1], groups=groups, eps=eps)
              for i in range(x.shape[2])]  # fmt: skip
    return torch.cat(frames, dim=2)


def layer_norm(w: Weights, name: str, x: Tensor) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    unit = centred / ((centred**2).mean(-1, keepdim=True) + 1e-5).sqrt()
    return unit * w[f"{name}.weight"] + w[f"{name}.bias"]


def linear(w: Weights, name: str, x: Tensor) -> Tensor:
    y = x @ w[f"{name}.weight"].T
    return y + w[f"{name}.bias"] if f"{name}.bias" in w else y


def matrix(w: Weights, name: str, x: Tensor) -> Tensor:
    """A linear layer that is a 1x1 convolution in Stable Diffusion 1."""
    return x @ w[f"{name}.weight"].flatten(1).T + w[f"{name}.bias"]


def conv(w: Weights, name: str, x: Tensor, *, stride: int = 1, padding: int = 1) -> Tensor:
    """A 2-D convolution of every frame, written as one in 3-D of no depth."""
    weight = w[f"{name}.weight"][:, :, None]
    return F.conv3d(
        x, weight, w[f"{name}.bias"], stride=(1, stride, stride), padding=(0, padding, padding)
    )


def attention(w: Weights, name: str, x: Tensor, context: Tensor, *, heads: int) -> Tensor:
    width = w[f"{name}.to_q.weight"].shape[0] // heads

    def split(y: Tensor) -> Tensor:
        return y.reshape(len(y), -1, heads, width).transpose(1, 2)

    q = split(linear(w, f"{name}.to_q", x))
    k, v = (split(linear(w, f"{name}.to_{part}", context)) for part in "kv")
    scores = (q @ k.transpose(-1, -2)) / math.sqrt(width)
    scores = (scores - scores.max(-1, keepdim=True).values).exp()
    mixed = (scores / scores.sum(-1, keepdim=True)) @ v
    return linear(w, f"{name}.to_out.0", mixed.transpose(1, 2).reshape(len(x), -1, heads * width))


def feed_forward(w: Weights, name: str, x: Tensor) -> Tensor:
    value, gate = linear(w, f"{name}.net.0.proj", x).chunk(2, dim=-1)
    gate = gate * 0.5 * (1 + torch.erf(gate / math.sqrt(2)))
    return linear(w, f"{name}.net.2", value * gate)


def two_layers(w: Weights, name: str, x: Tensor) -> Tensor:
    return linear(w, f"{name}.linear_2", F.silu(linear(w, f"{name}.linear_1", x)))


def sinusoid(t: Tensor, width: int) -> Tensor:
    """Stable Diffusion's embedding of a number: cosines, then sines."""
    half = width // 2
    frequency = torch.tensor([10_000 ** (-i / half) for i in range(half)])
    angle = t[:, None] * frequency
    return torch.cat([angle.cos(), angle.sin()], dim=1)


@functools.cache
def positions(frames: int, channels: int) -> Tensor:
    table = torch.zeros(frames, channels)
    for p in range(frames):
        for i in range(channels // 2):
            angle = p / 10_000 ** (2 * i / channels)
            table[p, 2 * i], table[p, 2 * i + 1] = math.sin(angle), math.cos(angle)
    return table
