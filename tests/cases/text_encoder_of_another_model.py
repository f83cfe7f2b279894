"""A diffusers folder whose text encoder knows fewer tokens than its tokenizer has: parts mixed up."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from safetensors.torch import load_file, save_file


def write(folder: Path, world: Path, *, rows: int = 20) -> Path:
    """A copy of an image model's folder, its table of tokens cut to ``rows``."""
    shutil.copytree(world, folder)
    encoder = folder / "text_encoder"
    config = json.loads((encoder / "config.json").read_text())
    (encoder / "config.json").write_text(json.dumps({**config, "vocab_size": rows}))
    weights = load_file(encoder / "model.safetensors")
    for name, tensor in weights.items():
        if name.endswith("token_embedding.weight"):
            weights[name] = tensor[:rows].clone()
    save_file(weights, encoder / "model.safetensors", metadata={"format": "pt"})
    return folder
