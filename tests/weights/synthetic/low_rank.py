"""The names and shapes of low-rank files: LoRAs of every flavour, domain adapters, MotionLoRAs."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping

from tests.weights.synthetic.image_models import ldm_unet_name, text_shapes, unet_shapes
from tests.weights.synthetic.motion_modules import authors_motion
from tests.weights.synthetic.sample import Shape, Shapes, Size

_PROJECTIONS = ("to_q", "to_k", "to_v", "to_out.0")


def _linears(shapes: Mapping[str, Shape], pattern: str) -> dict[str, Shape]:
    """Layers whose path matches, with the shape of their weight."""
    return {
        name.removesuffix(".weight"): shape
        for name, shape in shapes.items()
        if name.endswith(".weight") and len(shape) > 1 and re.search(pattern, name)
    }


def attention_layers(base: str, size: Size) -> dict[str, Shape]:
    return _linears(unet_shapes(base, size), r"\.attn[12]\.to_(q|k|v|out\.0)\.weight$")


def _transformer_layers(base: str, size: Size) -> dict[str, Shape]:
    return _linears(unet_shapes(base, size), r"\.attentions\.\d\.")


def _resnet_layers(base: str, size: Size) -> dict[str, Shape]:
    pattern = r"\.resnets\.\d\.(conv1|conv2|conv_shortcut|time_emb_proj)\.|samplers\.0\.conv\."
    return _linears(unet_shapes(base, size), pattern)


def _text_layers(which: str, size: Size) -> dict[str, Shape]:
    return _linears(text_shapes(which, size), r"encoder\.layers\.\d+\.(self_attn|mlp)\.")


def _motion_attention(size: Size, *, mid: bool, base: str = "sd15") -> dict[str, Shape]:
    shapes = authors_motion(base, mid=mid)(size)
    return _linears(shapes, r"\.attention_blocks\.\d\.to_(q|k|v|out\.0)\.weight$")


def processor_names(layers: Mapping[str, Shape], *, rank: int, prefix: str = "") -> Shapes:
    """Low-rank pairs as old diffusers' attention processors name them."""
    shapes: Shapes = {}
    for path, (out, into) in layers.items():
        parent, _, projection = path.removesuffix(".0").rpartition(".")
        start = f"{prefix}{parent}.processor.{projection}_lora"
        shapes |= {f"{start}.down.weight": (rank, into), f"{start}.up.weight": (out, rank)}
    return shapes


def dotted_names(
    layers: Mapping[str, Shape], *, rank: int, prefix: str = "", words: tuple[str, str]
) -> Shapes:
    """Low-rank pairs below the dotted path of their layer, such as PEFT's ``lora_A``."""
    shapes: Shapes = {}
    for path, shape in layers.items():
        out, into, *kernel = shape
        shapes[f"{prefix}{path}.{words[0]}.weight"] = (rank, into, *kernel)
        shapes[f"{prefix}{path}.{words[1]}.weight"] = (out, rank, *(1 for _ in kernel))
    return shapes


def kohya_stem(path: str, *, prefix: str = "lora_unet") -> str:
    """kohya's name of a layer."""
    return f"{prefix}_{path.replace('.', '_')}"


def kohya(
    layers: Mapping[str, Shape], *, rank: int, prefix: str = "lora_unet", alpha: bool = True
) -> Shapes:
    """Low-rank pairs in kohya's names; a convolution has its kernel in the first of the two."""
    shapes: Shapes = {}
    for path, (out, into, *kernel) in layers.items():
        stem = kohya_stem(path, prefix=prefix)
        shapes[f"{stem}.lora_down.weight"] = (rank, into, *kernel)
        shapes[f"{stem}.lora_up.weight"] = (out, rank, *(1 for _ in kernel))
        if alpha:
            shapes[f"{stem}.alpha"] = ()
    return shapes


def kohya_lora(
    base: str, *, rank: int = 16, conv: bool = False, text: bool = True
) -> Callable[[Size], Shapes]:
    """A kohya LoRA of the U-Net and the text encoder(s); with ``conv`` a LoCon."""

    def shapes(size: Size) -> Shapes:
        layers = _transformer_layers(base, size)
        if conv:
            layers |= _resnet_layers(base, size)
        pairs = kohya(layers, rank=rank)
        if text and base == "sdxl":
            pairs |= kohya(_text_layers("sd15", size), rank=rank, prefix="lora_te1")
            pairs |= kohya(_text_layers("sdxl-2", size), rank=rank, prefix="lora_te2")
        elif text:
            pairs |= kohya(_text_layers(base, size), rank=rank, prefix="lora_te")
        return pairs

    return shapes


