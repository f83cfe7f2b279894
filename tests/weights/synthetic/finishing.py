"""The names and shapes of upscalers and frame interpolators, as published."""

from __future__ import annotations

import re

from tests.weights.synthetic.sample import Shapes, Size


def _conv(name: str, inputs: int, outputs: int, kernel: int = 3) -> Shapes:
    return {f"{name}.weight": (outputs, inputs, kernel, kernel), f"{name}.bias": (outputs,)}


def real_esrgan(size: Size) -> Shapes:
    """RealESRGAN_x4plus."""
    width, growth, blocks = (64, 32, 23) if size == "real" else (8, 4, 2)
    shapes = _conv("conv_first", 3, width)
    for block in range(blocks):
        for rdb in (1, 2, 3):
            for conv in range(1, 6):
                name = f"body.{block}.rdb{rdb}.conv{conv}"
                outputs = width if conv == 5 else growth
                shapes |= _conv(name, width + (conv - 1) * growth, outputs)
    for name in ("conv_body", "conv_up1", "conv_up2", "conv_hr"):
        shapes |= _conv(name, width, width)
    return shapes | _conv("conv_last", width, 3)


def first_esrgan(size: Size) -> Shapes:
    """A 4x model of the first ESRGAN code."""
    blocks = 23 if size == "real" else 2
    layers = {"conv_first": "model.0", "conv_body": f"model.1.sub.{blocks}", "conv_up1": "model.3"}
    layers |= {"conv_up2": "model.6", "conv_hr": "model.8", "conv_last": "model.10"}
    renamed: Shapes = {}
    for name, shape in real_esrgan(size).items():
        new = re.sub(r"^body\.(\d+)\.rdb(\d)\.(conv\d)", r"model.1.sub.\1.RDB\2.\3.0", name)
        layer = name.rsplit(".", 1)[0]
        renamed[new.replace(layer, layers[layer]) if layer in layers else new] = shape
    return renamed


def anime_video(size: Size) -> Shapes:
    """realesr-animevideov3."""
    width, layers = (64, 16) if size == "real" else (8, 3)
    shapes = _conv("body.0", 3, width) | {"body.1.weight": (width,)}
    for layer in range(1, layers + 1):
        shapes |= _conv(f"body.{2 * layer}", width, width)
        shapes |= {f"body.{2 * layer + 1}.weight": (width,)}
    return shapes | _conv(f"body.{2 * layers + 2}", width, 48)


def real_plksr(size: Size) -> Shapes:
    """A 4x RealPLKSR."""
    width, blocks, kernel = (64, 28, 17) if size == "real" else (8, 2, 5)
    shapes = _conv("feats.0", 3, width)
    for block in range(1, blocks + 1):
        at = f"feats.{block}"
        shapes |= _conv(f"{at}.channel_mixer.0", width, 2 * width)
        shapes |= _conv(f"{at}.channel_mixer.2", 2 * width, width)
        shapes |= _conv(f"{at}.lk.conv", width // 4, width // 4, kernel)
        shapes |= _conv(f"{at}.attn.f.0", width, width)
        shapes |= _conv(f"{at}.refine", width, width, 1)
        shapes |= {f"{at}.norm.weight": (width,), f"{at}.norm.bias": (width,)}
    return shapes | _conv(f"feats.{blocks + 2}", width, 48)


def rife(size: Size) -> Shapes:
    """RIFE 4.25."""
    widths = (192, 128, 96, 64, 32) if size == "real" else (8, 8, 8, 8, 8)
    shapes = _conv("encode.cnn0", 3, 16) | _conv("encode.cnn1", 16, 16)
    shapes |= _conv("encode.cnn2", 16, 16)
    shapes |= {"encode.cnn3.weight": (16, 4, 4, 4), "encode.cnn3.bias": (4,)}
    for index, width in enumerate(widths):
        at = f"block{index}"
        shapes |= _conv(f"{at}.conv0.0.0", 15 if index == 0 else 28, width // 2)
        shapes |= _conv(f"{at}.conv0.1.0", width // 2, width)
        for number in range(8):
            shapes |= _conv(f"{at}.convblock.{number}.conv", width, width)
            shapes |= {f"{at}.convblock.{number}.beta": (1, width, 1, 1)}
        shapes |= {f"{at}.lastconv.0.weight": (width, 52, 4, 4), f"{at}.lastconv.0.bias": (52,)}
    return shapes


def film(size: Size) -> Shapes:
    """The PyTorch weights of FILM."""
    width = 64 if size == "real" else 4
    shapes: Shapes = {}
    inputs = 3
    for level in range(4):
        at = f"extract.extract_sublevels.convs.{level}"
        shapes |= _conv(f"{at}.0.conv", inputs, width << level)
        shapes |= _conv(f"{at}.1.conv", width << level, width << level)
        inputs = width << level
    names = ("_predictors.2", "_predictors.1", "_predictors.0", "_predictor")
    for level, (name, filters) in enumerate(zip(names, (32, 64, 128, 256), strict=True)):
        at = f"predict_flow.{name}._convs"
        shapes |= _conv(f"{at}.0.conv", 2 * width * (2 ** (level + 1) - 1), filters)
        shapes |= _conv(f"{at}.1.conv", filters, filters) | _conv(f"{at}.2.conv", filters, filters)
        shapes |= _conv(f"{at}.3.conv", filters, filters // 2, 1)
        shapes |= _conv(f"{at}.4.conv", filters // 2, 2, 1)
    inputs = 2 * (15 * width + 5)
    for number, level in enumerate((3, 2, 1, 0)):
        filters = width << level
        joined = 2 * (width * (2 ** (level + 1) - 1) + 5) + filters
        at = f"fuse.convs.{number}"
        shapes |= _conv(f"{at}.0.conv", inputs, filters, 2) | _conv(f"{at}.1.conv", joined, filters)
        shapes |= _conv(f"{at}.2.conv", filters, filters)
        inputs = filters
    return shapes | _conv("fuse.output_conv", width, 3, 1)
