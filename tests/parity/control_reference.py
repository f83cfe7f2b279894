"""Control networks once more, in plain torch on 5-D tensors, and a U-Net that takes their residuals.

Written from the published descriptions of ControlNet, SparseCtrl and T2I-Adapter; nothing of the
package and no layer of diffusers is used, only names of weights. ``reference.py`` has the layers.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from tests.parity.reference import (
    Denoiser,
    Weights,
    attention,
    conv,
    feed_forward,
    layer_norm,
    linear,
    over_frames,
    per_frame,
    positions,
    sinusoid,
    two_layers,
)
from torch import Tensor

Found = tuple[list[Tensor], Tensor]
"""Residuals of the skip connections, and of the middle block."""


def time_of(
    d: Denoiser, t: int, *, batch: int, pooled: Tensor | None, sizes: Tensor | None, size_width: int
) -> Tensor:
    w = d.spatial
    width = w["time_embedding.linear_1.weight"].shape[1]
    time = two_layers(w, "time_embedding", sinusoid(torch.tensor([float(t)]), width))
    if pooled is not None and sizes is not None:
        numbers = torch.cat([sinusoid(row, size_width).flatten()[None] for row in sizes])
        time = time + two_layers(w, "add_embedding", torch.cat([pooled, numbers], dim=1))
    return time.expand(batch, -1)


@dataclass(frozen=True)
class Motion:
    """The motion modules of SparseCtrl, with one attention each."""

    weights: Weights
    over_frames: bool = False
    strength: float = 1.0
    heads: int = 8

    def __call__(self, name: str, x: Tensor, *, groups: int) -> Tensor:
        w, name = self.weights, f"{name}.temporal_transformer"
        b, c, f, height, width = x.shape
        norm = over_frames if self.over_frames else per_frame
        h = norm(w, f"{name}.norm", x, groups=groups, eps=1e-6)
        h = h.permute(0, 3, 4, 2, 1).reshape(b * height * width, f, c)
        h = linear(w, f"{name}.proj_in", h)
        block = f"{name}.transformer_blocks.0"
        z = layer_norm(w, f"{block}.norms.0", h) + positions(f, c)
        h = h + attention(w, f"{block}.attention_blocks.0", z, z, heads=self.heads)
        h = h + feed_forward(w, f"{block}.ff", layer_norm(w, f"{block}.ff_norm", h))
        h = linear(w, f"{name}.proj_out", h)
        return x + self.strength * h.reshape(b, height, width, f, c).permute(0, 4, 3, 1, 2)


def stem(w: Weights, pictures: Tensor) -> Tensor:
    """The stem's features of pictures (b, c, f, height, width): eight convolutions, three halvings."""
    name = "controlnet_cond_embedding"
    h = F.silu(conv(w, f"{name}.conv_in", pictures))
    for i in range(6):
        h = F.silu(conv(w, f"{name}.blocks.{i}", h, stride=1 + i % 2))
    return conv(w, f"{name}.conv_out", h)


def encode(
    d: Denoiser, h: Tensor, time: Tensor, text: Tensor, *, motion: Motion | None = None
) -> Found:
    """From the embedded input to the residuals, through the encoder and the zero convolutions."""
    w = d.spatial
    skips = [h]
    for i, heads in enumerate(d.spatial_heads):
        for j in range(2):
            h = d.resnet(f"down_blocks.{i}.resnets.{j}", h, time)
            if f"down_blocks.{i}.attentions.{j}.norm.weight" in w:
                h = d.transformer(f"down_blocks.{i}.attentions.{j}", h, text, heads=heads)
            if motion is not None:
                h = motion(f"down_blocks.{i}.motion_modules.{j}", h, groups=d.groups)
            skips.append(h)
        if f"down_blocks.{i}.downsamplers.0.conv.weight" in w:
            h = conv(w, f"down_blocks.{i}.downsamplers.0.conv", h, stride=2)
            skips.append(h)
    h = d.resnet("mid_block.resnets.0", h, time)
    h = d.transformer("mid_block.attentions.0", h, text, heads=d.spatial_heads[-1])
    h = d.resnet("mid_block.resnets.1", h, time)
    out = [conv(w, f"controlnet_down_blocks.{i}", skip, padding=0) for i, skip in enumerate(skips)]
    return out, conv(w, "controlnet_mid_block", h, padding=0)


