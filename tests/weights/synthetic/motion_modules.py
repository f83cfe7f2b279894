"""The motion modules' names and shapes, in the authors', diffusers' and our own layout."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator
from typing import Any

from diffusers.models.unets.unet_motion_model import MotionAdapter
from tests.weights.synthetic.image_models import channels, shapes_built, unet_shapes, with_prefix
from tests.weights.synthetic.sample import Shapes, Size


def motion_module(
    prefix: str, width: int, *, rows: int | None, attention_blocks: int = 2
) -> Shapes:
    """One motion module in the authors' layout."""
    block = f"{prefix}transformer_blocks.0."
    shapes: Shapes = {
        f"{prefix}norm.weight": (width,),
        f"{prefix}norm.bias": (width,),
        f"{prefix}proj_in.weight": (width, width),
        f"{prefix}proj_in.bias": (width,),
    }
    for i in range(attention_blocks):
        attention = f"{block}attention_blocks.{i}."
        shapes |= {f"{attention}to_{p}.weight": (width, width) for p in "qkv"}
        shapes |= {
            f"{attention}to_out.0.weight": (width, width),
            f"{attention}to_out.0.bias": (width,),
        }
        if rows is not None:
            shapes[f"{attention}pos_encoder.pe"] = (1, rows, width)
    for i in range(attention_blocks):
        shapes |= {f"{block}norms.{i}.weight": (width,), f"{block}norms.{i}.bias": (width,)}
    return shapes | {
        f"{block}ff.net.0.proj.weight": (8 * width, width),
        f"{block}ff.net.0.proj.bias": (8 * width,),
        f"{block}ff.net.2.weight": (width, 4 * width),
        f"{block}ff.net.2.bias": (width,),
        f"{block}ff_norm.weight": (width,),
        f"{block}ff_norm.bias": (width,),
        f"{prefix}proj_out.weight": (width, width),
        f"{prefix}proj_out.bias": (width,),
    }


def motion_places(base: str, size: Size, *, mid: bool) -> Iterator[tuple[str, int]]:
    """The path and the width of every motion module."""
    widths = channels(base, size)
    for i, width in enumerate(widths):
        yield from ((f"down_blocks.{i}.motion_modules.{j}", width) for j in range(2))
    for i, width in enumerate(reversed(widths)):
        yield from ((f"up_blocks.{i}.motion_modules.{j}", width) for j in range(3))
    if mid:
        yield "mid_block.motion_modules.0", widths[-1]


def authors_motion(
    base: str = "sd15", *, rows: int | None = 32, mid: bool = False
) -> Callable[[Size], Shapes]:
    """All motion modules in the authors' layout."""

    def shapes(size: Size) -> Shapes:
        whole: Shapes = {}
        for path, width in motion_places(base, size, mid=mid):
            whole |= motion_module(f"{path}.temporal_transformer.", width, rows=rows)
        return whole

    return shapes


def hotshot_motion(size: Size) -> Shapes:
    """Hotshot-XL's names for the same tensors."""
    return {
        re.sub(r"motion_modules\.(\d)\.temporal_transformer\.", r"temporal_attentions.\1.", name)
        .replace("pos_encoder.pe", "pos_encoder.positional_encoding"): shape
        for name, shape in authors_motion("sdxl", rows=24)(size).items()
    }  # fmt: skip


def adapter_config(base: str, size: Size = "real", *, rows: int, mid: bool) -> dict[str, Any]:
    """The configuration of diffusers' MotionAdapter."""
    return {
        "block_out_channels": channels(base, size),
        "motion_layers_per_block": 2,
        "motion_mid_block_layers_per_block": 1,
        "motion_num_attention_heads": 8,
        "motion_norm_num_groups": 32,
        "motion_max_seq_length": rows,
        "use_motion_mid_block": mid,
    }


def diffusers_motion(
    base: str = "sd15", *, rows: int = 32, mid: bool = False
) -> Callable[[Size], Shapes]:
    """All motion modules as diffusers' MotionAdapter names them, with its tables of positions."""
    config = functools.partial(adapter_config, base, rows=rows, mid=mid)
    return lambda size: dict(shapes_built(lambda: MotionAdapter(**config(size))))


def our_motion(size: Size) -> Shapes:
    """This package's layout."""
    shapes: Shapes = {}
    for path, width in motion_places("sd15", size, mid=False):
        side, block, index = re.fullmatch(r"(\w+)_blocks\.(\d)\.\w+\.(\d)", path).groups()  # type: ignore[union-attr]
        shapes |= motion_module(f"{side}_{block}_{index}.", width, rows=None)
    return shapes


def pia(size: Size) -> Shapes:
    """PIA: motion modules, and an input layer that also reads the picture."""
    width = channels("sd15", size)[0]
    return authors_motion()(size) | {
        "conv_in.weight": (width, 9, 3, 3),
        "conv_in.bias": (width,),
    }


def pyramid(prefix: str, size: Size, *, inputs: int) -> Shapes:
    """T2I-Adapter's encoder as AnimateLCM and MotionCtrl have it: outer kernels of one position."""
    widths = channels("sd15", size)
    shapes: Shapes = {
        f"{prefix}conv_in.weight": (widths[0], inputs, 3, 3),
        f"{prefix}conv_in.bias": (widths[0],),
    }
    before = widths[0]
    for index in range(2 * len(widths)):
        width = widths[index // 2]
        block = f"{prefix}body.{index}."
        if width != before:
            shapes |= {
                f"{block}in_conv.weight": (width, before, 1, 1),
                f"{block}in_conv.bias": (width,),
            }
        shapes |= {f"{block}block1.weight": (width, width, 3, 3), f"{block}block1.bias": (width,)}
        shapes |= {f"{block}block2.weight": (width, width, 1, 1), f"{block}block2.bias": (width,)}
        before = width
    return shapes


def animatelcm_i2v(size: Size) -> Shapes:
    """AnimateLCM for pictures: motion modules, and an encoder of the picture's latents."""
    return authors_motion(rows=None, mid=True)(size) | pyramid("img_encoder.", size, inputs=4)


def whole_unet_ddp(size: Size) -> Shapes:
    """What the authors' training script saves: the whole U-Net, every name after ``module.``."""
    return with_prefix(unet_shapes("sd15", size) | authors_motion(rows=32)(size), "module.")
