"""Image models in one file, with the names of Stable Diffusion's original code.

Personalised models are usually published as one ``.safetensors`` of denoiser, autoencoder and text
encoder, with CompVis' names. The tables here give the place in such a file of each tensor of a
diffusers or transformers network. The architecture follows from the file's names and shapes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from animatediff.errors import FileError
from animatediff.weights.storage.files import Header, read_json

if TYPE_CHECKING:
    from torch import Tensor

Generation = Literal["sd15", "sd2", "sdxl"]
"""The kinds of image model whose single files are read."""
Shape = tuple[int, ...]

PUBLISHED = Path(__file__).resolve().parent / "stable_diffusion"
"""Configurations of the published models, and CLIP's vocabulary."""

UNET, VAE = "model.diffusion_model.", "first_stage_model."
TEXT: Mapping[Generation, Mapping[str, str]] = {
    "sd15": {"text_encoder": "cond_stage_model.transformer."},
    "sd2": {"text_encoder": "cond_stage_model.model."},
    "sdxl": {
        "text_encoder": "conditioner.embedders.0.transformer.",
        "text_encoder_2": "conditioner.embedders.1.model.",
    },
}
"""Where each generation keeps its text encoders."""

_THIRDS = {"q_proj": 0, "k_proj": 1, "v_proj": 2}
_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_UNET_ENDS = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
_VAE_ATTENTION = {
    "group_norm": "norm",
    "to_q": "q",
    "to_k": "k",
    "to_v": "v",
    "to_out.0": "proj_out",
}
_OPEN_CLIP_LAYER = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    "self_attn.out_proj": "attn.out_proj",
}
_OPEN_CLIP_ENDS = {
    "embeddings.position_embedding.weight": "positional_embedding",
    "embeddings.token_embedding.weight": "token_embedding.weight",
    "final_layer_norm.weight": "ln_final.weight",
    "final_layer_norm.bias": "ln_final.bias",
}


