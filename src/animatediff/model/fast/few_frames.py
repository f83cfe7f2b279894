"""A long clip's image layers, some frames at a time, so that only their results grow with the clip.

The image model's layers do not know of other frames (Sec. 4.2). So ResNets, Transformers and layers
that change the size of maps are computed for a few frames, again and again; inside them an activation
is several times as large as their result. Motion modules normalise and project a few frames at a time.
Layers inside which something is attached that has to see all frames are computed as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from diffusers.models.attention_processor import AttnProcessor2_0
from diffusers.models.downsampling import Downsample2D
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from diffusers.models.upsampling import Upsample2D
from jaxtyping import Float
from torch import Tensor, nn

from animatediff.model.animated_unet import AnimatedUNet
from animatediff.model.clip import Clip
from animatediff.model.fast.replaced import Replaced, is_hooked, is_hooked_inside
from animatediff.model.fast.text.cached_text import CachedText
from animatediff.model.fast.text.shared_text import ClipAttention
from animatediff.model.motion_module import MotionModule
from animatediff.model.temporal_views import TOGETHER

POSITIONS = {"cpu": 4 << 20}
"""Bytes of the tokens of all frames, in fp32, at the spatial positions that are computed together."""
POSITIONS_ELSEWHERE = 256 << 20
"""The same on a GPU, which is slow at many small products."""
_OF_FRAMES = (ResnetBlock2D, Transformer2DModel, Downsample2D, Upsample2D)


def few_frames(animated: AnimatedUNet, *, together: int = TOGETHER) -> Replaced:
    """Compute the layers of a model for some frames at a time, until the result is removed.

    Enter it after everything else that replaces how a layer is computed, and remove it before.

    Args:
        animated: the model.
        together: frames at a time.
    """
    replaced = Replaced()
    if animated.resnet_norm_scope == "video":
        return replaced
    for layer in animated.unet.modules():
        if isinstance(layer, _OF_FRAMES):
            replaced.put(layer, partial(_sliced, layer, layer.forward, animated.clip, together))
    for module in animated.motion.values():
        if isinstance(module, MotionModule) and module.norm_scope == "frame":
            replaced.put(module, partial(_motion, module, module.forward, together))
    return replaced


def _sliced(
    layer: nn.Module,
    forward: Callable[..., Any],
    clip: Clip,
    together: int,
    maps: Float[Tensor, "bf c h w"],
    *arguments: Any,
    **keywords: Any,
) -> Any:
    rows = len(maps)
    if rows <= together or torch.is_grad_enabled() or not _knows_no_frames(layer):
        return forward(maps, *arguments, **keywords)
    made: Tensor | None = None
    for at in _slices(rows, frames=clip.num_frames, together=together):
        part = forward(
            maps[at],
            *(_rows_of(each, at, rows=rows) for each in arguments),
            **{name: _rows_of(each, at, rows=rows) for name, each in keywords.items()},
        )
        found = _maps_in(part)
        if made is None:
            shape = (rows, *found.shape[1:])
            made = torch.empty(
                shape, dtype=found.dtype, device=found.device, memory_format=torch.channels_last
            )
        made[at] = found
        if at.stop == rows:
            return _like(part, made)
    raise AssertionError("there are no rows")


def _knows_no_frames(layer: nn.Module) -> bool:
    """Whether nothing inside a layer has to see all frames of a clip together."""
    processors = (getattr(inner, "processor", None) for inner in layer.modules())
    known = (type(None), CachedText, AttnProcessor2_0, ClipAttention)
    return not is_hooked_inside(layer) and all(isinstance(each, known) for each in processors)


def _slices(rows: int, *, frames: int, together: int) -> list[slice]:
    """Rows of one clip each, as the frames of a clip may share a text."""
    return [
        slice(start, min(start + together, first + frames))
        for first in range(0, rows, frames)
        for start in range(first, first + frames, together)
    ]


def _rows_of(value: Any, at: slice, *, rows: int) -> Any:
    """The rows of a condition that are for some frames: of each frame, of each clip, or of all."""
    if not isinstance(value, Tensor) or value.ndim == 0 or len(value) == 1:
        return value
    each = rows // len(value)
    return value[at] if each == 1 else value[at.start // each : at.start // each + 1]


def _maps_in(made: Any) -> Tensor:
    if isinstance(made, tuple):  # diffusers' transformers return (sample,)
        return made[0]
    return made if isinstance(made, Tensor) else made.sample


def _like(part: Any, made: Tensor) -> Any:
    if isinstance(part, tuple):
        return (made,)
    return made if isinstance(part, Tensor) else type(part)(sample=made)


def _motion(
    module: MotionModule,
    forward: Callable[..., Tensor],
    together: int,
    inputs: Tensor,
    output: Float[Tensor, "bf c h w"],
) -> Float[Tensor, "bf c h w"]:
    """The residual of a motion module; its Transformer blocks see all frames at some positions."""
    rows, channels, height, width = output.shape
    if rows <= together or torch.is_grad_enabled() or is_hooked(module.norm):
        return forward(inputs, output)
    tokens = output.new_empty(rows, height * width, channels)
    slices = [slice(start, start + together) for start in range(0, rows, together)]
    for at in slices:
        tokens[at] = module.tokens(output[at])
    for block in module.transformer_blocks:
        if is_hooked_inside(block):
            tokens = block(tokens)
            continue
        most = POSITIONS.get(tokens.device.type, POSITIONS_ELSEWHERE)
        for part in tokens.split(max(1, most // (4 * rows * channels)), dim=1):
            part.copy_(block(part.contiguous()))
    for at in slices:
        tokens[at] = module.proj_out(tokens[at])
    return tokens.unflatten(1, (height, width)).permute(0, 3, 1, 2)