def controlnet(
    d: Denoiser, x: Tensor, t: int, text: Tensor, pictures: Tensor, *, pooled: Tensor | None = None,
    sizes: Tensor | None = None, size_width: int = 0,
) -> Found:  # fmt: skip
    """An ordinary ControlNet: the stem's features are added to the first convolution's."""
    time = time_of(d, t, batch=len(x), pooled=pooled, sizes=sizes, size_width=size_width)
    return encode(d, conv(d.spatial, "conv_in", x) + stem(d.spatial, pictures), time, text)


def union(
    d: Denoiser, x: Tensor, t: int, text: Tensor, pictures: Tensor, *, hint_type: int,
    pooled: Tensor, sizes: Tensor, size_width: int, type_width: int,
) -> Found:  # fmt: skip
    """A union net with one hint, whose mean goes through a Transformer with that of the latents."""
    w = d.spatial
    time = time_of(d, t, batch=len(x), pooled=pooled, sizes=sizes, size_width=size_width)
    chosen = torch.zeros(w["task_embedding"].shape[0])
    chosen[hint_type] = 1
    kinds = sinusoid(chosen, type_width).flatten()[None]
    time = time + two_layers(w, "control_add_embedding", kinds)
    h, hint = conv(w, "conv_in", x), stem(w, pictures)
    frames = []
    for f in range(x.shape[2]):  # every frame is an image of its own
        token = hint[:, :, f].mean((-2, -1)) + w["task_embedding"][hint_type]
        sequence = torch.stack([token, h[:, :, f].mean((-2, -1))])
        i = 0
        while f"transformer_layes.{i}.ln_1.weight" in w:
            sequence = residual_attention(w, f"transformer_layes.{i}", sequence)
            i += 1
        frames.append(linear(w, "spatial_ch_projs", sequence[0]))
    alpha = torch.stack(frames, dim=2)[..., None, None]
    return encode(d, h + hint + alpha, time, text)


def residual_attention(w: Weights, name: str, x: Tensor) -> Tensor:
    """CLIP's block as the published net runs it for one picture: every token sees only itself.

    Its attention takes (pictures, tokens, width) where torch expects the sequence first, so it goes
    along the pictures of a batch, of which there is one, or two equal ones under guidance.
    """
    z = layer_norm(w, f"{name}.ln_1", x)
    values = (z @ w[f"{name}.attn.in_proj_weight"].T + w[f"{name}.attn.in_proj_bias"]).chunk(3, -1)[
        2
    ]
    x = x + linear(w, f"{name}.attn.out_proj", values)
    z = linear(w, f"{name}.mlp.c_fc", layer_norm(w, f"{name}.ln_2", x))
    return x + linear(w, f"{name}.mlp.c_proj", z * (1.702 * z).sigmoid())


def sparse(
    d: Denoiser, x: Tensor, t: int, text: Tensor, hints: Tensor, mask: Tensor, *, motion: Motion
) -> Found:
    """SparseCtrl: the latents are zero; hints and mask (b, 1, f, ...) are embedded together."""
    w = d.spatial
    condition = torch.cat([hints, mask], dim=1)
    simple = "controlnet_cond_embedding.weight" in w
    h = conv(w, "controlnet_cond_embedding", condition) if simple else stem(w, condition)
    time = time_of(d, t, batch=len(x), pooled=None, sizes=None, size_width=0)
    return encode(d, conv(w, "conv_in", torch.zeros_like(x)) + h, time, text, motion=motion)


