"""A textual inversion in the folder of embeddings, as A1111's users have them, and name in prompts."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file


def write(models: Path, name: str, *, width: int, vectors: int = 2) -> Path:
    """A word of that name, in the layout of A1111's model folder."""
    path = models / "embeddings" / f"{name}.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    generator = torch.Generator().manual_seed(len(name))
    save_file({"emb_params": torch.randn((vectors, width), generator=generator)}, path)
    return path
