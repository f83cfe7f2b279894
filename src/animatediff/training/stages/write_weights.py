"""What a stage leaves behind: a safetensors file of the trained part, and what is known of it.

Its metadata are those that other programs of this field read (modelspec, kohya's ``ss_``) and our own:
``kind``, ``family``, ``rank`` and ``alpha`` say how the file is used.
"""

from __future__ import annotations

import datetime as dt
import importlib.metadata
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Protocol

from safetensors import SafetensorError
from torch import Tensor

from animatediff.errors import OutputError, reason_of
from animatediff.training.recipe import Recipe
from animatediff.weights.storage.files import replace_by, write_weights
from animatediff.weights.storage.seal import SEAL, seal_of

_NETWORKS = {"lora", "motion-lora", "domain-adapter"}


def write_part(
    path: Path,
    weights: Mapping[str, Tensor],
    *,
    kind: str,
    options: Recipe,
    facts: Mapping[str, str],
) -> Path:
    """Write a trained part under ``path``, whole or not at all.

    Args:
        path: the file.
        weights: by our own names.
        kind: ``motion``, ``domain-adapter``, ``motion-lora``, ``lora``, ``embedding``,
            ``controlnet`` or ``sparse-control``.
        options: how it was trained.
        facts: what else a reader needs, such as ``family``, ``rank`` and ``alpha``.

    Raises:
        OutputError: the folder cannot be written or is full.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{path.parent} cannot be made ({reason_of(error)}).") from None
    tensors = {name: value.detach().cpu().contiguous() for name, value in weights.items()}
    metadata = {"kind": kind, **facts, **_modelspec(path, kind, tensors), **_kohya(options, facts)}
    if kind not in _NETWORKS:
        metadata.pop("ss_network_dim", None)
    return write_weights(path, tensors, metadata=metadata)


class Pretrained(Protocol):
    """A model of diffusers or transformers, as far as it is used."""

    def save_pretrained(self, save_directory: str) -> object: ...  # noqa: D102


def write_model(folder: Path, model: Pretrained) -> Path:
    """Write a part of an image model in its library's own layout.

    The files are made beside the folder and then moved into it one by one, so that a process that is
    killed meanwhile leaves the old file or the new, never a half.

    Raises:
        OutputError: the folder cannot be written or is full; what was there is untouched.
    """
    temporary = folder.parent / f".{folder.name}.{os.getpid()}.tmp"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for stale in folder.parent.glob(f".{folder.name}.*.tmp"):
            shutil.rmtree(stale)
        model.save_pretrained(str(temporary))
        for path in sorted(temporary.iterdir()):
            replace_by(path, folder / path.name)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise OutputError(f"{folder} cannot be written ({reason}); free some space.") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def _modelspec(path: Path, kind: str, weights: Mapping[str, Tensor]) -> dict[str, str]:
    now = dt.datetime.now(dt.UTC).replace(microsecond=0)
    return {
        "modelspec.sai_model_spec": "1.0.1",
        "modelspec.architecture": f"animatediff/{kind}",
        "modelspec.implementation": "animatediff",
        "modelspec.title": path.stem,
        "modelspec.date": now.isoformat(),
        SEAL: seal_of(weights),
    }


def _kohya(options: Recipe, facts: Mapping[str, str]) -> dict[str, str]:
    metadata = {
        "ss_learning_rate": str(options.learning_rate),
        "ss_steps": str(options.steps),
        "ss_seed": str(options.seed),
        "ss_mixed_precision": options.precision,
        "ss_training_comment": json.dumps(asdict(options)),
        "animatediff_version": importlib.metadata.version("animatediff"),
    }
    if "rank" in facts:
        metadata["ss_network_dim"] = facts["rank"]
        metadata["ss_network_alpha"] = facts.get("alpha", facts["rank"])
    return metadata