@dataclass(frozen=True)
class Source:
    """The place of one tensor of a network in a file.

    Attributes:
        name: its name in the file.
        third: index of the matrix, where the file stacks three.
        transposed: whether the file has the transposed matrix.
    """

    name: str
    third: int | None = None
    transposed: bool = False

    def __str__(self) -> str:
        return self.name if self.third is None else f"{self.name} (third {self.third + 1} of 3)"

    def shape(self, stored: Shape, *, wanted: Shape) -> Shape:
        """Return the shape of what ``take`` returns.

        A 1x1 convolution and a linear layer have the same values and count as the same shape.
        """
        if self.third is not None:
            if not stored or stored[0] % 3:
                return stored
            stored = (stored[0] // 3, *stored[1:])
        if self.transposed:
            stored = stored[::-1]
        return wanted if _without_ones(stored) == _without_ones(wanted) else stored

    def take(self, tensor: Tensor, *, wanted: Shape) -> Tensor:
        """Return the tensor in the network's layout; a view of the file's where possible."""
        if self.third is not None:
            tensor = tensor.chunk(3)[self.third]
        if self.transposed:
            tensor = tensor.t().contiguous()
        return tensor.reshape(wanted)


def _without_ones(shape: Shape) -> Shape:
    """Drop the trailing ones of a pointwise convolution's shape."""
    while len(shape) > 2 and shape[-1] == 1:
        shape = shape[:-1]
    return shape


def unet_sources(names: Iterable[str], *, layers_per_block: int) -> dict[str, Source]:
    """Return the place in a single file of every name of a ``UNet2DConditionModel``, with prefix."""
    names = list(names)
    attentive = {match[0] for name in names if (match := re.match(r"up_blocks\.\d+\.att", name))}
    return {
        name: Source(UNET + _unet_name(name, layers=layers_per_block, attentive=attentive))
        for name in names
    }


def _unet_name(name: str, *, layers: int, attentive: set[str]) -> str:
    module, _, leaf = name.rpartition(".")
    if module in _UNET_ENDS:
        return f"{_UNET_ENDS[module]}.{leaf}"
    side, *numbers = re.match(r"(\w+_block)s?(?:\.(\d+))?\.(\w+)\.(\d+)\.", name).groups()  # pyright: ignore[reportOptionalMemberAccess] - every other name is in a block
    block, kind, layer = numbers[0], numbers[1], int(numbers[2])
    rest = name.split(f".{kind}.{layer}.", 1)[1]
    if kind == "resnets":
        inner, _, leaf = rest.rpartition(".")
        rest = f"{_RESNET[inner]}.{leaf}"
    if side == "mid_block":
        place = 1 if kind == "attentions" else 2 * layer
        return f"middle_block.{place}.{rest}"
    first = int(block) * (layers + 1)
    if kind == "downsamplers":
        return f"input_blocks.{first + layers + 1}.0.{rest.replace('conv.', 'op.')}"
    if kind == "upsamplers":
        place = 2 if f"up_blocks.{block}.att" in attentive else 1
        return f"output_blocks.{first + layers}.{place}.{rest}"
    place = 1 if kind == "attentions" else 0
    if side == "down_block":
        return f"input_blocks.{first + layer + 1}.{place}.{rest}"
    return f"output_blocks.{first + layer}.{place}.{rest}"


def vae_sources(names: Iterable[str], *, blocks: int, prefix: str = VAE) -> dict[str, Source]:
    """Return the place in a single file of every name of an ``AutoencoderKL``."""
    return {name: Source(prefix + _vae_name(name, blocks=blocks)) for name in names}


def _vae_name(name: str, *, blocks: int) -> str:
    name = name.replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut")
    name = re.sub(r"mid_block\.resnets\.(\d)", lambda m: f"mid.block_{int(m[1]) + 1}", name)
    if ".mid_block.attentions.0." in name:
        side, rest = name.split(".mid_block.attentions.0.")
        module, _, leaf = rest.rpartition(".")
        return f"{side}.mid.attn_1.{_VAE_ATTENTION[module]}.{leaf}"
    name = re.sub(r"samplers\.0\.", "sample.", name)
    name = re.sub(r"down_blocks\.(\d+)\.", r"down.\1.", name)
    name = re.sub(r"up_blocks\.(\d+)\.", lambda m: f"up.{blocks - 1 - int(m[1])}.", name)
    return name.replace(".resnets.", ".block.")


def clip_sources(names: Iterable[str], *, prefix: str) -> dict[str, Source]:
    """Return the place in a single file of every name of OpenAI's CLIP text encoder."""
    return {name: Source(prefix + _bare(name)) for name in names}


def clip_prefix(header: Header, prefix: str) -> str:
    """Return the prefix of CLIP: within ``text_model``, except in the earliest files."""
    nested = f"{prefix}text_model."
    return nested if any(name.startswith(nested) for name in header.shapes) else prefix


def open_clip_sources(names: Iterable[str], *, prefix: str) -> dict[str, Source]:
    """Return the place in a single file of every name of an OpenCLIP text encoder.

    OpenCLIP stacks q, k and v, and its projection is transposed.
    """
    return {name: _open_clip_source(_bare(name), prefix=prefix) for name in names}


def _open_clip_source(name: str, *, prefix: str) -> Source:
    if name == "text_projection.weight":
        return Source(f"{prefix}text_projection", transposed=True)
    if name in _OPEN_CLIP_ENDS:
        return Source(prefix + _OPEN_CLIP_ENDS[name])
    _, _, layer, rest = name.split(".", 3)
    module, _, leaf = rest.rpartition(".")
    where = f"{prefix}transformer.resblocks.{layer}"
    third = _THIRDS.get(module.removeprefix("self_attn."))
    if third is not None:
        return Source(f"{where}.attn.in_proj_{leaf}", third=third)
    return Source(f"{where}.{_OPEN_CLIP_LAYER[module]}.{leaf}")


def _bare(name: str) -> str:
    return name.removeprefix("text_model.")


@dataclass(frozen=True)
class SingleFile:
    """A single file, before its values are read.

    Attributes:
        header: of the file.
        generation: of the image model.
        configs: of its networks and noise schedule, with diffusers' and transformers' keys and the
            file's widths.
    """

    header: Header
    generation: Generation
    configs: Mapping[str, Mapping[str, Any]]

    def has(self, prefix: str) -> bool:
        """Whether the file has names with this prefix."""
        return any(name.startswith(prefix) for name in self.header.shapes)


def read_single_file(header: Header) -> SingleFile:
    """Identify the image model in a file by its names and shapes.

    Raises:
        FileError: it has none, a part of one, or one that needs more input than text.
    """
    generation = _generation(header)
    configs = published_configs(generation)
    shapes = header.shapes
    configs["unet"] = _unet_config(configs["unet"], _under(shapes, UNET))
    configs["vae"] = fitted_vae(configs["vae"], _under(shapes, VAE))
    for part, prefix in TEXT[generation].items():
        configs[part] = _text_config(configs[part], _under(shapes, prefix))
    prediction = _prediction(header)
    if prediction is not None:
        configs["scheduler"] = {**configs["scheduler"], "prediction_type": prediction}
    channels = shapes.get(f"{UNET}input_blocks.0.0.weight", (0, 4))[1]
    if channels != configs["unet"]["in_channels"]:
        raise FileError(
            f"{header.path} takes {channels} channels, as models for inpainting or editing do; "
            f"a model that draws from text takes {configs['unet']['in_channels']}."
        )
    return SingleFile(header, generation, configs)


def published_configs(generation: Generation) -> dict[str, dict[str, Any]]:
    """Return the configurations of a published image model's parts."""
    return read_json(PUBLISHED / f"{generation}.json")


def _generation(header: Header) -> Generation:
    names = header.shapes

    def has(prefix: str) -> bool:
        return any(name.startswith(prefix) for name in names)

    if not has(UNET):
        raise FileError(
            f"{header.path} is not an image model in one file: it has no name under {UNET[:-1]}."
        )
    if has("conditioner.embedders.1."):
        return "sdxl"
    if has("conditioner.embedders.0.model."):
        raise FileError(
            f"{header.path} is SDXL's refiner, which cannot draw alone; give the base model."
        )
    for generation in ("sd15", "sd2"):
        if has(TEXT[generation]["text_encoder"]):
            return generation
    raise FileError(
        f"{header.path} has a denoiser but no text encoder, so it cannot read a prompt; "
        "give a whole checkpoint."
    )


def _prediction(header: Header) -> str | None:
    """Return the prediction type from the metadata or an empty marker tensor, if there is one."""
    said = header.metadata.get("modelspec.prediction_type", "")
    if said in ("v", "v_prediction") or "v_pred" in header.shapes:
        return "v_prediction"
    return "epsilon" if said == "epsilon" else None


def _under(shapes: Mapping[str, Shape], prefix: str) -> dict[str, Shape]:
    return {
        name.removeprefix(prefix): shape
        for name, shape in shapes.items()
        if name.startswith(prefix)
    }


def _rows(shapes: Mapping[str, Shape], name: str, *, axis: int = 0) -> int | None:
    shape = shapes.get(name, ())
    return shape[axis] if len(shape) > axis and shape[axis] > 0 else None


def _heads(width: int) -> int:
    """Return the number of heads of width 64, as in every CLIP text encoder and later denoisers."""
    return max(1, width // 64)


def _unet_config(config: Mapping[str, Any], shapes: Mapping[str, Shape]) -> dict[str, Any]:
    step = config["layers_per_block"] + 1
    firsts = [f"input_blocks.{1 + step * i}" for i in range(len(config["block_out_channels"]))]
    widths = [
        _rows(shapes, f"{first}.0.out_layers.3.weight") or published
        for first, published in zip(firsts, config["block_out_channels"], strict=True)
    ]
    context = next((n for n in shapes if n.endswith(".attn2.to_k.weight")), "")
    fitted: dict[str, Any] = {
        "block_out_channels": widths,
        "cross_attention_dim": _rows(shapes, context, axis=1) or config["cross_attention_dim"],
        "transformer_layers_per_block": [
            _count(shapes, rf"{re.escape(first)}\.1\.transformer_blocks\.(\d+)\.") or 1
            for first in firsts
        ],
    }
    if isinstance(config["attention_head_dim"], list):
        fitted["attention_head_dim"] = [_heads(width) for width in widths]
    if "addition_embed_type" in config:
        fitted["projection_class_embeddings_input_dim"] = (
            _rows(shapes, "label_emb.0.0.weight", axis=1)
            or config["projection_class_embeddings_input_dim"]
        )
    return {**config, **fitted}


def _count(names: Iterable[str], pattern: str) -> int:
    """Return how many numbers occur at that place of the names."""
    return len({match[1] for name in names if (match := re.match(pattern, name))})


def fitted_vae(config: Mapping[str, Any], shapes: Mapping[str, Shape]) -> dict[str, Any]:
    """Return an autoencoder's configuration with the widths of a file without prefix."""
    widths = [
        _rows(shapes, f"encoder.down.{block}.block.0.conv1.weight")
        or _rows(shapes, f"encoder.down_blocks.{block}.resnets.0.conv1.weight")
        or published
        for block, published in enumerate(config["block_out_channels"])
    ]
    return {
        **config,
        "block_out_channels": widths,
        "norm_num_groups": min(config["norm_num_groups"], *widths),
    }


def _text_config(config: Mapping[str, Any], shapes: Mapping[str, Shape]) -> dict[str, Any]:
    nested = {name.removeprefix("text_model."): shape for name, shape in shapes.items()}
    tokens = "embeddings.token_embedding.weight"
    tokens = tokens if tokens in nested else "token_embedding.weight"
    layers = _count(nested, r"(?:encoder\.layers|transformer\.resblocks)\.(\d+)\.")
    width = _rows(nested, tokens, axis=1) or config["hidden_size"]
    inner = _rows(nested, "encoder.layers.0.mlp.fc1.weight")
    inner = inner or _rows(nested, "transformer.resblocks.0.mlp.c_fc.weight")
    words = _rows(nested, tokens) or config["vocab_size"]
    marks = ("bos_token_id", "eos_token_id", "pad_token_id")
    projected = width if config["projection_dim"] == config["hidden_size"] else None
    return {
        **config,
        "vocab_size": words,
        **{mark: min(config[mark], words - 1) for mark in marks},
        "hidden_size": width,
        "intermediate_size": inner or config["intermediate_size"],
        # Stable Diffusion 2 was trained without the last layer, which its files have.
        "num_hidden_layers": min(config["num_hidden_layers"], layers or 1000),
        "num_attention_heads": _heads(width),
        "projection_dim": projected or config["projection_dim"],
    }
