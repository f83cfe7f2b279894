"""Made-up files on the disk: holes of real size, or real random numbers at reduced width."""

from __future__ import annotations

import functools
import json
import math
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tests.weights.synthetic.image_models import text_config, unet_config, vae_config
from tests.weights.synthetic.motion_modules import adapter_config
from tests.weights.synthetic.sample import BITS, DTYPES, Sample, Shape, Size
from tests.weights.synthetic.samples import SAMPLES
from torch import Tensor


def dtype_of(name: str, sample: Sample) -> str:
    """The dtype of one tensor; numbers of positions are whole numbers."""
    return "I64" if name.endswith(("position_ids", "num_updates")) else sample.dtype


def header_bytes(table: Mapping[str, Any]) -> bytes:
    """A safetensors header, whatever the table says."""
    text = json.dumps(table, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text


def write_header(
    path: Path, specs: Mapping[str, tuple[str, Shape]], metadata: Mapping[str, str]
) -> Path:
    """A safetensors file whose numbers are a hole of the right size."""
    table: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    here = 0
    for name, (dtype, shape) in specs.items():
        end = here + math.prod(shape) * BITS[dtype] // 8
        table[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [here, end]}
        here = end
    header = header_bytes(table)
    with path.open("wb") as file:
        file.write(header)
        file.truncate(len(header) + here)
    return path


@functools.cache
def shapes_of(name: str, size: Size = "real") -> Mapping[str, Shape]:
    """Every name and shape of a sample."""
    return SAMPLES[name].shapes(size)


def write_sparse(path: Path, name: str, *, size: Size = "real") -> Path:
    """A sample's safetensors file at its real size, taking no space on the disk; all zeros."""
    sample = SAMPLES[name]
    specs = {key: (dtype_of(key, sample), shape) for key, shape in shapes_of(name, size).items()}
    return write_header(path, specs, sample.metadata)


def tensors(name: str, *, size: Size = "small", seed: int = 0) -> dict[str, Tensor]:
    """A sample's tensors with random numbers, norms around one; the same for the same seed."""
    return {key: tensor.clone() for key, tensor in _drawn(name, size, seed).items()}


@functools.lru_cache(maxsize=16)
def _drawn(name: str, size: Size, seed: int) -> dict[str, Tensor]:
    sample = SAMPLES[name]
    generator = torch.Generator().manual_seed(seed)
    made: dict[str, Tensor] = {}
    for key, shape in shapes_of(name, size).items():
        dtype = DTYPES[dtype_of(key, sample)]
        if key.endswith("position_ids"):
            made[key] = torch.arange(shape[-1]).expand(shape).clone()
        elif key.endswith((".pe", ".positional_encoding")):
            made[key] = sinusoid(*shape[1:])[None].to(dtype)
        elif not dtype.is_floating_point:
            made[key] = torch.zeros(shape, dtype=dtype)
        else:
            values = torch.randn(shape, generator=generator) * 0.05
            is_gain = "norm" in key and key.endswith("weight") and len(shape) == 1
            made[key] = (values + 1 if is_gain else values).to(dtype)
    return made


def sinusoid(rows: int, width: int) -> Tensor:
    """The positional encoding of published files: sines and cosines, interleaved."""
    angles = torch.arange(rows)[:, None] * torch.exp(
        torch.arange(0, width, 2) * (-math.log(10000.0) / width)
    )
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)


def write(path: Path, name: str, *, size: Size = "small", seed: int = 0) -> Path:
    """A sample's safetensors file with random numbers."""
    metadata = dict(SAMPLES[name].metadata) or None
    save_file(_drawn(name, size, seed), path, metadata=metadata)
    return path


def wrapped(name: str, weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """What a sample's pickle holds: its table of tensors, and whatever is around it."""
    sample = SAMPLES[name]
    match sample.wrapper:
        case "plain":
            return {**weights, **sample.extra}
        case "state_dict" | "ddp":
            return {"state_dict": dict(weights), **sample.extra}
        case "controlnet":
            return {"controlnet": dict(weights), **sample.extra}
        case "nested":
            table: dict[str, Any] = dict(sample.extra)
            for key, tensor in weights.items():
                part, _, rest = key.partition(".")
                table.setdefault(part, {})[rest] = tensor
            return table
        case "a1111-embedding":
            return {**sample.extra, "string_to_param": {"*": weights["string_to_param.*"]}}


def write_pickle(
    path: Path, name: str, *, size: Size = "small", seed: int = 0, old: bool = False
) -> Path:
    """A sample as the pickle that is published; ``old`` is the format before zip files."""
    content = wrapped(name, tensors(name, size=size, seed=seed))
    torch.save(content, path, _use_new_zipfile_serialization=not old)  # noqa: TID251 - what others wrote
    return path


def write_folder(
    folder: Path, base: str, *, size: Size = "small", seed: int = 0, fp16: bool = False
) -> Path:
    """An image model's diffusers folder, ``sd15``, ``sd2`` or ``sdxl``, without its tokenizer.

    At the real size its numbers are holes. The weights are those of ``tensors`` under the names of
    the parts ``unet-*``, ``vae`` and ``text-*``, so that they can be compared.
    """
    xl = base == "sdxl"
    texts = {"text_encoder": "sd15" if xl else base} | ({"text_encoder_2": "sdxl-2"} if xl else {})
    parts = {"unet": f"unet-{base}", "vae": "vae"}
    parts |= {part: f"text-{which}" for part, which in texts.items()}
    configs = {"unet": unet_config(base, size), "vae": vae_config(base, size)}
    configs |= {part: text_config(which, size) for part, which in texts.items()}
    classes = {"unet": "UNet2DConditionModel", "vae": "AutoencoderKL"}
    index: dict[str, Any] = {
        "_class_name": "StableDiffusionXLPipeline" if xl else "StableDiffusionPipeline",
        "_diffusers_version": "0.30.0",
        "scheduler": ["diffusers", "DDIMScheduler"],
    }
    for part, sample in parts.items():
        is_text = part.startswith("text")
        index[part] = ["transformers", "CLIPTextModel"] if is_text else ["diffusers", classes[part]]
        (folder / part).mkdir(parents=True)
        config = configs[part] | ({} if is_text else {"_class_name": classes[part]})
        (folder / part / "config.json").write_text(json.dumps(config))
        stem = "model" if is_text else "diffusion_pytorch_model"
        file = folder / part / f"{stem}{'.fp16' if fp16 else ''}.safetensors"
        if size == "real":
            write_sparse(file, sample)
        else:
            write(file, sample, seed=seed)
    (folder / "scheduler").mkdir()
    betas = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(betas))
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder


def write_adapter_folder(folder: Path, name: str, *, size: Size = "small") -> Path:
    """A diffusers MotionAdapter's folder: the weights and what its configuration says."""
    sample = SAMPLES[name]
    rows = {"v1": 24}.get(sample.family, 32)
    mid = any(key.startswith("mid_block.") for key in shapes_of(name, size))
    config = adapter_config(sample.base, size, rows=rows, mid=mid)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"_class_name": "MotionAdapter", **config}))
    writer = write_sparse if size == "real" else write
    writer(folder / "diffusion_pytorch_model.safetensors", name, size=size)
    return folder
