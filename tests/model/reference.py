"""The motion module once more, in plain torch from the paper and the published code's behaviour.

Nothing of the package is used: 5-D tensors, explicit sums and explicit softmax.
"""

import math

import torch
from torch import Tensor


def over_groups(x: Tensor, weight: Tensor, bias: Tensor, *, groups: int, eps: float) -> Tensor:
    """GroupNorm of ``(n, c, ...)`` by its definition."""
    grouped = x.reshape(len(x), groups, -1).double()
    mean, var = grouped.mean(-1, keepdim=True), grouped.var(-1, keepdim=True, unbiased=False)
    normal = ((grouped - mean) / (var + eps).sqrt()).reshape(x.shape).to(x.dtype)
    shape = (1, -1, *[1] * (x.ndim - 2))
    return normal * weight.reshape(shape) + bias.reshape(shape)


def per_frame(x: Tensor, weight: Tensor, bias: Tensor, *, groups: int, eps: float) -> Tensor:
    frames = [
        over_groups(x[:, :, i], weight, bias, groups=groups, eps=eps) for i in range(x.shape[2])
    ]
    return torch.stack(frames, dim=2)


def layer_norm(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    return centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt() * weight + bias


def motion(x: Tensor, w: dict[str, Tensor], *, heads: int, groups: int, scope: str) -> Tensor:
    """What the module with weights ``w`` adds to ``x`` of shape (b, c, f, h, w)."""
    b, c, f, height, width = x.shape
    norm = per_frame if scope == "frame" else over_groups
    h = norm(x, w["norm.weight"], w["norm.bias"], groups=groups, eps=1e-6)
    h = h.permute(0, 3, 4, 2, 1).reshape(b * height * width, f, c)
    h = h @ w["proj_in.weight"].T + w["proj_in.bias"]
    positions = torch.zeros(f, c)
    for p in range(f):
        for i in range(c // 2):
            angle = p / 10_000 ** (2 * i / c)
            positions[p, 2 * i], positions[p, 2 * i + 1] = math.sin(angle), math.cos(angle)
    t = "transformer_blocks.0."
    for k in range(2):
        a = f"{t}attention_blocks.{k}."
        z = layer_norm(h, w[f"{t}norms.{k}.weight"], w[f"{t}norms.{k}.bias"]) + positions
        q, key, v = (
            (z @ w[f"{a}to_{n}.weight"].T).reshape(-1, f, heads, c // heads).transpose(1, 2)
            for n in "qkv"
        )
        mixed = torch.softmax(q @ key.transpose(-1, -2) / math.sqrt(c // heads), dim=-1) @ v
        mixed = mixed.transpose(1, 2).reshape(-1, f, c)
        h = h + mixed @ w[f"{a}to_out.0.weight"].T + w[f"{a}to_out.0.bias"]
    z = layer_norm(h, w[f"{t}ff_norm.weight"], w[f"{t}ff_norm.bias"])
    value, gate = (z @ w[f"{t}ff.net.0.proj.weight"].T + w[f"{t}ff.net.0.proj.bias"]).chunk(2, -1)
    gate = gate * 0.5 * (1 + torch.erf(gate / math.sqrt(2)))
    h = h + (value * gate) @ w[f"{t}ff.net.2.weight"].T + w[f"{t}ff.net.2.bias"]
    h = h @ w["proj_out.weight"].T + w["proj_out.bias"]
    return h.reshape(b, height, width, f, c).permute(0, 4, 3, 1, 2)
