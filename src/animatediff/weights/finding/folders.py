"""Model folders, and the models in them by name.

A folder can have this package's layout, A1111's or ComfyUI's, detected from its content.
``ANIMATEDIFF_MODELS`` and the user's ``models.toml`` add folders. The local Hugging Face cache is
only read. Nothing here imports torch or opens a weight file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from platformdirs import user_config_path, user_data_path

from animatediff.config import load_toml
from animatediff.errors import FileError, InputError
from animatediff.weights.roles import ROLES, RoleName

SUFFIXES = (".safetensors", ".ckpt", ".pt", ".pth", ".bin")
MAX_FILES = 20_000
"""The most files examined in one folder."""


@dataclass(frozen=True)
class Settings:
    """The content of ``models.toml``.

    Attributes:
        folders: more model folders.
    """

    folders: tuple[str, ...] = ()


@dataclass(frozen=True)
class Found:
    """A model in a folder.

    Attributes:
        role: the option that takes it.
        name: its name.
        path: the file, or the diffusers folder.
    """

    role: RoleName
    name: str
    path: Path


def own_folder() -> Path:
    """Return where ``pull`` puts models: the first of ``ANIMATEDIFF_MODELS``, or the user's data."""
    named = [part for part in os.environ.get("ANIMATEDIFF_MODELS", "").split(os.pathsep) if part]
    return Path(named[0]).expanduser() if named else user_data_path("animatediff") / "models"


def settings_path() -> Path:
    """Return where the user's model folders are listed."""
    return user_config_path("animatediff") / "models.toml"


def read_settings() -> Settings:
    """Return the user's model folders.

    Raises:
        FileError, InputError: ``models.toml`` exists and is broken.
    """
    path = settings_path()
    return load_toml(path, Settings) if path.is_file() else Settings()


def model_folders() -> list[Path]:
    """Return every model folder, in order.

    Raises:
        FileError, InputError: ``models.toml`` exists and is broken.
    """
    named = [part for part in os.environ.get("ANIMATEDIFF_MODELS", "").split(os.pathsep) if part]
    named += read_settings().folders
    folders = [
        *(Path(name).expanduser() for name in named),
        user_data_path("animatediff") / "models",
    ]
    return [folder for folder in dict.fromkeys(folders) if folder.is_dir()]


def places(root: Path, role: RoleName) -> list[Path]:
    """Return the folders for one role in a model folder of any layout."""
    row = ROLES[role]
    found = [root / place for place in (*row.own, *row.a1111, *row.comfy)]
    return [
        folder for folder in dict.fromkeys([*found, *_extra_places(root, role)]) if folder.is_dir()
    ]


def _extra_places(root: Path, role: RoleName) -> Iterator[Path]:
    """Return the folders that ComfyUI's configuration adds.

    Raises:
        FileError: the configuration is not YAML.
    """
    path = root / "extra_model_paths.yaml"
    if not path.is_file() or path.stat().st_size > 1 << 20:
        return
    try:
        table: Any = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        raise FileError(f"{path} cannot be read as YAML; correct or remove it.") from None
    for section in table.values() if isinstance(table, dict) else ():
        if not isinstance(section, dict):
            continue
        named = section.get("base_path")
        # Anything else may be nested without end, and must not be printed.
        base = root / Path(named if isinstance(named, str) else "").expanduser()
        for key in ROLES[role].comfy_keys:
            if isinstance(section.get(key), str):
                yield from (
                    base / line.strip() for line in section[key].splitlines() if line.strip()
                )


def list_found(role: RoleName) -> list[Found]:
    """Yield every model for one role in every model folder."""
    found: dict[Path, Found] = {}
    for root in model_folders():
        for each in _found_in(root, role):
            found.setdefault(each.path.resolve(), each)
    return list(found.values())


def list_in(root: Path) -> list[Found]:
    """Return every model in one model folder of any layout; a file that two roles share counts once."""
    found: dict[Path, Found] = {}
    for role in ROLES:
        for each in _found_in(root, role):
            found.setdefault(each.path.resolve(), each)
    return list(found.values())


def _found_in(root: Path, role: RoleName) -> Iterator[Found]:
    for place in places(root, role):
        for path in _entries(place, role):
            below = path.relative_to(place)
            name = below.with_suffix("") if path.is_file() else below
            yield Found(role, name.as_posix(), path)


def _entries(place: Path, role: RoleName) -> Iterator[Path]:
    """Yield the weight files in a folder, and the diffusers folders of models and motion modules."""
    for number, (folder, names, files) in enumerate(os.walk(place)):
        if number > MAX_FILES:
            raise FileError(f"{place} has over {MAX_FILES} folders; name a smaller one.")
        here = Path(folder)
        if ROLES[role].is_folder_with in files:
            names.clear()
            yield here
            continue
        names.sort()
        yield from (here / file for file in sorted(files) if file.lower().endswith(SUFFIXES))


def find(role: RoleName, name: str) -> Path | None:
    """Return the model with that name, with or without suffix and folder, if there is one.

    Raises:
        InputError: several have that name.
    """
    wanted = _plain(name)
    listed = list_found(role)
    for spelled in (lambda f: f.name, lambda f: Path(f.name).name):
        fitting = [found for found in listed if spelled(found).lower() == wanted.lower()]
        safe = [found for found in fitting if found.path.suffix == ".safetensors"]
        fitting = safe if len(safe) == 1 else fitting
        if len(fitting) > 1:
            raise InputError(
                f"Several models are called {name!r:.80}: {fitting[0].path} and "
                f"{fitting[1].path}; name one by its path."
            )
        if fitting:
            return fitting[0].path
    return None


def _plain(name: str) -> str:
    return next((name[: -len(end)] for end in SUFFIXES if name.lower().endswith(end)), name)


def hub_cache() -> Path:
    """Return the local Hugging Face cache."""
    if "HF_HUB_CACHE" in os.environ:
        return Path(os.environ["HF_HUB_CACHE"]).expanduser()
    home = os.environ.get("HF_HOME", "~/.cache/huggingface")
    return Path(home).expanduser() / "hub"


def find_in_hub_cache(name: str) -> Path | None:
    """Return a cached model: ``owner/name`` for a folder, ``owner/name/file`` for a file."""
    parts = name.split("/")
    if len(parts) < 2 or not all(re.fullmatch(r"[\w.-]+", part) and part != ".." for part in parts):
        return None
    repository = hub_cache() / f"models--{parts[0]}--{parts[1]}"
    reference = repository / "refs" / "main"
    if not reference.is_file():
        return None
    snapshot = repository / "snapshots" / reference.read_text().strip()
    path = snapshot.joinpath(*parts[2:])
    return path if path.exists() else None