def t2i_adapter(w: Weights, pictures: Tensor, *, kind: str) -> list[Tensor]:
    """The four features of pictures (n, c, height, width), by the authors' names."""
    factor = 16 if kind == "xl" else 8
    n, c, height, width = pictures.shape
    small = pictures.reshape(n, c, height // factor, factor, width // factor, factor)
    x = small.permute(0, 1, 3, 5, 2, 4).reshape(n, -1, height // factor, width // factor)
    features = []
    if kind == "light":
        for i in range(4):
            if i:
                x = halved(x)
            x = flat_conv(w, f"body.{i}.in_conv", x)
            j = 0
            while f"body.{i}.body.{j}.block1.weight" in w:
                inner = F.relu(flat_conv(w, f"body.{i}.body.{j}.block1", x))
                x = x + flat_conv(w, f"body.{i}.body.{j}.block2", inner)
                j += 1
            x = flat_conv(w, f"body.{i}.out_conv", x)
            features.append(x)
        return features
    x = flat_conv(w, "conv_in", x)
    for i in range(8):
        if i in ((4,) if kind == "xl" else (2, 4, 6)):
            x = halved(x)
        if f"body.{i}.in_conv.weight" in w:
            x = flat_conv(w, f"body.{i}.in_conv", x)
        x = x + flat_conv(w, f"body.{i}.block2", F.relu(flat_conv(w, f"body.{i}.block1", x)))
        if i % 2:
            features.append(x)
    return features


def halved(x: Tensor) -> Tensor:
    n, c, height, width = x.shape
    return x.reshape(n, c, height // 2, 2, width // 2, 2).mean((3, 5))


def flat_conv(w: Weights, name: str, x: Tensor) -> Tensor:
    weight = w[f"{name}.weight"]
    return F.conv2d(x, weight, w[f"{name}.bias"], padding=weight.shape[-1] // 2)


def steered(
    d: Denoiser, x: Tensor, t: int, text: Tensor, *, skips: list[Tensor], mid: Tensor | None,
    blocks: list[Tensor], pooled: Tensor | None = None, sizes: Tensor | None = None,
    size_width: int = 0,
) -> Tensor:  # fmt: skip
    """A denoiser to whose skip connections, middle and down blocks residuals are added.

    A block with attention adds before it halves the size, another after; a residual that no down block
    is left for is added after the middle.
    """
    w = d.spatial
    time = time_of(d, t, batch=len(x), pooled=pooled, sizes=sizes, size_width=size_width)
    h = conv(w, "conv_in", x)
    kept = [h]
    for i, heads in enumerate(d.spatial_heads):
        attends = f"down_blocks.{i}.attentions.0.norm.weight" in w
        halves = f"down_blocks.{i}.downsamplers.0.conv.weight" in w
        for j in range(2):
            h = d.layer(f"down_blocks.{i}", j, h, time, text, heads=heads)
            if j == 1 and blocks and (attends or not halves):
                h = h + blocks[i]
            kept.append(h)
        if halves:
            h = conv(w, f"down_blocks.{i}.downsamplers.0.conv", h, stride=2)
            h = h + blocks[i] if blocks and not attends else h
            kept.append(h)
    if skips:
        kept = [skip + residual for skip, residual in zip(kept, skips, strict=True)]
    h = d.resnet("mid_block.resnets.0", h, time)
    h = d.transformer("mid_block.attentions.0", h, text, heads=d.spatial_heads[-1])
    if d.version.mid:
        h = d.temporal("mid_block.motion_modules.0", h)
    h = d.resnet("mid_block.resnets.1", h, time)
    h = h if mid is None else h + mid
    for last in blocks[len(d.spatial_heads) :]:
        h = h + last
    for i in range(len(d.spatial_heads)):
        heads = d.spatial_heads[len(d.spatial_heads) - 1 - i]
        for j in range(3):
            h = torch.cat([h, kept.pop()], dim=1)
            h = d.layer(f"up_blocks.{i}", j, h, time, text, heads=heads)
        if f"up_blocks.{i}.upsamplers.0.conv.weight" in w:
            h = h.repeat_interleave(2, dim=3).repeat_interleave(2, dim=4)
            h = conv(w, f"up_blocks.{i}.upsamplers.0.conv", h)
    h = F.silu(d.image_norm("conv_norm_out", h, eps=1e-5))
    return conv(w, "conv_out", h)
