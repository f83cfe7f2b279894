"""Load a judging network from a folder in transformers' layout: checked, hashed, never unpickled."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from animatediff.errors import FileError
from animatediff.weights.storage.files import is_pickle, read_header, read_json, sha256_of
from animatediff.weights.storage.legacy import converted_to_safetensors

WEIGHTS, PICKLE = "model.safetensors", "pytorch_model.bin"


def config_of(folder: Path, *, option: str, kinds: Sequence[str]) -> dict[str, Any]:
    """Return the configuration of a folder whose ``model_type`` is one of ``kinds``.

    Raises:
        FileError: the folder has no configuration, or that of another network.
    """
    if not (folder / "config.json").is_file():
        raise FileError(
            f"{option} {folder} has no config.json; give a folder in transformers' layout, "
            f"with config.json and {WEIGHTS}."
        )
    config = read_json(folder / "config.json")
    if config.get("model_type") not in kinds:
        raise FileError(
            f"{option} {folder} is a network of the type {config.get('model_type')!r}; "
            f"supported types are {', '.join(kinds)}."
        )
    return config


def weights_of(folder: Path, *, option: str) -> Path:
    """Return the weight file of a folder.

    Raises:
        FileError: there is none, or it is not safetensors although its name says so.
    """
    path = next((folder / n for n in (WEIGHTS, PICKLE) if (folder / n).is_file()), None)
    if path is None:
        raise FileError(f"{option} {folder} has no {WEIGHTS}; get the network's files again.")
    if path.name == WEIGHTS:
        read_header(path)
    elif not is_pickle(path):
        raise FileError(f"{path} is not a pickle, although its name says so; get it again.")
    return path


def load_network(
    folder: Path, network: Any, *, option: str, settings: Mapping[str, Any] | None = None
) -> Any:
    """Load a network of transformers from a folder, in fp32, complete or not at all.

    Args:
        folder: with ``config.json`` and weights; a pickle is converted in a confined process first.
        network: a class of transformers.
        option: the option that names the folder, for messages.
        settings: of its constructor.

    Raises:
        FileError: weights are missing or have other shapes, or the file is broken.
    """
    weights = weights_of(folder, option=option)
    with tempfile.TemporaryDirectory() as passing:
        place = folder
        if weights.name == PICKLE:
            place = Path(passing)
            shutil.copyfile(folder / "config.json", place / "config.json")
            converted_to_safetensors(weights, place / WEIGHTS)
        try:
            loaded, info = network.from_pretrained(
                place,
                local_files_only=True,
                use_safetensors=True,
                output_loading_info=True,
                **(settings or {}),
            )
        except Exception as error:  # noqa: BLE001 - a loader given foreign files may raise anything
            reason = " ".join(str(error).split())[:200].rstrip(".")
            raise FileError(f"{option} {folder} cannot be loaded ({reason}).") from None
    absent = [name for name in info["missing_keys"] if "position_ids" not in name]
    if absent or info["mismatched_keys"]:
        wrong = (absent or [str(key) for key in info["mismatched_keys"]])[0]
        raise FileError(
            f"{option} {folder} does not fit its configuration: {wrong} is missing or has another "
            "shape; get the network's files again."
        )
    return loaded.eval().requires_grad_(False).to(torch.float32)


def digest_of(folder: Path, *, option: str) -> str:
    """Return one SHA-256 of the configuration and the weights."""
    together = hashlib.sha256()
    for path in (folder / "config.json", weights_of(folder, option=option)):
        together.update(bytes.fromhex(sha256_of(path)))
    return together.hexdigest()
