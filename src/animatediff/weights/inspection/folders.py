"""Identify diffusers folders: an image model, or one part with its configuration."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from animatediff.errors import FileError
from animatediff.weights.inspection.headers import inspect_file, inspect_header, read_any_header
from animatediff.weights.inspection.kinds import KINDS, Kind
from animatediff.weights.inspection.result import Inspection
from animatediff.weights.motion_adapter import check_config, config_beside
from animatediff.weights.storage.files import read_json

_WEIGHT_NAMES = (
    *("diffusion_pytorch_model", "model", "adapter_model", "pytorch_lora_weights"),
    *("pytorch_model", "learned_embeds"),
)
_WEIGHT_SUFFIXES = (".safetensors", ".fp16.safetensors", ".bin", ".fp16.bin")


_PARTS: Mapping[str, Kind] = {
    "unet": "unet",
    "vae": "vae",
    "text_encoder": "text-encoder",
    "text_encoder_2": "text-encoder",
}
"""The parts of an image model's folder that have weights."""


def inspect_folder(folder: Path) -> Inspection:
    """Identify the folder of an image model or of one part."""
    if (folder / "model_index.json").is_file():
        return _inspect_image_folder(folder, read_json(folder / "model_index.json"))
    header = read_any_header(_weight_file(folder))
    found = inspect_header(header)
    config = config_beside(header.path) if found.kind == "motion" else None
    if config is not None:
        check_config(config, header.shapes)
        found = inspect_header(header, configured_rows=config.rows)
    return replace(found, path=folder, container="folder")


def _inspect_image_folder(folder: Path, index: Mapping[str, Any]) -> Inspection:
    present = [name for name in _PARTS if name == "unet" or (folder / name).is_dir()]
    parts = {name: inspect_file(_weight_file(folder / name)) for name in present}
    for name, part in parts.items():
        if part.kind != _PARTS[name]:
            raise FileError(
                f"{part.path} is {part.title}, where {KINDS[_PARTS[name]].title} belongs; "
                "get the folder again."
            )
    dtypes = Counter[str]()
    for part in parts.values():
        dtypes.update(part.dtypes)
    unet = parts["unet"]
    return replace(
        unet,
        path=folder,
        container="folder",
        kind="checkpoint",
        reasons=(f"it is a folder of {', '.join(present)}", *unet.reasons),
        parameters=sum(part.parameters for part in parts.values()),
        dtypes=dict(dtypes),
        num_tensors=sum(part.num_tensors for part in parts.values()),
        num_bytes=sum(part.num_bytes for part in parts.values()),
        warnings=(*unet.warnings, *_programs(index)),
    )


def _programs(index: Mapping[str, Any]) -> Iterator[str]:
    """Yield a warning if the folder names code of its own, which is never run."""
    named = index.get("_class_name")
    if isinstance(named, list) or any("custom" in key for key in index):
        yield "it names a program of its own, which is not run"


def _weight_file(folder: Path) -> Path:
    """Return a folder's weight file; safetensors are preferred to pickles."""
    for suffix in _WEIGHT_SUFFIXES:
        for stem in _WEIGHT_NAMES:
            if (folder / f"{stem}{suffix}").is_file():
                return folder / f"{stem}{suffix}"
    raise FileError(f"{folder} is not a model's folder: it has no weights that are known by name.")
