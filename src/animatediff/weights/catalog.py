"""Aliases of published models: what each is, and where its makers keep it. Data, not code."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from platformdirs import user_config_path

from animatediff.config import from_table, nearest
from animatediff.errors import FileError, InputError
from animatediff.weights.folders import own_folder
from animatediff.weights.roles import ROLES, RoleName

SHIPPED = Path(__file__).resolve().parent / "catalog.toml"


@dataclass(frozen=True)
class Published:
    """A published model.

    Attributes:
        role: which option takes it.
        repository: its makers' on Hugging Face.
        file: in that repository.
        about: what it is.
        family: the motion module's, where there is one.
        revision: a commit to fetch instead of the latest.
        sha256: what the file must be, where that is known beforehand.
    """

    role: RoleName
    repository: str
    file: str
    about: str
    family: str = ""
    revision: str = "main"
    sha256: str = ""

    @property
    def path(self) -> Path:
        """Where ``pull`` puts it, as safetensors whatever it was."""
        name = Path(self.file).with_suffix(".safetensors").name
        return own_folder() / ROLES[self.role].own[0] / name


def catalog() -> dict[str, Published]:
    """Every published model that has a short name, the user's own included.

    Raises:
        FileError, InputError: the user's catalogue is there and broken.
    """
    entries = dict(_read(SHIPPED))
    users = user_config_path("animatediff") / "catalog.toml"
    if users.is_file():
        entries.update(_read(users))
    return entries


def published(name: str) -> Published:
    """The published model of that short name.

    Raises:
        InputError: there is none.
    """
    known = catalog()
    if name not in known:
        close = nearest(name, known)
        hint = f"did you mean {close}?" if close else f"known are {', '.join(known)}."
        raise InputError(f"There is no published model {name!r:.80}; {hint}")
    return known[name]


def _read(path: Path) -> Mapping[str, Published]:
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise FileError(
            f"{path} is not a catalogue in TOML: {str(error).splitlines()[0]}."
        ) from None
    entries: dict[str, Published] = {}
    for name, row in table.items():
        if not isinstance(row, dict):
            raise InputError(f"{path} says {name} outside of a table; write [{name}] above it.")
        entries[name] = from_table(row, Published, source=f"{path}, [{name}],")
    return entries
