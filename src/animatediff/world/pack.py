"""Pack a trained world folder into the package: fp16 safetensors and configurations."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from animatediff.weights.storage.seal import resealed
from animatediff.world.scoring.scorer import FACTS_FILE, FOLDER, WEIGHTS_FILE

CONFIGS = ("*.json", "merges.txt")
NOT_PACKED = (
    "motion/emoji-conv",
    "motion/emoji-adapted",
    "motion/emoji-unadapted",
    "motion-lora/pan-right-",
    "motion-lora/zoom-in-",
    "adapter/heart",
    "emoji-noto-few",
    "lora/noto-few",
)
"""What a recipe makes only to compare with."""


def pack_world(work: Path, target: Path) -> dict[str, int]:
    """Copy ``work/world`` and the scorer to ``target`` in half precision; returns the files' sizes.

    ``NOT_PACKED`` is left out. The world folder keeps fp32 weights. A packed model runs in fp32 after
    loading, so fp16 only rounds its weights.
    """
    sizes: dict[str, int] = {}
    source = work / "world"
    for path in sorted(
        p for pattern in CONFIGS for p in source.rglob(pattern) if _is_packed(p, source)
    ):
        copy = target / path.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        if path.name == "config.json":
            copy.write_text(json.dumps(_published(json.loads(path.read_text())), indent=2) + "\n")
        else:
            shutil.copyfile(path, copy)
    for path in sorted(p for p in source.rglob("*.safetensors") if _is_packed(p, source)):
        copy = target / path.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name).to(torch.float16) for name in file.keys()}  # noqa: SIM118 - not a dict
            metadata = resealed(file.metadata() or {}, tensors)
        save_file(tensors, copy, metadata=metadata or None)
        sizes[str(path.relative_to(source))] = copy.stat().st_size
    return sizes | _packed_scorer(work / FOLDER, target / FOLDER)


def _packed_scorer(source: Path, target: Path) -> dict[str, int]:
    """Copy the scorer, which is stored in half precision already, where one was trained."""
    if not (source / WEIGHTS_FILE).exists():
        return {}
    target.mkdir(parents=True, exist_ok=True)
    for name in (FACTS_FILE, WEIGHTS_FILE):
        shutil.copyfile(source / name, target / name)
    return {f"{FOLDER}/{WEIGHTS_FILE}": (target / WEIGHTS_FILE).stat().st_size}


def _is_packed(path: Path, source: Path) -> bool:
    return not path.relative_to(source).as_posix().startswith(NOT_PACKED)


def _published(config: dict[str, object]) -> dict[str, object]:
    """Return a configuration without paths of the training machine."""
    return {k: v for k, v in config.items() if k not in ("_name_or_path", "name_or_path")}
