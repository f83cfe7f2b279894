"""The names and shapes of camera control and object motion files."""

from __future__ import annotations

from tests.weights.synthetic.image_models import channels, with_prefix
from tests.weights.synthetic.motion_modules import motion_module, motion_places, pyramid
from tests.weights.synthetic.sample import Shapes, Size

_BLOCK = "temporal_transformer.transformer_blocks.0."
ROWS = 16


def cameractrl(size: Size) -> Shapes:
    """CameraCtrl: an encoder of poses, and a layer in the first attention of each motion module."""
    encoder: Shapes = {}
    widths = channels("sd15", size)
    for name, shape in pyramid("", size, inputs=384).items():
        if name.startswith("conv_in"):
            encoder[f"encoder_{name}"] = shape
            continue
        _, index, rest = name.split(".", 2)
        encoder[f"encoder_down_conv_blocks.{int(index) // 2}.{int(index) % 2}.{rest}"] = shape
    for level, width in enumerate(widths):
        block = motion_module("", width, rows=ROWS, attention_blocks=1)
        for j in range(2):
            prefix = f"encoder_down_attention_blocks.{level}.{j}."
            for name, shape in block.items():
                if name.startswith("transformer_blocks.0."):
                    encoder[prefix + name.removeprefix("transformer_blocks.0.")] = shape
    merges: Shapes = {}
    for path, width in motion_places("sd15", size, mid=False):
        merge = f"{path}.{_BLOCK}attention_blocks.0.processor.qkv_merge."
        merges |= {f"{merge}weight": (width, width), f"{merge}bias": (width,)}
    return with_prefix(encoder, "pose_encoder_state_dict.") | with_prefix(
        merges, "attention_processor_state_dict."
    )


def cmcm(size: Size) -> Shapes:
    """MotionCtrl's camera module: projections, and the second attention of each motion module."""
    whole: Shapes = {}
    for path, width in motion_places("sd15", size, mid=False):
        for name, shape in motion_module(f"{path}.temporal_transformer.", width, rows=32).items():
            if "attention_blocks.1." in name or "norms.1." in name:
                whole[name] = shape
        projection = f"{path}.{_BLOCK}cc_projection."
        whole |= {f"{projection}weight": (width, width + 12), f"{projection}bias": (width,)}
    return with_prefix(whole, "module.")


def omcm(size: Size) -> Shapes:
    """MotionCtrl's object module: an encoder of movement."""
    return pyramid("omcm_state_dict.module.", size, inputs=128)


def omcm_bare(size: Size) -> Shapes:
    """The same after a program has saved the encoder by itself."""
    return pyramid("", size, inputs=128)