def sgm_lora(size: Size) -> Shapes:
    """A kohya LoRA for SDXL, its layers named as in the single file."""
    names = set(unet_shapes("sdxl", size))
    layers = {
        ldm_unet_name(f"{path}.weight", names).removesuffix(".weight"): shape
        for path, shape in _transformer_layers("sdxl", size).items()
    }
    return kohya(layers, rank=16) | kohya(_text_layers("sd15", size), rank=16, prefix="lora_te1")


def loha(size: Size, *, rank: int = 8) -> Shapes:
    """LyCORIS' Hadamard product of two low-rank matrices."""
    shapes: Shapes = {}
    for path, (out, into, *kernel) in _transformer_layers("sd15", size).items():
        stem = kohya_stem(path)
        for i in "12":
            shapes[f"{stem}.hada_w{i}_a"] = (out, rank)
            shapes[f"{stem}.hada_w{i}_b"] = (rank, into * math.prod(kernel))
        shapes[f"{stem}.alpha"] = ()
    return shapes


def lokr(size: Size, *, rank: int = 8, factor: int = 8) -> Shapes:
    """LyCORIS' Kronecker product, its large factor low-rank."""
    shapes: Shapes = {}
    for path, (out, into, *_) in _transformer_layers("sd15", size).items():
        stem = kohya_stem(path)
        shapes[f"{stem}.lokr_w1"] = (factor, factor)
        shapes[f"{stem}.lokr_w2_a"] = (out // factor, rank)
        shapes[f"{stem}.lokr_w2_b"] = (rank, into // factor)
        shapes[f"{stem}.alpha"] = ()
    return shapes


def dora(size: Size, *, rank: int = 16) -> Shapes:
    """A LoRA with the magnitude of every output of its layers."""
    layers = _transformer_layers("sd15", size)
    magnitudes = {
        f"{kohya_stem(path)}.dora_scale": (out, 1, *(1 for _ in kernel))
        for path, (out, _, *kernel) in layers.items()
    }
    return kohya(layers, rank=rank) | magnitudes


def glora(size: Size, *, rank: int = 4) -> Shapes:
    """GLoRA of LyCORIS: two pairs of factors, one of which multiplies the weight itself."""
    shapes: Shapes = {}
    for path, (out, into, *_) in _transformer_layers("sd15", size).items():
        stem = kohya_stem(path)
        shapes[f"{stem}.a1.weight"] = shapes[f"{stem}.b1.weight"] = (rank, into)
        shapes[f"{stem}.a2.weight"] = (into, rank)
        shapes[f"{stem}.b2.weight"] = (out, rank)
        shapes[f"{stem}.alpha"] = ()
    return shapes


def oft(size: Size, *, blocks: int = 8) -> Shapes:
    """Orthogonal fine-tuning: a rotation of blocks of outputs."""
    shapes: Shapes = {}
    for path, (out, *_) in _transformer_layers("sd15", size).items():
        stem = kohya_stem(path)
        shapes[f"{stem}.oft_blocks"] = (blocks, out // blocks, out // blocks)
        shapes[f"{stem}.alpha"] = ()
    return shapes


def oft_diag(size: Size, *, blocks: int = 8) -> Shapes:
    """Older LyCORIS' OFT: the rotations themselves, and an alpha that means nothing."""
    return {
        name.replace(".oft_blocks", ".oft_diag"): shape
        for name, shape in oft(size, blocks=blocks).items()
    }


def oft_kohya(size: Size, *, blocks: int = 8) -> Shapes:
    """OFT in kohya's own names, which begin otherwise than those of a LoRA."""
    return {
        name.replace("lora_unet_", "oft_unet_"): shape
        for name, shape in oft(size, blocks=blocks).items()
    }


def oft_peft(size: Size, *, block: int = 8) -> Shapes:
    """OFTv2 of PEFT: rotations of blocks of inputs, as the numbers above the diagonal of each."""
    return {
        f"base_model.model.{path}.oft_R.weight": (
            into * math.prod(kernel) // block,
            block * (block - 1) // 2,
        )
        for path, (_, into, *kernel) in _transformer_layers("sd15", size).items()
    }


def oft_onetrainer(size: Size, *, block: int = 8) -> Shapes:
    """The same as OneTrainer names it."""
    return {
        kohya_stem(name.removeprefix("base_model.model.").removesuffix(".oft_R.weight"))
        + ".oft_R.weight": shape
        for name, shape in oft_peft(size, block=block).items()
    }


def lycoris_text(size: Size) -> Shapes:
    """A LoCon of the U-Net and the text encoder, as LyCORIS without kohya's scripts names them."""
    pairs = kohya(_transformer_layers("sd15", size), rank=16, prefix="lycoris")
    return pairs | kohya(_text_layers("sd15", size), rank=16, prefix="lycoris")


def comfy_extracted(base: str, *, rank: int = 16) -> Callable[[Size], Shapes]:
    """What ComfyUI extracts: the U-Net as in the single file, and text encoders by its own names."""

    def shapes(size: Size) -> Shapes:
        names = set(unet_shapes(base, size))
        layers = {
            ldm_unet_name(f"{path}.weight", names).removesuffix(".weight"): shape
            for path, shape in _transformer_layers(base, size).items()
        }
        words = ("lora_down", "lora_up")
        pairs = dotted_names(layers, rank=rank, prefix="diffusion_model.", words=words)
        encoders = {"clip_l": "sd15", "clip_g": "sdxl-2"} if base == "sdxl" else {"clip_l": "sd15"}
        for encoder, which in encoders.items():
            prefix = f"text_encoders.{encoder}.transformer."
            layers = _text_layers(which, size)
            pairs |= dotted_names(layers, rank=rank, prefix=prefix, words=words)
        pairs["text_encoders.clip_l.transformer.text_model.final_layer_norm.diff_b"] = (768,)
        return pairs

    return shapes


def peft_named(layers: Callable[[Size], Shapes], *, adapter: str) -> Callable[[Size], Shapes]:
    """PEFT's names with that of an adapter in each, as ``state_dict`` has them."""
    return lambda size: {
        re.sub(r"\.(lora_[AB])\.", rf".\1.{adapter}.", name): shape
        for name, shape in layers(size).items()
    }


def ia3(size: Size) -> Shapes:
    """LyCORIS' (IA)^3: a factor for each output."""
    shapes: Shapes = {}
    for path, (out, *_) in _linears(unet_shapes("sd15", size), r"\.attn[12]\.to_[kv]\.").items():
        shapes |= {f"{kohya_stem(path)}.weight": (out, 1), f"{kohya_stem(path)}.on_input": ()}
    return shapes


def full_diff(size: Size) -> Shapes:
    """The whole difference of each weight."""
    shapes: Shapes = {}
    for path, shape in _transformer_layers("sd15", size).items():
        shapes[f"{kohya_stem(path)}.diff"] = shape
        if f"{path}.bias" in unet_shapes("sd15", size):
            shapes[f"{kohya_stem(path)}.diff_b"] = (shape[0],)
    return shapes


def domain_adapter(size: Size) -> Shapes:
    """``v3_sd15_adapter``: rank 128 on every spatial attention."""
    return processor_names(attention_layers("sd15", size), rank=128)


def motion_lora(*, mid: bool = True, rank: int = 64, prefix: str = "") -> Callable[[Size], Shapes]:
    """``v2_lora_*``: on every temporal attention."""
    return lambda size: processor_names(_motion_attention(size, mid=mid), rank=rank, prefix=prefix)


def motion_lora_diffusers(size: Size) -> Shapes:
    """The same, renamed for diffusers."""
    return {
        "unet."
        + name.replace(".temporal_transformer", "")
        .replace(".attention_blocks.0", ".attn1")
        .replace(".attention_blocks.1", ".attn2"): shape
        for name, shape in motion_lora()(size).items()
    }


def motion_lora_kohya(size: Size) -> Shapes:
    """The same, as distributed for A1111."""
    return kohya(_motion_attention(size, mid=True), rank=64)


def motion_lora_peft(size: Size) -> Shapes:
    """The same, as a trainer with PEFT writes it."""
    layers = {
        path.replace(".temporal_transformer", "")
        .replace(".attention_blocks.0", ".attn1")
        .replace(".attention_blocks.1", ".attn2"): shape
        for path, shape in _motion_attention(size, mid=False).items()
    }
    return dotted_names(layers, rank=32, prefix="unet.", words=("lora_A", "lora_B"))


def motion_director(size: Size) -> Shapes:
    """MotionDirector's temporal file: every Linear of the block, in MotionLoRA's naming."""
    shapes: Shapes = {}
    layers = _linears(authors_motion(mid=True)(size), r"\.transformer_blocks\.0\.(attention|ff\.)")
    for path, (out, into) in ((p, s) for p, s in layers.items() if len(s) == 2):
        parent, _, leaf = path.rpartition(".")
        start = f"{parent}.processor.{leaf}_lora"
        shapes |= {f"{start}.down.weight": (32, into), f"{start}.up.weight": (out, 32)}
    return shapes


def our_lora(size: Size) -> Shapes:
    """This package's layout of an image LoRA."""
    return dotted_names(attention_layers("sd15", size), rank=16, words=("down", "up"))
